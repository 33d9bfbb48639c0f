"""Rollouts: rings, limits, plans, and what was measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from hilum.audit.models import Traffic
from hilum.kernel.ids import TenantId
from hilum.policies.models import CurrentVersions

ROLLOUT_EVERY = timedelta(seconds=30)
RINGS_LEAST, RINGS_BOUND = 2, 10
DWELL_LEAST, DWELL_BOUND = timedelta(hours=1), timedelta(days=21)
VENDORS_LEAST = 2
"""How many vendors must have an app that regressed by its own decisions before a version that allows nothing new goes back."""
REFUSED_POINTS = 5
"""How many percentage points the share of refused decisions may rise by, unless a plan says otherwise."""
SLOW_POINTS = 10
"""How many percentage points the share of answers slower than the former p95 may rise by."""
LEAST_DECISIONS = 100
"""With fewer decisions a ring, or an app in it, is not judged."""
POINTS_BOUND, DECISIONS_BOUND = 50, 1_000_000
BASELINE = timedelta(days=7)
"""The period before a ring began with which its hospitals are compared."""
RECENT = timedelta(hours=6)
"""The newest part of a ring's traffic is also judged alone, so that good days before do not dilute a regression."""
STANDARD_ERRORS = 3
"""How many standard errors a rise must exceed, so that chance alone hardly ever sends a rollout back."""


@dataclass(frozen=True, slots=True)
class Ring:
    """Hospitals that a version reaches together, and how long it stays there before the next ring. No tenants: everywhere."""

    tenants: tuple[TenantId, ...]
    dwell: timedelta


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as a regression, and how many decisions a judgement needs."""

    refused_points: int = REFUSED_POINTS
    slow_points: int = SLOW_POINTS
    least_decisions: int = LEAST_DECISIONS


@dataclass(frozen=True, slots=True)
class RolloutOrder:
    """An order to roll a version out. ``after``: the number of the last application that the person who orders it has seen."""

    version: int
    rings: tuple[Ring, ...]
    after: int
    reason: str
    limits: Limits = field(default_factory=Limits)


class RolloutState(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    """It regressed, and is about to go back."""
    DONE = "done"
    WENT_BACK = "went_back"
    STOPPED = "stopped"
    """Stopped by a person. The rings that it reached keep the version."""
    OVERTAKEN = "overtaken"
    """Something else was applied meanwhile."""


UNFINISHED = frozenset({RolloutState.RUNNING, RolloutState.PAUSED})


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout: its plan, its state, the reason and the last measurements.

    ``before``: the versions in force when it began, the only ones that it goes back to.
    """

    id: str
    version: int
    digest: str
    rings: tuple[Ring, ...]
    limits: Limits
    reason: str
    before: CurrentVersions
    dry_run: str
    asked_by: str
    agreed_by: str
    began_at: datetime
    state: RolloutState = RolloutState.RUNNING
    why: str = ""
    measured: Mapping[str, Any] = field(default_factory=dict)
    ended_at: datetime | None = None

    @property
    def narrows(self) -> bool:
        """Return whether its version allows nothing new, so that no second person had to agree."""
        return not self.agreed_by


@dataclass(frozen=True, slots=True)
class Position:
    """When each ring so far was reached, and the number of the last application. ``overtaken``: another version was applied."""

    reached: tuple[datetime, ...]
    last: int
    overtaken: bool = False


ByApp = Mapping[str, Traffic]


@dataclass(frozen=True, slots=True)
class RingTraffic:
    """The traffic of one ring by app: now and before, at its hospitals and at those not reached yet."""

    now: ByApp
    recent: ByApp
    before: ByApp
    others_now: ByApp
    others_before: ByApp


class Finding(StrEnum):
    """The verdict on the traffic of a ring."""

    UNKNOWN = "unknown"
    STEADY = "steady"
    REGRESSED = "regressed"


@dataclass(frozen=True, slots=True)
class Judged:
    """A finding, its reason in words, and the percentages behind it."""

    finding: Finding
    why: str
    figures: Mapping[str, Any] = field(default_factory=dict)


class Step(StrEnum):
    """What to do with a rollout now."""

    STAY = "stay"
    ADVANCE = "advance"
    FINISH = "finish"
    GO_BACK = "go_back"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a rollout, why, and the finding for each ring that it reached."""

    step: Step
    why: str
    rings: tuple[Judged, ...] = ()
