"""Certification runs, their scenarios and records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from hilum.foundation.kernel.ids import AppId, ClientId, RunId, TenantId, VendorId, VersionId

RUN_LIFE = timedelta(hours=4)
"""How long a run stays open."""
SCENARIO_LIFE = timedelta(minutes=3)
"""How long a fault lasts unless somebody ends it."""
RESULT_LIFE = timedelta(days=90)
"""How old a result may be when a version is certified (C232)."""
RUNS_A_DAY = 20
"""Runs that may be opened for an app within a day."""
FINISHES_A_DAY = 10
"""The most attempts to finish one run."""
ROWS_BOUND = 5_000
"""The most records of a run. A run with more is not judged."""
EVENTS_PAGES = 25
"""Pages of events that are read of one run."""
KEPT = timedelta(days=3 * 366)
"""How long a passed run is kept; one that did not pass is kept as long as a draft."""
FAILED_KEPT = timedelta(days=180)
PURGE_BATCH = 50
SCOPES_BOUND = 200
SHORT_LIFE = timedelta(seconds=5)
"""The life of access tokens in the scenario with short ones."""
QUOTA_RATE_PER_S, QUOTA_BURST = 0.5, 2
"""The quota in the quota scenario: a refused app is asked to wait two seconds."""
QUOTA_WAIT = timedelta(seconds=2)
SLOW = timedelta(seconds=2)
"""The latency from which an answer counts as slow. The fault delays answers by three seconds."""
EVERY = "*"
"""In place of names: every scenario of the policy."""
WATCHED = 100
"""How many records of an open run are shown."""
TRACE_DAYS = (1, 7, 30)
"""How many days of calls outside runs a proposal of scopes may use."""
TRACE_BOUND = 2_000
"""The most requests outside runs in one proposal, the newest."""
CATEGORIES_BOUND = 4
"""With more categories of a type the whole type is proposed."""
SHAPES_BOUND = 1_000
"""The most shapes of a contract."""


class State(StrEnum):
    """Of a run."""

    OPEN = "open"
    PASSED = "passed"
    FAILED = "failed"
    """The app did not behave in a scenario."""
    INCOMPLETE = "incomplete"
    """Nothing failed, but not every scenario was shown."""
    ABANDONED = "abandoned"
    """Given up by its vendor, or never finished."""


class Outcome(StrEnum):
    """The conclusion about a scenario."""

    MET = "met"
    NOT_MET = "not_met"
    INCOMPLETE = "incomplete"
    """The records do not show it. Never counts as met."""


class Fault(StrEnum):
    """How the situation of a scenario is created."""

    NONE = "none"
    """By the developer, in the EHR simulator or as the person; the scenario says how."""
    SHORT_TOKENS = "short_tokens"
    """New access tokens live five seconds."""
    ENDED_TOKENS = "ended_tokens"
    """The app's access tokens end now, before the app expects it."""
    ENDED_FAMILIES = "ended_families"
    """Everything issued to the app here is revoked, as after the reuse of a refresh token."""
    SWITCH = "switch"
    QUOTA = "quota"
    KEYS = "keys"
    """The hospital signs with another key from now on."""
    UNAVAILABLE = "unavailable"
    SLOW = "slow"
    SHORT_PAGES = "short_pages"
    CONFLICT = "conflict"
    """The first update of each record finds that somebody else changed it."""
    OPTIONAL = "optional"
    """New tokens have none of the version's optional scopes."""
    LOST_ANSWER = "lost_answer"
    """The answer to the first write is lost, though it was carried out."""


UPSTREAM = frozenset({Fault.UNAVAILABLE, Fault.SLOW, Fault.SHORT_PAGES, Fault.CONFLICT, Fault.LOST_ANSWER})
"""Faults of the sandbox's own FHIR server."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A fault of a sandbox hospital's FHIR server, until a moment, only for the requests of a run."""

    run: str
    tenant: TenantId
    fault: Fault
    until: datetime


