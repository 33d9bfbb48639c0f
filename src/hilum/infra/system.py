"""The machine's clock and randomness. Imported by app and cli only; everyone else is handed them."""

import base64
import secrets
import time
from datetime import UTC, datetime

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


class SystemClock:
    """The real time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class SystemIds:
    """Time-ordered ids (48 bits of milliseconds, 80 random bits) and 256-bit secrets from the operating system."""

    def new(self, prefix: str) -> str:
        value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
        return prefix + "_" + "".join(_CROCKFORD[(value >> shift) & 31] for shift in range(125, -1, -5))

    def secret(self, size: int = 32) -> str:
        return base64.urlsafe_b64encode(secrets.token_bytes(size)).rstrip(b"=").decode()
