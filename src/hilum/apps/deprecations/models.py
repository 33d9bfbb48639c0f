"""Stages before the end of a scope product, and the walks that send notices."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from hilum.foundation.kernel.pages import PAGE_BOUND
from hilum.policy.matrix.models import ScopeProduct

PLACES_AT_ONCE = 10
"""Hospitals or vendors in one transaction of a walk."""
APPS_READ = PAGE_BOUND
"""The most apps of a hospital or vendor that a notice counts; further ones are ignored."""
APPS_NAMED = 3
ENDED_FOR = timedelta(days=30)
"""How long after an end its last notice is still sent, if the job did not run."""
STEPS_BOUND = 5_000
"""The most steps of one run of the job."""


class Effect(StrEnum):
    """How another policy affects an app at a hospital, the worst effect first."""

    STOPPED = "stopped"
    """No scope may be granted to it there any longer."""
    LESS = "less"
    MORE = "more"
    """The policy admits more of what the hospital approved."""
    LIMITS = "limits"
    """The same scopes with other limits: lifetimes, quota or client authentication."""


class Stage(StrEnum):
    ANNOUNCED = "announced"
    IN_60_DAYS = "in_60_days"
    IN_30_DAYS = "in_30_days"
    IN_7_DAYS = "in_7_days"
    ENDED = "ended"


BEFORE = ((Stage.IN_7_DAYS, 7), (Stage.IN_30_DAYS, 30), (Stage.IN_60_DAYS, 60))
"""How many days before the sunset each stage begins, the last stage first."""


class Phase(StrEnum):
    """Where a walk is."""

    HOSPITALS = "hospitals"
    VENDORS = "vendors"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Ending:
    """A scope product that ends, and the stage whose notice is due today."""

    product: ScopeProduct
    stage: Stage


@dataclass(frozen=True, slots=True)
class Walk:
    """The progress of a walk. ``key`` is a digest of the policies in force and the notices due; a walk with another key starts from the beginning."""

    key: str
    phase: Phase = Phase.HOSPITALS
    after: str = ""
