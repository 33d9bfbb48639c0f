"""Protocols for what the pure code needs from outside: time, ids and secrets."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """A clock. Tests pass one that they can advance."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back; for ages and latencies only."""
        ...


class Ids(Protocol):
    """A generator of ids and secrets."""

    def new(self, prefix: str) -> str:
        """Return ``<prefix>_<26 time-ordered letters and digits>``."""
        ...

    def secret(self, size: int = 32) -> str:
        """Return ``size`` random bytes as unpadded base64url: 43 characters for 32 bytes."""
        ...
