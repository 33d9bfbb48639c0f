"""The containment report of a kill switch: its evidence, its verdict and its signed form."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.controls.switches.models import Switch, Target
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.records.audit.models import PermittedRequest, Window

CONFIRMED_WITHIN = timedelta(minutes=2)
"""How long after a switch its confirmations count."""
CONFIRMATIONS_BOUND = 2_000
"""The most confirmations that are read, of all switches of that time."""
OFFENDERS_BOUND = 100
"""How many requests of a kind a report lists; further ones are counted."""


PREVIEWED_BOUND = 50
"""How many hospitals a preview lists with stand-ins; the others are counted."""


@dataclass(frozen=True, slots=True)
class StandIn:
    """An app that is installed at the same hospital, certified and not stopped, of the category of a stopped one or for one of its workflows."""

    app: AppId
    name: str
    category: str
    workflows: tuple[str, ...]
    """Those that both declare."""


@dataclass(frozen=True, slots=True)
class HospitalPreview:
    """What a stop would end at one hospital, and the possible stand-ins."""

    tenant: TenantId
    launches: int = 0
    encounters: int = 0
    tokens: int = 0
    people: int = 0
    stand_ins: tuple[StandIn, ...] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """The effect of a stop, as of now. ``counted``: whether this kind of target can be counted."""

    target: Target
    counted: bool
    hospitals: tuple[HospitalPreview, ...] = ()
    without_stand_in: tuple[TenantId, ...] = ()
    """The hospitals of those looked at where a stopped app is installed and none could stand in."""


class Containment(StrEnum):
    """Whether a switch stopped its target."""

    CONTAINED = "contained"
    """No answer left to the target after the last worker had confirmed the switch."""
    NOT_CONTAINED = "not_contained"
    """At least one did."""
    NOT_PROVEN = "not_proven"
    """No such answer was found, but evidence is missing."""


class Gap(StrEnum):
    """What is missing for a proof."""

    MODE_STOPS_NO_REQUESTS = "mode_stops_no_requests"
    TARGET_NOT_RECORDED = "target_not_recorded"
    NODES_NOT_RECORDED = "nodes_not_recorded"
    NODE_NOT_CONFIRMED = "node_not_confirmed"
    CONFIRMATIONS_UNREAD = "confirmations_unread"
    ENDED_BEFORE_CONFIRMED = "ended_before_confirmed"
    UNDER_WAY_AT_END = "under_way_at_end"
    JOURNAL_MISSING = "journal_missing"
    INDEX_BEHIND = "index_behind"
    TOO_MANY_RECORDS = "too_many_records"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """When a worker had the switch in its snapshot and refused from then on, by its own clock; ``ms`` after the switch was engaged."""

    node: str
    worker: str
    at: datetime
    ms: float


@dataclass(frozen=True, slots=True)
class Confirmations:
    """Who had to confirm a switch, and who did. ``expected``: workers by node that was live when it was engaged; None if not recorded."""

    expected: Mapping[str, int] | None
    found: tuple[Confirmation, ...]
    all_read: bool = True

    @property
    def last(self) -> datetime | None:
        """When the last worker confirmed; None if none did."""
        return max((each.at for each in self.found), default=None)


@dataclass(frozen=True, slots=True)
class ContainmentVerdict:
    """The verdict. ``passed``: requests answered after the last confirmation; ``kept_back``: in progress then, and not answered."""

    verdict: Containment
    gaps: tuple[Gap, ...] = ()
    passed: tuple[PermittedRequest, ...] = ()
    kept_back: tuple[PermittedRequest, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What is known about what a switch stopped, until ``until``. ``window`` is None if there was nothing to look for."""

    switch: Switch
    until: datetime
    confirmations: Confirmations
    window: Window | None
    judgement: ContainmentVerdict
