"""Figures about certified apps, with the rows behind them."""

from dataclasses import dataclass
from datetime import datetime

ROWS_SHOWN = 100
"""How many rows a figure lists; it also has the total."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share in a tier. ``rows``: the ids of those that are not current (K17), at most ROWS_SHOWN."""

    tier: str
    of: int
    count: int
    rows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExceptionsFigure:
    """K14: open exceptions and active apps; exceptions granted and ended within the period; the median age of open ones in days."""

    open: int
    active_apps: int
    granted: int
    over: int
    median_age_days: int | None
    rows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Units:
    """Units of scopes (a type and a letter) that hospitals grant, and those not used for 90 days."""

    granted: int
    unused: int


@dataclass(frozen=True, slots=True)
class OverRequest:
    """K5 in a tier: submissions of the period, those with a scope beyond the declared workflows, and units granted and unused now.

    ``rows``: such submissions; ``apps``: those with the most unused units; at most ROWS_SHOWN each.
    """

    tier: str
    submissions: int
    beyond: int
    granted: int
    unused: int


@dataclass(frozen=True, slots=True)
class OverRequests:
    """K5, by tier. ``rows``: submissions with a scope beyond, the newest first; ``apps``: those with the most unused units."""

    tiers: tuple[OverRequest, ...]
    rows: tuple[str, ...]
    apps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """K5, K14 and K17 over the last ``days``, as of a moment."""

    days: int
    at: datetime
    currency: tuple[Share, ...]
    exceptions: ExceptionsFigure
    over_requests: OverRequests
