"""One time for all processes of one database.

On PostgreSQL a process keeps the server's time, not its machine's: measured when it starts and with every poll of the thread that
watches the database, half of the round trip allowed for, and carried on in between by the machine's monotonic clock. On SQLite every
process is on one machine and keeps that machine's time. On neither does time ever go back within a process, and no process is behind
what the database says has already happened: expired tokens would come back to life.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

import psycopg
from sqlalchemy import Connection

from hilum.infra import logs
from hilum.kernel.errors import Unavailable
from hilum.kernel.ports import Clock

UNCERTAINTY_BOUND = timedelta(milliseconds=50)
"""How far a process's time is taken to be off where it measured that it is less."""
DRIFT = 200e-6
"""How much a second of the machine's monotonic clock may differ from one of the server's."""
SAMPLES = 5
AHEAD_BOUND = timedelta(minutes=10)
"""Time is moved forward by at most so much to what the database says has happened; beyond it some clock is wrong, and nothing is done."""
_log = logs.get("infra")


@dataclass(frozen=True, slots=True)
class Skew:
    """How far this machine's clock is ahead of the database's, and by how much that may be wrong."""

    ahead: timedelta
    uncertainty: timedelta


class SteadyClock:
    """A clock that never goes back. ``base`` is the machine's.

    ``follows_server``: the time is the database server's as soon as it was measured (``observe``).
    """

    def __init__(self, base: Clock, *, follows_server: bool = False) -> None:
        self.base, self.follows_server = base, follows_server
        self._lock = Lock()
        self._anchor = base.now(), base.monotonic()
        self._uncertainty_s = float("inf")
        self._latest = self._anchor[0]
        self._complained = False
        self.is_placed = False
        """Whether it was compared with what the database says has happened."""

    @property
    def is_set(self) -> bool:
        """Whether this is the time that all processes share."""
        return not self.follows_server or self._uncertainty_s != float("inf")

    @property
    def margin(self) -> timedelta:
        """How much two processes' times may differ."""
        if not self.follows_server:
            return timedelta(0)
        mine = timedelta(seconds=self._uncertainty_s) if self.is_set else UNCERTAINTY_BOUND
        return UNCERTAINTY_BOUND + max(mine, UNCERTAINTY_BOUND)

    def monotonic(self) -> float:
        return self.base.monotonic()

    def now(self) -> datetime:
        at, since = self._anchor
        time = at + timedelta(seconds=self.base.monotonic() - since)
        if not self.follows_server:
            machine = self.base.now()
            if machine > time:
                self._anchor = machine, self.base.monotonic()
                time = machine
        if time <= self._latest:
            return self._latest
        self._latest = time
        return time

    def observe(self, server: datetime, sent: float, received: float) -> None:
        """Take the server's time, read between two moments of ``monotonic``. The best measurement counts, less as it grows old."""
        if not self.follows_server:
            return
        middle, uncertainty = (sent + received) / 2, (received - sent) / 2
        with self._lock:
            at, since = self._anchor
            grown = self._uncertainty_s + (middle - since) * DRIFT
            if uncertainty > grown:
                return
            behind = at + timedelta(seconds=middle - since) - server
            if self.is_set and behind > max(self.margin, timedelta(seconds=grown + uncertainty)):
                # The server went back: another one, whose clock is wrong, or its clock was set. Time goes on from where it is.
                self._complain("infra.clock.server_went_back", behind)
                self._anchor, self._uncertainty_s = (at + timedelta(seconds=middle - since), middle), grown
                return
            if not self.is_set:
                self._latest = server  # the machine's time counted for nothing until now
            self._anchor, self._uncertainty_s = (server, middle), uncertainty
            self._complained = False

    def not_before(self, happened: datetime) -> None:
        """Move the time forward to what the database says has already happened. Raises Unavailable where that is far ahead."""
        ahead = happened - self.now()
        if ahead <= timedelta(0):
            return
        if ahead > AHEAD_BOUND:
            self._complain("infra.clock.behind_database", ahead)
            raise Unavailable(
                "clock_behind",
                "The clock is far behind what the database says has happened. Set the clock, then restart hilum.",
            )
        with self._lock:
            self._anchor = happened, self.base.monotonic()

    def skew(self) -> Skew | None:
        """Return how far the machine's clock is off; None while the server's was not measured."""
        if not self.follows_server or not self.is_set:
            return None
        since = self.base.monotonic() - self._anchor[1]
        return Skew(
            self.base.now() - self.now(), timedelta(seconds=self._uncertainty_s + max(0.0, since) * DRIFT)
        )

    def _complain(self, event: str, by: timedelta) -> None:
        if not self._complained:
            self._complained = True
            _log.error(event, seconds=round(by.total_seconds(), 3))


def steady(database_url: str, base: Clock) -> SteadyClock:
    """Return the clock of a process on this database, measured if the server answers."""
    clock = SteadyClock(base, follows_server=not database_url.startswith("sqlite"))
    if clock.follows_server:
        _measure(database_url, clock)
    return clock


def measure_skew(database_url: str, base: Clock) -> Skew | None:
    """Measure how far this machine's clock is ahead of the server's; None on SQLite, or where the server does not answer."""
    return steady(database_url, base).skew()


def set_within(tx: Connection, clock: Clock) -> None:
    """Measure the server's time in this transaction where the process did not yet."""
    if isinstance(clock, SteadyClock) and not clock.is_set:
        sent = clock.monotonic()
        server = tx.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
        clock.observe(server, sent, clock.monotonic())


def machine_time(clock: Clock) -> datetime:
    """Return what the machine's own clock says, whatever the process keeps."""
    return clock.base.now() if isinstance(clock, SteadyClock) else clock.now()


def margin_of(clock: Clock) -> timedelta:
    """Return how much two processes' times may differ."""
    return clock.margin if isinstance(clock, SteadyClock) else timedelta(0)


def _measure(database_url: str, clock: SteadyClock) -> None:
    try:
        with psycopg.connect(database_url, autocommit=True, connect_timeout=2) as connection:
            for _ in range(SAMPLES):
                sent = clock.monotonic()
                row = connection.execute("SELECT clock_timestamp()").fetchone()
                received = clock.monotonic()
                assert row is not None, "a server has a time"
                clock.observe(row[0], sent, received)
    except psycopg.Error:
        _log.warning("infra.clock.not_measured")
