"""What is recorded: events of the control plane and accesses at the gateway."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from hilum.kernel.errors import Conflict
from hilum.kernel.pages import PAGE_BOUND

CHECKPOINT_EVERY = timedelta(seconds=1)
JOURNAL_QUEUE_BOUND = 8_192
"""Records waiting for the disk; past it the gateway refuses with audit_unavailable."""
JOURNAL_BATCH_BOUND = 512
JOURNAL_DEADLINE = timedelta(seconds=2.5)
"""How long a record may take to become durable; past it the request is refused with audit_unavailable."""
JOURNAL_CLOSE_WITHIN = timedelta(seconds=8)
NOTES_BOUND = 2_000
"""Unrecorded refusals that are kept in memory until the journal works again; past it the oldest are counted in one record for each reason."""
NOTE_RETRY = timedelta(seconds=1)
CLAIM_LIFE = timedelta(hours=24)
"""How long a create whose answer may be lost keeps an identical one from being carried out."""
SETTLE_AFTER = timedelta(seconds=30)
"""Age at which no request of ours can still be under way at a FHIR server; before it, a write that is not there may yet come."""
LEAVE_WITHIN = timedelta(seconds=8)
"""Age of an intent up to which its write may leave: with the deadline of a FHIR server it ends before ``SETTLE_AFTER``."""
OPEN_INTENTS_BOUND = 1_000
SETTLEMENT = "settlement"
"""The rule of a record that says, later, what became of a write."""
UNDELIVERED = "undelivered"
"""The rule of a record that corrects the one before it: what had been prepared was kept back."""
FAULTS_BOUND = 100
FOLLOWERS_BOUND = 64
FOLLOWED_BOUND = 8_192
"""Records that wait for one who follows; the oldest go first, and how many is told."""
LOOK_BOUND = 2_000
"""Records of one journal that are read at one look."""
RESUME_BOUND = 10_000
RESUME_WITHIN = timedelta(minutes=5)
"""How far back a stream goes on from."""
ANCHOR_BYTES_BOUND = 2_000_000
ANCHOR_LINES_KEPT = 10_000
SLOTS_BOUND = 256
INDEX_EVERY = timedelta(seconds=1)
INDEX_BATCH = 1_000
"""Records of each journal that are indexed in one transaction."""
TAIL_BOUND = 20_000
"""Records that are read though they are not indexed yet; where more are missing, the journals are searched without the index."""
EXPLAIN_EVENTS_BOUND = 50
PURGE_BATCH = 1_000
PURGE_ACTION = "audit.payload.purge"
PURGE_AFTER_MIN = timedelta(days=30)
"""No payload younger than this is purged."""

Head = tuple[int, str]
"""The last record of a chain: its seq, and its hash in hex."""


class Stream(StrEnum):
    CONTROL = "control"
    """Changes to what is allowed; written in the transaction of the change."""
    ACCESS = "access"
    """FHIR requests; written by a journal, durable before the answer leaves."""


class Outcome(StrEnum):
    DONE = "done"
    REFUSED = "refused"
    INTENDED = "intended"
    """A write is about to leave for a FHIR server."""
    NOT_DONE = "not_done"
    """A write that left, and was found not to have been carried out."""
    UNKNOWN = "unknown"
    """A write that left, and of which nobody knows whether it was carried out."""


@dataclass(slots=True)
class Recorded:
    """Proof that the intent of one write is durable; no write leaves without one. ``use`` it once.

    ``is_late`` says that others may already have settled the write as not done, so that it must not leave any more.
    """

    request_id: str
    is_late: Callable[[], bool] = lambda: False
    used: bool = False

    def use(self) -> bool:
        """Spend it on a write that is about to leave; False: it is too late for that. A second use is a bug."""
        assert not self.used, "one intent, one write"
        self.used = True
        return not self.is_late()


class Claimed(Conflict):
    """An identical create is under way, or nobody knows yet whether its app received the answer. ``holder`` is its request id."""

    def __init__(self, holder: str) -> None:
        super().__init__("write_repeated", "An identical create is not settled yet.")
        self.holder = holder


@dataclass(frozen=True, slots=True)
class Event:
    """A control-plane event. ``action`` is ``room.noun.verb`` and has its page in docs/reference.

    ``facts`` go under the chain by digest and may be purged by class; they hold ids, never secrets. ``patient`` is PHI
    and lies with the payload too.
    """

    action: str
    outcome: Outcome = Outcome.DONE
    tenant: str = ""
    app: str = ""
    client: str = ""
    person: str = ""
    launch: str = ""
    authorization: str = ""
    reason: str = ""
    patient: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Access:
    """One FHIR request and its decision. ``path``, ``query`` and ``patient`` are PHI: payload only, never in logs.

    ``decision`` is the decision's id (equal to the request's, with ``.n`` for the n-th entry of a batch);
    ``reason`` is empty for a permit. ``rule`` names what permitted or refused: the scope that matched, the switch, the missing row.

    A write has several records under one request id: its intent (``INTENDED``) before it leaves, its outcome, and where the outcome was
    not known a settlement. ``digest`` is that of the body the app sent, ``resource`` where it is stored (``Type/id``); both are PHI too.
    """

    request_id: str
    decision: str
    at: datetime
    tenant: str
    interaction: str
    resource_type: str
    status: int
    outcome: Outcome
    reason: str = ""
    rule: str = ""
    detail: str = ""
    app: str = ""
    version: str = ""
    vendor: str = ""
    client: str = ""
    person: str = ""
    role: str = ""
    launch: str = ""
    authorization: str = ""
    run: str = ""
    policy_version: str = ""
    snapshot: int = 0
    correlation_id: str = ""
    source: str = ""
    count: int = 1
    removed: int = 0
    cost: int = 0
    latency_us: int = 0
    method: str = ""
    path: str = ""
    query: str = ""
    patient: str = ""
    digest: str = ""
    resource: str = ""


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A write without an outcome, for a report. One younger than ``SETTLE_AFTER`` may simply be under way."""

    request_id: str
    since: datetime