@dataclass(frozen=True, slots=True)
class Row:
    """One audit record of a run.

    ``name``: the interaction of a request, or the action of an event. ``asked``: a request's path and query; ``facts``: an event's.
    ``place`` and ``hash``: the position of the record and its link in the chain.
    """

    at: datetime
    name: str
    request: bool
    outcome: str
    reason: str = ""
    status: int = 0
    type: str = ""
    asked: str = ""
    rule: str = ""
    latency_ms: int = 0
    removed: int = 0
    launch: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """The conclusion about a scenario in a sentence, and what to do about it; empty if the scenario was met."""

    scenario: str
    outcome: Outcome
    sentence: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a run is made. ``own``: at the vendor's own snapshot, where it runs the EHR and may change charts; None if unknown.

    For a snapshot also when it was last reset, and how many records were changed since; None if unknown.
    """

    own: bool | None = None
    reset_at: datetime | None = None
    changed: int | None = None


@dataclass(frozen=True, slots=True)
class RunGround:
    """Where a run was made: at its beginning and, once it is judged, at its end."""

    own: bool | None
    reset_at: datetime | None = None
    changed_before: int | None = None
    changed_at_end: int | None = None
    reset_meanwhile: bool = False


@dataclass(frozen=True, slots=True)
class RunOrder:
    """A run to open: a version's client at a sandbox hospital. ``further``: scenarios beyond those that its entries require."""

    client: ClientId
    tenant: TenantId
    further: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One run.

    ``scenarios``: those that the policy's entries require, with their titles. ``doing``: the scenario in progress, and what must be
    undone at its end. ``result``: the signed result, empty until then; ``rows``: the records behind it, as canonical JSON.
    """

    id: RunId
    app: AppId
    vendor: VendorId
    version: VersionId
    label: str
    client: ClientId
    tenant: TenantId
    policy_version: int
    tier: str
    scenarios: Mapping[str, str]
    opened_by: str
    opened_at: datetime
    expires_at: datetime
    state: State = State.OPEN
    doing: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    rows: str = ""
    kid: str = ""
    signature: str = ""
    ended_at: datetime | None = None
    ground: Mapping[str, Any] = field(default_factory=dict)
    """Where it is made, as of its opening (``Ground``)."""

    @property
    def scenario(self) -> str:
        """Return the scenario in progress; empty if none is."""
        return str(self.doing.get("scenario", ""))


@dataclass(frozen=True, slots=True)
class Records:
    """The audit records of a run. ``faults``: why they are no evidence, in sentences."""

    rows: tuple[Row, ...]
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The last result of a version, for the reviewer: the scenarios that it shows.

    ``backend``: the app had only backend services, so people and charts were not tried. ``own``: made at the vendor's own snapshot; None if unknown.
    """

    run: str
    at: datetime
    state: str
    policy_version: int
    scenarios: tuple[str, ...]
    digest: str
    backend: bool = False
    own: bool | None = None


# --- traces and contracts ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """A kind of call in a trace, and how often it was made.

    ``scopes``: what permitted it, reduced to its type and letter. ``needs``: the least scopes for it and its included records.
    """

    interaction: str
    type: str
    scopes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    workflow: str = ""
    number: int = 1


@dataclass(frozen=True, slots=True)
class Proposed:
    """A proposed scope with the kinds of calls that need it; a launch, identity or session scope with the number of launches."""

    scope: str
    calls: tuple[Call, ...] = ()
    launches: int = 0


@dataclass(frozen=True, slots=True)
class Proposal:
    """The least scopes that permit a trace. ``left_out``: scopes of the client that the trace does not need; ``whole``: the whole trace was read."""

    client: ClientId
    version: VersionId
    scopes: tuple[Proposed, ...]
    left_out: tuple[str, ...]
    requests: int
    whole: bool = True

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(each.scope for each in self.scopes)


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape of calls of a certified version, the same for every patient and value. ``number``: how often in the run."""

    interaction: str
    type: str
    scopes: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    workflow: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class RunContract:
    """The certified shapes of calls: those of a run, bound to the submission."""

    certification: str
    app: AppId
    version: VersionId
    submission: str
    submitted: str
    """The digest of the submission."""
    run: str
    result: str
    """The digest of the signed result of the run."""
    shapes: tuple[Shape, ...]
    made_at: datetime
