"""Who may make and see snapshots, and the rules for a new one. Pure."""

import hashlib
from collections.abc import Collection, Iterable
from datetime import datetime

from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.ids import TenantId, VendorId
from hilum.foundation.kernel.limits import too_long
from hilum.hospitals.vendor_hospitals.models import (
    CLAIMED_FOR,
    NAME_BOUND,
    PLACES,
    NewSnapshot,
    Snapshot,
    State,
    Template,
)
from hilum.identity.people.models import VendorRight
from hilum.identity.people.policy import is_member, may_as_member

_ID_LETTERS = 26


def may_make(actor: Actor, vendor: VendorId) -> bool:
    """Check whether an actor may make, reset and remove a vendor's snapshots: those who may change its apps."""
    return may_as_member(actor, vendor, VendorRight.APPS)


def may_remove(actor: Actor, vendor: VendorId) -> bool:
    """Check whether an actor may remove a vendor's snapshots; the platform may too, as after a long time without use."""
    return (
        may_make(actor, vendor) or actor.acts_alone or ("platform_admin" in actor.roles and actor.is_platform)
    )


def may_see(actor: Actor, vendor: VendorId) -> bool:
    """Check whether an actor may see a vendor's snapshots: its members, and the platform's staff."""
    return is_member(actor, vendor) or actor.is_platform


def may_open(actor: Actor, vendor: VendorId) -> bool:
    """Check whether an actor may read a snapshot's credentials: members who work on apps or their security, not staff or members for billing."""
    return may_as_member(actor, vendor, VendorRight.APPS) or may_as_member(actor, vendor, VendorRight.SECRETS)


def order_faults(order: NewSnapshot, templates: Collection[str], held: Iterable[Snapshot]) -> dict[str, str]:
    """Return the error code of each field of an order that cannot be carried out. ``held``: the snapshots of the vendor."""
    faults, name = {}, order.name.strip()
    if not name:
        faults["name"] = "name_missing"
    elif len(name) > NAME_BOUND:
        faults["name"] = too_long(NAME_BOUND, "name_too_long")
    elif not name.isprintable():
        faults["name"] = "name_characters"
    elif any(each.name == name and each.is_there for each in held):
        faults["name"] = "name_taken"
    if order.template not in templates:
        faults["template"] = "template_unknown"
    return faults


def is_broken_off(found: Snapshot, now: datetime) -> bool:
    """Check whether the making of a snapshot was interrupted, so that its place is free again."""
    return found.state is State.MAKING and now >= found.made_at + CLAIMED_FOR


def free_place(held: Iterable[Snapshot], now: datetime) -> tuple[int, Snapshot | None] | None:
    """Return a place of the vendor's that is free, with the snapshot whose address it has, if there was one; None if all are taken."""
    by_slot = {each.slot: each for each in held}
    # Reuse an old place first: the vendor's apps know its address, and no new tenant is needed.
    removed = sorted(
        slot for slot, each in by_slot.items() if each.state is State.REMOVED or is_broken_off(each, now)
    )
    unused = [slot for slot in range(PLACES) if slot not in by_slot]
    places = removed + unused
    return None if not places else (places[0], by_slot.get(places[0]))


def tenant_id_of(secret: str) -> TenantId:
    """Return a tenant's id that nobody can guess: its discovery document is public, as every hospital's."""
    return TenantId("own-" + hashlib.sha256(secret.encode()).hexdigest()[:_ID_LETTERS])


def hospital_name(name: str, template: Template) -> str:
    """Return the name of the hospital that a snapshot is: never the template's own, or somebody stops the wrong one of two."""
    return f"{template.name} (snapshot {name})"
