"""Certification runs, their scenarios, and what is recorded of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from hilum.kernel.ids import AppId, ClientId, RunId, TenantId, VendorId, VersionId

RUN_LIFE = timedelta(hours=4)
"""How long a run stays open."""
SCENARIO_LIFE = timedelta(minutes=3)
"""How long a fault lasts that nobody ends."""
RESULT_LIFE = timedelta(days=90)
"""How old a result may be when a version is certified by it (C232)."""
RUNS_A_DAY = 20
"""Runs that may be opened for an app within a day."""
FINISHES_A_DAY = 10
"""How often it may be tried to have one run judged."""
ROWS_BOUND = 5_000
"""Records of one run that are judged. Of a run with more, nothing is."""
EVENTS_PAGES = 25
"""Pages of events that are read of one run."""
KEPT = timedelta(days=3 * 366)
"""How long a run is kept that passed; one that did not is kept as long as a draft."""
FAILED_KEPT = timedelta(days=180)
PURGE_BATCH = 50
SCOPES_BOUND = 200
SHORT_LIFE = timedelta(seconds=5)
"""How long access tokens live that are issued in a scenario with short ones."""
QUOTA_RATE_PER_S, QUOTA_BURST = 0.5, 2
"""The quota in the scenario about it: with it, an app that is refused is asked to wait two seconds."""
QUOTA_WAIT = timedelta(seconds=2)
SLOW = timedelta(seconds=2)
"""From which latency an answer counts as slow. The fault makes answers take three seconds."""
EVERY = "*"
"""Instead of names: every scenario of the rule book."""
WATCHED = 100
"""Records that are shown of a run while it goes on."""
TRACE_DAYS = (1, 7, 30)
"""How far back scopes are proposed from what an app does in the sandbox outside of runs."""
TRACE_BOUND = 2_000
"""Requests outside of runs that one proposal is made from, the newest."""
CATEGORIES_BOUND = 4
"""Categories of one type that are proposed one by one; with more, the whole type is."""
PROBES_BATCH = 8
PROBES_A_DAY = 50
"""Requests to delete that runs send for a vendor within a day."""
SHAPES_BOUND = 1_000
"""Shapes of calls that a contract keeps."""


class State(StrEnum):
    """Of a run."""

    OPEN = "open"
    PASSED = "passed"
    FAILED = "failed"
    """The app did not behave in a scenario."""
    INCOMPLETE = "incomplete"
    """Nothing went wrong, but not every scenario was shown."""
    ABANDONED = "abandoned"
    """Given up by its vendor, or never finished."""


class Outcome(StrEnum):
    """What was concluded about a scenario."""

    MET = "met"
    NOT_MET = "not_met"
    INCOMPLETE = "incomplete"
    """The records do not show it. It never counts as met."""


class Fault(StrEnum):
    """How the situation of a scenario is made."""

    NONE = "none"
    """By the developer, in the EHR simulator or as the person; the scenario says how."""
    SHORT_TOKENS = "short_tokens"
    """Access tokens that are issued from now on live five seconds."""
    ENDED_TOKENS = "ended_tokens"
    """The app's access tokens end now, before the app expects it."""
    ENDED_FAMILIES = "ended_families"
    """Everything that was issued to the app here is revoked, as after a refresh token that was used twice."""
    SWITCH = "switch"
    QUOTA = "quota"
    KEYS = "keys"
    """The hospital signs with another key from now on."""
    UNAVAILABLE = "unavailable"
    SLOW = "slow"
    SHORT_PAGES = "short_pages"
    CONFLICT = "conflict"
    """The first change of each record finds that somebody else changed it."""
    OPTIONAL = "optional"
    """What is issued from now on has no scope that the version says it can do without."""
    DELETION = "deletion"
    """The jobs process sends a request to delete to the app's webhook, and the same with a wrong signature."""
    LOST_ANSWER = "lost_answer"
    """The answer to the first write is lost, though it was carried out."""


UPSTREAM = frozenset({Fault.UNAVAILABLE, Fault.SLOW, Fault.SHORT_PAGES, Fault.CONFLICT, Fault.LOST_ANSWER})
"""Faults of the sandbox's own FHIR server."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A fault of a sandbox hospital's FHIR server, until a moment, for what is asked in a run and for nothing else."""

    run: str
    tenant: TenantId
    fault: Fault
    until: datetime


