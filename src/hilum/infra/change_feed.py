"""Watching the database: how each process learns within milliseconds that enforcement facts changed.

SQLite: ``PRAGMA data_version`` on a connection of its own. PostgreSQL: the stamps of all parts, read at every poll, and LISTEN for what
is urgent. Both are used from one thread, which they block for at most the poll.
"""

import sqlite3
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Protocol

import psycopg

from hilum.infra import postgres
from hilum.infra.database_clock import SteadyClock
from hilum.infra.db import Database
from hilum.infra.epoch import CHANNEL, Stamp, Stamps
from hilum.infra.lanes import Lane
from hilum.kernel.errors import Unavailable
from hilum.kernel.ids import Part
from hilum.kernel.ports import Clock

CONNECTION_LIFE_S = 5.0
"""A connection to PostgreSQL is made again so often: an address may have moved to another server while the old one still answers."""
_WATCH = "SELECT part, n, mark, pg_is_in_recovery(), clock_timestamp() FROM (VALUES (1)) AS one LEFT JOIN fact_epoch ON true"


class Signal(Protocol):
    """One process's watch on the database."""

    breaks: int
    """How often the connection was lost and made again."""
    stamps: Stamps
    """What was read with the last call, where the watch reads stamps."""

    def changed(self, wait_s: float) -> bool:
        """Wait at most so long for a change; return whether there may have been one since the last call.

        False is a confirmation: nothing was committed. Raises Unavailable when that cannot be said.
        """
        ...

    def close(self) -> None: ...


class SqliteSignal:
    """Sees that the file was changed by any other connection, of this or another process."""

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
            version = int(self._connection.execute("PRAGMA data_version").fetchone()[0])
            self._same_file()
        except (sqlite3.Error, OSError) as error:
            self._forget()
            raise Unavailable("database_unavailable", "The control database cannot be watched.") from error
        seen, self._version = self._version, version
        return version != seen

    def _same_file(self) -> None:
        """Raise Unavailable when another file was put in the place of the one that is open: its switches would go unseen."""
        found = Path(self._path).stat()
        file = found.st_dev, found.st_ino
        if self._file is None:
            self._file = file
        elif self._file != file:
            raise Unavailable(
                "database_replaced", "The file of the control database was replaced; restart hilum."
            )

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._version, self.breaks = None, -1, self.breaks + 1

    def close(self) -> None:
        self._closing.set()
        self._forget()


class PostgresSignal:
    """Reads the stamps at every poll, and is woken by a notification of what is urgent."""

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        self._url, self._clock = url, clock if isinstance(clock, SteadyClock) else None
        self._connection: psycopg.Connection | None = None
        self._connected_at = 0.0
        self._is_first = True
        self.breaks, self.stamps = 0, Stamps()

    def changed(self, wait_s: float) -> bool:
        try:
            connection = self._connected()
            for _ in connection.notifies(timeout=wait_s, stop_after=1):
                pass
            sent = monotonic() if self._clock is None else self._clock.monotonic()
            rows = connection.execute(_WATCH).fetchall()
        except psycopg.Error as error:
            self._drop()
            self._is_first, self.breaks = True, self.breaks + 1
            raise Unavailable("database_unavailable", "The control database cannot be watched.") from error
        if rows[0][3]:
            self._drop()
            raise Unavailable("database_standby", "The control database is a standby, which may be behind.")
        if self._clock is not None:
            self._clock.observe(rows[0][4], sent, self._clock.monotonic())
        stamps = Stamps({Part(part): Stamp(n, mark) for part, n, mark, *_ in rows if part is not None})
        changed = self._is_first or stamps != self.stamps
        self._is_first, self.stamps = False, stamps
        return changed

    def _connected(self) -> psycopg.Connection:
        if self._connection is not None and monotonic() - self._connected_at > CONNECTION_LIFE_S:
            self._drop()
        if self._connection is None:
            self._connection = postgres.connect(self._url, Lane.WATCH, autocommit=True)
            self._connection.execute(f"LISTEN {CHANNEL}")
            self._connected_at = monotonic()
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def close(self) -> None:
        self._drop()


def signal_of(database: Database, clock: Clock | None = None) -> Signal:
    """Return the watch on a database; it keeps ``clock`` at the server's time."""
    if database.is_sqlite:
        return SqliteSignal(database.url.removeprefix("sqlite:///"))
    return PostgresSignal(database.url, clock)
