"""What is a finding, when it is due, and how far it is escalated. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType

from hilum.apps.registry.models import Certification
from hilum.apps.registry.policy import may_register, may_see_vendor
from hilum.controls.switches.models import Mode, Switch, TargetKind
from hilum.controls.switches.policy import administers
from hilum.foundation.kernel.actor import SYSTEM, Actor
from hilum.foundation.kernel.ids import AppId, VendorId
from hilum.foundation.kernel.lists import listed
from hilum.policy.matrix.models import Book, PolicyEntry, Tier
from hilum.policy.matrix.policy import criteria_of, entry_of, strictest_criteria
from hilum.review.recertification.drift import concern_of
from hilum.review.recertification.models import (
    FINDINGS_BOUND,
    LEVELS,
    LISTED_BOUND,
    UNUSED_DAYS,
    Bounced,
    Concern,
    Finding,
    Followed,
    Level,
    Limits,
    Severity,
    State,
    Subject,
)
from hilum.review.submissions.models import Check, Kind, Result
from hilum.review.submissions.policy import may_decide, may_submit

SEVERITIES: Mapping[str, Severity] = MappingProxyType(
    {
        # Somebody else may receive what is meant for the app.
        "address.stays": Severity.CRITICAL,
        "address.tls": Severity.CRITICAL,
        "keys.kept": Severity.CRITICAL,
        # The app does not work, or nobody can be reached.
        "keys.usable": Severity.HIGH,
        "contacts.proved": Severity.HIGH,
        "contacts.reached": Severity.HIGH,
        # It stops by itself at the end of its grace.
        "certificate.in_force": Severity.HIGH,
        "address.answers": Severity.MEDIUM,
        # What people were shown has changed.
        "policy_page.unchanged": Severity.MEDIUM,
        "document.as_declared": Severity.MEDIUM,
        "records.as_reviewed": Severity.LOW,
        "evidence.attached": Severity.LOW,
        "scopes.used": Severity.LOW,
        # Somebody wrote to the platform's database; the vendor is least responsible for that.
    }
)


# --- who ---------------------------------------------------------------------------------------------------------------------


def may_see(actor: Actor, vendor: VendorId) -> bool:
    """Check whether an actor may see findings about a vendor's apps: its members and the platform's staff."""
    return may_see_vendor(actor, vendor)


def may_compare(actor: Actor) -> bool:
    """Check whether an actor may see which certified apps meet their criteria: administrators of hospitals."""
    return actor.tenant is not None and administers(actor, actor.tenant)


def may_ask(actor: Actor, vendor: VendorId) -> bool:
    """Check whether an actor may request a check of an app: reviewers, and those who submit its versions."""
    return may_decide(actor) or may_submit(actor, vendor) or may_register(actor)


# --- findings ----------------------------------------------------------------------------------------------------------------


def ended_concern(certification: Certification, grace_until: datetime) -> Concern:
    """Return the finding that a certificate has ended and only its grace is left."""
    return Concern(
        "certificate.in_force",
        certification.id,
        SEVERITIES["certificate.in_force"],
        certain=True,
        evidence=f"The certificate ended on {certification.expires_at:%Y-%m-%d}; hospitals that have the app may keep using it until {grace_until:%Y-%m-%d %H:%M} UTC.",
        reproduction="hilum certificate show APP",
        fix="Submit the version again, or a newer one: hilum review submit. A new review costs nothing.",
        due_at=grace_until,
    )


def bounced_concern(found: Bounced) -> Concern:
    """Return the concern that mail does not reach a contact. Uncertain at first: a finding only if the next check agrees, as for an address that did not answer."""
    return Concern(
        "contacts.reached",
        f"{found.kind}: {found.address}",
        SEVERITIES["contacts.reached"],
        certain=False,
        evidence=f"The last mail to the {found.kind} contact {found.address} was refused for good on {found.at:%Y-%m-%d}.",
        reproduction="hilum contact list",
        fix="Have the mailbox receive mail again and send yourself a new link (hilum contact link), or prove another address and remove this one.",
    )


def _severity_of(check: Check) -> Severity:
    """Return the severity of a failed check; an unknown rule gets the most common one."""
    # Without its key set an app cannot authenticate, as with one that is not usable.
    without_keys = check.rule == "address.answers" and check.about.startswith(f"{Kind.KEYS}: ")
    return SEVERITIES["keys.usable"] if without_keys else SEVERITIES.get(check.rule, Severity.MEDIUM)


def concerns_of(checks: Iterable[Check], subject: Subject) -> list[Concern]:
    """Return what is wrong according to the checks and the use of scopes and calls, each once."""
    unused = subject.unused
    found = {
        (each.rule, each.about): Concern(
            each.rule,
            each.about,
            _severity_of(each),
            each.result is Result.FAILED,
            each.evidence,
            each.reproduction,
            each.fix,
        )
        for each in checks
        if each.result in {Result.FAILED, Result.UNKNOWN}
    }
    if unused:
        found["scopes.used", ""] = Concern(
            "scopes.used",
            "",
            SEVERITIES["scopes.used"],
            certain=True,
            evidence=f"Nothing was permitted by these scopes for {UNUSED_DAYS} days, at any hospital: {listed(unused, LISTED_BOUND)}.",
            reproduction=f"hilum app scopes APP --days {UNUSED_DAYS}",
            fix="Have a version certified without them, or say in a submission what they are for.",
        )
    for each in map(concern_of, subject.drift):
        found[each.rule, each.about] = each
    # Cut off by severity: many unreachable addresses must not displace a changed key.
    order = list(Severity)
    return sorted(found.values(), key=lambda each: (not each.certain, order.index(each.severity)))[
        :FINDINGS_BOUND
    ]


def follow(
    subject: Subject,
    vendor: VendorId,
    held: Iterable[Finding],
    concerns: Iterable[Concern],
    *,
    recent: Iterable[Finding] = (),
    limits: Limits,
    now: datetime,
) -> Followed:
    """Return the changes of a check: new findings, suspicions, unchanged ones and fixed ones.

    ``held``: open findings. ``recent``: findings closed recently; the same finding about the same certification keeps the time that was left.
    A failed check keeps a finding open, and opens one only the second time: a host may be away for a night.
    """
    assert subject.certification is not None, "what is not certified has nothing to find"
    mine = (each for each in recent if each.certification == subject.certification.id)
    by_key, closed_before = ({(each.rule, each.about): each for each in some} for some in (held, mine))
    seen: set[tuple[str, str]] = set()
    opened: list[Finding] = []
    suspected: list[Finding] = []
    kept: list[Finding] = []
    for each in concerns:
        key = each.rule, each.about
        seen.add(key)
        found = by_key.get(key)
        after = _finding(subject.app, vendor, subject.certification, each, now)
        due = replace(after, state=State.OPEN, due_at=_due(each, closed_before.get(key), limits, now))
        if found is None and each.certain:
            opened.append(due)
        elif found is None:
            suspected.append(after)
        elif found.state is State.SUSPECTED:
            opened.append(replace(due, id=found.id))
        else:
            # A failed check does not replace the evidence of one that succeeded.
            evidence = each.evidence if each.certain else found.evidence
            kept.append(replace(found, seen_at=now, evidence=evidence))
    gone = [each for key, each in by_key.items() if key not in seen]
    closed = tuple(replace(each, state=State.CLOSED, closed_at=now) for each in gone)
    return Followed(tuple(opened), tuple(suspected), tuple(kept), closed)


def _finding(
    app: AppId, vendor: VendorId, certification: Certification, concern: Concern, now: datetime
) -> Finding:
    return Finding(
        id="",
        app=app,
        vendor=vendor,
        certification=certification.id,
        rule=concern.rule,
        about=concern.about,
        severity=concern.severity,
        state=State.SUSPECTED,
        evidence=concern.evidence,
        reproduction=concern.reproduction,
        fix=concern.fix,
        opened_at=now,
        seen_at=now,
    )


def _due(concern: Concern, earlier: Finding | None, limits: Limits, now: datetime) -> datetime:
    due = concern.due_at or now + timedelta(days=limits.days[concern.severity])
    if earlier is None or earlier.due_at is None or earlier.closed_at is None:
        return due
    # Days on which it was fixed do not count, or a recurring fault would stop the app on the night when the vendor learns of it.
    return min(due, now + (earlier.due_at - earlier.closed_at))


def limits_in(entry: PolicyEntry) -> Limits:
    """Return an entry's rules for findings."""
    days = {
        Severity.CRITICAL: entry.fix_days_critical,
        Severity.HIGH: entry.fix_days_high,
        Severity.MEDIUM: entry.fix_days_medium,
        Severity.LOW: entry.fix_days_low,
    }
    return Limits(days, LEVELS[entry.automation], entry.suspend_days, entry.withdraw_days, criteria_of(entry))


