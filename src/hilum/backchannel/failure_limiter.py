"""Failed client authentications slow one client at one address, and nobody else (C57). In the process, bounded.

As at sign-in, an IPv6 address counts by its /64: one subscriber holds all of it.
"""

from threading import Lock

from cachetools import LRUCache

from hilum.kernel.ports import Clock
from hilum.standards.networks import network_of
from hilum.standards.strangers import WINDOW_S, Sources, is_over

FAILURES_BOUND = 30
"""So many failures in a row within the window, and the pair waits until the window is over."""
PAIRS_BOUND = 10_000


class Failures:
    """Counts failures of each pair of client and address since its last success.

    Forgetting the oldest pairs first costs an attacker more requests than the limit saves; secrets are 256 random bits in any case.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pairs: LRUCache[tuple[str, str], tuple[float, int]] = LRUCache(PAIRS_BOUND)
        self._sources = Sources()
        self._lock = Lock()

    def wait_s(self, client: str, source: str) -> float:
        """Tell how long the pair must wait before it is listened to again; 0 for now."""
        with self._lock:
            began, count = self._pairs.get((client, network_of(source)), (0.0, 0))
        over = began + WINDOW_S - self._clock.monotonic()
        return max(0.0, over) if count >= FAILURES_BOUND else 0.0

    def failed(self, client: str, source: str) -> None:
        """Count a failure; a window begins with its first."""
        now, network = self._clock.monotonic(), network_of(source)
        with self._lock:
            began, count = self._pairs.get((client, network), (now, 0))
            self._pairs[client, network] = (now, 1) if is_over(began, now) else (began, count + 1)
            self._sources.refused(source, now)

    def is_recorded(self, source: str) -> bool:
        """Check whether one more refusal of this address is worth a record of its own."""
        with self._lock:
            return self._sources.is_recorded(source, self._clock.monotonic())

    def succeeded(self, client: str, source: str) -> None:
        """Begin anew."""
        with self._lock:
            self._pairs.pop((client, network_of(source)), None)
