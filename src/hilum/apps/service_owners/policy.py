"""Who may request a mandate or be its approver, and until when it counts. Pure."""

from datetime import datetime, timedelta

from hilum.apps.clients.models import Client, ClientFacts, ClientType
from hilum.apps.registry.models import Environment
from hilum.apps.service_owners.models import (
    APPROVER_ROLES,
    GRACE,
    REMIND_BEFORE,
    WAITING_LIFE,
    Mandate,
    MandateQuery,
    MandateState,
    NewMandate,
)
from hilum.controls.switches.policy import administers
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.identity.people.models import Person
from hilum.identity.people.policy import is_member

_STATES = {
    MandateState.WAITING: ("not agreed yet", "accent"),
    MandateState.IN_FORCE: ("in force", "good"),
    MandateState.APPROVER_LOST: ("nobody answers for it", "bad"),
    MandateState.OVER: ("over", "plain"),
}


def may_ask(actor: Actor, tenant: str) -> bool:
    """Check whether an actor may ask for a mandate: an administrator of the hospital, and nobody else."""
    return administers(actor, tenant)


def may_see(actor: Actor, mandate: Mandate) -> bool:
    """Check whether an actor may read a mandate: the hospital's administrators, its approver, the vendor's members, the platform's staff."""
    return (
        actor.is_platform
        or administers(actor, mandate.tenant)
        or is_approver(actor, mandate)
        or is_member(actor, mandate.vendor)
    )


def may_list(actor: Actor, query: MandateQuery) -> bool:
    """Check whether an actor may read every mandate that a query finds."""
    if actor.is_platform or administers(actor, query.tenant) or is_member(actor, query.vendor):
        return True
    return actor.kind is ActorKind.PERSON and query.approver == actor.id


def is_approver(actor: Actor, mandate: Mandate) -> bool:
    """Check whether an actor is the approver of a mandate, at their own hospital."""
    own = actor.kind is ActorKind.PERSON and actor.tenant == mandate.tenant
    return own and actor.id == mandate.approver


def can_agree(actor: Actor, mandate: Mandate, now: datetime) -> bool:
    """Check whether agreeing to a mandate is something that an actor can do now."""
    return is_approver(actor, mandate) and state_of(mandate, now) is MandateState.WAITING


def can_end(actor: Actor, mandate: Mandate, now: datetime) -> bool:
    """Check whether ending a mandate is something that an actor can do now."""
    concerned = is_approver(actor, mandate) or may_ask(actor, mandate.tenant)
    return concerned and state_of(mandate, now) is not MandateState.OVER


def badge_of(actor: Actor, mandate: Mandate, now: datetime) -> tuple[str, str]:
    """Return the state of a mandate in words, with its colour."""
    text, tone = _STATES[state_of(mandate, now)]
    return ("waiting for you" if can_agree(actor, mandate, now) else text), tone


def notices_of(mandate: Mandate, now: datetime) -> list[tuple[str, str]]:
    """Return what readers of a mandate are warned about."""
    if state_of(mandate, now) is MandateState.APPROVER_LOST and mandate.lost_at is not None:
        until = f"{mandate.lost_at + GRACE:%Y-%m-%d}"
        return [
            (
                "The person who answered for it has left",
                f"It goes on until {until}. Name somebody else before then.",
            )
        ]
    if state_of(mandate, now) is MandateState.WAITING:
        by = f"{mandate.asked_at + WAITING_LIFE:%Y-%m-%d}"
        return [
            (
                "Not agreed yet",
                f"{{approver}} agrees with their own account by {by}; after that the request ends.",
            )
        ]
    return []


def end_consequence(mandate: Mandate, now: datetime) -> str:
    """Return what ending a mandate does."""
    if state_of(mandate, now) is MandateState.WAITING:
        return "Nothing begins. An administrator may ask again."
    return "{client} gets no new token here from now on, and what it has ends."


def may_approve(person: Person | None, tenant: str) -> bool:
    """Check whether a person may answer for a backend service at a hospital now."""
    # A vendor's member has the vendor's id in place of a hospital's, so no member is of any hospital.
    return person is not None and person.active and person.tenant == tenant and person.role in APPROVER_ROLES


def ask_faults(
    order: NewMandate, client: Client, approver: Person | None, actor: Actor, now: datetime
) -> dict[str, str]:
    """Return the error code of each invalid field."""
    faults: dict[str, str] = {}
    if client.type is not ClientType.BACKEND or client.backend_use is None:
        faults["client"] = "not_a_backend_service"
    elif client.expires_at is None or client.expires_at <= now:
        faults["client"] = "client_over"
    if not may_approve(approver, order.tenant):
        faults["approver"] = "approver_unsuitable"
    elif order.approver == actor.id:
        faults["approver"] = "approver_is_you"
    if order.ends_at is not None:
        if order.ends_at <= now:
            faults["ends_at"] = "not_in_the_future"
        elif client.expires_at is not None and order.ends_at > client.expires_at:
            faults["ends_at"] = "after_the_client_ends"
    return faults


def state_of(mandate: Mandate, now: datetime) -> MandateState:
    """Return the state of a mandate now: ``APPROVER_LOST`` once the loss is recorded; ``until`` checks the person."""
    if mandate.ended_at is not None or mandate.ends_at <= now:
        return MandateState.OVER
    if mandate.agreed_at is None:
        return MandateState.WAITING if now < mandate.asked_at + WAITING_LIFE else MandateState.OVER
    return MandateState.IN_FORCE if mandate.lost_at is None else MandateState.APPROVER_LOST


def lost_since(approver: Person | None, mandate: Mandate, now: datetime) -> datetime | None:
    """Return since when the approver of a mandate has not counted; None if they count."""
    if may_approve(approver, mandate.tenant):
        return None
    if mandate.lost_at is not None:
        return mandate.lost_at
    # Deactivation has a date. Any other loss, such as another role, counts from when it is noticed.
    return (approver.deactivated_at if approver is not None else None) or now


def reminder_due(mandate: Mandate, now: datetime) -> timedelta | None:
    """Return which reminder of its end is due for a mandate; None if none is, or it was agreed to for less than that."""
    left, begun = mandate.ends_at - now, mandate.agreed_at
    if begun is None or left <= timedelta(0):
        return None
    due = [each for each in REMIND_BEFORE if left <= each < mandate.ends_at - begun]
    return min(due, default=None)


def is_of_vendor(mandate: Mandate, facts: ClientFacts) -> bool:
    """Check whether a mandate was agreed to for the client's present vendor (C14)."""
    agreed, since = mandate.agreed_at, facts.owner_since
    return mandate.vendor == facts.vendor and agreed is not None and (since is None or agreed >= since)


def until(mandate: Mandate, approver: Person | None, now: datetime) -> datetime | None:
    """Return until when tokens may rest on a mandate; None if it does not count at all."""
    if mandate.agreed_at is None or mandate.ended_at is not None:
        return None
    lost = lost_since(approver, mandate, now)
    return mandate.ends_at if lost is None else min(mandate.ends_at, lost + GRACE)


def is_needed(client: Client, environment: Environment) -> bool:
    """Check whether a backend service needs a mandate at a hospital of an environment (C17).

    Not at a sandbox. A client from before mandates states its approver as a text, which counts until its end date, or until somebody of the
    hospital has agreed to answer for it.
    """
    if client.type is not ClientType.BACKEND or environment is Environment.SANDBOX:
        return False
    return not states_a_text(client)


def states_a_text(client: Client) -> bool:
    """Check whether a client from before mandates has its approver as a text."""
    return client.backend_use is not None and bool(client.backend_use.approver.strip())
