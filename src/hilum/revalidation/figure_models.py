"""Figures of what is certified, with the rows behind them."""

from dataclasses import dataclass
from datetime import datetime

ROWS_SHOWN = 100
"""Rows that a figure names; it says how many there are."""


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many, in a tier. ``rows``: the ids of those that are not good (K17), at most ROWS_SHOWN."""

    tier: str
    of: int
    count: int
    rows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExceptionsFigure:
    """K14: exceptions that are open, for how many active apps; granted and over within the period; the median age of open ones, in days."""

    open: int
    active_apps: int
    granted: int
    over: int
    median_age_days: int | None
    rows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """K14 and K17 over the last ``days``, as of a moment."""

    days: int
    at: datetime
    currency: tuple[Share, ...]
    exceptions: ExceptionsFigure
