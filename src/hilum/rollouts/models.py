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
"""Of how many vendors apps must have regressed under a version that allows nothing new, each by its own decisions, before it goes back."""
REFUSED_POINTS = 5
"""By how many points of a hundred the share of refused decisions may rise, unless a plan says otherwise."""
SLOW_POINTS = 10
"""By how many points the share of answers may rise that are slower than 95 of 100 were before."""
LEAST_DECISIONS = 100
"""Below how many decisions nothing is known of a ring, or of an app in it."""
POINTS_BOUND, DECISIONS_BOUND = 50, 1_000_000
BASELINE = timedelta(days=7)
"""How long before a ring began its hospitals are compared with."""
RECENT = timedelta(hours=6)
"""Besides all since a ring began, so much of it is judged alone: a regression is not diluted by good days before it."""
STANDARD_ERRORS = 3
"""How many standard errors a rise must exceed, so that chance alone sends hardly any rollout back."""


@dataclass(frozen=True, slots=True)
class Ring:
    """Hospitals that a version reaches together, and how long it stays there before the next ring. No tenants: everywhere."""

    tenants: tuple[TenantId, ...]
    dwell: timedelta


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as a regression, and how much must be decided before anything is known."""

    refused_points: int = REFUSED_POINTS
    slow_points: int = SLOW_POINTS
    least_decisions: int = LEAST_DECISIONS


@dataclass(frozen=True, slots=True)
class RolloutOrder:
    """An order to roll a version out. ``after``: the number of the last application that whoever orders it knows of."""

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
    """By a person. What it has reached stays."""
    OVERTAKEN = "overtaken"
    """Something else was applied meanwhile."""


UNFINISHED = frozenset({RolloutState.RUNNING, RolloutState.PAUSED})


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout as it was agreed to, signed; its state, signed with each change; and, not signed, why, and what was measured last.

    ``before``: what was in force when it began, which alone it goes back to.
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
    kid: str = ""
    signature: str = ""
    state: RolloutState = RolloutState.RUNNING
    why: str = ""
    measured: Mapping[str, Any] = field(default_factory=dict)
    ended_at: datetime | None = None

    @property
    def narrows(self) -> bool:
        """Whether its version allows nothing that was not allowed before: no second person had to agree."""
        return not self.agreed_by


@dataclass(frozen=True, slots=True)
class Position:
    """When each ring that was reached so far was reached, and the number of the last application. ``overtaken``: by another one."""

    reached: tuple[datetime, ...]
    last: int
    overtaken: bool = False


ByApp = Mapping[str, Traffic]


@dataclass(frozen=True, slots=True)
class RingTraffic:
    """The traffic by app of one ring: now and before, of its hospitals and of those that the rollout has not reached."""

    now: ByApp
    recent: ByApp
    before: ByApp
    others_now: ByApp
    others_before: ByApp


class Finding(StrEnum):
    """What the traffic of a ring says."""

    UNKNOWN = "unknown"
    STEADY = "steady"
    REGRESSED = "regressed"


@dataclass(frozen=True, slots=True)
class Judged:
    """A finding, its reason in words, and the shares it follows from, in percent."""

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
    """What to do with a rollout, why, and what was found of each ring it has reached."""

    step: Step
    why: str
    rings: tuple[Judged, ...] = ()
