"""Findings about certified apps, the ladder, and the round in which they are found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import IntEnum, StrEnum

from hilum.kernel.ids import AppId, VendorId
from hilum.kernel.pages import Sorts
from hilum.policies.models import AUTOMATION, FIX_DAYS, LADDER_DAYS, NO_CRITERIA, Automation, Criteria
from hilum.registry.models import Certification
from hilum.revalidation.figure_models import Units
from hilum.review.models import Target

BATCH = 20
"""Apps that are looked at together."""
AT_ONCE = 48
"""Addresses that are looked at together."""
RUN_EVERY = timedelta(minutes=1)
ASK_AGAIN = timedelta(minutes=10)
"""How long after one asked look at an app another one may be asked for: its addresses may be a stranger's."""
UNUSED_DAYS = 90
DRIFT_DAYS = 7
"""How far back calls are compared with the contract: a week after the last one, its finding is fixed."""
DRIFTS_BOUND = 50
"""Kinds of calls beyond a contract that are found of one app."""
RULES_BOUND = 100
"""Ways in which one such kind was permitted that are remembered, to find out where; an app that asks for ever other scopes has any number."""
LISTED_BOUND = 40
"""Scopes that a finding lists."""
RECURS_WITHIN = timedelta(days=14)
"""How long after a finding was closed the same one has what was left of its time: who fixes it for a night has no new deadline each time."""
FINDINGS_BOUND = 500
"""Open findings of one app."""
CLOSED_KEPT = timedelta(days=3 * 366)
SORTS = Sorts({"due": "due_at", "opened": "id"})
"""The orders of findings."""
PURGE_BATCH = 500
FIGURE_FOR = timedelta(seconds=30)


class Criterion(StrEnum):
    """What a cell asks of an app's service, of what the app causes itself (C228)."""

    AVAILABILITY = "availability"
    """How many of its calls are not turned away because it used up its quota."""
    ERRORS = "errors"
    """How many of its calls nobody could have answered."""
    LATENCY = "latency"
    """What 95 of 100 answers take, at hospitals that answer other apps fast enough."""


@dataclass(frozen=True, slots=True)
class Bounced:
    """A proved contact to which the last mail was refused for good."""

    kind: str
    address: str
    at: datetime


@dataclass(frozen=True, slots=True)
class CriterionResult:
    """How an app stands by a criterion: ``hits`` of ``of`` calls count against it, None for who may not see numbers. ``exceeded``: None if that is not known."""

    criterion: Criterion
    limit: int
    hits: int | None
    of: int | None
    exceeded: bool | None

    @property
    def percent(self) -> float | None:
        """The share of the calls that count against it."""
        if self.hits is None or self.of is None:
            return None
        return round(100 * self.hits / self.of, 1) if self.of else 0.0


class Severity(StrEnum):
    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class State(StrEnum):
    """Of a finding."""

    SUSPECTED = "suspected"
    """It could not be seen once; it becomes a finding if the next look cannot see it either."""
    OPEN = "open"
    CLOSED = "closed"


class Rung(IntEnum):
    """Of the ladder, from nothing to the withdrawal of what is certified."""

    NONE = 0
    NOTIFY = 1
    WARN = 2
    STOP = 3
    """The listing is hidden and nothing new is launched; what is open goes on."""
    SUSPEND = 4
    WITHDRAW = 5


RUNGS: Mapping[Automation, Rung] = {
    Automation.NOTIFY: Rung.NOTIFY,
    Automation.WARN: Rung.WARN,
    Automation.NO_NEW_LAUNCHES: Rung.STOP,
    Automation.SUSPEND: Rung.SUSPEND,
}
"""How far the platform climbs by itself, as a cell of the rule book says it."""
DAYS: Mapping[Severity, int] = {each: FIX_DAYS[f"fix_days_{each.value}"] for each in Severity}
"""Days within which a finding is fixed, where the cell of the rule book says nothing."""


