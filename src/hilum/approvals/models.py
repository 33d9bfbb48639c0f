"""What waits for a second person, and its limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from hilum.kernel.ids import PersonId, TenantId

APPROVAL_LIFE = timedelta(days=7)
APPROVALS_PENDING_BOUND = 200
"""Of one tenant, or of the staff; past it, decide some first."""


class ApprovalKind(StrEnum):
    """What takes two people."""

    CREATE = "create"
    """An account with power, or one that becomes who another account was."""
    RESET = "reset"
    """A way into an account in use."""
    CHARTS = "charts"
    """For a proxy, a chart that is another account's own."""
    TENANT = "tenant"
    """Where a tenant's data lies, or where its people's browsers are sent."""
    PEER = "peer"
    """A client that speaks for a whole tenant: its EHR, a resource server."""
    SECRET = "secret"
    """A new secret of such a client."""


ABOUT_A_PERSON = frozenset({ApprovalKind.CREATE, ApprovalKind.RESET, ApprovalKind.CHARTS})
ABOUT_A_CLIENT = frozenset({ApprovalKind.PEER, ApprovalKind.SECRET})


class ApprovalState(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Act:
    """An act that takes two people. ``target`` is the id of whom or what it is about; empty while that does not exist.

    ``order`` is what shall be done and ``before`` what it replaces, both as the second person sees them and as the room that owns the act
    reads them again. ``sealed`` goes with the order and is shown to nobody: a digest, or what the vault sealed.
    """

    kind: ApprovalKind
    tenant: TenantId | None
    target: str
    order: Mapping[str, Any]
    before: Mapping[str, Any] = field(default_factory=dict)
    sealed: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    """An act that waits for a second person, or was decided."""

    id: str
    act: Act
    asked_by: PersonId
    asked_at: datetime
    expires_at: datetime
    state: ApprovalState = ApprovalState.PENDING
    decided_by: PersonId | None = None
    decided_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """An act that waits, and what only who asked is shown, once: a setup code, or the first half of a secret."""

    approval: Approval
    setup_code: str = ""
    secret_start: str = ""


@dataclass(frozen=True, slots=True)
class CarriedOut:
    """What came of an act: whom or what it made or changed, and what only the second person is shown, once.

    ``link`` is the secret of a one-time link, ``secret_end`` the second half of a client's secret.
    """

    target: str
    link: str = ""
    link_expires_at: datetime | None = None
    secret_end: str = ""


@dataclass(frozen=True, slots=True)
class Agreed:
    """An approval that was just agreed to, and what came of it."""

    approval: Approval
    done: CarriedOut
