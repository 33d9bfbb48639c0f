"""Disposal requests, their causes, states and answers."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.kernel.ids import AppId, AuthorizationId, ClientId, TenantId, VendorId
from hilum.kernel.pages import Sorts

LEGAL_REASON_BOUND = 500
OPEN_BOUND = 100
"""How many open requests a client reads at once, oldest first; it sees more after answering them."""
DUE_BATCH = 100
KEPT = timedelta(days=400)
"""How long a request stays on record after its answer, and one without an answer after its deadline."""
ESCALATE_AFTER = timedelta(days=14)
"""How long after its deadline an unanswered request is escalated to the hospital."""
LOOKED_BACK = timedelta(days=30)
"""How far back the job looks for certifications that expired: longer than it is ever down."""
LAPSE_GRACE = timedelta(days=30)
"""How long after an agreement ended without a replacement the vendor is asked to delete."""
EVENT_URI = "urn:hilum:event:disposal-request"
TEXT_TYPE = "secevent+jwt"
"""The type of the signed text: a security event token (RFC 8417), which no verifier of id_tokens accepts."""


class Cause(StrEnum):
    """What ended."""

    AGREEMENT = "agreement"
    """A person's agreement was withdrawn, or has no scope left."""
    INSTALLATION = "installation"
    """A hospital removed the app."""
    CERTIFICATION = "certification"
    """The app's last certification was withdrawn or expired."""
    LAPSE = "lapse"
    """A required agreement with the hospital ended long ago without a replacement."""
    TRANSFER = "transfer"
    """The app has another vendor now; the former one is asked."""


class State(StrEnum):
    OPEN = "open"
    OVERDUE = "overdue"
    """A finding: no answer came in time."""
    DISPOSED = "disposed"
    RETAINED = "retained"
    PARTLY = "partly"


class Answer(StrEnum):
    DISPOSED = "disposed"
    """Nothing is left."""
    RETAINED = "retained"
    """All of it is kept, for a legal reason."""
    PARTLY = "partly"
    """Data with a legal reason is kept; the rest is deleted."""


@dataclass(frozen=True, slots=True)
class Disposal:
    """A request to delete what an app has.

    ``tenant`` is empty for every hospital; ``client``, ``authorization`` and ``patient`` are those of an agreement. ``overdue_at``: when it
    was recorded that no answer came in time; it stays after a late answer.
    """

    id: str
    cause: Cause
    vendor: VendorId
    app: AppId
    requested_at: datetime
    due_at: datetime
    tenant: TenantId = TenantId("")
    client: ClientId = ClientId("")
    authorization: AuthorizationId = AuthorizationId("")
    patient: str = ""
    announced_at: datetime | None = None
    """When the vendor's webhooks and mail were put into the outbox."""
    overdue_at: datetime | None = None
    escalated_at: datetime | None = None
    """When the hospital was notified that no answer came, even after the deadline."""
    answer: Answer | None = None
    legal_reason: str = ""
    answered_at: datetime | None = None
    answered_by: str = ""


@dataclass(frozen=True, slots=True)
class Agreed:
    """The agreement that ended, as the app knew it."""

    id: AuthorizationId
    tenant: TenantId
    app: AppId
    client: ClientId
    patient: str


@dataclass(frozen=True, slots=True)
class AnswerOrder:
    answer: Answer
    legal_reason: str = ""


SORTS = Sorts({"due": "due_at", "asked": "id"})


@dataclass(frozen=True, slots=True)
class DisposalQuery:
    """Which requests to list; empty fields do not filter."""

    vendor: VendorId | None = None
    tenant: TenantId | None = None
    app: AppId | None = None
    state: State | None = None


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request with its signed text, for the app itself."""

    disposal: Disposal
    text: str
