"""The machine's clock and randomness. Imported by app and cli only; everyone else is handed them."""

import base64
import os
import secrets
import time
from datetime import UTC, datetime
from threading import Lock

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(high + low for high in _CROCKFORD for low in _CROCKFORD)
_SHIFTS = tuple(range(120, -1, -10))
_STOCK = 4_096
_ID_RANDOM = 10


class SystemClock:
    """The real time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class SystemIds:
    """Time-ordered ids (48 bits of milliseconds, 80 random bits) and 256-bit secrets from the operating system.

    Ids are made for every request, so their random bits are drawn in stock; secrets never are.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._stock = b""
        self._at = 0
        os.register_at_fork(after_in_child=self._forget)

    def new(self, prefix: str) -> str:
        with self._lock:
            if self._at >= len(self._stock):
                self._stock, self._at = os.urandom(_STOCK - _STOCK % _ID_RANDOM), 0
            drawn = self._stock[self._at : self._at + _ID_RANDOM]
            self._at += _ID_RANDOM
        value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(drawn, "big")
        return prefix + "_" + "".join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])

    def secret(self, size: int = 32) -> str:
        return base64.urlsafe_b64encode(secrets.token_bytes(size)).rstrip(b"=").decode()

    def _forget(self) -> None:
        self._lock = Lock()
        self._stock, self._at = b"", 0
