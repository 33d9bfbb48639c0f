"""The limit on failed client authentications, per client and address, so that nobody can lock out another caller (C57).

The counts are bounded and live in the process. As at sign-in, an IPv6 address counts by its /64, which one subscriber controls.
"""

from threading import Lock

from cachetools import LRUCache

from hilum.foundation.kernel.ports import Clock
from hilum.foundation.standards.networks import network_of
from hilum.foundation.standards.strangers import WINDOW_S, Sources, is_over

FAILURES_BOUND = 30
"""After this many consecutive failures within the window, the pair must wait until the window ends."""
PAIRS_BOUND = 10_000
"""Pairs of client and address that are counted at a time."""


class Failures:
    """Counts failures of each pair of client and address since its last success.

    The least recently used pairs are evicted first. Evicting a pair takes more requests than an attacker gains by it, and secrets have 256
    random bits in any case.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pairs: LRUCache[tuple[str, str], tuple[float, int]] = LRUCache(PAIRS_BOUND)
        self._sources = Sources()
        self._lock = Lock()

    def wait_s(self, client: str, source: str) -> float:
        """Return the seconds for which the pair's requests are still refused; 0 if they are not."""
        with self._lock:
            began, count = self._pairs.get((client, network_of(source)), (0.0, 0))
        remaining = began + WINDOW_S - self._clock.monotonic()
        return max(0.0, remaining) if count >= FAILURES_BOUND else 0.0

    def failed(self, client: str, source: str) -> None:
        """Count a failure. The window begins with the first one."""
        now, network = self._clock.monotonic(), network_of(source)
        with self._lock:
            began, count = self._pairs.get((client, network), (now, 0))
            self._pairs[client, network] = (now, 1) if is_over(began, now) else (began, count + 1)
            self._sources.refused(source, now)

    def is_recorded(self, source: str) -> bool:
        """Check whether the next refusal for this address gets its own record, rather than being counted."""
        with self._lock:
            return self._sources.is_recorded(source, self._clock.monotonic())

    def succeeded(self, client: str, source: str) -> None:
        """Reset the count of the pair."""
        with self._lock:
            self._pairs.pop((client, network_of(source)), None)
