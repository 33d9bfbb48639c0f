"""Who may make and see snapshots, and what a new one must be. Pure."""

import hashlib
from collections.abc import Collection, Iterable
from datetime import datetime

from hilum.identity.models import VendorRight
from hilum.identity.policy import is_member, may_as_member
from hilum.kernel.actor import Actor
from hilum.kernel.ids import TenantId, VendorId
from hilum.snapshots.models import CLAIMED_FOR, NAME_BOUND, PLACES, NewSnapshot, Snapshot, State

_ID_LETTERS = 26


def may_make(actor: Actor, vendor: VendorId) -> bool:
    """Check whether an actor may make, reset and remove a vendor's snapshots: who may change its apps."""
    return may_as_member(actor, vendor, VendorRight.APPS)


def may_remove(actor: Actor, vendor: VendorId) -> bool:
    """Check whether an actor may remove a vendor's snapshots; the platform may too, as after a long time without use."""
    return (
        may_make(actor, vendor) or actor.acts_alone or ("platform_admin" in actor.roles and actor.is_platform)
    )


def may_see(actor: Actor, vendor: VendorId) -> bool:
    """Check whether an actor may know of a vendor's snapshots: its members, and the platform's staff."""
    return is_member(actor, vendor) or actor.is_platform


def may_open(actor: Actor, vendor: VendorId) -> bool:
    """Check whether an actor may read what opens a snapshot: members who work on apps or their security.

    The staff see that it is there, and have no part in it; neither has who is a member for its bills.
    """
    return may_as_member(actor, vendor, VendorRight.APPS) or may_as_member(actor, vendor, VendorRight.SECRETS)


def order_faults(order: NewSnapshot, templates: Collection[str], held: Iterable[Snapshot]) -> dict[str, str]:
    """Return the error code of each field of an order that cannot be carried out. ``held``: the snapshots of the vendor."""
    faults, name = {}, order.name.strip()
    if not name:
        faults["name"] = "name_missing"
    elif len(name) > NAME_BOUND:
        faults["name"] = "name_too_long"
    elif not name.isprintable():
        faults["name"] = "name_characters"
    elif any(each.name == name and each.is_there for each in held):
        faults["name"] = "name_taken"
    if order.template not in templates:
        faults["template"] = "template_unknown"
    return faults


def is_broken_off(found: Snapshot, now: datetime) -> bool:
    """Check whether the making of a snapshot has broken off, so that its place is free again."""
    return found.state is State.MAKING and now >= found.made_at + CLAIMED_FOR


def free_place(held: Iterable[Snapshot], now: datetime) -> tuple[int, Snapshot | None] | None:
    """Return a place of the vendor's that is free, with the snapshot whose address it has, if there was one; None if all are taken."""
    by_slot = {each.slot: each for each in held}
    # One that was there before comes first: its address is known to the vendor's apps, and no further tenant is needed.
    removed = sorted(
        slot for slot, each in by_slot.items() if each.state is State.REMOVED or is_broken_off(each, now)
    )
    unused = [slot for slot in range(PLACES) if slot not in by_slot]
    places = removed + unused
    return None if not places else (places[0], by_slot.get(places[0]))


def tenant_id_of(secret: str) -> TenantId:
    """Return a tenant's id that nobody can guess: its discovery document is public, as every hospital's."""
    return TenantId("own-" + hashlib.sha256(secret.encode()).hexdigest()[:_ID_LETTERS])
