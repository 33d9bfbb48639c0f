"""Who may ask and decide, and what is valid. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from hilum.apps.installations.policy import may_install
from hilum.apps.registry.models import App
from hilum.apps.registry.policy import scope_faults
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.limits import too_long
from hilum.foundation.standards.smart.scopes import LAUNCH_AND_IDENTITY, all_covered
from hilum.hospitals.requests.models import MAIL_WINDOW, REASON_BOUND, AppRequest, AskOrder
from hilum.identity.people.models import Person, Role, VendorRight
from hilum.identity.people.policy import ROLES, may_as_member


def may_ask(actor: Actor, tenant: TenantId, app: App) -> bool:
    """Check whether an actor may ask a hospital for an app: its staff, and members of the app's vendor who may change its apps."""
    # A hospital's own EHR and a dynamic client are installed as they are added.
    if app.tenant is not None:
        return False
    if actor.kind is ActorKind.PERSON:
        return asks_at(actor, tenant)
    return may_as_member(actor, app.vendor, VendorRight.APPS)


def asks_at(actor: Actor, tenant: TenantId) -> bool:
    """Check whether an actor is of a hospital's staff, who ask it for apps."""
    return (
        actor.kind is ActorKind.PERSON
        and actor.tenant == tenant
        and bool(actor.roles & ROLES - {Role.PATIENT})
    )


def sees_all(actor: Actor, tenant: TenantId | None) -> bool:
    """Check whether an actor sees all requests of a hospital (None: of all): its administrators, and the platform's staff."""
    return actor.is_platform or (tenant is not None and may_install(actor, tenant))


def ask_faults(order: AskOrder, workflows: Iterable[str], *, only_backend: bool) -> dict[str, str]:
    """Return the error code of each invalid field of a request; ``workflows``: those that the app may do at the hospital."""
    faults = scope_faults(order.scopes) if order.scopes else {}
    if not set(order.workflows) <= set(workflows):
        faults["workflows"] = "workflow_not_allowed"
    if not order.roles and not only_backend:
        faults["roles"] = "roles_missing"
    elif not order.roles <= ROLES:
        faults["roles"] = "role_unknown"
    return faults | reason_faults(order.reason)


def reason_faults(reason: str, *, required: bool = True) -> dict[str, str]:
    """Return the error code of an invalid reason."""
    if required and not reason.strip():
        return {"reason": "reason_missing"}
    return {"reason": too_long(REASON_BOUND, "reason_too_long")} if len(reason) > REASON_BOUND else {}


def decision_fault(actor: Actor, request: AppRequest, *, is_open: bool, asked_too: bool) -> str:
    """Return why an actor may not decide a request; empty if they may.

    ``is_open``: as of now, when nobody else can decide it. ``asked_too``: the actor has an open request for the app at the hospital, or withdrew one while this one waited.
    INVARIANT: nobody decides on what they asked for, also if they have withdrawn it; a request is decided once.
    """
    if not may_install(actor, request.tenant):
        return "not_permitted"
    if not is_open:
        return "already_decided"
    if request.person == actor.id or asked_too:
        return "own_request"
    return ""


def is_active(request: AppRequest, person: Person | None, app: App) -> bool:
    """Check whether the person who asked is still active, at the hospital or at the app's vendor."""
    if person is None or not person.active:
        return False
    return person.tenant == (app.vendor if request.from_vendor else request.tenant)


def is_within(request: AppRequest, roles: frozenset[str], scopes: tuple[str, ...]) -> bool:
    """Check whether roles and scopes are all that a request asks for."""
    return request.roles <= roles and all_covered(request.scopes, scopes)


def without_launch(scopes: Iterable[str]) -> tuple[str, ...]:
    """Return scopes without those of launch and identity, which reach no record."""
    return tuple(dict.fromkeys(each for each in scopes if each not in LAUNCH_AND_IDENTITY))


def with_launch(scopes: Iterable[str], admitted: Iterable[str]) -> tuple[str, ...]:
    """Return scopes with the launch and identity scopes that the app may have; without those it could not be launched."""
    return tuple(dict.fromkeys((*(each for each in admitted if each in LAUNCH_AND_IDENTITY), *scopes)))


def window_of(at: datetime) -> datetime:
    """Return the beginning of the window of mail in which a moment is."""
    return at - timedelta(seconds=at.timestamp() % MAIL_WINDOW.total_seconds())
