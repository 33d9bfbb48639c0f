"""Aggregation of unauthenticated refusals: the first of a network in a window are recorded one by one, the rest are counted. Pure.

Recording each would let anyone fill the audit. An IPv6 address counts by its /64, which one subscriber controls. Callers pass the
time in seconds of one clock.
Source: security decision 5
"""

from collections import OrderedDict

from hilum.foundation.standards.networks import network_of

# Both tables are bounded, and both bounds make records coarser instead of dropping refusals: no refusal goes uncounted.
WINDOW_S = 60.0
RECORDED_BOUND = 20
"""Refusals of a network that are recorded one by one in a window; further ones are counted in one record."""
SOURCES_BOUND = 4_096
AGGREGATES_BOUND = 4_096
AggregatedCount = tuple[str, str, int]
"""Tenant, network and count."""


def is_over(began: float, now: float) -> bool:
    """Check whether a window is over. A window in the future, after the clock was set back, is over too: it might never end."""
    return not 0 <= now - began < WINDOW_S


class Sources:
    """Counts the refusals of each network in a window that begins with the first. Beyond SOURCES_BOUND further networks share a count."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def refused(self, source: str, now: float) -> None:
        """Count one refusal of a source."""
        network = self._key_of(source, now)
        began, count = self._counts.get(network, (now, 0))
        # A window begins with the first refusal, not with the clock's minute: otherwise two bursts around a
        # full minute would get twice the records.
        if is_over(began, now):
            del self._counts[network]  # keeps the table in the order in which windows began
            began, count = now, 0
        self._counts[network] = began, count + 1

    def is_recorded(self, source: str, now: float) -> bool:
        """Check whether the next refusal of this network gets a record of its own."""
        began, count = self._counts.get(self._key_of(source, now), (now, 0))
        return count < RECORDED_BOUND or is_over(began, now)

    def _key_of(self, source: str, now: float) -> str:
        network = network_of(source)
        if network in self._counts:
            return network
        # The table is ordered by the beginning of windows, so only the first entries can be over.
        while len(self._counts) >= SOURCES_BOUND and is_over(next(iter(self._counts.values()))[0], now):
            self._counts.popitem(last=False)
        # An attacker with many addresses fills the table for a minute; further networks then share one count
        # and are recorded together.
        return network if len(self._counts) < SOURCES_BOUND else ""


class AggregatedRefusals:
    """Counts refusals that are not recorded one by one, by tenant and network, until ``take`` returns them for one record each."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._began = 0.0

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, tenant: str, source: str, now: float, count: int = 1) -> tuple[str, str]:
        """Add to a count and return its key. Beyond AGGREGATES_BOUND further networks of a tenant share a key, then all tenants."""
        if not self._counts:
            self._began = now
        # From fine to coarse: a full table loses the network first, then the tenant, never the count.
        for key in ((tenant, network_of(source)), (tenant, "")):
            if key in self._counts or len(self._counts) < AGGREGATES_BOUND:
                break
        else:
            key = "", ""
        self._counts[key] = self._counts.get(key, 0) + count
        return key

    def are_due(self, now: float) -> bool:
        """Check whether the window that the first count began is over."""
        return bool(self._counts) and is_over(self._began, now)

    def take(self) -> list[AggregatedCount]:
        """Return all counts and reset them."""
        taken, self._counts = self._counts, {}
        return [(tenant, network, count) for (tenant, network), count in taken.items()]
