"""Refusals of strangers, folded: the first of a network and window are recorded singly, the rest are counted together. Pure.

An IPv6 address counts by its /64: one subscriber holds all of it. Whoever uses these hands in the time, in seconds of one clock.
Source: security decision 5
"""

from collections import OrderedDict

from hilum.standards.networks import network_of

WINDOW_S = 60.0
LOUD_BOUND = 20
"""Refusals of a network that are recorded one by one in a window; those after them as one, counted."""
SOURCES_BOUND = 4_096
FOLDS_BOUND = 4_096
Fold = tuple[str, str, int]
"""Tenant, network and how many."""


def is_over(began: float, now: float) -> bool:
    """Check whether a window is over. It also is where the clock was set back, or it might never end."""
    return not 0 <= now - began < WINDOW_S


class Sources:
    """Counts the refusals of each network in a window that begins with the first. Past the bound all further networks are one."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def refused(self, source: str, now: float) -> None:
        """Count one more."""
        network = self._place_of(source, now)
        began, count = self._counts.get(network, (now, 0))
        if is_over(began, now):
            del self._counts[network]  # so that the table stays in the order in which windows began
            began, count = now, 0
        self._counts[network] = began, count + 1

    def is_loud(self, source: str, now: float) -> bool:
        """Check whether one more refusal of this network is worth a record of its own."""
        began, count = self._counts.get(self._place_of(source, now), (now, 0))
        return count < LOUD_BOUND or is_over(began, now)

    def _place_of(self, source: str, now: float) -> str:
        network = network_of(source)
        if network in self._counts:
            return network
        while len(self._counts) >= SOURCES_BOUND and is_over(next(iter(self._counts.values()))[0], now):
            self._counts.popitem(last=False)
        return network if len(self._counts) < SOURCES_BOUND else ""


class AggregatedRefusals:
    """Counts refusals that are not recorded one by one, by tenant and network, until they are taken to be recorded together."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._began = 0.0

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, tenant: str, source: str, now: float, count: int = 1) -> tuple[str, str]:
        """Count, and return the key counted under. Past the bound all further networks of a tenant are one, then all tenants."""
        if not self._counts:
            self._began = now
        for key in ((tenant, network_of(source)), (tenant, "")):
            if key in self._counts or len(self._counts) < FOLDS_BOUND:
                break
        else:
            key = "", ""
        self._counts[key] = self._counts.get(key, 0) + count
        return key

    def are_due(self, now: float) -> bool:
        """Check whether the window that the first of them began is over."""
        return bool(self._counts) and is_over(self._began, now)

    def take(self) -> list[Fold]:
        """Return tenant, network and count of each, and begin again at nothing."""
        taken, self._counts = self._counts, {}
        return [(tenant, network, count) for (tenant, network), count in taken.items()]
