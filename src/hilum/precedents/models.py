"""What hospitals share of their approvals, and what another hospital sees of it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hilum.evidence.models import CertifiedEvidence
from hilum.kernel.ids import AppId, TenantId

WHOLE = "*"
"""Instead of an app: every app of the hospital that has no row of its own."""
REASONS_BOUND = 2_000
PRECEDENTS_BOUND = 20
"""Hospitals that are shown for one app."""
CANDIDATES_BOUND = 200
"""Hospitals that share and are looked at for one app."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """Whether a hospital shares its approval of an app, or (``WHOLE``) of each, and why it approved it."""

    tenant: TenantId
    app: str
    shares: bool
    reasons: str
    changed_by: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class SharingOrder:
    """``app`` None: every app without a choice of its own. ``shares`` None: for an app, as the hospital says."""

    tenant: TenantId
    app: AppId | None
    shares: bool | None
    reasons: str = ""


class Kind(StrEnum):
    """What a hospital decides about an app."""

    SCOPES = "scopes"
    ROLES = "roles"
    AGREEMENTS = "agreements"
    FACILITIES = "facilities"
    WORKFLOW = "workflow"
    NETWORKS = "networks"
    END = "end"
    CERTIFIED = "certified"
    """For which scopes the app is certified, which is what the hospital looked at."""


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms a hospital lets an app work, or would. ``roles`` None: not chosen yet. ``everywhere``: at all of its facilities.

    ``asked``: the scopes that were certified when it decided. ``pinned``: its backend services come from networks that it named.
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
    """What is left to decide: of which kind, what differs, and a sentence about it."""

    kind: Kind
    what: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class Precedent:
    """What a hospital that shares it decided about an app. ``open``: what differs from the terms of who looks; ``same``: what does not."""

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
    """What is shared of an app, the latest approvals first, with the evidence that it was certified by."""

    items: tuple[Precedent, ...] = ()
    evidence: CertifiedEvidence | None = None
