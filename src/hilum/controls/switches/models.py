"""Kill switches and quotas: their targets, modes and limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, Strict

from hilum.foundation.kernel.ids import Part
from hilum.foundation.kernel.pages import Sorts

# Two parts, so that a switch never waits for the quotas to be read: as one part, 300,000 overrides delayed a
# switch by 3.7 seconds.
SWITCHES = Part("switches")
"""The part of the facts that holds switches and the ends of full stops; its keys are targets."""
QUOTAS = Part("quotas")
"""The part of the facts that holds quota overrides; its keys are ``<app>/<tenant>``."""
FAILOVERS = Part("failovers")
"""The part of the facts that counts how often a person confirmed a failover that had lost changes; it has no keys."""
# The bound refuses and never forgets (security decision
# 27): cutting a list off would drop a stop without a word.
SWITCHES_BOUND = 10_000
"""Switches in force at a time. At this bound a new one is refused; engaged ones are never dropped."""
REASON_BOUND = 500
KEY_BOUND = 600
"""The longest key is a scope string."""
SWITCH_SORTS = Sorts({"since": "id"})
"""The orders of switches, whose ids are in the order in which they were engaged."""
BUCKETS_BOUND = 100_000
SETTLE_BATCH = 1_000
"""Expired switches that are settled in one transaction."""
RATE_BOUND_PER_S = 100_000.0
RATE_LEAST_PER_S = 0.001
"""A lower rate is almost a stop, for which there are kill switches, and a worker's share of it might round to none."""
BURST_BOUND = 1_000_000
SECONDS_SHOWN = 100
"""Requested releases that are looked at for a second person."""
RELEASE_ASK_LIFE = timedelta(hours=24)
"""How long the first person's request to release a wide switch waits for the second person."""
# Refresh tokens live 180 days, and only as long as they are used.
ENDS_KEPT_FOR = timedelta(days=400)
"""How long the end of a full stop is kept in the facts: longer than any refresh token lives unused."""


class TargetKind(StrEnum):
    """What a switch can stop (security decision 8)."""

    PLATFORM = "platform"
    TENANT = "tenant"
    VENDOR = "vendor"
    APP = "app"
    VERSION = "version"
    PERSON = "person"
    SCOPE = "scope"
    RESOURCE_TYPE = "resource_type"
    APP_TENANT = "app_tenant"
    APP_PERSON = "app_person"


# Engaging any of them takes one person, because waiting costs more than a stop too many; releasing takes two
# (security decision 8).
WIDE = frozenset(
    {
        TargetKind.PLATFORM,
        TargetKind.TENANT,
        TargetKind.VENDOR,
        TargetKind.APP,
        TargetKind.SCOPE,
        TargetKind.RESOURCE_TYPE,
    }
)
"""Releasing one of these needs a second person."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a switch stops. ``key`` is an id; empty for the platform; ``<app>/<tenant>`` or ``<app>/<person>`` for a pair; a scope string."""

    kind: TargetKind
    key: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.key}" if self.key else str(self.kind)


class Mode(StrEnum):
    """What a switch stops. Only a full stop invalidates what was issued before it."""

    OBSERVE = "observe"
    # The softer modes: what was issued before them is not suspected, so nothing stays invalid after them.
    NO_NEW_LAUNCHES = "no_new_launches"
    READ_ONLY = "read_only"
    FULL_STOP = "full_stop"


@dataclass(frozen=True, slots=True)
class EngageOrder:
    target: Target
    mode: Mode
    reason: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Switch:
    """A switch that was engaged; in force while it is neither released nor expired."""

    id: str
    target: Target
    mode: Mode
    reason: str
    engaged_by: str
    engaged_at: datetime
    expires_at: datetime | None = None
    released_by: str = ""
    released_at: datetime | None = None
    release_asked_by: str = ""
    release_asked_at: datetime | None = None
    tenant: str = ""
    """The tenant within which it acts; empty when it acts across tenants."""

    # `now < expires_at`, like every validity here.
    def in_force(self, now: datetime) -> bool:
        return self.released_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class Subject:
    """The parts of a request that switches may target. Unknown parts are empty. ``scopes``: the scopes that the request needs."""

    tenant: str = ""
    vendor: str = ""
    app: str = ""
    version: str = ""
    person: str = ""
    resource_type: str = ""
    scopes: tuple[str, ...] = ()


