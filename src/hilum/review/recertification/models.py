"""Findings about certified apps, the escalation, and the nightly round."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import IntEnum, StrEnum

from hilum.apps.registry.models import Certification
from hilum.foundation.kernel.ids import AppId, VendorId
from hilum.foundation.kernel.pages import Sorts
from hilum.policy.matrix.models import (
    AUTOMATION,
    ESCALATION_DAYS,
    FIX_DAYS,
    NO_CRITERIA,
    Automation,
    Criteria,
)
from hilum.review.recertification.figure_models import Units
from hilum.review.submissions.models import Target

BATCH = 20
"""How many apps a batch has."""
AT_ONCE = 48
"""How many addresses are fetched at once."""
RUN_EVERY = timedelta(minutes=1)
ASK_AGAIN = timedelta(minutes=10)
"""The pause between two requested checks of an app, since its addresses may belong to somebody else."""
UNUSED_DAYS = 90
DRIFT_DAYS = 7
"""How many days of calls are compared with the contract: a week after the last such call its finding closes."""
DRIFTS_BOUND = 50
"""The most kinds of calls beyond a contract that are reported for an app."""
RULES_BOUND = 100
"""How many rules that permitted such a kind are kept, to find the hospitals; an app that keeps changing its scopes has any number of them."""
LISTED_BOUND = 40
"""How many scopes a finding lists."""
RECURS_WITHIN = timedelta(days=14)
"""A finding that reappears so soon after it closed keeps its remaining time, so that a fix for one night brings no new deadline."""
FINDINGS_BOUND = 500
"""The most open findings of an app."""
CLOSED_KEPT = timedelta(days=3 * 366)
SORTS = Sorts({"due": "due_at", "opened": "id"})
"""The orders of findings."""
PURGE_BATCH = 500
FIGURE_FOR = timedelta(seconds=30)


class Criterion(StrEnum):
    """An entry's requirement on an app's service, counting only what the app itself causes (C228)."""

    AVAILABILITY = "availability"
    """The share of its calls not refused for an exhausted quota."""
    ERRORS = "errors"
    """The share of its calls that nobody could have answered."""
    LATENCY = "latency"
    """The p95 of its latencies, at hospitals that answer other apps fast enough."""


@dataclass(frozen=True, slots=True)
class Bounced:
    """A proved contact whose last mail was rejected permanently."""

    kind: str
    address: str
    at: datetime


@dataclass(frozen=True, slots=True)
class CriterionResult:
    """The result of a criterion: ``hits`` of ``of`` calls count against the app; None for readers who may not see numbers. ``exceeded``: None if unknown."""

    criterion: Criterion
    limit: int
    hits: int | None
    of: int | None
    exceeded: bool | None

    @property
    def percent(self) -> float | None:
        """Return the percentage of calls that count against the app."""
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
    """It could not be checked once; it becomes a finding if the next check fails too."""
    OPEN = "open"
    CLOSED = "closed"


class Level(IntEnum):
    """The levels of the escalation, from none to the withdrawal of the certification."""

    NONE = 0
    NOTIFY = 1
    WARN = 2
    STOP = 3
    """The listing is hidden and new launches stop; open ones continue."""
    SUSPEND = 4
    WITHDRAW = 5


LEVELS: Mapping[Automation, Level] = {
    Automation.NOTIFY: Level.NOTIFY,
    Automation.WARN: Level.WARN,
    Automation.NO_NEW_LAUNCHES: Level.STOP,
    Automation.SUSPEND: Level.SUSPEND,
}
"""How far the platform climbs by itself, by the entry's setting."""
DAYS: Mapping[Severity, int] = {each: FIX_DAYS[f"fix_days_{each.value}"] for each in Severity}
"""Days to fix a finding if the policy's entry does not say."""


@dataclass(frozen=True, slots=True)
class Concern:
    """What a check found wrong: by which rule, about what.

    ``certain``: it is wrong; else it could not be checked. ``due_at``: the deadline, if it does not follow from the severity.
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
    """Permitted calls that are not in the contract of the run ``run``.

    ``otherwise``: the contract has the call, but by other scopes. ``public``: only a public client made them.

    ``rules``: what permitted them, as counted; ``scopes``: the same, reduced to type and letter. ``tenants``: where they were seen.
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
    """A fault of a certified app, to be fixed before ``due_at`` (None while it is only suspected)."""

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
class Escalation:
    """How far an app has was escalated: its level, and the level that its findings require (``due``), which may wait for a person.

    ``switches``: the kill switches that the escalation engaged. ``suspended``: the escalation suspended the app. ``asked_at``: when somebody requested a check.
    """

    app: AppId
    level: Level = Level.NONE
    due: Level = Level.NONE
    switches: tuple[str, ...] = ()
    suspended: bool = False
    looked_at: datetime | None = None
    asked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Climb:
    """How far the platform takes an app by itself now, and under another policy. ``findings``: how many are overdue."""

    app: AppId
    now: Level
    then: Level
    findings: int


@dataclass(frozen=True, slots=True)
class Round:
    """One pass over all certified apps. ``after``: the last app done; ``total``: how many existed when it began."""

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
    """A certified app to check. ``day``: that of the round, or None if somebody requested the check at ``asked_at``.

    ``unused``: unused scopes. ``drift``: calls beyond the contract of the version that made them. ``service``: the results of its entry's criteria. ``public``: it has a
    public client. ``bounced``: its vendor's contacts that mail does not reach.
    """

    app: AppId
    certification: Certification | None
    targets: tuple[Target, ...] = ()
    unused: tuple[str, ...] = ()
    drift: tuple[Drift, ...] = ()
    service: tuple[CriterionResult, ...] = ()
    public: bool = False
    bounced: tuple[Bounced, ...] = ()
    units: Units | None = None
    """The scopes that hospitals grant it; None if not counted."""
    day: date | None = None
    asked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Followed:
    """The changes of one check to the findings of an app."""

    opened: tuple[Finding, ...] = ()
    suspected: tuple[Finding, ...] = ()
    kept: tuple[Finding, ...] = ()
    closed: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Currency:
    """K17: how many published apps have a valid certificate and no overdue finding."""

    published: int
    current: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Limits:
    """An entry's rules for findings: days to fix by severity, how far the platform climbs by itself, and the days between levels."""

    days: Mapping[Severity, int] = field(default_factory=lambda: DAYS)
    automatic: Level = LEVELS[AUTOMATION]
    suspend_days: int = ESCALATION_DAYS["suspend_days"]
    withdraw_days: int = ESCALATION_DAYS["withdraw_days"]
    service: Criteria = NO_CRITERIA
