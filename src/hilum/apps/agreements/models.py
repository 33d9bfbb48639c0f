"""Agreements between vendors and hospitals, their states and bounds."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from hilum.foundation.actions.models import ID, LINE, WORD, Arg, Moment, OwnTenant
from hilum.foundation.kernel.ids import Part, TenantId, VendorId
from hilum.foundation.kernel.pages import Sorts

AGREEMENTS = Part("agreements")
"""The part of the facts that changes with an agreement; only cached values depend on it. Its keys are ``agreement/<id>``."""
KINDS = {
    "business_associate": "business associate agreement",
    "data_sharing": "data sharing agreement",
    "subcontractors": "list of subcontractors",
}
"""Kinds of agreements, with their names for people. An entry of the policy may require others."""
REMIND_BEFORE = (timedelta(days=60), timedelta(days=30), timedelta(days=7))
"""How long before the end of an agreement both organisations are reminded of it."""
LIFE_BOUND = timedelta(days=20 * 366)
PARTIES_BOUND = 20
PARTIES_LEAST = 2
ENTITY_BOUND = 200
WAITING_BOUND = 50
"""How many agreements of one vendor and hospital may wait to be confirmed."""
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


AgreementId = Annotated[str, ID, Arg("The agreement.", "agr_01h...", target=True)]
Document = Annotated[str, WORD, Arg("The signed document, or its SHA-256.", "baa.pdf", document=True)]


@dataclass(frozen=True, slots=True)
class NewAgreement:
    """An agreement to record. ``entity``: the hospital's legal entity that signed it; empty for the hospital itself.

    ``document``: SHA-256 of the signed document (hex). ``ends_at`` None: until one of the two ends it.
    """

    vendor: Annotated[VendorId, ID, Arg("The vendor.", '"Acme Health"', names="vendor")]
    tenant: OwnTenant
    kind: Annotated[
        str,
        WORD,
        Arg(
            "business_associate, data_sharing, subcontractors, or one that the policy names.",
            "business_associate",
        ),
    ]
    parties: Annotated[
        tuple[Annotated[str, LINE], ...],
        Field(max_length=PARTIES_BOUND),
        Arg("A party as the document names it; at least two.", '"Acme Health, Inc."|"Mercy Hospital"'),
    ]
    document: Document
    effective_at: Annotated[Moment, Arg("When it takes effect.", "2026-12-01")]
    ends_at: Annotated[
        Moment | None, Arg("When it ends; by default, when one of the two ends it.", "2028-12-01")
    ] = None
    entity: Annotated[
        str, LINE, Arg("The hospital's legal entity that signed it; by default, the hospital itself.")
    ] = ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """An agreement. If ``ended_by`` is set, that person ended it at ``ends_at``; otherwise it runs out then."""

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
    """Since when it has been over without a replacement in force; None if it is not."""
    due_at: datetime | None = None
    """When ``follow_due`` must look at it next; None if never."""


SORTS = Sorts({"until": "ends_at", "recorded": "id"})


@dataclass(frozen=True, slots=True)
class AgreementQuery:
    """Which agreements to list; empty fields do not filter. ``findings``: only those that are over without a replacement."""

    vendor: Annotated[str, ID, Arg("Only those of one vendor.", names="vendor")] = ""
    tenant: Annotated[str, ID, Arg("Only those of one hospital.", names="tenant")] = ""
    findings: Annotated[
        bool, Arg("Only those that have ended without a replacement.", label="Over, and not replaced")
    ] = False
