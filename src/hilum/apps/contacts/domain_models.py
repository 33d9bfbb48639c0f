"""Domains of vendors, how they are proved, and the bounds of that."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.apps.contacts.models import Contact
from hilum.foundation.kernel.ids import VendorId

DOMAINS_BOUND = 20
"""Domains of one vendor."""
CHECKS_BOUND = 30
"""Checks that people ask for of one vendor's domains, within contacts' WINDOW."""
RENEW_BEFORE = timedelta(days=30)
"""How long before its end a proof is renewed by itself."""
RENEW_EVERY = timedelta(days=1)
"""The pause after a renewal that failed."""
WARN_BEFORE = timedelta(days=14)
"""From when on before its end the vendor is mailed that the renewal fails; once for each proof."""
RENEWAL_BATCH = 16
"""Domains that one step of the job checks: as many as are fetched at once, since a fetch's deadline includes its wait."""
PATH = "/.well-known/hilum-domain-proof.txt"
RECORD_PREFIX = "_hilum-domain-proof."
"""Before a domain, of the name whose TXT record may hold the line instead of the file."""
LINE_PREFIX = "hilum-domain-proof="
LINES_BOUND = 200
"""Lines of the file that are read."""


class DomainState(StrEnum):
    WAITING = "waiting"
    """Not proved yet."""
    PROVED = "proved"
    LAPSED = "lapsed"
    """Its proof has ended."""


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain of a vendor. ``token`` is what the file or the record must hold: it is no secret, and belongs to this vendor and domain alone.

    ``fault`` is why the last check failed; ``next_check_at`` when the job renews the proof; ``warned_for`` the end of the proof before
    which the vendor was last mailed.
    """

    id: str
    vendor: VendorId
    name: str
    token: str
    added_by: str
    added_at: datetime
    proved_at: datetime | None = None
    proof_ends_at: datetime | None = None
    lapsed_at: datetime | None = None
    checked_at: datetime | None = None
    fault: str = ""
    next_check_at: datetime | None = None
    warned_for: datetime | None = None


@dataclass(frozen=True, slots=True)
class ListedContact:
    """A contact, and whether its address is at a domain that its vendor has proved."""

    contact: Contact
    domain_proved: bool
