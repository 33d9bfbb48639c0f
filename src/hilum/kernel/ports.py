"""What the world must provide: time and names."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The time. Tests hand in one they can move."""

    def now(self) -> datetime:
        """Tell the time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; for ages and latencies only."""
        ...


class Ids(Protocol):
    """New names and secrets."""

    def new(self, prefix: str) -> str:
        """Make ``<prefix>_<26 time-ordered letters and digits>``."""
        ...

    def secret(self, size: int = 32) -> str:
        """Make ``size`` random bytes as unpadded base64url: 43 characters for 32 bytes."""
        ...
