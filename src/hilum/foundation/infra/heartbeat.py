"""The heartbeat: each process reports its node, and reads which nodes are live and whether its release may serve.

The result is one immutable value, which the hot path reads without waiting.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from hilum.foundation.infra import database_clock, lanes, logs, nodes, schema_gate
from hilum.foundation.infra.database_clock import SteadyClock
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.infra.nodes import BEAT, Node
from hilum.foundation.infra.schema_gate import Gate, SchemaState
from hilum.foundation.kernel.errors import HilumError
from hilum.foundation.kernel.ports import Clock

_log = logs.get("infra")


@dataclass(frozen=True, slots=True)
class ClusterState:
    """The state of the platform's nodes, as a process read it last. ``workers``: web workers of all live nodes."""

    nodes: int
    workers: int
    gate: Gate
    read_at: float
    """Monotonic time of the beat that read this."""

    @property
    def alone(self) -> bool:
        return self.nodes <= 1


class Heartbeat:
    """Beats in a thread of its own. While the database is unavailable the last state stays valid; it always counts this node."""

    def __init__(self, database: Database, clock: Clock, me: Node, *, leads: bool = False) -> None:
        """Create the heartbeat. ``leads``: report this node at every beat; other processes report it only when it looks stale."""
        self._database, self._clock, self._me, self._leads = database, clock, me, leads
        unknown = schema_gate.Gate(SchemaState.CURRENT, me.release, me.release, "")
        self.state = ClusterState(1, max(1, me.workers), unknown, clock.monotonic())
        """The state that the last successful beat read."""
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def node(self) -> Node:
        """This node, as last reported."""
        return self._me

    def beat(self) -> ClusterState:
        """Read the state, and report this node when that is due. Raises the database's errors."""
        # A lane of its own: a node that is only busy must not look dead to the others.
        with lanes.using(Lane.WATCH):
            state, report_due = self._database.read(self._read)
            if report_due:
                self._database.write(lambda tx: nodes.report(tx, self._me, leads=self._leads))
        self.state = state
        return state

    def start(self, then: Callable[[ClusterState], None] = lambda _: None) -> None:
        """Beat at once and start beating regularly; ``then`` is called after each regular beat, in its thread."""
        with suppress(HilumError):
            self.beat()

        def run() -> None:
            while not self._stopped.wait(BEAT.total_seconds()):
                try:
                    then(self.beat())
                except HilumError as error:
                    _log.warning("infra.heartbeat.missed", code=error.code)
                except Exception as error:  # noqa: BLE001 - the thread's edge: one failed beat must not end the thread
                    _log.error("infra.heartbeat.broken", error=type(error).__name__)

        self._thread = threading.Thread(target=run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self, *, leave: bool = False) -> None:
        """Stop beating. ``leave``: the whole node stops, so it is removed from the list."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(BEAT.total_seconds())
        if leave:
            try:
                with lanes.using(Lane.WATCH):
                    self._database.write(lambda tx: nodes.leave(tx, self._me.name, self._me.boot))
            except HilumError as error:
                _log.warning("infra.heartbeat.not_left", code=error.code)

    def _read(self, tx: Connection) -> tuple[ClusterState, bool]:
        """Read the gate and the nodes; return the state and whether this node must be reported."""
        gate = schema_gate.read(tx, self._me.release)
        if gate.state in {SchemaState.EMPTY, SchemaState.OLDER}:  # the node table may not exist yet
            return replace(self.state, gate=gate), False
        before, sent = database_clock.machine_time(self._clock), self._clock.monotonic()
        database = nodes.database_now(tx)
        skew = before + (database_clock.machine_time(self._clock) - before) / 2 - database
        if isinstance(self._clock, SteadyClock):
            self._clock.observe(database, sent, self._clock.monotonic())
        self._me = replace(self._me, skew=skew, closed="" if gate.opens else gate.state.value)
        live = {each.name: each for each in nodes.list_nodes(tx) if each.live}
        mine = live.get(self._me.name)
        # The processes of a node share one row. Whoever leads writes it; the others step in when
        # two beats are missing, before the row counts as dead after four.
        stale = mine is None or mine.closed != self._me.closed or database - mine.seen_at > 2 * BEAT
        # This node counts from its first beat on, although its row may not be written yet: with a
        # node too few, each would spend too large a share of every quota.
        live[self._me.name] = self._me
        workers = sum(each.workers for each in live.values())
        return ClusterState(len(live), max(1, workers), gate, self._clock.monotonic()), self._leads or stale
