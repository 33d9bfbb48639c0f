"""Refusals of strangers at one edge: the first of a network and minute have records of their own, the rest one counted record.

Source: security decision 5
"""

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Protocol

from hilum.infra.context import Context, Trace
from hilum.infra.edge import Edge
from hilum.kernel.errors import Conflict, Unavailable
from hilum.standards.strangers import WINDOW_S, AggregatedRefusals, Fold, Sources

FOLDS_AT_ONCE = 100


class Recorder(Protocol):
    """Writes counted records."""

    def __call__(self, ctx: Context, folded: Iterable[Fold]) -> None: ...


class Refusals:
    """Folds the refusals of one edge. Ask ``is_loud`` before the verb, call ``refused`` after it; used from the event loop only.

    ``record`` writes counted records in a transaction of its own, a minute after the first of them or when the process stops. No
    request waits for it.
    """

    def __init__(self, edge: Edge, record: Recorder) -> None:
        self._edge, self._record, self._clock = edge, record, edge.clock
        self._sources, self._aggregated = Sources(), AggregatedRefusals()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def is_loud(self, source: str) -> bool:
        """Check whether one more refusal of this address is worth a record of its own."""
        return self._sources.is_loud(source, self._clock.monotonic())

    def refused(self, tenant: str, source: str, *, loud: bool) -> None:
        """Count a refusal; ``loud``: it has a record of its own."""
        self._sources.refused(source, self._clock.monotonic())
        self.fold(tenant, source, loud=loud)

    def fold(self, tenant: str, source: str, *, loud: bool) -> None:
        """Count what has no record of its own; what was counted is recorded by a task once that is due."""
        if self._aggregated.are_due(self._clock.monotonic()):
            self.tell_soon()
        if not loud:
            self._add(tenant, source, 1)

    def tell_soon(self) -> None:
        """Record what was counted, by a task of its own; also when the process is told to stop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if taken := self._aggregated.take():
            task = asyncio.ensure_future(self._tell(taken))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _add(self, tenant: str, source: str, count: int) -> None:
        self._aggregated.add(tenant, source, self._clock.monotonic(), count)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WINDOW_S, self.tell_soon)

    async def _tell(self, taken: list[Fold]) -> None:
        """Record, many at once. What cannot be recorded now is counted on, and tried again a minute later."""
        try:
            while taken:
                verb = partial(self._record, folded=taken[:FOLDS_AT_ONCE])
                await self._edge.write(verb, trace=Trace(self._edge.ids.new("req")))
                taken = taken[FOLDS_AT_ONCE:]
        except (Unavailable, Conflict):
            pass  # the database's own edge logs it
        finally:
            for tenant, source, count in taken:
                self._add(tenant, source, count)
