"""The control-plane database: SQLite by default, PostgreSQL when asked; one set of tables and migrations for both."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any, TypeVar

import psycopg
from sqlalchemy import (
    BigInteger,
    Connection,
    Dialect,
    Engine,
    MetaData,
    Table,
    create_engine,
    event,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool
from sqlalchemy.sql.dml import Insert
from sqlalchemy.types import TypeDecorator

from hilum.kernel.errors import DECIDED, Conflict, Unavailable

T = TypeVar("T")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ASKED_AT_ONCE = 500
BUSY_TIMEOUT_MS = 5_000
WRITER_TIMEOUT_S = 10.0
POOL_SIZE = 8
CACHE_KIB = 16 * 1024
WAL_PAGES = 8_000
"""So many pages (32 MB) gather before they are copied into the file: what is written often is then copied once."""
CAUSES_BOUND = 8
_AWAY = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    }
)
_MICROSECOND = timedelta(microseconds=1)


class Instant(TypeDecorator[datetime]):
    """A moment in UTC, stored as whole microseconds since 1970: exact, ordered and the same on both databases."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        # Overflows for a moment that UTC has no name for: stored, it could never be read again.
        return None if value is None else (EPOCH + (value - EPOCH) - EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else EPOCH + timedelta(microseconds=value)


def insert_or_ignore(tx: Connection, table: Table) -> Insert:
    """``INSERT .. ON CONFLICT DO NOTHING`` in the words of the connection's database; rowcount tells who was first."""
    return insert_or_ignore_for(tx.dialect.name, table)


@cache
def insert_or_ignore_for(dialect: str, table: Table) -> Insert:
    """Give ``insert_or_ignore`` in the words of a database by its name."""
    if dialect == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing().execution_options(preserve_rowcount=True)
    return sqlite.insert(table).on_conflict_do_nothing()


def in_parts(whole: Iterable[T]) -> Iterator[list[T]]:
    """Split what a statement asks for by value into lists that every database takes."""
    left = iter(whole)
    while part := list(islice(left, ASKED_AT_ONCE)):
        yield part


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one of several works ended: by what it gave, or by the error that is its caller's."""

    value: Any = None
    error: Exception | None = None


class Database:
    """Opens transactions; the only one who begins, commits or rolls back. Thread-safe; one per process."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        if self.is_sqlite:
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        self.engine = self._open(POOL_SIZE)
        # SQLite's writer keeps one connection for itself: a connection's cache is worth nothing after another one has written.
        self.writing = self._open(1) if self.is_sqlite else self.engine
        self._gate, self._writer = Lock(), Lock()

    def _open(self, connections: int) -> Engine:
        engine = create_engine(
            self.url.replace("postgresql://", "postgresql+psycopg://"),
            poolclass=QueuePool,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=10,
            pool_pre_ping=not self.is_sqlite,
            hide_parameters=True,
        )
        if self.is_sqlite:
            event.listen(engine, "connect", _prepare_sqlite)
        return engine

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in one writing transaction: commit on return and on a decided refusal, else roll back.

        Raises Conflict when the database says that another transaction was first, Unavailable when it cannot be reached.
        """
        with self._turn(), self._transaction(self.writing, "BEGIN IMMEDIATE") as tx:
            try:
                result = work(tx)
            except DECIDED:
                tx.commit()
                raise
            tx.commit()
            return result

    def write_together(
        self, works: Sequence[Callable[[Connection], Any]], on_loss: Callable[[], None]
    ) -> list[Outcome]:
        """Run each work as ``write`` would, all with one commit; tells in their order how each ended, once that is durable.

        Each has a savepoint of its own, so one's failure takes nothing of another's. If the commit fails all have failed, and
        ``on_loss`` is told before anybody else may write.
        """
        ended: list[Outcome] = []
        with self._turn():
            try:
                with self._transaction(self.writing, "BEGIN IMMEDIATE") as tx:
                    for work in works:
                        ended.append(self._within(tx, work))
                    tx.commit()
            except Exception as error:  # noqa: BLE001 - a transaction's edge: whatever broke it, everyone in it must hear
                on_loss()
                return [Outcome(error=error)] * len(works)
        return ended

    def _within(self, tx: Connection, work: Callable[[Connection], Any]) -> Outcome:
        tx.exec_driver_sql("SAVEPOINT verb")
        try:
            with self._told_apart():
                outcome = Outcome(work(tx))
        except DECIDED as refusal:
            outcome = Outcome(error=refusal)
        except Exception as error:  # noqa: BLE001 - a verb's edge: the others go on
            tx.exec_driver_sql("ROLLBACK TO verb")
            outcome = Outcome(error=error)
        tx.exec_driver_sql("RELEASE verb")
        return outcome

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Let this process's writers on SQLite take turns: its own waiting is not fair, so that under load one of many starves.

        Whoever is next holds the gate, so that the one before cannot take that turn too.
        """
        if not self.is_sqlite:
            yield
            return
        ends = monotonic() + WRITER_TIMEOUT_S
        if not self._gate.acquire(timeout=WRITER_TIMEOUT_S):
            raise _unreachable()
        try:
            mine = self._writer.acquire(timeout=max(0.0, ends - monotonic()))
        finally:
            self._gate.release()
        if not mine:
            raise _unreachable()
        try:
            yield
        finally:
            self._writer.release()

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in one read-only view of the data."""
        with self._transaction(self.engine, "BEGIN") as tx:
            return work(tx)

    @contextmanager
    def _transaction(self, engine: Engine, begin: str) -> Iterator[Connection]:
        with self._told_apart(), engine.connect() as tx:
            if self.is_sqlite:
                tx.exec_driver_sql(begin)
            else:
                tx.begin()
            yield tx

    @contextmanager
    def _told_apart(self) -> Iterator[None]:
        """Tell in our words when the database was away, or another transaction first."""
        try:
            yield
        except (DBAPIError, sqlite3.Error, psycopg.Error) as error:
            origin = error.orig if isinstance(error, DBAPIError) else error
            if getattr(origin, "sqlstate", None) in {"40001", "40P01"}:
                raise Conflict(
                    "concurrent_change", "Somebody else changed this at the same moment."
                ) from error
            if any(map(is_away, _before(error))):
                raise _unreachable() from error
            raise

    def dispose(self) -> None:
        """Close every idle connection."""
        self.engine.dispose()
        self.writing.dispose()


def _before(error: BaseException) -> Iterator[BaseException]:
    """List an error and those that it arose from: SQLite itself rolls back on a full disk, and undoing the rest fails in other words."""
    seen: BaseException | None = error
    for _ in range(CAUSES_BOUND):
        if seen is None:
            return
        yield seen
        seen = seen.__context__


def _unreachable() -> Unavailable:
    return Unavailable("database_unavailable", "The database cannot be reached right now.")


def is_away(error: object) -> bool:
    """Tell whether the server, or SQLite's file, is busy or out of reach; anything else SQLite calls operational is a bug of ours."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, psycopg.OperationalError) or (code is not None and code & 0xFF in _AWAY)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver must not begin transactions by itself: a deferred one that reads and then writes fails with SQLITE_BUSY_SNAPSHOT.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"cache_size=-{CACHE_KIB}",
        f"wal_autocheckpoint={WAL_PAGES}",
    ):
        connection.execute(f"PRAGMA {pragma}")
