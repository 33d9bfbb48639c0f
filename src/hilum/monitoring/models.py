"""Values of monitoring: an app's service, and alerts about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum

from hilum.audit.models import Served
from hilum.kernel.ids import AppId, TenantId, VendorId
from hilum.policies.models import AlertThresholds

DAYS_BOUND = 90
HOSPITALS_SHOWN = 100
"""Hospitals that one view lists, the busiest first; its total has all."""
ALERTS_EVERY = timedelta(minutes=5)
WINDOW = timedelta(hours=1)
"""The calls that are judged: those of the last hour."""
CALLS_LEAST = 50
"""With fewer calls in the window nothing is known."""
HITS_LEAST = 10
"""Fewer calls than this that went wrong are no breach, whatever their share."""
QUIET = timedelta(hours=24)
"""An alert about which nothing was known for so long has ended."""
MAILED_AGAIN = timedelta(hours=24)
"""What was mailed so recently about an app at a hospital is not mailed again when it opens again."""
BATCH = 200
"""Apps at hospitals that are judged in one transaction."""
PURGE_BATCH = 500
CLOSED_KEPT = timedelta(days=400)
NAMED = 3
"""Apps or hospitals that one mail names."""
NAME_SHOWN = 80
"""Characters of a name that a mail shows which names several."""


@dataclass(frozen=True, slots=True)
class ServiceView:
    """How the calls of an app ended over some days, at one hospital or at all (``tenant`` empty)."""

    app: AppId
    days: int
    tenant: str
    total: Served
    by_day: Mapping[date, Served] = field(default_factory=dict)
    by_tenant: Mapping[str, Served] = field(default_factory=dict)


class AlertKind(StrEnum):
    """Which limit of the cell was exceeded."""

    REFUSED = "refused"
    """``refused_percent``: the share of calls that were not permitted."""
    FAILED = "failed"
    """``failed_percent``: the share of calls that were mistaken, throttled or failed."""
    SLOW = "slow"
    """``latency_ms_p95``: what 95 of 100 answers may take."""


class CloseReason(StrEnum):
    """Why an alert is over."""

    WITHIN_LIMIT = "over"
    """The calls of the last hour are within the limit."""
    QUIET = "quiet"
    """Too few calls for a day."""
    NOT_WATCHED = "not_watched"
    """The app is not certified or not installed any more, or another vendor's."""


class Skip(StrEnum):
    """Why nothing is known of an app at a hospital. None of these opens or closes an alert at once."""

    FEW_CALLS = "few_calls"
    NOT_INSTALLED = "not_installed"
    NOT_CERTIFIED = "not_certified"
    NO_CELL = "no_cell"
    """The rule book in force there does not have the category or tier, or cannot be read."""


@dataclass(frozen=True, slots=True)
class Alert:
    """That the calls of an app at a hospital exceed a limit. ``figures``: those of the last hour in which they did.

    ``vendor``: whose the app was when it was opened. ``seen_at``: when it was last so. ``why``: why it is over.
    """

    id: str
    app: AppId
    tenant: TenantId
    vendor: VendorId
    kind: AlertKind
    limit: int
    figures: Mapping[str, int]
    opened_at: datetime
    seen_at: datetime
    mailed_at: datetime | None = None
    closed_at: datetime | None = None
    why: CloseReason | None = None


@dataclass(frozen=True, slots=True)
class Watched:
    """An app at a hospital with its limits, or why it has none."""

    app: AppId
    tenant: TenantId
    vendor: VendorId
    limits: AlertThresholds | None
    skip: Skip | None = None


@dataclass(frozen=True, slots=True)
class Followed:
    """What one judgement changes about the alerts of an app at a hospital. ``skip``: nothing is known of it now."""

    opened: tuple[Alert, ...] = ()
    kept: tuple[Alert, ...] = ()
    closed: tuple[Alert, ...] = ()
    skip: Skip | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """The last time that every app was judged. ``skipped``: of how many nothing was known, by why."""

    at: datetime | None = None
    judged: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    open: int = 0
