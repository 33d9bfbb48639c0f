"""What would lapse under another rule book besides scopes: certificates, graces, allowances, proofs. Pure.

The functions that enforce a rule decide whether something counts, and until when; this module only compares their results.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from hilum.apps.clients.models import ClientFacts
from hilum.apps.clients.policy import admission
from hilum.apps.registry.models import Environment
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.foundation.standards.smart.scopes import narrow
from hilum.operations.dry_runs.books import EVERYWHERE, Books, BooksAt
from hilum.operations.dry_runs.models import Counted, Effect, Lapse, Refused, What
from hilum.operations.dry_runs.policy import difference, judged_by
from hilum.policy.matrix.models import Override, PolicyException
from hilum.policy.matrix.policy import PolicyFacts
from hilum.review.recertification.models import Climb, Rung
from hilum.review.recertification.policy import SEVERITIES, limits_in

Allowance = Override | PolicyException
BY_COUNT: Mapping[str, What] = {Counted.AGREEMENTS: What.AGREEMENTS, Counted.FAMILIES: What.REFRESH}
"""What each count at a hospital says has lapsed there."""


def certificate_lapse(facts: ClientFacts, effect: Effect, hospitals: int, now: datetime) -> Lapse | None:
    """Return a lapse if a certificate is older than the version's life for it, or its grace would be over; else None."""
    if effect.ends <= now < effect.ends_before:
        what = What.CERTIFICATE
    elif effect.served <= now < effect.served_before:
        what = What.GRACE
    else:
        return None
    which = (str(facts.version),)
    return Lapse("", facts.app, facts.id, what, which, hospitals, effect.served_before, effect.served)


def gap_lapse(facts: ClientFacts, effect: Effect, hospitals: int) -> Lapse | None:
    """Return a lapse if a gap between two certifications would no longer be bridged, so that what was issued before it ends; else None."""
    before, after = effect.unbroken_before, effect.unbroken
    if after is None or (before is not None and before >= after):
        return None
    which = (str(facts.version), after.isoformat())
    return Lapse("", facts.app, facts.id, What.GAP, which, hospitals)


# --- what two people allowed (C19, C23, C207) ----------------------------------------------------------------------------------


def ended_allowances(books: BooksAt) -> Iterator[Lapse]:
    """Yield the overrides and exceptions that would not count under the version, or not for so long."""
    apps = sorted({*books.in_force.overrides, *books.in_force.exceptions})
    for app in apps:
        for each in books.allowances(app):
            here = books.plain(each.tenant or EVERYWHERE)
            if PolicyFacts.fault_of(each, here.before, each.tenant, books.now):
                continue
            ends_before, ends = PolicyFacts.end_of(each, here.before), PolicyFacts.end_of(each, here.after)
            if fault := PolicyFacts.fault_of(each, here.after, each.tenant, books.now):
                ends = books.now
            if ends < ends_before:
                yield _ended(each, fault, ends_before, ends)


def _ended(each: Allowance, fault: str, before: datetime, ends: datetime) -> Lapse:
    if isinstance(each, Override):
        what, about = What.OVERRIDE, each.rule
    else:
        what, about = What.EXCEPTION, each.kind.value
    which = (about, fault or "expires_sooner")
    return Lapse(each.tenant or "", each.app, "", what, which, 1, before, ends)


def kept(facts: ClientFacts, books: BooksAt) -> Iterator[Lapse]:
    """Yield what overrides and exceptions preserve although the version removes it, and until when: everywhere, and at single hospitals."""
    elsewhere = books.at(EVERYWHERE, facts.app)
    for tenant in (EVERYWHERE, *books.own_tenants(facts.app)):
        here = books.at(tenant, facts.app)
        if tenant and here is elsewhere:
            continue
        plain = books.plain(tenant).effect(facts)
        saved = () if plain is None else _saved(facts, plain, here)
        if saved:
            until = _kept_until(facts.app, tenant, books)
            yield Lapse(tenant, facts.app, facts.id, What.KEPT, saved, len(saved), None, until)


def _saved(facts: ClientFacts, plain: Effect, here: Books) -> tuple[str, ...]:
    """Return the present scopes that a client keeps under the version only because of an override or exception."""
    after = admission(here.after, judged_by(facts, here.before, here.after), here.now).scopes
    more, _ = difference(after, plain.after.scopes)
    # Scopes that the override or exception itself grants are not removed by the version.
    return tuple(
        each for each in more if difference(narrow((each,), plain.before.scopes), plain.after.scopes)[0]
    )


def _kept_until(app: AppId, tenant: TenantId, books: BooksAt) -> datetime | None:
    book = books.plain(tenant).after
    counting = (
        each
        for each in books.allowances(app)
        if not PolicyFacts.fault_of(each, book, tenant or None, books.now)
    )
    return min((PolicyFacts.end_of(each, book) for each in counting), default=None)


# --- what vendors must have proved (C6, C7) ------------------------------------------------------------------------------------


def proofs_asked(facts: ClientFacts, effect: Effect) -> frozenset[str]:
    """Return the proofs that the version newly requires of a certified client's vendor. A sandbox requires none."""
    before, after = effect.before.cell, effect.after.cell
    if after is None or facts.environment is not Environment.PRODUCTION:
        return frozenset()
    return after.proofs - (before.proofs if before else frozenset())


def missing_proofs(
    facts: ClientFacts, effect: Effect, unproved: Collection[str], now: datetime
) -> Lapse | None:
    """Return the newly required proofs that the vendor lacks, and when the finding about them would be due; None if there are none."""
    lacking = tuple(sorted(proofs_asked(facts, effect) & {*unproved}))
    cell = effect.after.cell
    if not lacking or cell is None:
        return None
    due = now + timedelta(days=limits_in(cell).days[SEVERITIES["contacts.proved"]])
    return Lapse("", facts.app, facts.id, What.PROOFS, lacking, len(lacking), None, due)


# --- the ladder (C226) ---------------------------------------------------------------------------------------------------------


def climbed(climb: Climb) -> Lapse:
    """Return how much further up the ladder the platform would take an app with overdue findings."""
    what = What.SUSPENDED if climb.then >= Rung.SUSPEND else What.STOPPED
    which = (climb.now.name.lower(), climb.then.name.lower())
    return Lapse("", climb.app, "", what, which, climb.findings, None, None)


def lapses_at(
    tenant: TenantId, facts: ClientFacts, counted: Iterable[Refused], lacking: Collection[str]
) -> Iterator[Lapse]:
    """Yield an app's lapses at a hospital when the version is applied there."""
    for each in counted:
        if (what := BY_COUNT.get(each.of)) is not None:
            yield Lapse(tenant, facts.app, facts.id, what, (each.reason,), each.number)
    if lacking:
        which = tuple(sorted(lacking))
        yield Lapse(tenant, facts.app, facts.id, What.MISSING, which, len(which))
