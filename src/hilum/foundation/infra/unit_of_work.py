"""The unit of work: run each service verb in one transaction, in a thread of its lane, off the event loop.

A write, in order: 1 a place in the lane's queue, or 503 at once; 2 a connection and BEGIN; 3 the context, with the time and a view of
the cached facts; 4 the verb; 5 the events that it had recorded, then the epochs of the parts that it changed; 6 COMMIT, also after a
decided refusal; 7 the result. On SQLite steps 3 to 5 of several writes share one transaction, each in a savepoint.

This is the usual way to the control plane's database. Only code without a unit of work uses the driver directly (docs/architecture.md,
two ways to the database).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from sqlalchemy import Connection

from hilum.foundation.infra import database_clock, epoch, lanes
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.db import OWN_CHAIN, Database, TaskResult
from hilum.foundation.infra.epoch import FactCache, Pending, View
from hilum.foundation.infra.lanes import BOUNDS, Lane
from hilum.foundation.infra.worker_pools import GROUP_BOUND, WorkerPool
from hilum.foundation.kernel.actor import ANONYMOUS, SYSTEM, Actor
from hilum.foundation.kernel.errors import DECIDED
from hilum.foundation.kernel.events import Event
from hilum.foundation.kernel.ports import Clock, Ids
from hilum.foundation.kernel.times import EPOCH

T = TypeVar("T")
Append = Callable[[Context, Event], None]


@dataclass(frozen=True, slots=True)
class UnitOfWork:
    """Runs service verbs. ``writer`` is this process's audit chain; on PostgreSQL each connection has a chain of its own.

    ``shares_chain``: several processes write to one chain, as host commands do.
    """

    db: Database
    clock: Clock
    ids: Ids
    writer: str
    shares_chain: bool = False
    append: Append | None = None
    """Appends an event to the audit chain (``audit.service.record``)."""
    cache: FactCache = field(default_factory=FactCache)
    _pools: dict[tuple[Lane, bool], WorkerPool] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    @staticmethod
    def create(
        db: Database,
        clock: Clock,
        ids: Ids,
        writer: str,
        *,
        shares_chain: bool = False,
        append: Append | None = None,
    ) -> "UnitOfWork":
        """Create a unit of work. The threads and connections of a lane are opened at its first use."""
        return UnitOfWork(db, clock, ids, writer, shares_chain, append)

    def context(self, tx: Connection, actor: Actor, trace: Trace, pending: Pending | None = None) -> Context:
        """Build the context of one verb; ``pending`` collects the facts that it changes."""
        database_clock.ensure_measured(tx, self.clock)
        view, margin = View(self.cache), database_clock.margin_of(self.clock)
        writer = self._writer_at(tx)
        return Context(
            tx, self.clock.now(), self.ids, actor, trace, writer, view, margin=margin, pending=pending
        )

    def _writer_at(self, tx: Connection) -> str:
        """Return the audit chain of this connection.

        A chain is locked by the transaction that extends it: with one chain a connection, no two transactions of a process wait for
        each other there.
        """
        if self.shares_chain or self.db.is_sqlite:
            return self.writer
        number = tx.info.get("number", 0)
        writer = f"{self.writer}.{number}" if number else self.writer
        # ``audit.store`` remembers the end of this chain from commit to commit: no other connection extends it.
        tx.info[OWN_CHAIN] = writer
        return writer

    def write_now(self, verb: Callable[[Context], T], *, actor: Actor = ANONYMOUS, trace: Trace) -> T:
        """Run ``verb`` in a write transaction, in the calling thread. For host commands, jobs and start-up."""
        return self.db.write(lambda tx: self._written(tx, verb, actor, trace))

    def _written(self, tx: Connection, verb: Callable[[Context], T], actor: Actor, trace: Trace) -> T:
        """Run ``verb``, then append its events to the audit chain and advance the epoch of each part that it changed.

        The epoch comes last because its rows are shared by all writers: they stay locked for the commit only.
        """
        # Once per process, before its first write: the time is compared with the latest change in the database.
        if isinstance(self.clock, database_clock.SteadyClock) and not self.clock.is_placed:
            database_clock.ensure_measured(tx, self.clock)
            # A machine whose clock is behind would bring expired tokens back to life.
            self.clock.not_before(epoch.read(tx).newest or EPOCH)
            self.clock.is_placed = True
        pending = Pending()
        ctx = replace(self.context(tx, actor, trace, pending), events=[])
        try:
            result = verb(ctx)
        except DECIDED:  # a decided refusal commits what it recorded
            self._end(ctx, pending)
            raise
        self._end(ctx, pending)
        return result

    def _end(self, ctx: Context, pending: Pending) -> None:
        for source, event in ctx.events or ():
            assert self.append is not None, "nothing appends to the audit chain"
            self.append(source, event)
        pending.flush(ctx.tx, ctx.now)

    def read_now(self, verb: Callable[[Context], T], *, actor: Actor = ANONYMOUS, trace: Trace) -> T:
        """Run ``verb`` in a read transaction, in the calling thread."""
        return self.db.read(lambda tx: verb(self.context(tx, actor, trace)))

    async def write(self, verb: Callable[[Context], T], *, actor: Actor = ANONYMOUS, trace: Trace) -> T:
        """Run ``verb`` in a write transaction of the request's lane, off the loop. Errors of ``hilum.foundation.kernel.errors`` pass through.

        SQLite has one writer at a time, so verbs that wait at the same moment share a commit there.
        """
        pool = self._pool(lanes.current(Lane.CONTROL), writes=True)

        def task(tx: Connection) -> T:
            return self._written(tx, verb, actor, trace)

        result: T = await pool.run(task if self.db.is_sqlite else partial(self.db.write, task))
        return result

    async def read(self, verb: Callable[[Context], T], *, actor: Actor = ANONYMOUS, trace: Trace) -> T:
        """Run ``verb`` in a read transaction of the request's lane, off the loop."""
        pool = self._pool(lanes.current(Lane.CONTROL), writes=False)
        result: T = await pool.run(partial(self.db.read, self._bound(verb, actor, trace)))
        return result

    async def reads(self, verb: Callable[[Context], T]) -> T:
        """Read stored facts for the data plane: one read transaction in a lane of its own, as the system."""
        task = partial(self.db.read, self._bound(verb, SYSTEM, Trace("data-plane")))
        result: T = await self._pool(Lane.FACTS, writes=False).run(task)
        return result

    def _bound(self, verb: Callable[[Context], T], actor: Actor, trace: Trace) -> Callable[[Connection], T]:
        return lambda tx: verb(self.context(tx, actor, trace))

    def _pool(self, lane: Lane, *, writes: bool) -> WorkerPool:
        """Return the pool of a lane. On SQLite writers have a pool of their own, of one thread, so that readers never delay them."""
        key = lane, writes and self.db.is_sqlite
        pool = self._pools.get(key)
        if pool is None:
            # Looked up again under the lock: two first requests of a lane may come at once.
            with self._lock:
                pool = self._pools.get(key)
                if pool is None:
                    pool = self._pools[key] = self._create_pool(lane, shares_commits=key[1])
        return pool

    def _create_pool(self, lane: Lane, *, shares_commits: bool) -> WorkerPool:
        if shares_commits:
            return WorkerPool(lane, self._write_group, threads=1, group=GROUP_BOUND)
        return WorkerPool(lane, _run_each, threads=BOUNDS[lane].threads)

    def _write_group(self, tasks: Sequence[Any], until: float | None) -> list[TaskResult]:
        return self.db.write_group(tasks, self.cache.clear, until=until)

    def close(self) -> None:
        """Wait for running tasks, stop the threads and close the connections."""
        for pool in self._pools.values():
            pool.close()
        self.db.dispose()


def _run_each(tasks: Sequence[Any], until: float | None) -> list[TaskResult]:
    return [TaskResult(task(until=until)) for task in tasks]
