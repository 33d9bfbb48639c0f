"""Failed client authentications slow one client at one address, and nobody else (C57). In the process, bounded.

As at sign-in, an IPv6 address counts by its /64: one subscriber holds all of it.
"""

from collections import OrderedDict
from threading import Lock
from typing import TypeVar

from hilum.kernel.ports import Clock
from hilum.signin.policy import network_of

FAILURES_BOUND = 30
"""So many failures in a row within the window, and the pair waits until the window is over."""
WINDOW_S = 60.0
Key = TypeVar("Key")
PAIRS_BOUND = 10_000
LOUD_BOUND = 20
"""Refusals of an address that are recorded one by one in a window; those after them as one, counted (security decision 5)."""
FOLDS_BOUND = 4_096


class Failures:
    """Counts failures of each pair of client and address since its last success.

    Forgetting the oldest pairs first costs an attacker more requests than the limit saves; secrets are 256 random bits in any case.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pairs: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        self._sources: OrderedDict[str, tuple[float, int]] = OrderedDict()
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
            _count(self._pairs, (client, network), now)
            _count(self._sources, network, now)

    def is_loud(self, source: str) -> bool:
        """Tell whether one more refusal of this address is worth a record of its own."""
        with self._lock:
            began, count = self._sources.get(network_of(source), (0.0, 0))
        return count < LOUD_BOUND or self._clock.monotonic() - began >= WINDOW_S

    def succeeded(self, client: str, source: str) -> None:
        """Begin anew."""
        with self._lock:
            self._pairs.pop((client, network_of(source)), None)


class Folds:
    """Counts refusals that are not recorded one by one, by tenant and address, until they are taken to be recorded together."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: dict[tuple[str, str], int] = {}
        self._due = 0.0

    def add(self, tenant: str, source: str, count: int = 1) -> None:
        """Count. Past the bound all further addresses of a tenant are one, then all tenants."""
        if not self._counts:
            self._due = self._clock.monotonic() + WINDOW_S
        for key in ((tenant, network_of(source)), (tenant, "")):
            if key in self._counts or len(self._counts) < FOLDS_BOUND:
                break
        else:
            key = "", ""
        self._counts[key] = self._counts.get(key, 0) + count

    @property
    def are_due(self) -> bool:
        """Tell whether the window that the first of them began is over."""
        return bool(self._counts) and self._clock.monotonic() >= self._due

    def take(self) -> list[tuple[str, str, int]]:
        """Give tenant, address and count of each, and begin anew."""
        taken, self._counts = self._counts, {}
        return [(tenant, source, count) for (tenant, source), count in taken.items()]


def _count(table: OrderedDict[Key, tuple[float, int]], key: Key, now: float) -> None:
    began, count = table.pop(key, (now, 0))
    table[key] = (now, 1) if now - began >= WINDOW_S else (began, count + 1)
    while len(table) > PAIRS_BOUND:
        table.popitem(last=False)