def limits_under(book: Book, categories: Collection[str], tiers: Collection[Tier]) -> Limits:
    """Return the strictest rules for findings of some categories and tiers.

    INVARIANT: a category or tier that the policy no longer has gets the default rules, and no other entry loosens them.
    """
    entries = [entry_of(book, category, tier) for category in categories for tier in tiers]
    found = [Limits() if each is None else limits_in(each) for each in entries] or [Limits()]
    days = {severity: min(each.days[severity] for each in found) for severity in Severity}
    return Limits(
        days,
        max(each.automatic for each in found),
        min(each.suspend_days for each in found),
        min(each.withdraw_days for each in found),
        strictest_criteria(each.service for each in found),
    )


def escalation_differs(one: Book, other: Book) -> bool:
    """Check whether two policies differ in when, or how far, apps are escalated for the same findings."""
    return any(
        _escalation(one, name, tier) != _escalation(other, name, tier)
        for name in {*one.categories, *other.categories}
        for tier in Tier
    )


def _escalation(book: Book, category: str, tier: Tier) -> tuple[Level, int, int]:
    entry = entry_of(book, category, tier)
    found = Limits() if entry is None else limits_in(entry)
    return found.automatic, found.suspend_days, found.withdraw_days


# --- a review of what was certified ----------------------------------------------------------------------------------------------

