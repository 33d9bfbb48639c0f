"""Values of monitoring: an app's service, and alerts about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated

from hilum.foundation.actions.models import ID, Arg, OneTenant
from hilum.foundation.kernel.ids import AppId, TenantId, VendorId
from hilum.policy.matrix.models import AlertThresholds
from hilum.records.audit.models import Served

DAYS_BOUND = 90
HOSPITALS_SHOWN = 100
"""How many hospitals a view lists, the busiest first; its total counts all."""
ALERTS_EVERY = timedelta(minutes=5)
WINDOW = timedelta(hours=1)
"""The period of calls that is judged."""
CALLS_LEAST = 50
"""With fewer calls in the window an app is not judged."""
HITS_LEAST = 10
"""Fewer bad calls than this exceed no limit, whatever their share."""
QUIET = timedelta(hours=24)
"""An alert closes after so long without enough calls."""
MAILED_AGAIN = timedelta(hours=24)
"""An alert that opens again so soon after a mail about it is not mailed again."""
BATCH = 200
"""How many pairs of app and hospital one transaction judges."""
PURGE_BATCH = 500
CLOSED_KEPT = timedelta(days=400)
NAMED = 3
"""How many apps or hospitals a mail names."""
NAME_SHOWN = 80
"""How many characters of each name a mail shows if it lists several."""


@dataclass(frozen=True, slots=True)
class ServiceView:
    """How the calls of an app ended over some days, at one hospital or, with ``tenant`` empty, at all."""

    app: AppId
    days: int
    tenant: str
    total: Served
    by_day: Mapping[date, Served] = field(default_factory=dict)
    by_tenant: Mapping[str, Served] = field(default_factory=dict)


class AlertKind(StrEnum):
    """Which limit of the entry was exceeded."""

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
    """There were too few calls for a day."""
    NOT_WATCHED = "not_watched"
    """The app is no longer certified or installed, or has another vendor."""


class Skip(StrEnum):
    """Why an app at a hospital cannot be judged. None of these opens an alert, or closes one at once."""

    FEW_CALLS = "few_calls"
    NOT_INSTALLED = "not_installed"
    NOT_CERTIFIED = "not_certified"
    NO_ENTRY = "no_entry"
    """The policy in force there does not have the category or tier, or cannot be read."""


@dataclass(frozen=True, slots=True)
class Alert:
    """Calls of an app at a hospital exceed a limit.

    ``figures``: those of the last hour in which they did; ``seen_at``: when that was. ``vendor``: the app's vendor when the alert
    opened. ``why``: why it closed.
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


AlertId = Annotated[str, ID, Arg("The alert.", "alt_01h...", target=True)]


class AlertState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class AlertQuery:
    """Which alerts a list has."""

    tenant: OneTenant = ""
    app: Annotated[str, ID, Arg("Only those about one app.", names="app")] = ""
    state: Annotated[AlertState | None, Arg("Only those in this state.", "open")] = None


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
    """The changes of one judgement to the alerts of an app at a hospital. ``skip``: why it cannot be judged now."""

    opened: tuple[Alert, ...] = ()
    kept: tuple[Alert, ...] = ()
    closed: tuple[Alert, ...] = ()
    skip: Skip | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """The last run over all apps. ``skipped``: how many could not be judged, by reason."""

    at: datetime | None = None
    judged: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    open: int = 0