@dataclass(frozen=True, slots=True)
class Row:
    """What the audit has of one moment of a run. ``name``: the interaction of a request, or the action of an event.

    ``asked``: of a request, its path and query; ``facts``: of an event. ``place`` and ``hash``: which record it is, and its link in the chain.
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
    """What was concluded about a scenario, in a sentence, and what to do about it; empty if it was met."""

    scenario: str
    outcome: Outcome
    sentence: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a run is made. ``own``: at a snapshot of the vendor's own, whose EHR it is and whose charts it may change; None: not known.

    Of a snapshot: when it was reset last, and how many of its records were changed since then; None: not known.
    """

    own: bool | None = None
    reset_at: datetime | None = None
    changed: int | None = None


@dataclass(frozen=True, slots=True)
class RunGround:
    """Where a run was made, as it was when the run began and, once it was judged, at its end."""

    own: bool | None
    reset_at: datetime | None = None
    changed_before: int | None = None
    changed_at_end: int | None = None
    reset_meanwhile: bool = False


@dataclass(frozen=True, slots=True)
class RunOrder:
    """A run to open: the client of a version, at a sandbox hospital. ``further``: scenarios beyond those that its cells require."""

    client: ClientId
    tenant: TenantId
    further: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One run. ``scenarios``: those that the rule book's cells require, with their titles.

    ``doing``: the scenario that is in progress, and what must be undone at its end. ``result``: what was signed, empty until then; ``rows``:
    the records that it was judged by, as canonical JSON.
    """

    id: RunId
    app: AppId
    vendor: VendorId
    version: VersionId
    label: str
    client: ClientId
    tenant: TenantId
    rule_book: int
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
    """Where it is made, as it was when it was opened (``Ground``)."""

    @property
    def sending(self) -> bool:
        """Whether the platform has still to send what the scenario is about."""
        kept = self.doing.get("undo", {})
        return bool(kept.get("probe")) and not kept.get("sent")

    @property
    def scenario(self) -> str:
        """The scenario that is in progress; empty if none is."""
        return str(self.doing.get("scenario", ""))


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a run as the audit has them. ``faults``: why they are no evidence, in sentences."""

    rows: tuple[Row, ...]
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """The last result of a version, for who certifies it: whether it is as it was signed, and which scenarios it shows.

    ``backend``: the app had backend services alone, so that it shows nothing of people and charts. ``stores_nothing``: nobody asked it to
    delete anything, because its vendor stated then that it stores nothing (C227). ``own``: it was made at a snapshot of the vendor's own; None:
    that is not known.
    """

    run: str
    at: datetime
    state: str
    rule_book: int
    scenarios: tuple[str, ...]
    digest: str
    genuine: bool
    backend: bool = False
    stores_nothing: bool = False
    own: bool | None = None


# --- requests to delete that a run sends ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Probe:
    """A request to delete that is sent to an app's webhook in a run: as it is, and with a wrong signature. ``secrets``: the right ones, and a wrong one."""

    id: str
    run: str
    url: str
    body: bytes
    secrets: tuple[str, ...]
    wrong: str


# --- traces and contracts ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """A kind of call in a trace, and how often it was made.

    ``scopes``: what permitted it, cut to its type and letter. ``needs``: the least that would have permitted it and what it brought along.
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
    """A scope that is proposed, with the kinds of calls that need it; one of launch, identity or session with the number of launches."""

    scope: str
    calls: tuple[Call, ...] = ()
    launches: int = 0


@dataclass(frozen=True, slots=True)
class Proposal:
    """The least scopes that permit a trace. ``left_out``: what the client asks for and the trace does not need; ``whole``: all of it was read."""

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
    """A shape of calls that a certified version showed: the same for every patient and value. ``number``: how often, in the run."""

    interaction: str
    type: str
    scopes: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    workflow: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class ScenarioShown:
    """A scenario of a run that was certified, and what was concluded."""

    title: str
    outcome: str


@dataclass(frozen=True, slots=True)
class CertifiedEvidence:
    """The run that a certification rests on, for who verifies it. ``result``: the digest of what was signed. ``genuine``: it is as it was signed."""

    certification: str
    run: str
    ended_at: datetime
    scenarios: tuple[ScenarioShown, ...]
    result: str
    kid: str
    signature: str
    genuine: bool


@dataclass(frozen=True, slots=True)
class RunContract:
    """The shapes of calls that were certified: those of a run, bound to what was submitted. ``genuine``: it is as it was signed."""

    certification: str
    app: AppId
    version: VersionId
    submission: str
    submitted: str
    """The digest of what was submitted."""
    run: str
    result: str
    """The digest of the signed result of the run."""
    shapes: tuple[Shape, ...]
    made_at: datetime
    kid: str = ""
    signature: str = ""
    genuine: bool = False