_GRAVE = frozenset({Severity.CRITICAL, Severity.HIGH})


def needs_review(findings: Iterable[Finding], now: datetime) -> bool:
    """Check whether findings require a review before the certificate ends: one of high or critical severity is past its deadline (C225)."""
    return any(each.severity in _GRAVE and each.is_overdue(now) for each in findings)


# --- the escalation --------------------------------------------------------------------------------------------------------------


def level_of(found: Finding, limits: Limits, now: datetime) -> Level:
    """Return the level that one finding requires."""
    if found.state is not State.OPEN or found.due_at is None:
        return Level.NONE
    if now >= found.due_at + timedelta(days=limits.withdraw_days):
        return Level.WITHDRAW
    if now >= found.due_at + timedelta(days=limits.suspend_days):
        return Level.SUSPEND
    if now >= found.due_at:
        return Level.STOP
    half = found.opened_at + (found.due_at - found.opened_at) / 2
    return Level.WARN if now >= half else Level.NOTIFY


def level_due(findings: Iterable[Finding], limits: Limits, now: datetime) -> Level:
    """Return the highest level that an app's findings require."""
    return max((level_of(each, limits, now) for each in findings), default=Level.NONE)


def is_of_escalation(switch: Switch, versions: Collection[str]) -> bool:
    """Check whether a switch is one of the escalation's: engaged by the platform itself, against new launches of one of an app's versions."""
    return (
        switch.engaged_by == str(SYSTEM)
        and switch.mode is Mode.NO_NEW_LAUNCHES
        and switch.target.kind is TargetKind.VERSION
        and switch.target.key in versions
    )


def level_taken(due: Level, limits: Limits) -> Level:
    """Return how far the platform climbs by itself. A program never withdraws a certification."""
    return min(due, limits.automatic, Level.SUSPEND)