@dataclass(frozen=True, slots=True)
class OpenIntent:
    """A write that left, or was about to, and has no outcome on record. ``dead``: the process that sent it is known to be gone."""

    intent: Access
    dead: bool = False


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement of every chain's head. ``heads`` maps ``stream/writer`` to (seq, hash in hex)."""

    number: int
    at: datetime
    heads: dict[str, tuple[int, str]]
    kid: str
    signature: str
    previous: str = ""
    """Digest of the checkpoint before it; empty for the first."""


@dataclass(frozen=True, slots=True)
class Anchored:
    """A checkpoint as it was noted outside the database: its digest names it and all before it."""

    number: int
    at: datetime
    digest: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What ``verify`` found. ``faults`` is empty when nothing was edited, removed or reordered."""

    records: int
    checkpoints: int
    uncovered: int
    faults: tuple[str, ...]
    purged: int = 0
    """Records whose payload was purged; the chain holds without it."""
    anchored: int = 0
    """The newest checkpoint that an anchor confirms; 0 when none does."""
    unsettled: tuple["Unsettled", ...] = ()
    """Writes whose outcome is not on record, oldest first, at most ``OPEN_INTENTS_BOUND``."""

    @property
    def intact(self) -> bool:
        return not self.faults


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event as it was recorded, with who did it and when. ``facts`` and ``patient`` are empty once purged."""

    writer: str
    seq: int
    at: datetime
    actor: str
    request_id: str
    event: Event
    source: str = ""
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Which events: every member that is set must fit. ``action`` is a whole action or its beginning up to a dot.

    ``after`` is ``next`` of the page before.
    """

    tenant: str = ""
    app: str = ""
    client: str = ""
    person: str = ""
    launch: str = ""
    authorization: str = ""
    request_id: str = ""
    action: str = ""
    after: str = ""
    limit: int = PAGE_BOUND


@dataclass(frozen=True, slots=True)
class EventPage:
    """Newest first. ``next`` is empty on the last page."""

    events: tuple[RecordedEvent, ...]
    next: str = ""


@dataclass(frozen=True, slots=True)
class AccessQuery:
    """Which accesses, newest first: every member that is set must fit; ``before`` is exclusive, ``after`` is ``next`` of a page."""

    tenant: str = ""
    app: str = ""
    client: str = ""
    person: str = ""
    launch: str = ""
    authorization: str = ""
    run: str = ""
    patient: str = ""
    outcome: str = ""
    reason: str = ""
    before: datetime | None = None
    after: str = ""
    limit: int = PAGE_BOUND


@dataclass(frozen=True, slots=True)
class AccessPage:
    """Newest first. ``next`` is empty on the last page."""

    accesses: tuple[Access, ...]
    next: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a request was answered as it was: its records, what led to them, and plain sentences."""

    request_id: str
    accesses: tuple[Access, ...]
    events: tuple[RecordedEvent, ...]
    sentences: tuple[str, ...]


HOLDS_BOUND = 200
HOLD_REASON_BOUND = 500


@dataclass(frozen=True, slots=True)
class Hold:
    """Evidence that nothing may be purged of, whatever a retention period says: records from ``since`` on.

    Tenant, app and patient say whom it is about, empty for all. While it stands, no payload from ``since`` on is purged of anybody:
    what is purged is chosen by time alone.
    """

    id: str
    since: datetime
    reason: str
    placed_by: str
    placed_at: datetime
    tenant: str = ""
    app: str = ""
    patient: str = ""
    released_by: str = ""
    released_at: datetime | None = None
