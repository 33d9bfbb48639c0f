"""How vendors begin."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from hilum.kernel.ids import VendorId

ROWS_SHOWN = 100
"""Vendors that the figure names; it says how many there are."""
FOLLOW_EVERY = timedelta(hours=1)
"""How often it is followed how vendors begin."""


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
