"""The state of a contact, and what its links are. Pure."""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from hilum.apps.contacts.models import LINK_PREFIX, PROOF_LIFE, Contact, ContactKind, ContactState
from hilum.apps.registry.policy import may_change
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.ids import VendorId
from hilum.identity.people.models import VendorRight
from hilum.identity.people.policy import is_member, may_as_member
from hilum.records.notices.policy import parse_address

WORDS = {
    ContactKind.OWNER: "owner",
    ContactKind.SUPPORT: "support contact",
    ContactKind.SECURITY: "security contact",
}
"""How a kind of contact is written for people."""
_LINK = re.compile(re.escape(LINK_PREFIX) + r"[A-Za-z0-9_-]{43}")


def may_read(actor: Actor, vendor: str) -> bool:
    """Check whether an actor may read a vendor's contacts (empty: everybody's): the platform's staff, and each member of it."""
    # Addresses are personal: hospitals and other vendors see none.
    return actor.is_platform or is_member(actor, vendor)


def may_manage(actor: Actor, vendor: VendorId, kind: ContactKind) -> bool:
    """Check whether an actor may add and remove a vendor's contacts of a kind: the platform, its owners; its security members theirs."""
    if kind is ContactKind.SECURITY and may_as_member(actor, vendor, VendorRight.SECURITY_CONTACTS):
        return True
    return may_change(actor, vendor, VendorRight.PROFILE)


def looks_like_link(text: str) -> bool:
    """Check whether a text can be the secret of a link at all."""
    return _LINK.fullmatch(text) is not None


def digest(secret: str) -> str:
    """Return the digest under which a link is stored and found."""
    return hashlib.sha256(secret.encode()).hexdigest()


def state_of(contact: Contact, now: datetime) -> ContactState:
    """Return the state of a contact now."""
    if contact.declined_at is not None:
        return ContactState.DECLINED
    if contact.removed_at is not None:
        return ContactState.REMOVED
    if contact.proof_ends_at is None:
        return ContactState.WAITING
    return ContactState.PROVED if now < contact.proof_ends_at else ContactState.LAPSED


def link_works(contact: Contact, now: datetime) -> bool:
    """Check whether the newest link of a contact can be used now."""
    if contact.removed_at is not None or contact.declined_at is not None or not contact.link_digest:
        return False
    return contact.link_expires_at is not None and now < contact.link_expires_at


def proof_end(now: datetime) -> datetime:
    """Return when a proof that is made now ends."""
    return now + PROOF_LIFE


def unproved_kinds(proved: Collection[Contact], stated: Mapping[ContactKind, str]) -> list[ContactKind]:
    """Return the kinds of contact of which none is proved, or not the address that is stated for it. ``proved``: the contacts that are."""
    addresses = {kind: {each.address for each in proved if each.kind is kind} for kind in ContactKind}
    return [
        kind
        for kind, held in addresses.items()
        if not held or (kind in stated and parse_address(stated[kind]) not in held)
    ]


def missing_proofs(contacts: Iterable[Contact], now: datetime) -> list[ContactKind]:
    """Return the kinds of contact of which none is proved now."""
    proved = {each.kind for each in contacts if state_of(each, now) is ContactState.PROVED}
    return [kind for kind in ContactKind if kind not in proved]
