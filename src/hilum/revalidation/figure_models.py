"""Figures of what is certified, with the rows behind them."""

from dataclasses import dataclass
from datetime import datetime

from hilum.kernel.ids import VendorId

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
class Units:
    """Units of scopes (a type and a letter) that hospitals grant, and those of them that nobody used for 90 days."""

    granted: int
    unused: int


@dataclass(frozen=True, slots=True)
class Friction:
    """How a vendor began: when it signed up, got its first token in a sandbox, and read something; and its refused tries before that token."""

    vendor: VendorId
    signed_up_at: datetime
    launched_at: datetime | None = None
    read_at: datetime | None = None
    tries: int = 0
    looked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OverRequest:
    """K5 in a tier: of the submissions of the period those with a scope beyond the declared workflows, and units that are granted and unused now.

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
class FrictionFigure:
    """K11 of the vendors that signed up in the period: how many came how far, and the medians of the times in between, in minutes.

    ``tries``: refused authorizations before the first success, of those that had one; ``median_tries``: their median. ``rows``: the vendors
    that came least far, the newest first.
    """

    signed_up: int
    launched: int
    read: int
    minutes_to_launch: int | None
    minutes_to_read: int | None
    tries: int
    median_tries: int | None
    rows: tuple[str, ...]

    @property
    def lost_before_launch(self) -> int:
        """How many have no token yet."""
        return self.signed_up - self.launched

    @property
    def lost_before_read(self) -> int:
        """How many have a token and read nothing yet."""
        return self.launched - self.read


@dataclass(frozen=True, slots=True)
class Figures:
    """K5, K11, K14 and K17 over the last ``days``, as of a moment."""

    days: int
    at: datetime
    currency: tuple[Share, ...]
    exceptions: ExceptionsFigure
    over_requests: OverRequests
    friction: FrictionFigure
