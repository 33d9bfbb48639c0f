"""Who may break the glass, what that opens, who reviews it, and which changes of the settings take two people. Pure."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from hilum.authorization.breakglass.models import (
    CLINICIANS,
    LAUNCH_AGE,
    MINUTES_MAX,
    MISUSE_BAR,
    NOTE_MIN,
    OPENABLE,
    PER_DAY_MAX,
    REASON_MAX,
    REASON_MIN,
    REVIEW_HOURS_MAX,
    BreakGlassFacts,
    BrokenGlass,
    NewUse,
    Recent,
    Settings,
    SettingsChange,
    Use,
    UseQuery,
    UseState,
)
from hilum.authorization.launches.models import Launch
from hilum.controls.switches.policy import administers
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.ids import LaunchId, PersonId, TenantId
from hilum.foundation.kernel.limits import out_of_range, too_long, too_short
from hilum.foundation.kernel.sentences import Sentence, enumerated
from hilum.foundation.standards.fhir.labels import CATEGORIES
from hilum.identity.people.models import Person

DETAILS = {
    "break_glass_role": Sentence(
        "Only physicians and nurses may break the glass, at their own hospital and with their own account."
    ),
    "break_glass_off": Sentence(
        "Your hospital has not switched emergency access on. Ask one of its administrators, or read the record in your EHR."
    ),
    "launch_not_open": Sentence(
        "Emergency access is bound to an app that your EHR opened for you on a patient within the last 24 hours. Open the app from the EHR again."
    ),
    "break_glass_open": Sentence("The glass is already broken for this patient in this app."),
    "break_glass_barred": Sentence(
        "A review found your last emergency access without justification, so you may not use it for 30 days from then. Ask an administrator of your hospital."
    ),
    "break_glass_limit": Sentence(
        "You have used emergency access as often as your hospital allows within 24 hours. Ask a colleague who treats this patient, or an administrator."
    ),
}
"""The sentence of each refusal."""
_MOST = {"minutes": MINUTES_MAX, "per_day": PER_DAY_MAX, "review_hours": REVIEW_HOURS_MAX}
"""The settings that are numbers, with the largest value of each."""


def reason_fault(order: NewUse) -> str:
    """Return the error code of an invalid reason; empty if it is valid."""
    length = len(" ".join(order.reason.split()))
    if length < REASON_MIN:
        return too_short(REASON_MIN, "reason_too_short")
    return too_long(REASON_MAX, "reason_too_long") if length > REASON_MAX else ""


def may_ask(actor: Actor) -> bool:
    """Check whether an actor is a clinician of a hospital."""
    return actor.kind is ActorKind.PERSON and bool(actor.tenant) and not actor.roles.isdisjoint(CLINICIANS)


def opening_fault(
    actor: Actor, settings: Settings, launch: Launch | None, recent: Recent, *, is_open: bool, now: datetime
) -> str:
    """Return why an actor may not break the glass in a launch; empty if they may. The caller also judges eligibility and kill switches.

    ``is_open``: whether the glass is broken in this launch already. INVARIANT: an unknown launch and another person's get the same answer.
    """
    if not may_ask(actor) or actor.tenant != settings.tenant:
        return "break_glass_role"
    if not settings.enabled:
        return "break_glass_off"
    if launch is None or not is_openable(launch, actor, now):
        return "launch_not_open"
    if recent.unjustified_at is not None and now < recent.unjustified_at + MISUSE_BAR:
        return "break_glass_barred"
    if is_open:
        return "break_glass_open"
    return "break_glass_limit" if recent.uses >= settings.per_day else ""


def is_openable(launch: Launch, actor: Actor, now: datetime) -> bool:
    """Check whether a launch is the actor's, used by its app and in progress, has a patient, and is younger than LAUNCH_AGE."""
    own = (launch.person, launch.tenant) == (actor.id, actor.tenant)
    in_progress = launch.used_at is not None and launch.moved_at is None and launch.ended_at is None
    return own and in_progress and bool(launch.patient) and now < launch.created_at + LAUNCH_AGE


def in_effect(
    facts: BreakGlassFacts, *, tenant: TenantId, person: PersonId, launch: LaunchId, now: datetime
) -> BrokenGlass | None:
    """Return what break-glass opens to a person in a launch now; None if nothing.

    INVARIANT: a use ends at ``ends_at`` even if nothing records it, and once its hospital switches break-glass off.
    """
    use = facts.open.get(launch) if launch else None
    if use is None or now >= use.ends_at or (use.tenant, use.person) != (tenant, person):
        return None
    categories = opened(use.categories, facts.allowed.get(tenant, frozenset()))
    return BrokenGlass(use.id, use.patient, categories) if categories and use.patient else None


