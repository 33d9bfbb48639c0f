"""What would lapse under another policy besides scopes: certificates, graces, exceptions, proofs. Pure.

The functions that enforce a rule decide whether something counts, and until when; this module only compares their results.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from hilum.apps.clients.models import ClientFacts
from hilum.apps.registry.models import Environment
from hilum.foundation.kernel.ids import TenantId
from hilum.operations.dry_runs.books import EVERYWHERE, BooksAt
from hilum.operations.dry_runs.models import Counted, Effect, Lapse, Refused, What
from hilum.policy.matrix.policy import exception_end, exception_fault
from hilum.review.recertification.models import Climb, Level
from hilum.review.recertification.policy import SEVERITIES, limits_in

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


# --- exceptions (C19, C23, C207) -----------------------------------------------------------------------------------------------


def ended_exceptions(books: BooksAt) -> Iterator[Lapse]:
    """Yield the exceptions that would not count under the version, or not for so long."""
    for app in sorted(books.in_force.exceptions):
        for each in books.exceptions(app):
            here = books.plain(each.tenant or EVERYWHERE)
            if exception_fault(each, here.before, each.tenant, books.now):
                continue
            before, ends = exception_end(each, here.before), exception_end(each, here.after)
            if fault := exception_fault(each, here.after, each.tenant, books.now):
                ends = books.now
            assert before is not None, "what loosens something has an end"
            assert ends is not None, "what loosens something has an end"
            if ends < before:
                which = (each.kind.value, fault or "expires_sooner")
                yield Lapse(each.tenant or "", each.app, "", What.EXCEPTION, which, 1, before, ends)


# --- what vendors must have proved (C6, C7) ------------------------------------------------------------------------------------


def proofs_asked(facts: ClientFacts, effect: Effect) -> frozenset[str]:
    """Return the proofs that the version newly requires of a certified client's vendor. A sandbox requires none."""
    before, after = effect.before.entry, effect.after.entry
    if after is None or facts.environment is not Environment.PRODUCTION:
        return frozenset()
    return after.proofs - (before.proofs if before else frozenset())


def missing_proofs(
    facts: ClientFacts, effect: Effect, unproved: Collection[str], now: datetime
) -> Lapse | None:
    """Return the newly required proofs that the vendor lacks, and when the finding about them would be due; None if there are none."""
    lacking = tuple(sorted(proofs_asked(facts, effect) & {*unproved}))
    entry = effect.after.entry
    if not lacking or entry is None:
        return None
    due = now + timedelta(days=limits_in(entry).days[SEVERITIES["contacts.proved"]])
    return Lapse("", facts.app, facts.id, What.PROOFS, lacking, len(lacking), None, due)


# --- the escalation (C226) ---------------------------------------------------------------------------------------------------------


def climbed(climb: Climb) -> Lapse:
    """Return how much further up the escalation the platform would take an app with overdue findings."""
    what = What.SUSPENDED if climb.then >= Level.SUSPEND else What.STOPPED
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
