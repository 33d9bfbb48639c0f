"""Values of the record: events of the control plane, accesses at the gateway, checkpoints, holds, and queries over them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from hilum.foundation.kernel.errors import Conflict
from hilum.foundation.kernel.events import Event, Outcome
from hilum.foundation.kernel.pages import PAGE_BOUND
from hilum.records.audit.served_models import (
    SERVED_EDGES_MS,
    SLOW_PERCENT,
    Ending,
    RecordedCalls,
    Served,
    ServedApp,
)
from hilum.records.audit.window_models import PermittedRequest, TenantWindow, Window, WindowFault, WindowQuery

__all__ = [
    "SERVED_EDGES_MS",
    "SLOW_PERCENT",
    "Ending",
    "Event",
    "Outcome",
    "PermittedRequest",
    "RecordedCalls",
    "Served",
    "ServedApp",
    "TenantWindow",
    "Window",
    "WindowFault",
    "WindowQuery",
]
# What was recorded since the last checkpoint is the only part of the record that could be cut without trace.
CHECKPOINT_EVERY = timedelta(seconds=1)
JOURNAL_QUEUE_BOUND = 8_192
"""Records waiting for the disk; beyond it the gateway refuses with audit_unavailable."""
JOURNAL_BATCH_BOUND = 512
# A read that misses its tables waits two seconds for the database before; together they stay below the five
# seconds within which a stalled request is refused.
JOURNAL_DEADLINE = timedelta(seconds=2.5)
"""How long a record may take to become durable; after that the request is refused with audit_unavailable."""
JOURNAL_CLOSE_WITHIN = timedelta(seconds=8)
NOTES_BOUND = 2_000
"""Unrecorded refusals kept in memory until the journal works again; beyond it the oldest are aggregated into one record per reason."""
NOTE_RETRY = timedelta(seconds=1)
CLAIM_LIFE = timedelta(hours=24)
"""How long a create whose answer may be lost blocks an identical one."""
SETTLE_AFTER = timedelta(seconds=30)
"""Age of an intent after which none of our requests can still be in flight; a younger write that is not found may still arrive."""
LEAVE_WITHIN = timedelta(seconds=8)
"""Age of an intent up to which its write may be sent: this plus the deadline of a FHIR server is less than ``SETTLE_AFTER``."""
OPEN_INTENTS_BOUND = 1_000
COUNTED_REFUSALS = "folded"
"""The rule of a record of accesses, and the reason of an event, that counts refusals which have no record of their own."""
SETTLEMENT = "settlement"
"""The rule of a later record that states the outcome of a write."""
UNDELIVERED = "undelivered"
"""The rule of a record that corrects the one before it: the prepared response was not delivered."""
BREAK_GLASS = "purpose of use BTG: "
"""How the detail of an access begins that was permitted while its person had broken the glass (``policy.emergency_of``).
Source: HL7 v3 ActReason, BTG (break the glass)"""
FAULTS_BOUND = 100
FOLLOWERS_BOUND = 64
# A slow reader loses records instead of memory growing or a writer waiting for it.
FOLLOWED_BOUND = 8_192
"""Records buffered for one follower; beyond it the oldest are dropped, and the number is reported to the follower."""
POLL_BOUND = 2_000
"""Records of one journal that are read in one poll."""
RESUME_BOUND = 10_000
RESUME_WITHIN = timedelta(minutes=5)
"""How far back a stream can resume."""
ANCHOR_BYTES_BOUND = 2_000_000
ANCHOR_LINES_KEPT = 10_000
ANCHOR_HEADS_KEPT = 1_000
"""The most ends of other chains that are kept in an anchor that is trimmed, and that are compared."""
SLOTS_BOUND = 256
INDEX_EVERY = timedelta(seconds=1)
INDEX_BATCH = 1_000
"""Records of each journal that are indexed in one transaction."""
FOUND_BOUND = 400
"""Patients of one answer that its record lists; of more only their number is kept. A page of matches is at most 200 records."""
INDEX_FOUND_BATCH = 20_000
"""Patients of answers that are indexed in one transaction, at least those of one record of each journal."""
COUNT_EVERY = timedelta(seconds=30)
COUNT_BATCH = 5_000
"""Records of each journal that are counted in one transaction."""
COUNTED_FOR = timedelta(days=91)
"""How long decisions are counted by day: the 90 days that a dry run of the policy replays (C208), and the day that it begins in."""
SLOT = timedelta(minutes=10)
SLOTS_KEPT = timedelta(days=30)
"""How long traffic is kept by ten minutes: three weeks at the first hospitals of a version, and the week before (C218)."""
SERVICE_SLOTS_KEPT = timedelta(hours=3)
"""How long the service of apps is kept by ten minutes: alerts judge the last hour, and each run goes over all that is kept."""
TENANTS_READ = 1_000
"""Tenants at which the service of one app is read."""
LATENCY_EDGES_MS = (10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)
"""Up to which latency an answer is counted in each bucket; the last bucket, without an edge, holds the slower ones."""
PLACES_BOUND = 2_000
"""Tenants, each with a kind of permitted request, that are listed of some clients."""
RULE_BOUND = 2_000
"""Characters of what permitted a decision that are kept in a count."""
TAIL_BOUND = 20_000
"""Records not indexed yet that a search reads as well; if more are missing, the journals are searched without the index."""
WINDOW_BEFORE = timedelta(hours=1)
"""How far before its moment a window looks for the last request that was permitted."""
UNDER_WAY_BEFORE = timedelta(seconds=60)
"""How long before a moment a request may have arrived that was still in progress then."""
WINDOW_COUNT_BOUND = 1_000_000
"""Records of a window that are counted."""
WINDOW_READ_BOUND = 50_000
"""Permitted requests of a window that are read one by one."""
WINDOW_FOLLOWED_BOUND = 2_000
"""Permitted requests of a window whose other records are looked up."""
WINDOW_TENANTS_BOUND = 200
EXPLAIN_EVENTS_BOUND = 50
PURGE_BATCH = 1_000
PURGE_ACTION = "audit.payload.purge"
PURGE_AFTER_MIN = timedelta(days=30)
"""No payload younger than this is purged."""

# Hex and not bytes, because heads are stored and signed as JSON.
Head = tuple[int, str]
"""The last record of a chain: its seq, and its hash in hex."""


class Stream(StrEnum):
    CONTROL = "control"
    """Changes to what is allowed; written in the transaction of the change."""
    ACCESS = "access"
    """FHIR requests; written by a journal, durable before the answer leaves."""


# Only Journal.intend creates one, and the upstream client demands one for each write: an interaction that
# forgets its intent has nothing to pass (ADR 26).
@dataclass(slots=True)
class Recorded:
    """Proof that the intent of one write is durable; no write is sent without one, and each serves once.

    ``is_late`` returns whether another process may already have settled the write as not done, so that it must no longer be sent.
    """

    request_id: str
    is_late: Callable[[], bool] = lambda: False
    used: bool = False

    def use(self) -> bool:
        """Use the proof for a write that is about to be sent; return False if it is too late to send it. A second use is a bug."""
        assert not self.used, "one intent, one write"
        self.used = True
        # Checked last, after the wait for a place at the FHIR server: a write that waited there could leave
        # after it had been settled as not done.
        return not self.is_late()


class Claimed(Conflict):
    """An identical create is in progress, or its app may not have received the answer. ``holder`` is its request id."""

    def __init__(self, holder: str) -> None:
        super().__init__("write_repeated", "An identical create is not settled yet.")
        self.holder = holder


@dataclass(slots=True)
class Access:
    """One FHIR request and its decision. ``path``, ``query`` and ``patient`` are PHI: payload only, never in logs.

    ``decision`` is the decision's id (equal to the request's, with ``.n`` for the n-th entry of a batch);
    ``reason`` is empty for a permit. ``rule`` is what permitted or refused: the scope that matched, the switch, the missing row.

    A write has several records under one request id: its intent (``INTENDED``) before it is sent, its outcome, and, if the outcome was
    unknown, a settlement. ``digest`` is that of the body the app sent, ``resource`` where it is stored (``Type/id``); both are PHI too.

    ``returned`` is how many records the answer of a search had. ``found`` has the patients of an answer that showed several, or of a record of
    several that was written, as ``policy.found_text`` writes them; PHI. ``patient`` is then empty, unless the request itself named one.
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
    # Last, because older records lack these fields: `decode` supplies empty ones.
    digest: str = ""
    resource: str = ""
    returned: int = 0
    found: str = ""


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A write without an outcome, for a report. One younger than ``SETTLE_AFTER`` may still be in flight."""

    request_id: str
    since: datetime


@dataclass(frozen=True, slots=True)
class OpenIntent:
    """A write that was sent, or was about to be, and has no recorded outcome. ``dead``: the process that sent it has ended."""

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
    # Chained, so that the newest signature covers every earlier checkpoint.
    previous: str = ""
    """Digest of the checkpoint before it; empty for the first."""


@dataclass(frozen=True, slots=True)
class Anchored:
    """A checkpoint as written to the anchor outside the database. Its digest covers it and every checkpoint before it."""

    number: int
    at: datetime
    digest: str


@dataclass(frozen=True, slots=True)
class AnchoredHead:
    """The end of another signed chain as written to the anchor: that of the policy's applications."""

    chain: str
    number: int
    at: datetime
    digest: str


