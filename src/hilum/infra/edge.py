"""The edge: where a request becomes one transaction in its lane's threads, off the event loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from sqlalchemy import Connection

from hilum.infra import database_clock, epoch, lanes
from hilum.infra.context import Context, Trace
from hilum.infra.db import EPOCH, OWN_CHAIN, Database, Outcome
from hilum.infra.epoch import Memory, Pending, View
from hilum.infra.lanes import BOUNDS, Lane
from hilum.infra.worker_pools import GROUP_BOUND, Crew
from hilum.kernel.actor import ANONYMOUS, SYSTEM, Actor
from hilum.kernel.errors import DECIDED
from hilum.kernel.ports import Clock, Ids

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Edge:
    """Runs service verbs. ``writer`` names this process in the audit's chains; on PostgreSQL each connection has one of its own.

    ``shares_chain``: other processes have the same name, as those of host commands do.
    """

    db: Database
    clock: Clock
    ids: Ids
    writer: str
    shares_chain: bool = False
    memory: Memory = field(default_factory=Memory)
    _crews: dict[tuple[Lane, bool], Crew] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    @staticmethod
    def create(db: Database, clock: Clock, ids: Ids, writer: str, *, shares_chain: bool = False) -> "Edge":
        """Make an edge. Threads and connections are opened lane by lane, when first needed."""
        return Edge(db, clock, ids, writer, shares_chain)

    def context(self, tx: Connection, actor: Actor, trace: Trace) -> Context:
        """Make the context of one verb."""
        database_clock.set_within(tx, self.clock)
        view, margin = View(self.memory), database_clock.margin_of(self.clock)
        writer = self._writer_at(tx)
        return Context(tx, self.clock.now(), self.ids, actor, trace, writer, view, margin=margin)

    def _writer_at(self, tx: Connection) -> str:
        """Return the name of the chain of this connection: no two transactions of a process ever wait for one chain."""
        if self.shares_chain or self.db.is_sqlite:
            return self.writer
        number = tx.info.get("number", 0)
        writer = f"{self.writer}.{number}" if number else self.writer
        tx.info[OWN_CHAIN] = writer
        return writer

    def write_now(self, verb: Callable[[Context], T], *, actor: Actor = ANONYMOUS, trace: Trace) -> T:
        """Run ``verb`` in a writing transaction, in this thread. For host commands, jobs and start-up."""
        return self.db.write(lambda tx: self._written(tx, verb, actor, trace))

    def _written(self, tx: Connection, verb: Callable[[Context], T], actor: Actor, trace: Trace) -> T:
        """Run ``verb`` and count the changes of facts that it announced, last of all in its part of the transaction."""
        if isinstance(self.clock, database_clock.SteadyClock) and not self.clock.is_placed:
            database_clock.set_within(tx, self.clock)
            self.clock.not_before(epoch.read(tx).newest or EPOCH)
            self.clock.is_placed = True
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
        """Run ``verb`` in a writing transaction of the request's lane, off the loop. Errors of ``hilum.kernel.errors`` pass through.

        On SQLite, where there is one writer at a time in any case, verbs that wait at the same moment share a commit.
        """
        crew = self._crew(lanes.current(Lane.CONTROL), writes=True)

        def work(tx: Connection) -> T:
            return self._written(tx, verb, actor, trace)

        found: T = await crew.run(work if self.db.is_sqlite else partial(self.db.write, work))
        return found

    async def read(self, verb: Callable[[Context], T], *, actor: Actor = ANONYMOUS, trace: Trace) -> T:
        """Run ``verb`` in a reading transaction of the request's lane, off the loop."""
        crew = self._crew(lanes.current(Lane.CONTROL), writes=False)
        found: T = await crew.run(partial(self.db.read, self._bound(verb, actor, trace)))
        return found

    async def reads(self, verb: Callable[[Context], T]) -> T:
        """Read stored facts for the data plane: one read transaction in a lane of its own, as the system."""
        work = partial(self.db.read, self._bound(verb, SYSTEM, Trace("data-plane")))
        found: T = await self._crew(Lane.FACTS, writes=False).run(work)
        return found

    def _bound(self, verb: Callable[[Context], T], actor: Actor, trace: Trace) -> Callable[[Connection], T]:
        return lambda tx: verb(self.context(tx, actor, trace))

    def _crew(self, lane: Lane, *, writes: bool) -> Crew:
        """Return the crew of a lane. On SQLite its writers are another crew, of one thread, so that readers never delay them."""
        key = lane, writes and self.db.is_sqlite
        found = self._crews.get(key)
        if found is None:
            with self._lock:
                found = self._crews.get(key)
                if found is None:
                    found = self._crews[key] = self._make_crew(lane, together=key[1])
        return found

    def _make_crew(self, lane: Lane, *, together: bool) -> Crew:
        if together:
            return Crew(lane, self._write_together, threads=1, group=GROUP_BOUND)
        return Crew(lane, _run_alone, threads=BOUNDS[lane].threads)

    def _write_together(self, works: Sequence[Any], until: float | None) -> list[Outcome]:
        return self.db.write_together(works, self.memory.forget, until=until)

    def close(self) -> None:
        """Let running work end and stop the threads."""
        for crew in self._crews.values():
            crew.close()
        self.db.dispose()


def _run_alone(works: Sequence[Any], until: float | None) -> list[Outcome]:
    return [Outcome(work(until=until)) for work in works]
