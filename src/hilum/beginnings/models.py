"""How vendors begin."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from hilum.kernel.ids import VendorId

ROWS_SHOWN = 100
"""How many vendors the figure lists; it also has the total."""
FOLLOW_EVERY = timedelta(hours=1)
"""How often the job runs."""


@dataclass(frozen=True, slots=True)
class Friction:
    """The first steps of a vendor: when it signed up, got its first token in a sandbox and first read data, and its refused attempts before that token."""

    vendor: VendorId
    signed_up_at: datetime
    launched_at: datetime | None = None
    read_at: datetime | None = None
    tries: int = 0
    looked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FrictionFigure:
    """K11 for the vendors that signed up in the period: how many reached each step, and the median times between steps, in minutes.

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
        """Return how many have no token yet."""
        return self.signed_up - self.launched

    @property
    def lost_before_read(self) -> int:
        """Return how many have a token but have read nothing yet."""
        return self.launched - self.read
