"""Each process's heartbeat: it reports its node, and learns who else is there and whether this release may go on.

What it learned is one immutable value that the hot path reads without waiting.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from hilum.infra import database_clock, lanes, logs, nodes, schema_gate
from hilum.infra.database_clock import SteadyClock
from hilum.infra.db import Database
from hilum.infra.lanes import Lane
from hilum.infra.nodes import BEAT, Node
from hilum.infra.schema_gate import Gate, Standing
from hilum.kernel.errors import HilumError
from hilum.kernel.ports import Clock

_log = logs.get("infra")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a process knows of the platform around it. ``workers`` are the web workers of all live nodes together."""

    nodes: int
    workers: int
    gate: Gate
    heard_at: float
    """Monotonic time of the beat that learned this."""

    @property
    def alone(self) -> bool:
        return self.nodes <= 1


class Heartbeat:
    """Beats in a thread of its own. While the database is away it keeps what it knew last, and never fewer nodes than itself."""

    def __init__(self, database: Database, clock: Clock, me: Node, *, leads: bool = False) -> None:
        """``leads``: this process reports its node at every beat; the others only when none did for a while."""
        self._database, self._clock, self._me, self._leads = database, clock, me, leads
        unknown = schema_gate.Gate(Standing.CURRENT, me.release, me.release, "")
        self._known = Surroundings(1, max(1, me.workers), unknown, clock.monotonic())
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def known(self) -> Surroundings:
        """Return what was learned last."""
        return self._known

    @property
    def node(self) -> Node:
        """This node, as reported last."""
        return self._me

    def beat(self) -> Surroundings:
        """Learn, and report where it is due. Raises what the database raises."""
        with lanes.using(Lane.WATCH):
            found, due = self._database.read(self._look)
            if due:
                self._database.write(lambda tx: nodes.report(tx, self._me))
        self._known = found
        return found

    def start(self, then: Callable[[Surroundings], None] = lambda _: None) -> None:
        """Beat now, and from now on; ``then`` is called after each beat, in its thread."""
        with suppress(HilumError):
            self.beat()

        def run() -> None:
            while not self._stopped.wait(BEAT.total_seconds()):
                try:
                    then(self.beat())
                except HilumError as error:
                    _log.warning("infra.heartbeat.missed", code=error.code)
                except Exception as error:  # noqa: BLE001 - the thread's edge: a beat that breaks must not be the last
                    _log.error("infra.heartbeat.broken", error=type(error).__name__)

        self._thread = threading.Thread(target=run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self, *, leave: bool = False) -> None:
        """Stop beating; ``leave``: the whole node stops, and is taken off the list."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(BEAT.total_seconds())
        if leave:
            with suppress(HilumError):
                self._database.write(lambda tx: nodes.leave(tx, self._me.name, self._me.boot))

    def _look(self, tx: Connection) -> tuple[Surroundings, bool]:
        """Read the gate and the nodes; also whether this node must be reported."""
        found = schema_gate.read(tx, self._me.release)
        if found.standing in {Standing.EMPTY, Standing.OLDER}:
            return replace(self._known, gate=found), False
        before, sent = database_clock.machine_time(self._clock), self._clock.monotonic()
        database = nodes.database_now(tx)
        skew = before + (database_clock.machine_time(self._clock) - before) / 2 - database
        if isinstance(self._clock, SteadyClock):
            self._clock.observe(database, sent, self._clock.monotonic())
        self._me = replace(self._me, skew=skew, closed="" if found.opens else found.standing.value)
        live = {each.name: each for each in nodes.list_nodes(tx) if each.live}
        mine = live.get(self._me.name)
        stale = mine is None or mine.closed != self._me.closed or database - mine.seen_at > 2 * BEAT
        live[self._me.name] = self._me
        workers = sum(each.workers for each in live.values())
        return Surroundings(len(live), max(1, workers), found, self._clock.monotonic()), self._leads or stale
