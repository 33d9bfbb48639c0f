"""The change feed: how each process detects within milliseconds that enforcement facts changed.

SQLite: ``PRAGMA data_version`` on a connection of its own. PostgreSQL: the stamps of all parts, read at every poll, and LISTEN for
urgent changes. Both are used from one thread, which a call blocks for at most the poll interval.
"""

import sqlite3
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Protocol

import psycopg

from hilum.foundation.infra import postgres
from hilum.foundation.infra.database_clock import SteadyClock
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.epoch import CHANNEL, Stamp, Stamps
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.kernel.ids import Part
from hilum.foundation.kernel.ports import Clock

CONNECTION_LIFE_S = 5.0
"""A connection to PostgreSQL is replaced after this time: its address may have moved to a new primary while the old one still answers."""
# The outer join returns a row even before any part has changed: whether the server is a standby,
# and its time, must be read at every poll.
_WATCH = "SELECT part, n, mark, pg_is_in_recovery(), clock_timestamp() FROM (VALUES (1)) AS one LEFT JOIN fact_epoch ON true"


class ChangeFeed(Protocol):
    """Detects committed changes of the database, for one process."""

    breaks: int
    """How often the connection was lost."""
    stamps: Stamps
    """The stamps that the last call read; empty on SQLite, which reads none."""

    def changed(self, wait_s: float) -> bool:
        """Wait at most ``wait_s`` for a change; return whether there may have been one since the last call.

        False confirms that nothing was committed. Raises Unavailable when the database cannot confirm it.
        """
        ...

    def close(self) -> None: ...


class SqliteChangeFeed:
    """Detects a change of the file by any other connection, of this or another process."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._version = -1
        self._file: tuple[int, int] | None = None
        self._closing = Event()
        self.breaks, self.stamps = 0, Stamps()

    def changed(self, wait_s: float) -> bool:
        self._closing.wait(wait_s)
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
            # data_version counts commits by other connections, in this process too. This connection
            # never writes, so no commit is missed.
            version = int(self._connection.execute("PRAGMA data_version").fetchone()[0])
            self._require_same_file()
        except (sqlite3.Error, OSError) as error:
            self._disconnect()
            raise Unavailable(
                "database_unavailable", "The control database cannot be polled for changes."
            ) from error
        # After a reconnect the previous version is -1, so the first poll reports a change: nobody
        # saw what was committed in between.
        previous, self._version = self._version, version
        return version != previous

    def _require_same_file(self) -> None:
        """Raise Unavailable when the path leads to another file than the open one: switches engaged in the new file would be missed."""
        # An open connection keeps the old inode after a restore moved another file to its path, and
        # would poll a file that nobody writes to.
        status = Path(self._path).stat()
        file = status.st_dev, status.st_ino
        if self._file is None:
            self._file = file
        elif self._file != file:
            raise Unavailable("database_replaced", "The control database's file was replaced. Restart hilum.")

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._version, self.breaks = None, -1, self.breaks + 1

    def close(self) -> None:
        self._closing.set()
        self._disconnect()


class PostgresChangeFeed:
    """Reads the stamps at every poll; a notification of an urgent change ends the wait."""

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        self._url, self._clock = url, clock if isinstance(clock, SteadyClock) else None
        self._connection: psycopg.Connection | None = None
        self._connected_at = 0.0
        self._is_first = True
        self.breaks, self.stamps = 0, Stamps()

    def changed(self, wait_s: float) -> bool:
        try:
            connection = self._connected()
            # The notification only ends the wait; the stamps below say what changed. PostgreSQL
            # does not deliver to a closed connection, so a lost notification must cost one poll and
            # never a missed switch (ADR 5).
            for _ in connection.notifies(timeout=wait_s, stop_after=1):
                pass
            sent = monotonic() if self._clock is None else self._clock.monotonic()
            rows = connection.execute(_WATCH).fetchall()
        except psycopg.Error as error:
            self._disconnect()
            self._is_first, self.breaks = True, self.breaks + 1
            raise Unavailable(
                "database_unavailable", "The control database cannot be polled for changes."
            ) from error
        # A standby would confirm stamps that the primary has already advanced: a switch engaged
        # there would count as not engaged here.
        if rows[0][3]:
            self._disconnect()
            raise Unavailable(
                "database_standby",
                "The control database is a standby, whose data may be old. Point HILUM_DATABASE_URL at the primary.",
            )
        if self._clock is not None:
            self._clock.observe(rows[0][4], sent, self._clock.monotonic())
        stamps = Stamps({Part(part): Stamp(n, mark) for part, n, mark, *_ in rows if part is not None})
        changed = self._is_first or stamps != self.stamps
        self._is_first, self.stamps = False, stamps
        return changed

    def _connected(self) -> psycopg.Connection:
        if self._connection is not None and monotonic() - self._connected_at > CONNECTION_LIFE_S:
            self._disconnect()
        if self._connection is None:
            self._connection = postgres.connect(self._url, Lane.WATCH, autocommit=True)
            # LISTEN before the first read of the stamps: a change is then either in the stamps that
            # are read, or notified afterwards.
            self._connection.execute(f"LISTEN {CHANNEL}")
            self._connected_at = monotonic()
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def close(self) -> None:
        self._disconnect()


def open_change_feed(database: Database, clock: Clock | None = None) -> ChangeFeed:
    """Return the change feed of a database. On PostgreSQL its polls also keep ``clock`` at the server's time."""
    if database.is_sqlite:
        return SqliteChangeFeed(database.url.removeprefix("sqlite:///"))
    return PostgresChangeFeed(database.url, clock)
