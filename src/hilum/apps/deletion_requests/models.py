"""Deletion request requests, their causes and answers."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from hilum.foundation.kernel.ids import AppId, AuthorizationId, TenantId, VendorId

REASON_BOUND = 500
BATCH = 100
ANSWER_WITHIN = timedelta(days=30)
KEPT = timedelta(days=400)
"""How long a request stays on record; its events stay longer."""
LOOKED_BACK = timedelta(days=30)
"""How far back the job looks for certifications that expired: longer than it is ever down."""


class Cause(StrEnum):
    """What ended."""

    AGREEMENT = "agreement"
    """A person's agreement was withdrawn, or has no scope left."""
    INSTALLATION = "installation"
    """A hospital removed the app."""
    CERTIFICATION = "certification"
    """The app's last certification was withdrawn or expired."""
    TRANSFER = "transfer"
    """The app has another vendor now; the former one is asked."""


class State(StrEnum):
    """Of a request: open, or as it was answered."""

    OPEN = "open"
    DELETED = "deleted"
    KEPT = "kept"
    """Some or all of it is kept, for a reason."""


Answer = Literal[State.DELETED, State.KEPT]


@dataclass(frozen=True, slots=True)
class DeletionRequest:
    """A request to delete what an app has. ``tenant`` is empty for every hospital; ``authorization`` and ``patient`` are those of an agreement."""

    id: str
    cause: Cause
    vendor: VendorId
    app: AppId
    requested_at: datetime
    tenant: TenantId = TenantId("")
    authorization: AuthorizationId = AuthorizationId("")
    patient: str = ""
    state: State = State.OPEN
    reason: str = ""
    answered_at: datetime | None = None
    answered_by: str = ""

    @property
    def due_at(self) -> datetime:
        """Return until when the vendor is to answer."""
        return self.requested_at + ANSWER_WITHIN


@dataclass(frozen=True, slots=True)
class DeletionRequestQuery:
    """Which requests to list; empty fields do not filter."""

    vendor: VendorId | None = None
    tenant: TenantId | None = None
    app: AppId | None = None
    state: State | None = None
