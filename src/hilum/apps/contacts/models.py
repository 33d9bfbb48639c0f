"""Contacts of vendors, their states, and the bounds on mail to them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.foundation.kernel.ids import VendorId

PROOF_LIFE = timedelta(days=180)
"""How long a proof counts."""
REMIND_BEFORE = timedelta(days=14)
"""How long before its end a contact is asked to prove the address again."""
LINK_PREFIX = "hil_cl_"
LINK_LIFE = timedelta(hours=72)
WINDOW = timedelta(hours=24)
MAILS_TO_ONE = 3
"""Links that people ask for to one mailbox within WINDOW, over all vendors and kinds of contact."""
MAILS_OF_ONE = 20
"""Links that people ask for to one vendor's contacts within WINDOW."""
CONTACTS_BOUND = 30
"""Contacts of one vendor, without those that were removed."""
DUE_BATCH = 100


class ContactKind(StrEnum):
    OWNER = "owner"
    SUPPORT = "support"
    SECURITY = "security"


class ContactState(StrEnum):
    WAITING = "waiting"
    """Not proved yet."""
    PROVED = "proved"
    LAPSED = "lapsed"
    """Its proof has ended."""
    DECLINED = "declined"
    """Who receives mail there declined to be a contact of this vendor."""
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class NewContact:
    vendor: VendorId
    kind: ContactKind
    address: str


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact. ``proof_ends_at``: until when the proof counts. ``link_digest`` is that of its newest link, empty once that ended."""

    id: str
    vendor: VendorId
    kind: ContactKind
    address: str
    mailbox: str
    added_by: str
    added_at: datetime
    proved_at: datetime | None = None
    proof_ends_at: datetime | None = None
    lapsed_at: datetime | None = None
    """When it was recorded that the proof has ended."""
    declined_at: datetime | None = None
    removed_at: datetime | None = None
    link_digest: str = ""
    link_issued_at: datetime | None = None
    link_expires_at: datetime | None = None
    reminded_for: datetime | None = None
    """The end of the proof before which the contact was last reminded."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """What the page of a link shows."""

    contact: Contact
    vendor_name: str
    expires_at: datetime
