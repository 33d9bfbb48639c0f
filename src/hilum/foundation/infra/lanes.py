"""Lanes: classes of database work, each with threads and connections of its own, so that load in one cannot starve another.

A request's lane is set once, where the request enters; all its database work then runs in that lane. Code that runs outside a
request (jobs, host commands, the snapshot's thread) sets its own lane, or runs in ``OWN``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum


class Lane(StrEnum):
    """A class of database work, most urgent first."""

    URGENT = "urgent"
    """Stops by staff and administrators: switches, suspension, removals."""
    REVOKE = "revoke"
    """Stops by apps, patients and EHRs: revocation, withdrawal, launches. Separate from URGENT, since anyone may send such requests."""
    CALLERS = "callers"
    """Authentication of API tokens. Separate, since anyone may send a well-formed token: only an authenticated caller enters the route's lane.

    On PostgreSQL its reads are single statements, without a transaction around them.
    """
    FACTS = "facts"
    """Cache misses of the data plane."""
    WATCH = "watch"
    """The snapshot's thread and the node's heartbeat."""
    LOAD = "load"
    """The thread that reads whole parts of the snapshot, without a deadline. Separate, so that WATCH never waits for it."""
    JOURNAL = "journal"
    """The one writer of a worker's access journal."""
    TOKENS = "tokens"
    """Tokens, launches, sign-in and discovery documents."""
    CONTROL = "control"
    """The rest of the control plane."""
    AUDIT = "audit"
    """Audit queries by tenants."""
    STAFF_AUDIT = "staff_audit"
    """Audit queries by the platform's staff, which tenants' queries must not delay."""
    OWN = "own"
    """Jobs, host commands and start-up."""
    LONG = "long"
    """Migrations and verification: as long as they take."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of a lane. None: no limit.

    ``within_s`` bounds a verb from the call to its result, ``statement_s`` one statement on the server and the wait for its answer,
    ``waiting`` the number of verbs that wait for a thread.
    """

    threads: int
    connections: int
    within_s: float | None
    statement_s: float | None
    waiting: int = 0


# statement_s is shorter than within_s, so that the server's own timeout comes first: its error says what was
# slow and leaves the connection usable. The 4 s end a second before ANSWER_WITHIN_S: the grace of
# ``worker_pools`` for a task whose thread hangs where no deadline reaches.
BOUNDS = {
    Lane.URGENT: Bounds(threads=2, connections=2, within_s=4.0, statement_s=3.0, waiting=500),
    Lane.REVOKE: Bounds(threads=2, connections=2, within_s=4.0, statement_s=3.0, waiting=500),
    Lane.CALLERS: Bounds(threads=2, connections=2, within_s=4.0, statement_s=3.0, waiting=2_000),
    Lane.FACTS: Bounds(threads=2, connections=2, within_s=2.0, statement_s=1.5, waiting=2_000),
    Lane.WATCH: Bounds(threads=0, connections=1, within_s=None, statement_s=4.0),
    Lane.LOAD: Bounds(threads=0, connections=1, within_s=None, statement_s=None),
    Lane.JOURNAL: Bounds(threads=0, connections=1, within_s=None, statement_s=2.0),
    Lane.TOKENS: Bounds(threads=6, connections=6, within_s=4.0, statement_s=3.0, waiting=2_000),
    Lane.CONTROL: Bounds(threads=2, connections=2, within_s=4.0, statement_s=3.0, waiting=500),
    Lane.AUDIT: Bounds(threads=3, connections=3, within_s=4.0, statement_s=3.0, waiting=100),
    Lane.STAFF_AUDIT: Bounds(threads=2, connections=2, within_s=4.0, statement_s=3.0, waiting=50),
    Lane.OWN: Bounds(threads=0, connections=4, within_s=None, statement_s=20.0),
    Lane.LONG: Bounds(threads=0, connections=2, within_s=None, statement_s=None),
}
"""INVARIANT: a lane with threads has a connection for each, so that no thread ever waits for one."""
ANSWER_WITHIN_S = 5.0
"""Every request that waits for the database is answered within this time, whatever the database does."""

_lane: ContextVar[Lane | None] = ContextVar("lane", default=None)


def current(default: Lane) -> Lane:
    """Return the lane that was set around this call, else ``default``."""
    return _lane.get() or default


@contextmanager
def using(lane: Lane) -> Iterator[None]:
    """Run the block in ``lane``."""
    token = _lane.set(lane)
    try:
        yield
    finally:
        _lane.reset(token)
