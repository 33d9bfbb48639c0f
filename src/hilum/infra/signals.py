"""Hearing that another connection committed: how each process learns within milliseconds that enforcement facts changed.

SQLite: ``PRAGMA data_version`` on a connection of its own. PostgreSQL: LISTEN on the epoch's channel, with the epoch itself read at
every poll as the backstop. Both are used from one thread, which they block for at most the poll.
"""

import sqlite3
from threading import Event
from typing import Protocol

import psycopg

from hilum.infra.db import Database
from hilum.infra.epoch import CHANNEL
from hilum.kernel.errors import Unavailable


class Signal(Protocol):
    """One process's ear on the database."""

    def changed(self, wait_s: float) -> bool:
        """Wait at most so long for a change; tell whether there may have been one since the last call.

        False is a confirmation: nothing was committed. Raises Unavailable when that cannot be told.
        """
        ...

    def close(self) -> None: ...


class SqliteSignal:
    """Sees that the file was changed by any other connection, of this or another process."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._version = -1
        self._closing = Event()

    def changed(self, wait_s: float) -> bool:
        self._closing.wait(wait_s)
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
            version = int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            self._forget()
            raise Unavailable("database_unavailable", "The control database cannot be watched.") from error
        seen, self._version = self._version, version
        return version != seen

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._version = None, -1

    def close(self) -> None:
        self._closing.set()
        self._forget()


class PostgresSignal:
    """Waits for a notification of the epoch, and reads the epoch at every poll in case one was lost."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection | None = None
        self._epoch = -1

    def changed(self, wait_s: float) -> bool:
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._url, autocommit=True, connect_timeout=2)
                self._connection.execute(f"LISTEN {CHANNEL}")
            for _ in self._connection.notifies(timeout=wait_s, stop_after=1):
                pass
            row = self._connection.execute("SELECT n FROM control_epoch").fetchone()
        except psycopg.Error as error:
            self._forget()
            raise Unavailable("database_unavailable", "The control database cannot be watched.") from error
        epoch = int(row[0]) if row is not None else 0
        seen, self._epoch = self._epoch, epoch
        return epoch != seen

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._epoch = None, -1

    def close(self) -> None:
        self._forget()


def signal_of(database: Database) -> Signal:
    """Make the ear for a database."""
    if database.is_sqlite:
        return SqliteSignal(database.url.removeprefix("sqlite:///"))
    return PostgresSignal(database.url)
