"""Who may resolve which names."""

from hilum.apps.registry.models import App
from hilum.apps.registry.policy import may_read_catalogue, may_see_app
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.identity.people.models import Role, Tenant
from hilum.identity.people.policy import is_open_to


def may_look_up_app(actor: Actor, app: App) -> bool:
    """Check whether an actor may resolve an app's name: those who may read the app, or ask for it at their hospital (C214)."""
    if may_see_app(actor, app):
        return True
    asks = actor.kind is ActorKind.PERSON and bool(actor.roles & (set(Role) - {Role.PATIENT}))
    return asks and app.tenant is None


def may_look_up_vendors(actor: Actor) -> bool:
    """Check whether an actor may resolve vendors' names: those who may list vendors, and members, who may offer an app to another vendor (C14)."""
    return may_read_catalogue(actor) or (actor.kind is ActorKind.MEMBER and bool(actor.roles))


def may_look_up_tenant(actor: Actor, tenant: Tenant) -> bool:
    """Check whether an actor may resolve a hospital's name: the staff, its own people, and a vendor's members where they may ask."""
    if actor.is_platform:
        return True
    if actor.kind is ActorKind.MEMBER:
        return bool(actor.roles) and tenant.active and is_open_to(tenant, actor.vendor)
    return actor.kind is ActorKind.PERSON and bool(actor.roles) and actor.tenant == tenant.id


def named_at(named: str) -> tuple[str, str]:
    """Split ``NAME@PLACE`` at its last @; both are empty for a text without one."""
    name, at, place = named.rpartition("@")
    return (name, place) if at and name and place else ("", "")
