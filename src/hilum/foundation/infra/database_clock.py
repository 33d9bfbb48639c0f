"""One time for all processes that share a database.

On PostgreSQL a process uses the server's time, not its machine's: measured at start and with every poll of the change feed, corrected
by half the round trip, and advanced in between by the machine's monotonic clock. On SQLite every process is on one machine and uses
that machine's time. In both cases time never goes back within a process, and never falls behind the latest change recorded in the
database: expired tokens would become valid again.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

import psycopg
from sqlalchemy import Connection

from hilum.foundation.infra import logs
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.kernel.ports import Clock

UNCERTAINTY_BOUND = timedelta(milliseconds=50)
"""The least error assumed for a process's time, even when a better measurement was made."""
DRIFT = 200e-6
"""The most by which the machine's monotonic clock and the server's may drift apart, in seconds a second."""
SAMPLES = 5
SET_S = 0.001
"""By how much more than the monotonic clock the machine's must have moved to count as set, in seconds; less is what reading both takes."""
AHEAD_BOUND = timedelta(minutes=10)
"""The most by which time is moved forward to the database's latest change; if more is needed, some clock is wrong and start-up fails."""
_log = logs.get("infra")


@dataclass(frozen=True, slots=True)
class Skew:
    """How far this machine's clock is ahead of the database's, and the error of that measurement."""

    ahead: timedelta
    uncertainty: timedelta


class SteadyClock:
    """A clock that never goes back. ``base`` is the machine's clock.

    ``follows_server``: the time is the database server's, once it was measured (``observe``).
    """

    def __init__(self, base: Clock, *, follows_server: bool = False) -> None:
        self.base, self.follows_server = base, follows_server
        self.monotonic = base.monotonic
        self._lock = Lock()
        self._anchor = base.now(), base.monotonic()
        self._uncertainty_s = float("inf")
        self._latest = self._anchor[0]
        self._is_logged = False
        self.is_placed = False
        """Whether it was compared with the database's latest change."""

    @property
    def is_set(self) -> bool:
        """Whether the shared time is known: always on SQLite, else once the server's time was measured."""
        return not self.follows_server or self._uncertainty_s != float("inf")

    @property
    def margin(self) -> timedelta:
        """How much two processes' times may differ."""
        if not self.follows_server:
            return timedelta(0)
        own = timedelta(seconds=self._uncertainty_s) if self.is_set else UNCERTAINTY_BOUND
        # One share for this process's error and one for another's, which is not known here: the end
        # of a full stop lies this much later, so that no process still accepts what was issued
        # before it (ADR 5).
        return UNCERTAINTY_BOUND + max(own, UNCERTAINTY_BOUND)

    def now(self) -> datetime:
        at, since = self._anchor
        passed = self.monotonic() - since
        if self.follows_server:
            time = at + timedelta(seconds=passed)
        else:
            time = self.base.now()
            # The machine's clock may be set while the process runs. Forward it is followed;
            # backward the anchor and the monotonic clock carry on.
            ahead = (time - at).total_seconds() - passed
            if ahead > SET_S:
                self._anchor = time, self.monotonic()
            elif ahead < -SET_S:
                time = at + timedelta(seconds=passed)
        # Two calls must never see time go back: a token that was refused as expired would be accepted again.
        if time <= self._latest:
            return self._latest
        self._latest = time
        return time

    def observe(self, server: datetime, sent: float, received: float) -> None:
        """Record the server's time, read between two moments of ``monotonic``.

        The measurement with the smallest uncertainty is kept; its uncertainty grows with its age, by DRIFT.
        """
        if not self.follows_server:
            return
        # The server read its clock somewhere between the two moments; the middle is wrong by at
        # most half of the round trip.
        middle, uncertainty = (sent + received) / 2, (received - sent) / 2
        with self._lock:
            at, since = self._anchor
            # Drift makes the best measurement worse with its age, so a newer one wins in the end
            # even if its round trip was longer.
            aged = self._uncertainty_s + (middle - since) * DRIFT
            if uncertainty > aged:
                return
            behind = at + timedelta(seconds=middle - since) - server
            if self.is_set and behind > max(self.margin, timedelta(seconds=aged + uncertainty)):
                # The server's time went back: it is another server with a wrong clock, or its clock was set. Keep the present time.
                self._log_once("infra.clock.server_went_back", behind)
                self._anchor, self._uncertainty_s = (at + timedelta(seconds=middle - since), middle), aged
                return
            if not self.is_set:
                self._latest = server  # until now the time was the machine's, which may be ahead
            self._anchor, self._uncertainty_s = (server, middle), uncertainty
            self._is_logged = False

    def not_before(self, happened: datetime) -> None:
        """Move the time forward to ``happened``, the database's latest change. Raises Unavailable when it is more than AHEAD_BOUND ahead."""
        ahead = happened - self.now()
        if ahead <= timedelta(0):
            return
        # Moving this far would let one machine with a wrong clock drag the time of all others
        # forward, and expire what they issued.
        if ahead > AHEAD_BOUND:
            self._log_once("infra.clock.behind_database", ahead)
            raise Unavailable(
                "clock_behind",
                "The clock is far behind the latest change in the database. Set the clock, then restart hilum.",
            )
        with self._lock:
            self._anchor = happened, self.monotonic()

    def skew(self) -> Skew | None:
        """Return how far the machine's clock is ahead of the server's; None when that was not measured."""
        if not self.follows_server or not self.is_set:
            return None
        since = self.monotonic() - self._anchor[1]
        return Skew(
            self.base.now() - self.now(), timedelta(seconds=self._uncertainty_s + max(0.0, since) * DRIFT)
        )

    def _log_once(self, event: str, by: timedelta) -> None:
        if not self._is_logged:
            self._is_logged = True
            _log.error(event, seconds=round(by.total_seconds(), 3))


def steady(database_url: str, base: Clock) -> SteadyClock:
    """Return the clock of a process on this database, measured at once if the server answers."""
    clock = SteadyClock(base, follows_server=not database_url.startswith("sqlite"))
    if clock.follows_server:
        _measure(database_url, clock)
    return clock


def measure_skew(database_url: str, base: Clock) -> Skew | None:
    """Measure how far this machine's clock is ahead of the server's; None on SQLite, or where the server does not answer."""
    return steady(database_url, base).skew()


def ensure_measured(tx: Connection, clock: Clock) -> None:
    """Measure the server's time in this transaction, unless the process already did."""
    if isinstance(clock, SteadyClock) and not clock.is_set:
        sent = clock.monotonic()
        # Not now(), which on PostgreSQL is the moment at which the transaction began.
        server = tx.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
        clock.observe(server, sent, clock.monotonic())


def machine_time(clock: Clock) -> datetime:
    """Return the time of the machine's own clock."""
    return clock.base.now() if isinstance(clock, SteadyClock) else clock.now()


def margin_of(clock: Clock) -> timedelta:
    """Return how much two processes' times may differ."""
    return clock.margin if isinstance(clock, SteadyClock) else timedelta(0)


def _measure(database_url: str, clock: SteadyClock) -> None:
    try:
        with psycopg.connect(database_url, autocommit=True, connect_timeout=2) as connection:
            # Several, because one slow round trip makes a poor measurement; observe keeps the best.
            for _ in range(SAMPLES):
                sent = clock.monotonic()
                row = connection.execute("SELECT clock_timestamp()").fetchone()
                received = clock.monotonic()
                assert row is not None, "a server has a time"
                clock.observe(row[0], sent, received)
    # Start-up continues: the first poll of the change feed or the first transaction measures it.
    except psycopg.Error:
        _log.warning("infra.clock.not_measured")
