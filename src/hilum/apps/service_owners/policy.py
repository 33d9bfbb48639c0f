"""Who may request a service owner or be its approver, and until when it counts. Pure."""

from datetime import datetime, timedelta

from hilum.apps.clients.models import Client, ClientFacts, ClientType
from hilum.apps.registry.models import Environment
from hilum.apps.service_owners.models import (
    APPROVER_ROLES,
    GRACE,
    REMIND_BEFORE,
    WAITING_LIFE,
    NewServiceOwner,
    ServiceOwner,
    ServiceOwnerQuery,
    ServiceOwnerState,
)
from hilum.controls.switches.policy import administers
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.identity.people.models import Person
from hilum.identity.people.policy import is_member

_STATES = {
    ServiceOwnerState.WAITING: ("not agreed yet", "accent"),
    ServiceOwnerState.IN_FORCE: ("in force", "good"),
    ServiceOwnerState.APPROVER_LOST: ("nobody answers for it", "bad"),
    ServiceOwnerState.OVER: ("over", "plain"),
}


def may_ask(actor: Actor, tenant: str) -> bool:
    """Check whether an actor may ask for a service owner: an administrator of the hospital, and nobody else."""
    return administers(actor, tenant)


def may_see(actor: Actor, service_owner: ServiceOwner) -> bool:
    """Check whether an actor may read a service owner: the hospital's administrators, its approver, the vendor's members, the platform's staff."""
    return (
        actor.is_platform
        or administers(actor, service_owner.tenant)
        or is_approver(actor, service_owner)
        or is_member(actor, service_owner.vendor)
    )


def may_list(actor: Actor, query: ServiceOwnerQuery) -> bool:
    """Check whether an actor may read every service owner that a query finds."""
    if actor.is_platform or administers(actor, query.tenant) or is_member(actor, query.vendor):
        return True
    return actor.kind is ActorKind.PERSON and query.approver == actor.id


def is_approver(actor: Actor, service_owner: ServiceOwner) -> bool:
    """Check whether an actor is the approver of a service owner, at their own hospital."""
    own = actor.kind is ActorKind.PERSON and actor.tenant == service_owner.tenant
    return own and actor.id == service_owner.approver


def can_agree(actor: Actor, service_owner: ServiceOwner, now: datetime) -> bool:
    """Check whether agreeing to a service owner is something that an actor can do now."""
    return is_approver(actor, service_owner) and state_of(service_owner, now) is ServiceOwnerState.WAITING


def can_end(actor: Actor, service_owner: ServiceOwner, now: datetime) -> bool:
    """Check whether ending a service owner is something that an actor can do now."""
    concerned = is_approver(actor, service_owner) or may_ask(actor, service_owner.tenant)
    return concerned and state_of(service_owner, now) is not ServiceOwnerState.OVER


def badge_of(actor: Actor, service_owner: ServiceOwner, now: datetime) -> tuple[str, str]:
    """Return the state of a service owner in words, with its colour."""
    text, tone = _STATES[state_of(service_owner, now)]
    return ("waiting for you" if can_agree(actor, service_owner, now) else text), tone


def notices_of(service_owner: ServiceOwner, now: datetime) -> list[tuple[str, str]]:
    """Return what readers of a service owner are warned about."""
    if state_of(service_owner, now) is ServiceOwnerState.APPROVER_LOST and service_owner.lost_at is not None:
        until = f"{service_owner.lost_at + GRACE:%Y-%m-%d}"
        return [
            (
                "The person who answered for it has left",
                f"It goes on until {until}. Name somebody else before then.",
            )
        ]
    if state_of(service_owner, now) is ServiceOwnerState.WAITING:
        by = f"{service_owner.asked_at + WAITING_LIFE:%Y-%m-%d}"
        return [
            (
                "Not agreed yet",
                f"{{approver}} agrees with their own account by {by}; after that the request ends.",
            )
        ]
    return []


def end_consequence(service_owner: ServiceOwner, now: datetime) -> str:
    """Return what ending a service owner does."""
    if state_of(service_owner, now) is ServiceOwnerState.WAITING:
        return "Nothing begins. An administrator may ask again."
    return "{client} gets no new token here from now on, and what it has ends."


def may_approve(person: Person | None, tenant: str) -> bool:
    """Check whether a person may answer for a backend service at a hospital now."""
    # A vendor's member has the vendor's id in place of a hospital's, so no member is of any hospital.
    return person is not None and person.active and person.tenant == tenant and person.role in APPROVER_ROLES


def ask_faults(
    order: NewServiceOwner, client: Client, approver: Person | None, actor: Actor, now: datetime
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


def state_of(service_owner: ServiceOwner, now: datetime) -> ServiceOwnerState:
    """Return the state of a service owner now: ``APPROVER_LOST`` once the loss is recorded; ``until`` checks the person."""
    if service_owner.ended_at is not None or service_owner.ends_at <= now:
        return ServiceOwnerState.OVER
    if service_owner.agreed_at is None:
        return (
            ServiceOwnerState.WAITING
            if now < service_owner.asked_at + WAITING_LIFE
            else ServiceOwnerState.OVER
        )
    return ServiceOwnerState.IN_FORCE if service_owner.lost_at is None else ServiceOwnerState.APPROVER_LOST


def lost_since(approver: Person | None, service_owner: ServiceOwner, now: datetime) -> datetime | None:
    """Return since when the approver of a service owner has not counted; None if they count."""
    if may_approve(approver, service_owner.tenant):
        return None
    if service_owner.lost_at is not None:
        return service_owner.lost_at
    # Deactivation has a date. Any other loss, such as another role, counts from when it is noticed.
    return (approver.deactivated_at if approver is not None else None) or now


def reminder_due(service_owner: ServiceOwner, now: datetime) -> timedelta | None:
    """Return which reminder of its end is due for a service owner; None if none is, or it was agreed to for less than that."""
    left, begun = service_owner.ends_at - now, service_owner.agreed_at
    if begun is None or left <= timedelta(0):
        return None
    due = [each for each in REMIND_BEFORE if left <= each < service_owner.ends_at - begun]
    return min(due, default=None)


def is_of_vendor(service_owner: ServiceOwner, facts: ClientFacts) -> bool:
    """Check whether a service owner was agreed to for the client's present vendor (C14)."""
    agreed, since = service_owner.agreed_at, facts.owner_since
    return service_owner.vendor == facts.vendor and agreed is not None and (since is None or agreed >= since)


def until(service_owner: ServiceOwner, approver: Person | None, now: datetime) -> datetime | None:
    """Return until when tokens may rest on a service owner; None if it does not count at all."""
    if service_owner.agreed_at is None or service_owner.ended_at is not None:
        return None
    lost = lost_since(approver, service_owner, now)
    return service_owner.ends_at if lost is None else min(service_owner.ends_at, lost + GRACE)


def is_needed(client: Client, environment: Environment) -> bool:
    """Check whether a backend service needs a service owner at a hospital of an environment (C17).

    Not at a sandbox. A client from before service owners states its approver as a text, which counts until its end date, or until somebody of the
    hospital has agreed to answer for it.
    """
    if client.type is not ClientType.BACKEND or environment is Environment.SANDBOX:
        return False
    return not states_a_text(client)


def states_a_text(client: Client) -> bool:
    """Check whether a client from before service owners has its approver as a text."""
    return client.backend_use is not None and bool(client.backend_use.approver.strip())
