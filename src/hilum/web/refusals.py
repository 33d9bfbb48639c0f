"""Refusals of strangers: the first of an address and minute are recorded singly, the rest as one counted record.

In the process, bounded. An IPv6 address counts by its /64: one subscriber holds all of it.
Source: security decision 5
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from functools import partial
from threading import Lock
from typing import Protocol, TypeVar

from hilum.infra.context import Context, Trace
from hilum.infra.edge import Edge
from hilum.kernel.errors import Conflict, Unavailable
from hilum.kernel.ports import Clock
from hilum.standards.networks import network_of

WINDOW_S = 60.0
LOUD_BOUND = 20
"""Refusals of an address that are recorded one by one in a window; those after them as one, counted."""
FOLDS_BOUND = 4_096
FOLDS_AT_ONCE = 100
TABLE_BOUND = 10_000
Key = TypeVar("Key")
Fold = tuple[str, str, int]
"""Tenant, address and how many."""


class Recorder(Protocol):
    """Writes counted records."""

    def __call__(self, ctx: Context, folded: Iterable[Fold]) -> None: ...


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
        """Check whether the window that the first of them began is over."""
        return bool(self._counts) and self._clock.monotonic() >= self._due

    def take(self) -> list[Fold]:
        """Return tenant, address and count of each, and begin again at nothing."""
        taken, self._counts = self._counts, {}
        return [(tenant, source, count) for (tenant, source), count in taken.items()]


class Sources:
    """Counts the refusals of each address in a window that begins with the first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._lock = Lock()

    def refused(self, source: str) -> None:
        """Count one more."""
        with self._lock:
            count_in_window(self._counts, network_of(source), self._clock.monotonic())

    def is_loud(self, source: str) -> bool:
        """Check whether one more refusal of this address is worth a record of its own."""
        with self._lock:
            began, count = self._counts.get(network_of(source), (0.0, 0))
        return count < LOUD_BOUND or self._clock.monotonic() - began >= WINDOW_S


def count_in_window(table: OrderedDict[Key, tuple[float, int]], key: Key, now: float) -> None:
    """Count in a bounded table; the oldest keys are forgotten first."""
    began, count = table.pop(key, (now, 0))
    table[key] = (now, 1) if now - began >= WINDOW_S else (began, count + 1)
    while len(table) > TABLE_BOUND:
        table.popitem(last=False)


class Refusals:
    """Folds the refusals of one edge. Ask ``is_loud`` before the verb, say ``refused`` after it; used from the event loop only.

    ``record`` writes counted records in a transaction of its own, a minute after the first of them or when the process stops.
    """

    def __init__(self, edge: Edge, record: Recorder) -> None:
        self._edge, self._record = edge, record
        self._sources, self._folds = Sources(edge.clock), Folds(edge.clock)
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Future[None] | None = None

    def is_loud(self, source: str) -> bool:
        """Check whether one more refusal of this address is worth a record of its own."""
        return self._sources.is_loud(source)

    async def refused(self, tenant: str, source: str, *, loud: bool) -> None:
        """Count a refusal; ``loud``: it has a record of its own."""
        self._sources.refused(source)
        await self.fold(tenant, source, loud=loud)

    async def fold(self, tenant: str, source: str, *, loud: bool) -> None:
        """Count what has no record of its own; and record what was counted, where that is due."""
        if self._folds.are_due:
            await self.tell()
        if loud:
            return
        self._folds.add(tenant, source)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WINDOW_S, self.tell_soon)

    def tell_soon(self) -> None:
        """Record what was counted, by a task of its own; also when the process is told to stop."""
        self._task = asyncio.ensure_future(self.tell())

    async def tell(self) -> None:
        """Record what was counted, a record for each address. What cannot be recorded now is counted on."""
        self._timer = None
        taken = self._folds.take()
        while taken:
            some, taken = taken[:FOLDS_AT_ONCE], taken[FOLDS_AT_ONCE:]
            try:
                verb = partial(self._record, folded=some)
                await self._edge.write(verb, trace=Trace(self._edge.ids.new("req")))
            except (Unavailable, Conflict):
                for tenant, source, count in (*some, *taken):
                    self._folds.add(tenant, source, count)
                return