@dataclass(frozen=True, slots=True)
class PartRecord:
    """One record of a chain, as ``partition`` reads them. ``payload`` is None once purged, or if there was none."""

    chain: str
    seq: int
    header: bytes
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of ``verify``. ``faults`` is empty when nothing was edited, removed or reordered."""

    records: int
    checkpoints: int
    uncovered: int
    faults: tuple[str, ...]
    purged: int = 0
    """Records whose payload was purged. The chain verifies without it."""
    anchored: int = 0
    """The newest checkpoint that an anchor confirms; 0 when none does."""
    unsettled: tuple["Unsettled", ...] = ()
    """Writes without a recorded outcome, oldest first, at most ``OPEN_INTENTS_BOUND``."""

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
    """Filters of events, all of which must match. ``action`` is a whole action or a prefix that ends at a dot.

    Of ``actions``, each such an action, one must match, and of ``without`` none may. ``since`` is inclusive, ``before`` exclusive; ``after`` is ``next`` of the previous page.
    """

    tenant: str = ""
    app: str = ""
    client: str = ""
    person: str = ""
    launch: str = ""
    authorization: str = ""
    request_id: str = ""
    action: str = ""
    outcome: str = ""
    since: datetime | None = None
    before: datetime | None = None
    after: str = ""
    limit: int = PAGE_BOUND
    reason: str = ""
    actions: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EventPage:
    """Newest first. ``next`` is empty on the last page."""

    events: tuple[RecordedEvent, ...]
    next: str = ""


@dataclass(frozen=True, slots=True)
class AccessQuery:
    """Filters of accesses, all of which must match. ``since`` is inclusive, ``before`` exclusive; ``after`` is ``next`` of the previous page."""

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
    since: datetime | None = None
    before: datetime | None = None
    after: str = ""
    limit: int = PAGE_BOUND


@dataclass(frozen=True, slots=True)
class AccessPage:
    """Newest first. ``next`` is empty on the last page."""

    accesses: tuple[Access, ...]
    next: str = ""


@dataclass(frozen=True, slots=True)
class SealedQuery:
    """The query for a run's evidence: its accesses, and the events that match any of some queries, all since one moment.

    At most ``pages`` pages of each query are read; more pages are a fault.
    """

    run: str
    since: datetime
    queries: tuple[EventQuery, ...]
    pages: int


@dataclass(frozen=True, slots=True)
class SealedRecords:
    """Accesses with their place and link in the chain, events with their link, and why they are no evidence, in sentences."""

    accesses: tuple[tuple[Access, str, str], ...]
    events: tuple[tuple[RecordedEvent, str], ...]
    faults: tuple[str, ...]


class DecisionShape(NamedTuple):
    """What decisions that are counted together have in common, wherever and whenever they were made."""

    app: str
    client: str
    interaction: str
    resource_type: str
    reason: str
    rule: str


class DecisionCount(NamedTuple):
    """How often a client was permitted (``reason`` is empty) or refused the same thing at a tenant. ``rule`` is what permitted it.

    ``example`` is the request id of one of these decisions.
    """

    tenant: str
    app: str
    client: str
    interaction: str
    resource_type: str
    reason: str
    rule: str
    number: int
    first: datetime
    last: datetime
    example: str


@dataclass(frozen=True, slots=True)
class PermitCount:
    """How often the same was permitted by the same scopes, of all the clients and tenants that were asked for, and when last."""

    rule: str
    resource_type: str
    interaction: str
    number: int
    last: datetime


@dataclass(frozen=True, slots=True)
class BusyDay:
    """What was permitted to one client at one tenant on a day (of UTC): how many calls, and how many of them were writes."""

    tenant: str
    day: date
    calls: int
    writes: int


@dataclass(frozen=True, slots=True)
class ReachedDay:
    """Whom and when one client reached at one tenant on a day of UTC: how many patients, and how many calls outside some hours."""

    day: date
    patients: int
    outside: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """Decisions of a time: how many were refused, and how many permitted in each bucket of latency (``LATENCY_EDGES_MS``)."""

    refused: int = 0
    permitted: tuple[int, ...] = (0,) * (len(LATENCY_EDGES_MS) + 1)

    @property
    def answered(self) -> int:
        """How many were permitted."""
        return sum(self.permitted)

    @property
    def decided(self) -> int:
        """How many there were."""
        return self.refused + self.answered

    def __add__(self, other: "Traffic") -> "Traffic":
        """Return both together."""
        permitted = tuple(map(sum, zip(self.permitted, other.permitted, strict=True)))
        return Traffic(self.refused + other.refused, permitted)


CountedTraffic = Callable[[datetime, datetime, Collection[str] | None], Mapping[str, Traffic]]
"""Reads the traffic of each app between two moments at some tenants, or with None at all (``live.read_traffic``)."""


@dataclass(frozen=True, slots=True)
class ActivityPage:
    """Accesses and events in one list, newest first. ``next`` is empty on the last page."""

    records: tuple[Access | RecordedEvent, ...]
    next: str = ""


class Fact(NamedTuple):
    """A fact of a request, with the name of what it says; ``id`` is that of the object that the text names, empty if it names none."""

    name: str
    text: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Background:
    """What other modules know of a request: sentences about the policy, what it was about, why it was refused and who can change that."""

    sentences: Sequence[str] = ()
    about: Sequence[Fact] = ()
    why: Sequence[Fact] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a request was answered as it was: its records, what led to them, plain sentences, and facts (see ``Background``).

    ``steps``: those of the sentences that say what neither the facts nor the events do.
    """

    request_id: str
    accesses: tuple[Access, ...]
    events: tuple[RecordedEvent, ...]
    sentences: tuple[str, ...]
    steps: tuple[str, ...] = ()
    about: tuple[Fact, ...] = ()
    why: tuple[Fact, ...] = ()


HOLDS_BOUND = 200
HOLD_REASON_BOUND = 500


@dataclass(frozen=True, slots=True)
class ReachQuery:
    """Whom some apps reached in a window. ``tenants``: the hospitals to list; with ``narrowed``, the only ones that count."""

    apps: tuple[str, ...]
    tenants: tuple[str, ...]
    since: datetime
    until: datetime
    narrowed: bool = False


@dataclass(frozen=True, slots=True)
class TenantReach:
    """What was permitted: how many calls, about how many patients, to how many people under how many authorizations, and when."""

    calls: int
    patients: int
    people: int
    authorizations: int
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True, slots=True)
class Reach:
    """Whom apps reached, in all and at each hospital; ``refused``: calls that were not permitted."""

    total: TenantReach
    by_tenant: Mapping[str, TenantReach]
    refused: int


# Purges choose by time alone, so that a purge never has to read what it removes (ADR 33).
@dataclass(frozen=True, slots=True)
class Hold:
    """An evidence hold: no payload from ``since`` on is purged, whatever a retention period says.

    ``tenant``, ``app`` and ``patient`` describe what the hold is about, empty for all. They do not limit it: payloads are purged by
    time alone, so a hold in force keeps everybody's.
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
