"""The machine's clock and randomness. Imported by ``server`` and the command line only; other modules get them as parameters."""

import os
import secrets
import time
from datetime import UTC, datetime
from threading import Lock

from hilum.foundation.kernel import base64url

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_OF_BYTE = bytes(ord(_CROCKFORD[byte & 31]) for byte in range(256))
"""Maps a random byte to a random letter; 256 is a multiple of 32, so every letter is equally likely."""
_TIME_SHIFTS = tuple(range(45, -1, -5))
_RANDOM_LETTERS = 16
_BATCH_BYTES = 256 * _RANDOM_LETTERS


class SystemClock:
    """The machine's real time."""

    # The function itself: a request reads this clock eight times.
    monotonic = staticmethod(time.monotonic)

    def now(self) -> datetime:
        return datetime.now(UTC)


class SystemIds:
    """Time-ordered ids (48 bits of milliseconds, 80 random bits) and 256-bit secrets from the operating system.

    Every request needs ids, so their random bits are drawn in batches, one system call for many. Secrets are drawn one by one: unused
    ones never lie in memory.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._letters, self._at = "", 0
        self._ms, self._time = -1, ""
        # A forked child would return the same ids as its parent.
        os.register_at_fork(after_in_child=self._reset)

    def new(self, prefix: str) -> str:
        ms = time.time_ns() // 1_000_000
        with self._lock:
            if self._at >= len(self._letters):
                self._letters, self._at = os.urandom(_BATCH_BYTES).translate(_OF_BYTE).decode(), 0
            drawn = self._letters[self._at : self._at + _RANDOM_LETTERS]
            self._at += _RANDOM_LETTERS
            if ms != self._ms:
                self._ms, self._time = ms, "".join([_CROCKFORD[ms >> shift & 31] for shift in _TIME_SHIFTS])
            return f"{prefix}_{self._time}{drawn}"

    def secret(self, size: int = 32) -> str:
        return base64url.encode(secrets.token_bytes(size))

    def _reset(self) -> None:
        self._lock = Lock()
        self._letters, self._at = "", 0
