"""What hospitals share of their approvals, and what another hospital sees of it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hilum.evidence.models import CertifiedEvidence
from hilum.kernel.ids import AppId, TenantId

WHOLE = "*"
"""In place of an app id: every app of the hospital without its own row."""
REASONS_BOUND = 2_000
PRECEDENTS_BOUND = 20
"""How many hospitals are shown for an app."""
CANDIDATES_BOUND = 200
"""How many sharing hospitals are considered for an app."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """Whether a hospital shares its approval of an app, or with ``WHOLE`` of each app, and its reasons."""

    tenant: TenantId
    app: str
    shares: bool
    reasons: str
    changed_by: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class SharingOrder:
    """``app`` None: every app without its own choice. ``shares`` None: for an app, as the hospital chose in general."""

    tenant: TenantId
    app: AppId | None
    shares: bool | None
    reasons: str = ""


class Kind(StrEnum):
    """A term that a hospital decides about an app."""

    SCOPES = "scopes"
    ROLES = "roles"
    AGREEMENTS = "agreements"
    FACILITIES = "facilities"
    WORKFLOW = "workflow"
    NETWORKS = "networks"
    END = "end"
    CERTIFIED = "certified"
    """The scopes that were certified when the hospital decided."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms on which a hospital lets an app work, or would. ``roles`` None: not chosen yet. ``everywhere``: at all of its facilities.

    ``asked``: the scopes certified when it decided. ``pinned``: its backend services are limited to networks.
    """

    scopes: tuple[str, ...]
    asked: tuple[str, ...]
    roles: frozenset[str] | None = None
    agreements: frozenset[str] = frozenset()
    everywhere: bool = True
    workflow: str = ""
    pinned: bool = False
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Control:
    """One term that differs and so is left to decide. ``what``: the scopes, roles or agreements of which it consists, if there are any."""

    kind: Kind
    what: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class Precedent:
    """A sharing hospital's decision about an app. ``open``: terms that differ from one's own; ``same``: those that do not."""

    tenant: TenantId
    hospital: str
    terms: Terms
    approved_at: datetime
    validated_at: datetime | None
    reasons: str
    open: tuple[Control, ...]
    same: tuple[Kind, ...]


@dataclass(frozen=True, slots=True)
class Precedents:
    """The shared decisions about an app, latest approvals first, with the evidence of its certification."""

    items: tuple[Precedent, ...] = ()
    evidence: CertifiedEvidence | None = None
