"""Records unauthenticated refusals at one endpoint: the first ones of a network in a minute one by one, the rest as one counted record.

Source: security decision 5
"""

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Protocol

from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import Conflict, Unavailable
from hilum.foundation.standards.strangers import WINDOW_S, AggregatedCount, AggregatedRefusals, Sources

COUNTS_PER_BATCH = 100


class Recorder(Protocol):
    """Writes counted records."""

    def __call__(self, ctx: Context, counts: Iterable[AggregatedCount]) -> None: ...


class Refusals:
    """Aggregates the refusals of one endpoint. Call ``is_recorded`` before the verb and ``refused`` after it, on the event loop only.

    ``record`` writes counted records in a transaction of its own, a minute after the first of them or when the process stops. No
    request waits for it.
    """

    def __init__(self, uow: UnitOfWork, record: Recorder) -> None:
        self._uow, self._record, self._clock = uow, record, uow.clock
        self._sources, self._aggregated = Sources(), AggregatedRefusals()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def is_recorded(self, source: str) -> bool:
        """Check whether the next refusal of this address gets a record of its own."""
        return self._sources.is_recorded(source, self._clock.monotonic())

    def refused(self, tenant: str, source: str, *, recorded: bool) -> None:
        """Count a refusal; ``recorded``: it has a record of its own already."""
        self._sources.refused(source, self._clock.monotonic())
        self.count(tenant, source, recorded=recorded)

    def count(self, tenant: str, source: str, *, recorded: bool) -> None:
        """Count a refusal that is not ``recorded``; start a task that records the counts if they are due."""
        if self._aggregated.are_due(self._clock.monotonic()):
            self.record_soon()
        if not recorded:
            self._add(tenant, source, 1)

    def record_soon(self) -> None:
        """Start a task that records the counts; also called when the process stops."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if counts := self._aggregated.take():
            task = asyncio.ensure_future(self._record_batches(counts))
            # The event loop keeps weak references only: without this one a task could be collected while it runs.
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _add(self, tenant: str, source: str, count: int) -> None:
        self._aggregated.add(tenant, source, self._clock.monotonic(), count)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WINDOW_S, self.record_soon)

    async def _record_batches(self, counts: list[AggregatedCount]) -> None:
        """Record the counts in batches. Those that cannot be recorded are counted again, and retried a minute later."""
        try:
            while counts:
                verb = partial(self._record, counts=counts[:COUNTS_PER_BATCH])
                await self._uow.write(verb, trace=Trace(self._uow.ids.new("req")))
                counts = counts[COUNTS_PER_BATCH:]
        except (Unavailable, Conflict):
            pass  # the unit of work logs it
        finally:
            for tenant, source, count in counts:
                self._add(tenant, source, count)
