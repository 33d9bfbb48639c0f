"""Failed client authentications slow one client at one address, and nobody else (C57). In the process, bounded.

As at sign-in, an IPv6 address counts by its /64: one subscriber holds all of it.
"""

from collections import OrderedDict
from threading import Lock

from hilum.kernel.ports import Clock
from hilum.standards.networks import network_of
from hilum.web.refusals import TABLE_BOUND, WINDOW_S, Sources, count_in_window

FAILURES_BOUND = 30
"""So many failures in a row within the window, and the pair waits until the window is over."""
PAIRS_BOUND = TABLE_BOUND


class Failures:
    """Counts failures of each pair of client and address since its last success.

    Forgetting the oldest pairs first costs an attacker more requests than the limit saves; secrets are 256 random bits in any case.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pairs: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        self._sources = Sources(clock)
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
            count_in_window(self._pairs, (client, network), now)
        self._sources.refused(source)

    def is_loud(self, source: str) -> bool:
        """Tell whether one more refusal of this address is worth a record of its own."""
        return self._sources.is_loud(source)

    def succeeded(self, client: str, source: str) -> None:
        """Begin anew."""
        with self._lock:
            self._pairs.pop((client, network_of(source)), None)
