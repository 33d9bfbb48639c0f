"""Agreements between vendors and hospitals, their states and bounds."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.kernel.ids import Part, TenantId, VendorId
from hilum.kernel.pages import Sorts

AGREEMENTS = Part("agreements")
"""The part of the facts with confirmed agreements. Only cached values depend on it; its keys are ``agreement/<id>``."""
KINDS = {
    "business_associate": "business associate agreement",
    "data_sharing": "data sharing agreement",
    "subcontractors": "list of subcontractors",
}
"""The kinds that every platform knows, as they are written for people. A cell of the rule book may name others."""
REMIND_BEFORE = (timedelta(days=60), timedelta(days=30), timedelta(days=7))
"""How long before its end an agreement is announced to end."""
LIFE_BOUND = timedelta(days=20 * 366)
PARTIES_BOUND = 20
PARTIES_LEAST = 2
ENTITY_BOUND = 200
WAITING_BOUND = 50
"""Agreements of one vendor and hospital that wait to be confirmed."""
DUE_BATCH = 100


class Side(StrEnum):
    """The organisation for which somebody acts."""

    VENDOR = "vendor"
    HOSPITAL = "hospital"


class AgreementState(StrEnum):
    WAITING = "waiting"
    """The other organisation has not confirmed it."""
    AGREED = "agreed"
    """Confirmed, and not in effect yet."""
    IN_FORCE = "in_force"
    LAPSED = "lapsed"
    """Its end has passed."""
    ENDED = "ended"
    """One of the organisations ended it, or did not confirm it."""


@dataclass(frozen=True, slots=True)
class NewAgreement:
    """An agreement to record. ``entity``: the hospital's legal entity that signed it; empty for the hospital itself.

    ``document``: SHA-256 of the signed document (hex). ``ends_at`` None: until one of the two ends it.
    """

    vendor: VendorId
    tenant: TenantId
    kind: str
    parties: tuple[str, ...]
    document: str
    effective_at: datetime
    ends_at: datetime | None = None
    entity: str = ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """An agreement. ``ended_by`` set: it ends at ``ends_at`` because somebody ended it, and did not run out."""

    id: str
    vendor: VendorId
    tenant: TenantId
    entity: str
    kind: str
    parties: tuple[str, ...]
    document: str
    effective_at: datetime
    ends_at: datetime | None
    recorded_by: str
    recorded_for: Side
    recorded_at: datetime
    confirmed_by: str = ""
    confirmed_at: datetime | None = None
    ended_by: str = ""
    end_reason: str = ""
    finding_since: datetime | None = None
    """Since when nothing has been in force in its place; None once something is."""
    due_at: datetime | None = None
    """When the next notice, lapse or beginning is to be recorded."""


SORTS = Sorts({"until": "ends_at", "recorded": "id"})


@dataclass(frozen=True, slots=True)
class AgreementQuery:
    """Which agreements to list; empty fields do not filter. ``findings``: only those that lapsed and that nothing replaces."""

    vendor: str = ""
    tenant: str = ""
    findings: bool = False
