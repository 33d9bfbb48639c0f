"""What would lapse under another rule book beside scopes: certificates, graces, what two people allowed, missing proofs. Pure.

Whether something counts, and until when, is asked of the functions that enforce it; here is only what differs between two answers.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from hilum.clients.models import ClientFacts
from hilum.clients.policy import admission
from hilum.dryruns.books import EVERYWHERE, Books, BooksAt
from hilum.dryruns.models import Counted, Effect, Lapse, Refused, What
from hilum.dryruns.policy import difference, judged_by
from hilum.kernel.ids import AppId, TenantId
from hilum.policies.models import Override, PolicyException
from hilum.policies.policy import PolicyFacts
from hilum.registry.models import Environment
from hilum.revalidation.models import Climb, Rung
from hilum.revalidation.policy import SEVERITIES, limits_in
from hilum.standards.smart.scopes import narrow

Allowance = Override | PolicyException


def certificate_lapse(facts: ClientFacts, effect: Effect, hospitals: int, now: datetime) -> Lapse | None:
    """Return that a certificate is older than the life that the version gives it, or that its grace would be over; None if neither."""
    if effect.ends <= now < effect.ends_before:
        what = What.CERTIFICATE
    elif effect.served <= now < effect.served_before:
        what = What.GRACE
    else:
        return None
    which = (str(facts.version),)
    return Lapse("", facts.app, facts.id, what, which, hospitals, effect.served_before, effect.served)


def gap_lapse(facts: ClientFacts, effect: Effect, hospitals: int) -> Lapse | None:
    """Return that a gap between two certifications would be bridged no more, so that what was issued before it ends; None if none would."""
    before, after = effect.unbroken_before, effect.unbroken
    if after is None or (before is not None and before >= after):
        return None
    which = (str(facts.version), after.isoformat())
    return Lapse("", facts.app, facts.id, What.GAP, which, hospitals)


# --- what two people allowed (C19, C23, C207) ----------------------------------------------------------------------------------


def ended_allowances(books: BooksAt) -> Iterator[Lapse]:
    """Yield the overrides and exceptions that count now and would not, or not for so long, under the version."""
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
    is_override = isinstance(each, Override)
    about = each.rule if isinstance(each, Override) else each.kind.value
    which = (about, fault or "expires_sooner")
    what = What.OVERRIDE if is_override else What.EXCEPTION
    return Lapse(each.tenant or "", each.app, "", what, which, 1, before, ends)


def kept(facts: ClientFacts, books: BooksAt) -> Iterator[Lapse]:
    """Yield what an override or an exception keeps of what the version takes from others, and until when: everywhere, and at hospitals of their own."""
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
    """Return the scopes that a client has under the version, and would not have if nothing were allowed to it, of those that it has now anyway."""
    after = admission(here.after, judged_by(facts, here.before, here.after), here.now).scopes
    more, _ = difference(after, plain.after.scopes)
    # What only the override or the exception gives is nothing that the version would take.
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
    """Return what the vendor of a certified client must prove under the version and need not now. A sandbox takes no proofs."""
    before, after = effect.before.cell, effect.after.cell
    if after is None or facts.environment is not Environment.PRODUCTION:
        return frozenset()
    return after.proofs - (before.proofs if before else frozenset())


def missing_proofs(
    facts: ClientFacts, effect: Effect, unproved: Collection[str], now: datetime
) -> Lapse | None:
    """Return what its vendor has not proved of what is newly asked, and when the finding about that would be due; None if nothing."""
    lacking = tuple(sorted(proofs_asked(facts, effect) & {*unproved}))
    cell = effect.after.cell
    if not lacking or cell is None:
        return None
    due = now + timedelta(days=limits_in(cell).days[SEVERITIES["contacts.proved"]])
    return Lapse("", facts.app, facts.id, What.PROOFS, lacking, len(lacking), None, due)


# --- the ladder (C226) ---------------------------------------------------------------------------------------------------------


def climbed(climb: Climb) -> Lapse:
    """Return how much further the platform would go by itself with an app whose findings are overdue."""
    what = What.SUSPENDED if climb.then >= Rung.SUSPEND else What.STOPPED
    which = (climb.now.name.lower(), climb.then.name.lower())
    return Lapse("", climb.app, "", what, which, climb.findings, None, None)


BY_COUNT: Mapping[str, What] = {Counted.AGREEMENTS: What.AGREEMENTS, Counted.FAMILIES: What.REFRESH}
"""What is counted at a hospital and has lapsed there."""


def lapses_at(
    tenant: TenantId, facts: ClientFacts, counted: Iterable[Refused], lacking: Collection[str]
) -> Iterator[Lapse]:
    """Yield what lapses of an app at a hospital when the version is applied there."""
    for each in counted:
        if (what := BY_COUNT.get(each.of)) is not None:
            yield Lapse(tenant, facts.app, facts.id, what, (each.reason,), each.number)
    if lacking:
        which = tuple(sorted(lacking))
        yield Lapse(tenant, facts.app, facts.id, What.MISSING, which, len(which))
