"""The edge: where a request becomes one transaction in a small thread pool, off the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from hilum.infra.context import Context, Trace
from hilum.infra.db import Database
from hilum.infra.epoch import Memory, Pending, View
from hilum.infra.together import Together
from hilum.kernel.actor import ANONYMOUS, SYSTEM, Actor
from hilum.kernel.errors import DECIDED
from hilum.kernel.ports import Clock, Ids

T = TypeVar("T")
THREADS = 6


@dataclass(frozen=True, slots=True)
class Edge:
    """Runs service verbs. ``writer`` names this process in the audit chain; one chain per writer."""

    db: Database
    clock: Clock
    ids: Ids
    writer: str
    pool: ThreadPoolExecutor
    reads_pool: ThreadPoolExecutor
    memory: Memory = field(default_factory=Memory)
    together: Together = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "together", Together(self.db, self.pool, self.memory.forget))

    @staticmethod
    def create(db: Database, clock: Clock, ids: Ids, writer: str) -> "Edge":
        """Make an edge with its own bounded pools: one for requests, one for the data plane's misses."""
        return Edge(
            db,
            clock,
            ids,
            writer,
            ThreadPoolExecutor(THREADS, thread_name_prefix="edge"),
            ThreadPoolExecutor(2, thread_name_prefix="reads"),
        )

    def context(self, tx: Connection, actor: Actor, trace: Trace) -> Context:
        """Make the context of one verb."""
        return Context(tx, self.clock.now(), self.ids, actor, trace, self.writer, View(self.memory))

    def write_now(self, verb: Callable[[Context], T], *, actor: Actor = ANONYMOUS, trace: Trace) -> T:
        """Run ``verb`` in a writing transaction, in this thread. For host commands, jobs and start-up."""
        return self.db.write(lambda tx: self._written(tx, verb, actor, trace))

    def _written(self, tx: Connection, verb: Callable[[Context], T], actor: Actor, trace: Trace) -> T:
        """Run ``verb`` and count the changes of facts that it announced, last of all in its part of the transaction."""
        pending = Pending()
        ctx = replace(self.context(tx, actor, trace), pending=pending)
        try:
            result = verb(ctx)
        except DECIDED:
            pending.flush(tx, ctx.now)
            raise
        pending.flush(tx, ctx.now)
        return result

    def read_now(self, verb: Callable[[Context], T], *, actor: Actor = ANONYMOUS, trace: Trace) -> T:
        """Run ``verb`` in a reading transaction, in this thread."""
        return self.db.read(lambda tx: verb(self.context(tx, actor, trace)))

    async def write(self, verb: Callable[[Context], T], *, actor: Actor = ANONYMOUS, trace: Trace) -> T:
        """Run ``verb`` in a writing transaction, off the loop. Errors of ``hilum.kernel.errors`` pass through.

        On SQLite, where there is one writer at a time in any case, verbs that wait at the same moment share a commit.
        """
        if self.db.is_sqlite:
            return await self.together.run(lambda tx: self._written(tx, verb, actor, trace))
        run = partial(self.write_now, verb, actor=actor, trace=trace)
        return await asyncio.get_running_loop().run_in_executor(self.pool, run)

    async def read(self, verb: Callable[[Context], T], *, actor: Actor = ANONYMOUS, trace: Trace) -> T:
        """Run ``verb`` in a reading transaction, off the loop."""
        run = partial(self.read_now, verb, actor=actor, trace=trace)
        return await asyncio.get_running_loop().run_in_executor(self.pool, run)

    async def reads(self, verb: Callable[[Context], T]) -> T:
        """Read stored facts for the data plane: one read transaction in a pool of its own, as the system."""
        run = partial(self.read_now, verb, actor=SYSTEM, trace=Trace("data-plane"))
        return await asyncio.get_running_loop().run_in_executor(self.reads_pool, run)

    def close(self) -> None:
        """Let running work end and stop the pools."""
        self.pool.shutdown(wait=True)
        self.reads_pool.shutdown(wait=True)
        self.db.dispose()
