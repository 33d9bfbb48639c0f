"""Stages before the end of a scope product, and the walk that sends their notices."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.kernel.ids import TenantId
from hilum.kernel.pages import PAGE_BOUND
from hilum.policies.models import ScopeProduct

PLACES_AT_ONCE = 10
"""Hospitals or vendors that one transaction of the walk looks at."""
APPS_READ = PAGE_BOUND
"""Apps of a hospital or vendor that a notice counts at most; a vendor's further ones are not looked at."""
APPS_NAMED = 3
ENDED_FOR = timedelta(days=30)
"""How long after an end its last notice is still sent, if nothing ran before."""
STEPS_BOUND = 5_000
"""Steps of one run of the job."""


class Effect(StrEnum):
    """What another rule book does to an app at a hospital, the gravest first."""

    STOPPED = "stopped"
    """Nothing is left that it may be granted there."""
    LESS = "less"
    MORE = "more"
    """More is admitted of what the hospital approved."""
    LIMITS = "limits"
    """The same scopes with other limits: lifetimes, quota, how it must authenticate."""


class Stage(StrEnum):
    ANNOUNCED = "announced"
    IN_60_DAYS = "in_60_days"
    IN_30_DAYS = "in_30_days"
    IN_7_DAYS = "in_7_days"
    ENDED = "ended"


BEFORE = ((Stage.IN_7_DAYS, 7), (Stage.IN_30_DAYS, 30), (Stage.IN_60_DAYS, 60))
"""How many days before its sunset a stage begins, the last one first."""


class Phase(StrEnum):
    """Where a walk is."""

    HOSPITALS = "hospitals"
    VENDORS = "vendors"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Ending:
    """A scope product that ends, and the stage of which notice is due today."""

    product: ScopeProduct
    stage: Stage


@dataclass(frozen=True, slots=True)
class Ahead:
    """A version that goes from ring to ring: what it is called, and from which day at the earliest it is in force at a hospital of a later ring.

    ``at``: of the hospitals that a ring names; ``elsewhere``: of all others, None if it reaches no others. ``now``: those of the first ring.
    """

    rollout: str
    version: int
    at: Mapping[TenantId, datetime]
    elsewhere: datetime | None
    now: frozenset[TenantId]

    def since(self, tenant: TenantId) -> datetime | None:
        """Return from which day at the earliest it is in force at a hospital; None where it is already, or never will be."""
        return None if tenant in self.now else self.at.get(tenant, self.elsewhere)


@dataclass(frozen=True, slots=True)
class Walk:
    """How far notice was given. ``key`` is a digest of the rule books in force and of what is due: another one begins anew."""

    key: str
    phase: Phase = Phase.HOSPITALS
    after: str = ""
