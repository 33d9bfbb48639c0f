"""A clock that a test moves, and ids that a test can repeat."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from threading import Lock

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


class FakeClock:
    """A clock that does not move until ``advance``."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._seconds = 1_000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._seconds

    def set_forward(self, by: timedelta) -> None:
        """Move the wall clock alone, as who sets a machine's clock."""
        self._now += by

    def advance(self, by: timedelta) -> datetime:
        self._now += by
        self._seconds += by.total_seconds()
        return self._now


class SeededIds:
    """Ids and secrets that are the same in every run of a test."""

    def __init__(self, seed: str = "hilum") -> None:
        self.seed, self.count, self._lock = seed, 0, Lock()

    def _next(self) -> bytes:
        # Verbs run in several threads; two ids must not be equal.
        with self._lock:
            self.count += 1
            return hashlib.sha512(f"{self.seed}:{self.count}".encode()).digest()

    def new(self, prefix: str) -> str:
        value = int.from_bytes(self._next()[:10], "big")
        # The count is the time part of the id, so that ids
        # sort in the order of their creation as real ones do.
        value |= self.count << 80
        return prefix + "_" + "".join(_CROCKFORD[(value >> shift) & 31] for shift in range(125, -1, -5))

    def secret(self, size: int = 32) -> str:
        raw = b"".join(self._next() for _ in range(max(2, -(-size // 64))))
        return base64.urlsafe_b64encode(raw[:size]).rstrip(b"=").decode()