_UNCOUNTED: frozenset[TargetKind] = frozenset({TargetKind.PLATFORM})


@dataclass(frozen=True, slots=True)
class SwitchIndex:
    """Switches by target: one look-up for each target of a subject.

    ``not_issued_before`` maps a target to the moment of its latest full stop's end (or expiry):
    tokens, refresh tokens, codes and launches issued at or before it stay invalid.
    """

    engaged: Mapping[Target, tuple[Switch, ...]] = field(default_factory=dict)
    not_issued_before: Mapping[Target, datetime] = field(default_factory=dict)
    # Supersets are enough, and cheap to keep: a target that is gone costs one look-up that finds nothing.
    kinds: frozenset[TargetKind] = field(default=_UNCOUNTED, repr=False, compare=False)
    """A superset of the kinds of all targets; other kinds need no look-up."""
    scopes: tuple[Target, ...] = field(default=(), repr=False, compare=False)
    """A superset of the targets that are scopes, which are compared one by one instead of looked up."""

    def __post_init__(self) -> None:
        # Compared by identity: an index that is built from changes passes its own superset, and counting all
        # targets again would make each change as dear as a full read.
        if self.kinds is not _UNCOUNTED:
            return
        targets = dict.fromkeys((*self.engaged, *self.not_issued_before))
        object.__setattr__(self, "kinds", frozenset(target.kind for target in targets))
        object.__setattr__(self, "scopes", tuple(t for t in targets if t.kind is TargetKind.SCOPE))


class ReleaseStep(StrEnum):
    """What the release of a switch by somebody does."""

    RELEASE = "release"
    ASK = "ask"
    ASKED_BY_YOU = "asked_by_you"


Stop = Switch | Target
"""What stops a subject: a switch in force, or the target of a full stop that ended after the subject was issued."""


class QuotaLevel(StrEnum):
    """Who set a quota. The lower of the two applies, so a tenant can only narrow."""

    PLATFORM = "platform"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class Quota:
    """A token bucket: ``burst`` requests at once, ``rate_per_s`` on average."""

    rate_per_s: Annotated[float, Strict(), Field(ge=RATE_LEAST_PER_S, le=RATE_BOUND_PER_S)]
    burst: Annotated[int, Strict(), Field(ge=1, le=BURST_BOUND)]

    def __post_init__(self) -> None:
        # A rate of zero would divide by zero where the wait is computed.
        assert 0 < self.rate_per_s <= RATE_BOUND_PER_S, (
            "a quota has a positive rate and burst within the bounds"
        )
        assert 1 <= self.burst <= BURST_BOUND, "a quota has a positive rate and burst within the bounds"


@dataclass(frozen=True, slots=True)
class QuotaOverride:
    """A quota set for one app at one tenant."""

    app: str
    tenant: str
    level: QuotaLevel
    quota: Quota
    set_by: str
    set_at: datetime

    @property
    def key(self) -> str:
        """Its key for paging."""
        return f"{self.app}~{self.tenant}~{self.level}"


@dataclass(frozen=True, slots=True)
class QuotaLevels:
    """What was set for one app at one tenant, by whom."""

    platform: Quota | None = None
    tenant: Quota | None = None


@dataclass(frozen=True, slots=True)
class QuotaFacts:
    """The overrides by (app, tenant). What they override is the app's quota in the policy."""

    overrides: Mapping[tuple[str, str], QuotaLevels] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ControlFacts:
    switches: SwitchIndex = field(default_factory=SwitchIndex)
    quotas: QuotaFacts = field(default_factory=QuotaFacts)


@dataclass(slots=True)
class QuotaResult:
    """The result of spending tokens. ``retry_after_s`` is 0 when allowed."""

    allowed: bool
    limit: int
    remaining: int
    retry_after_s: float
