"""Lanes: classes of database work, each with threads and connections of its own, so that none can take another's place.

A request's lane is set once, where it enters; whatever it does with the database then runs in that lane. Code that runs outside a
request (jobs, host commands, the snapshot's thread) sets its own, or is in ``OWN``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum


class Lane(StrEnum):
    """A class of database work, most urgent first."""

    URGENT = "urgent"
    """What the staff and administrators stop: switches, suspension, removals."""
    REVOKE = "revoke"
    """What apps, patients and EHRs end: revocation, withdrawal, launches. Apart, since anybody may knock there."""
    CALLERS = "callers"
    """Who holds an API token. Apart, since anybody may send one that looks well: only whoever it names enters the route's lane."""
    FACTS = "facts"
    """Misses of the data plane's tables."""
    WATCH = "watch"
    """The threads that keep the snapshot and the node's heartbeat."""
    LOAD = "load"
    """The thread that reads whole parts of the snapshot, as long as that takes; apart, so that the watch never waits for it."""
    JOURNAL = "journal"
    """The one writer of a worker's access journal."""
    TOKENS = "tokens"
    """Tokens, launches, sign-in and what clients discover."""
    CONTROL = "control"
    """The rest of the control plane."""
    AUDIT = "audit"
    """Reading of the audit."""
    STAFF_AUDIT = "staff_audit"
    """Reading of the audit by the platform's staff, whom no number of tenants may delay."""
    OWN = "own"
    """Jobs, host commands and start-up."""
    LONG = "long"
    """Migrations and verification: as long as they take."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a lane may take. None: no bound.

    ``within_s`` bounds a verb from the moment it is asked for until it is answered, ``statement_s`` one statement on the server and
    the wait for its answer, ``waiting`` the verbs that wait for a thread.
    """

    threads: int
    connections: int
    within_s: float | None
    statement_s: float | None
    waiting: int = 0


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
"""Every request whose verb waits for the database is answered within this time, whatever the database does."""

_lane: ContextVar[Lane | None] = ContextVar("lane", default=None)


def current(default: Lane) -> Lane:
    """Return the lane that was set around this call, else ``default``."""
    return _lane.get() or default


@contextmanager
def using(lane: Lane) -> Iterator[None]:
    """Run what is inside in ``lane``."""
    token = _lane.set(lane)
    try:
        yield
    finally:
        _lane.reset(token)