@dataclass(frozen=True, slots=True)
class Concern:
    """What one look found wrong: by which rule, about what. ``certain``: it was seen to be wrong; else it could not be seen.

    ``due_at``: before when it is to be fixed, if not by its severity.
    """

    rule: str
    about: str
    severity: Severity
    certain: bool
    evidence: str
    reproduction: str
    fix: str
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Drift:
    """Calls that were permitted and that the contract does not have, which is of the run ``run``. ``otherwise``: it has the call, but by other scopes. ``public``: only a public client made them.

    ``rules``: what permitted them, as counted; ``scopes``: the same, cut to type and letter. ``tenants``: where they were seen.
    """

    interaction: str
    type: str
    severity: Severity
    last: datetime
    rules: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    otherwise: bool = False
    run: str = ""
    public: bool = False
    tenants: tuple[str, ...] = ()

    @property
    def about(self) -> str:
        return f"{self.interaction} {self.type}"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a certified app that is to be fixed before ``due_at`` (None while it is only suspected)."""

    id: str
    app: AppId
    vendor: VendorId
    certification: str
    rule: str
    about: str
    severity: Severity
    state: State
    evidence: str
    reproduction: str
    fix: str
    opened_at: datetime
    seen_at: datetime
    due_at: datetime | None = None
    closed_at: datetime | None = None

    def is_overdue(self, now: datetime) -> bool:
        return self.state is State.OPEN and self.due_at is not None and now >= self.due_at


@dataclass(frozen=True, slots=True)
class Standing:
    """How far an app has climbed, and how far its findings say (``due``): what is beyond waits for a person.

    ``switches``: the kill switches that the ladder engaged. ``suspended``: it suspended the app. ``asked_at``: somebody asked for a look.
    """

    app: AppId
    rung: Rung = Rung.NONE
    due: Rung = Rung.NONE
    switches: tuple[str, ...] = ()
    suspended: bool = False
    looked_at: datetime | None = None
    asked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Climb:
    """How far the platform goes by itself with an app now, and how far it would under another rule book. ``findings``: how many are overdue."""

    app: AppId
    now: Rung
    then: Rung
    findings: int


@dataclass(frozen=True, slots=True)
class Round:
    """One pass over all certified apps. ``after``: the last app that was judged; ``total``: how many there were when it began."""

    day: date | None = None
    after: str = ""
    done: int = 0
    total: int = 0
    began_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def is_over(self) -> bool:
        return self.day is None or self.ended_at is not None


@dataclass(frozen=True, slots=True)
class Subject:
    """A certified app to look at. ``day``: of the round, or None if somebody asked at ``asked_at``. ``unused``: scopes without a use.

    ``drift``: calls beyond the contract of the version that made them. ``service``: how it stands by what its cell asks of its service.
    ``public``: it has a public client. ``bounced``: contacts of its vendor that mail does not reach. ``forged``: what is wrong with its contracts, by certification.
    """

    app: AppId
    certification: Certification | None
    targets: tuple[Target, ...] = ()
    unused: tuple[str, ...] = ()
    drift: tuple[Drift, ...] = ()
    service: tuple[CriterionResult, ...] = ()
    public: bool = False
    bounced: tuple[Bounced, ...] = ()
    forged: Mapping[str, str] = field(default_factory=dict)
    units: Units | None = None
    """Of scopes that hospitals grant it; None: not counted."""
    day: date | None = None
    asked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Followed:
    """What one look changes about the findings of an app."""

    opened: tuple[Finding, ...] = ()
    suspected: tuple[Finding, ...] = ()
    kept: tuple[Finding, ...] = ()
    closed: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Currency:
    """K17: of the published apps, how many have a valid certificate and no overdue finding."""

    published: int
    current: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Limits:
    """What a cell says of findings: days to fix by severity, how far the platform climbs by itself, and after which days what else is due."""

    days: Mapping[Severity, int] = field(default_factory=lambda: DAYS)
    automatic: Rung = RUNGS[AUTOMATION]
    suspend_days: int = LADDER_DAYS["suspend_days"]
    withdraw_days: int = LADDER_DAYS["withdraw_days"]
    service: Criteria = NO_CRITERIA