def opened(categories: Iterable[str], allowed: Iterable[str]) -> frozenset[str]:
    """Return which kinds of restricted records a use opens, of those that it was opened for and those that its hospital allows now."""
    return frozenset(categories) & frozenset(allowed) & OPENABLE


def closed(categories: Iterable[str]) -> tuple[str, ...]:
    """Return the kinds that stay closed for every patient while these are open."""
    return tuple(sorted(frozenset(CATEGORIES) - opened(categories, categories)))


def stays_closed(categories: Iterable[str]) -> Sentence:
    """Return the sentence that says which kinds stay closed while these are open, to an app and on the page."""
    return Sentence(
        "In this emergency access records that are labelled %(kinds)s are not shown, whoever the patient is. An empty list does not mean that there is nothing.",
        kinds=enumerated(map(kind, closed(categories))),
    )


def kind(category: str) -> Sentence:
    """Return the words for a kind of restricted records."""
    return Sentence(category.upper() if category in {"hiv", "vip"} else category.replace("_", " "))


def state_of(use: Use, now: datetime) -> UseState:
    """Return the state of a use now."""
    if use.reviewed_at is not None:
        return UseState.REVIEWED
    if is_running(use, now):
        return UseState.OPEN
    return UseState.OVERDUE if now >= use.review_by else UseState.WAITING


def is_running(use: Use, now: datetime) -> bool:
    """Check whether a use is open: neither ended by a person nor past its end."""
    return use.ended_at is None and now < use.ends_at


def may_list(actor: Actor, query: UseQuery) -> bool:
    """Check whether an actor may read all uses that a query selects: an administrator the hospital's, a clinician their own."""
    own = may_ask(actor) and (query.tenant, query.person) == (actor.tenant, actor.id)
    return own or administers(actor, query.tenant)


def may_see(actor: Actor, use: Use) -> bool:
    """Check whether an actor may read a use: its own person, and the hospital's administrators."""
    return administers(actor, use.tenant) or is_own(actor, use)


def is_own(actor: Actor, use: Use) -> bool:
    """Check whether a use is the actor's."""
    return actor.kind is ActorKind.PERSON and actor.tenant == use.tenant and actor.id == use.person


def review_fault(actor: Actor, use: Use, reviewer: Person | None, user: Person | None, now: datetime) -> str:
    """Return why an actor may not review a use; empty if they may. INVARIANT: nobody reviews their own use, not even by a second account."""
    if not administers(actor, use.tenant) or reviewer is None or not reviewer.active:
        return "not_permitted"
    if is_own(actor, use):
        return "review_of_own_use"
    # Two accounts with one fhirUser belong to one person.
    if user is not None and reviewer.fhir_user and reviewer.fhir_user == user.fhir_user:
        return "review_of_own_use"
    return "break_glass_running" if is_running(use, now) else ""


def note_fault(note: str) -> str:
    """Return the error code of a review's note; empty if it is valid."""
    length = len(" ".join(note.split()))
    if length < NOTE_MIN:
        return too_short(NOTE_MIN, "reason_too_short")
    return too_long(REASON_MAX, "reason_too_long") if length > REASON_MAX else ""


def changed(before: Settings, change: SettingsChange) -> Settings:
    """Return the settings after a change."""
    values = {name: getattr(change, name) for name in SettingsChange.__dataclass_fields__}
    if change.categories is not None:
        values["categories"] = tuple(sorted(set(change.categories)))
    return replace(before, **{name: value for name, value in values.items() if value is not None})


def settings_faults(settings: Settings) -> dict[str, str]:
    """Return the error code of each invalid field."""
    faults: dict[str, str] = {}
    if not set(settings.categories) <= OPENABLE:
        faults["categories"] = "category_not_openable"
    elif settings.enabled and not settings.categories:
        faults["categories"] = "missing"
    for name, most in _MOST.items():
        if not 1 <= getattr(settings, name) <= most:
            faults[name] = out_of_range(1, most)
    return faults


def widens(before: Settings, after: Settings) -> bool:
    """Check whether a change permits more, or a later review, and so takes two people. Settings that are off permit nothing."""
    if not after.enabled:
        return False
    if not before.enabled or not set(after.categories) <= set(before.categories):
        return True
    return any(getattr(after, name) > getattr(before, name) for name in _MOST)


def narrows(before: Settings, after: Settings) -> bool:
    """Check whether a change permits less. Then open uses end, so that a later widening does not open them again."""
    switched_off = before.enabled and not after.enabled
    return (
        switched_off or not set(before.categories) <= set(after.categories) or after.minutes < before.minutes
    )


def ends_at(settings: Settings, now: datetime) -> datetime:
    """Return when a use that is opened now ends."""
    return now + timedelta(minutes=min(settings.minutes, MINUTES_MAX))
