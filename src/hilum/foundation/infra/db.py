"""The control-plane database: SQLite by default, or PostgreSQL; one set of tables and migrations for both."""

import select
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import count
from pathlib import Path
from threading import Lock, RLock
from time import monotonic, sleep
from typing import Any, TypeVar

import psycopg
from sqlalchemy import (
    BigInteger,
    Connection,
    Dialect,
    Engine,
    MetaData,
    Row,
    Select,
    Table,
    bindparam,
    create_engine,
    event,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool
from sqlalchemy.sql.dml import Insert
from sqlalchemy.types import TypeDecorator

from hilum.foundation.infra import database_faults as faults
from hilum.foundation.infra import lanes, logs, postgres
from hilum.foundation.infra.database_faults import DatabaseUnavailable
from hilum.foundation.infra.lanes import BOUNDS, Lane
from hilum.foundation.infra.postgres import Link
from hilum.foundation.kernel.batches import batched
from hilum.foundation.kernel.errors import DECIDED, Conflict, NotFound
from hilum.foundation.kernel.times import EPOCH, from_micros, to_micros

T = TypeVar("T")
_log = logs.get("infra")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

BATCH_SIZE = 500
"""Values in one IN list: SQLite limits a statement's parameters."""
BUSY_TIMEOUT_MS = 2_500
"""How long SQLite waits for a lock of another process before a statement fails."""
SHORT_BUSY_TIMEOUT_MS = 8
"""SQLite's busy handler sleeps 1, 2 and 5 ms, then longer; a writer starts over after these, so that it never sleeps long."""
WRITER_TIMEOUT_S = 10.0
"""How long a writer outside a request waits for its turn."""
CHECKOUT_TIMEOUT_S = 3.0
"""How long a transaction waits for a connection of its lane."""
ROLLBACK_S = 0.5
"""How long the rollback may take after a transaction has missed its deadline."""
REPORT_EVERY_S = 10.0
WRITER_PAUSE_S = 0.001
"""The file's lock is left free for this time between two writers: another process only polls it, and might never find it free."""
CACHE_KIB = 16 * 1024
WAL_PAGES = 8_000
"""The write-ahead log grows to this many pages (32 MB) before a checkpoint, so that a page written often is copied once."""
CAUSES_BOUND = 8
"""How many causes of an error are looked at."""
OWN_CHAIN = "own_chain"
"""Key in a connection's ``info`` of the audit chain that only this connection extends."""
TIPS = "tips"
"""Key in a connection's ``info`` of the ends of its audit chains after its last commit."""


class Instant(TypeDecorator[datetime]):
    """A moment in UTC, stored as microseconds since 1970: exact, ordered, and the same on both databases."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        # The round trip raises OverflowError for a moment that a UTC datetime cannot represent: stored, it could never be read.
        return None if value is None else to_micros(EPOCH + (value - EPOCH))

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else from_micros(value)


def insert_or_ignore(tx: Connection, table: Table) -> Insert:
    """Build ``INSERT .. ON CONFLICT DO NOTHING`` in the connection's dialect; its rowcount is 0 if the row existed."""
    return insert_or_ignore_for(tx.dialect.name, table)


@cache
def insert_or_ignore_for(dialect: str, table: Table) -> Insert:
    """Build ``insert_or_ignore`` for a dialect by its name."""
    if dialect == "postgresql":
        # psycopg forgets the row count when its cursor closes, and callers decide by it who was first.
        return postgresql.insert(table).on_conflict_do_nothing().execution_options(preserve_rowcount=True)
    return sqlite.insert(table).on_conflict_do_nothing()


def get_row(
    tx: Connection, table: Table, id_: str, noun: str, *, code: str = "", lock: bool = False
) -> Row[Any]:
    """Get the row with an id; ``lock``: no other transaction changes it until this one ends. Raises NotFound.

    ``noun`` is what the error says that there is none of; its code begins with ``code``, or with the noun.
    """
    row = row_of(tx, table, id_, lock=lock)
    if row is None:
        raise NotFound(f"{code or noun}_not_found", f"There is no such {noun.replace('_', ' ')}.")
    return row


def row_of(tx: Connection, table: Table, id_: str, *, lock: bool = False) -> Row[Any] | None:
    """Return the row of a table with an id; None if there is none. ``lock``: no other transaction changes it until this one ends."""
    return tx.execute(_row_by_id(table, lock=lock), {"wanted": id_}).first()


@cache
def _row_by_id(table: Table, *, lock: bool) -> Select[Any]:
    # Built once: building a statement, and the key by which its compiled form is found, takes longer than running this one.
    query = table.select().where(table.c.id == bindparam("wanted"))
    return query.with_for_update() if lock else query


def in_batches(values: Iterable[T]) -> Iterator[list[T]]:
    """Split the values of an IN list into lists of at most BATCH_SIZE."""
    return batched(values, BATCH_SIZE)


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The result of one task of a group: the value that it returned, or the error to raise in its caller."""

    value: Any = None
    error: Exception | None = None


class Database:
    """Opens transactions; nothing else begins, commits or rolls back. Thread-safe; one per process.

    Each lane has connections of its own, opened at first use.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        if self.is_sqlite:
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        self._engines: dict[Lane, Engine] = {}
        self._opening = RLock()
        self._numbers: set[int] = set()
        # On SQLite all writers share one connection: a write through another one would invalidate this one's page cache.
        self.writing = self._open(Lane.OWN, 1) if self.is_sqlite else self.engine
        if self.is_sqlite:
            event.listen(self.writing, "connect", _use_short_busy_timeout)
        self._gate, self._writer = Lock(), Lock()

    @property
    def engine(self) -> Engine:
        """The engine of code that runs outside a request."""
        return self._engine(Lane.OWN)

    def _engine(self, lane: Lane) -> Engine:
        engine = self._engines.get(lane)
        if engine is None:
            with self._opening:
                engine = self._engines.get(lane)
                if engine is None:
                    engine = self._engines[lane] = self._open(lane, BOUNDS[lane].connections)
        return engine

    def _open(self, lane: Lane, connections: int) -> Engine:
        # No overflow: a lane has as many connections as threads, and max_connections on the server
        # is planned by that sum (ADR 32).
        pool = {"pool_size": connections, "max_overflow": 0, "pool_timeout": CHECKOUT_TIMEOUT_S}
        if self.is_sqlite:
            # hide_parameters: values would appear in every error message, and logs may hold no
            # names, hashes or clinical content.
            engine = create_engine(self.url, poolclass=QueuePool, hide_parameters=True, **pool)
            event.listen(engine, "connect", _prepare_sqlite)
            return engine
        engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: postgres.connect(self.url, lane),
            poolclass=QueuePool,
            pool_use_lifo=True,
            # SQLAlchemy would ask the server about hstore on each new connection; no column uses it.
            use_native_hstore=False,
            hide_parameters=True,
            **pool,
        )
        event.listen(engine, "connect", self._assign_number)
        event.listen(engine, "close", self._release_number)
        event.listen(engine, "before_cursor_execute", _send_queued_first)
        return engine

    def _assign_number(self, _connection: object, record: Any) -> None:
        """Assign a connection the lowest free number, which identifies its own audit chain."""
        with self._opening:
            # The lowest free one, so that there are no more chains than connections at a time: a
            # checkpoint asks for the end of each chain.
            record.info["number"] = next(n for n in count() if n not in self._numbers)
            self._numbers.add(record.info["number"])

    def _release_number(self, _connection: object, record: Any) -> None:
        self._numbers.discard(record.info.get("number"))

    def write(self, task: Callable[[Connection], T], *, until: float | None = None) -> T:
        """Run ``task`` in one write transaction: commit on return and on a decided refusal, else roll back.

        ``until`` is the monotonic time by which it must have ended. Raises Conflict when a concurrent transaction changed the same
        rows, DatabaseUnavailable when the database cannot be reached.
        """
        try:
            return self._write(task, until)
        except EventChainMoved:  # detected at the commit, which then changed nothing: safe to run once more
            return self._write(task, until)

    def _write(self, task: Callable[[Connection], T], until: float | None) -> T:
        with self._writer_turn(until) as ends, self._transaction(None, ends) as tx:
            try:
                result = task(tx)
            except DECIDED:
                # A refusal is an answer, not a failure: its audit record, and the tokens that a replayed
                # code's refusal revoked, must be durable before the caller learns of it (ADR 2).
                _commit(tx)
                raise
            _commit(tx)
            return result

    def write_group(
        self,
        tasks: Sequence[Callable[[Connection], Any]],
        on_loss: Callable[[], None],
        *,
        until: float | None = None,
    ) -> list[TaskResult]:
        """Run each task as ``write`` would, all with one commit; return their results in order, once they are durable.

        Each task has its own savepoint, so one's failure rolls back nothing of another. If the commit fails, all tasks fail, and
        ``on_loss`` is called before the next writer begins: tasks may have cached values that were never committed.
        """
        with self._writer_turn(until) as ends:
            try:
                with self._transaction(None, ends) as tx:
                    results = [self._run_in_savepoint(tx, task) for task in tasks]
                    _commit(tx)
            except Exception as error:  # noqa: BLE001 - a transaction's edge: the error is every task's result
                on_loss()
                return [TaskResult(error=error)] * len(tasks)
        return results

    def _run_in_savepoint(self, tx: Connection, task: Callable[[Connection], Any]) -> TaskResult:
        # On the driver: through SQLAlchemy each of these costs ten times as much, and there are two for every verb.
        driver = _driver_of(tx)
        driver.execute("SAVEPOINT verb")
        try:
            with _translated_errors():
                result = TaskResult(task(tx))
        except DECIDED as refusal:
            result = TaskResult(error=refusal)
        except Exception as error:  # noqa: BLE001 - a task's edge: the other tasks continue
            driver.execute("ROLLBACK TO verb")
            tx.info.pop(TIPS, None)  # the ends of the audit chains that were just rolled back
            result = TaskResult(error=error)
        # ROLLBACK TO leaves the savepoint open; without this the savepoints of a group would nest.
        driver.execute("RELEASE verb")
        return result

    @contextmanager
    def _writer_turn(self, until: float | None) -> Iterator[float | None]:
        """Serialize this process's writers on SQLite, and yield the monotonic time by which the transaction must end.

        SQLite's lock is not fair: under load one of many writers starves. The next writer waits holding the gate, so that the present
        one cannot take the lock twice in a row.
        """
        if not self.is_sqlite:
            yield until
            return
        ends = monotonic() + WRITER_TIMEOUT_S if until is None else until
        if not self._gate.acquire(timeout=max(0.0, ends - monotonic())):
            raise DatabaseUnavailable(faults.SILENT)
        try:
            acquired = self._writer.acquire(timeout=max(0.0, ends - monotonic()))
        finally:
            self._gate.release()
        if not acquired:
            raise DatabaseUnavailable(faults.SILENT)
        try:
            yield ends
        finally:
            self._writer.release()
            # Only when another writer of this process waits: it would take the file's lock again
            # before any other process could see it free.
            if self._gate.locked():
                sleep(WRITER_PAUSE_S)

    def read(self, task: Callable[[Connection], T], *, until: float | None = None) -> T:
        """Run ``task`` in one read transaction of the current lane."""
        with self._transaction(lanes.current(Lane.OWN), until) as tx:
            return task(tx)

    @contextmanager
    def _transaction(self, lane: Lane | None, until: float | None) -> Iterator[Connection]:
        """Open a transaction in a lane. ``lane`` is None for a writer: on SQLite all lanes share one connection for writes."""
        if self.is_sqlite:
            engine = self.writing if lane is None else self._engine(lane)
            with _translated_errors(), engine.connect() as tx:
                # On the driver, as the commit: through SQLAlchemy each costs ten times as much, and every verb has both.
                if lane is None:
                    _begin_writing(_driver_of(tx), until)
                else:
                    _driver_of(tx).execute("BEGIN")
                yield tx
            return
        writes, lane = lane is None, lane or lanes.current(Lane.OWN)
        with _translated_errors(), _checked_out(self._engine(lane), BOUNDS[lane].connections) as tx:
            link = _link_of(tx)
            link.until = until
            # Each of its few statements sees the latest commit either way; without a transaction, two round trips fewer.
            link.autocommit = lane is Lane.CALLERS and not writes
            info = tx.info  # read now: on a broken connection the property would reconnect
            info[postgres.QUEUED], info["committed"] = [], False
            try:
                tx.begin()
                yield tx
            finally:
                if not info["committed"]:  # the chains may not end where this transaction left them
                    info.pop(TIPS, None)
                info[postgres.QUEUED] = []
                # A missed deadline closes the link below the pool, which would otherwise hand it out again.
                if link.closed and not tx.invalidated:
                    tx.invalidate()
                # The pool rolls back when the connection is returned. After a missed deadline the
                # rollback needs time of its own, or a healthy connection would be closed.
                link.until = None if until is None else monotonic() + ROLLBACK_S

    def dispose(self) -> None:
        """Close every idle connection."""
        for engine in [*self._engines.values(), self.writing]:
            engine.dispose()


def _driver_of(tx: Connection) -> Any:
    return tx.connection.driver_connection


def _begin_writing(driver: sqlite3.Connection, until: float | None) -> None:
    """Begin once no other process writes, polling every few milliseconds until the deadline.

    SQLite's own busy handler polls ever more rarely, at last ten times a second, so a process that has waited long loses to one that
    has just come: under load one process waited for hundreds of transactions of the others.
    """
    while True:
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if faults.fault_of(error) is not faults.LOCKED or until is None or monotonic() >= until:
                raise
        else:
            return


def _link_of(tx: Connection) -> Link:
    link = _driver_of(tx)
    assert isinstance(link, Link)
    return link


@contextmanager
def _checked_out(engine: Engine, connections: int) -> Iterator[Connection]:
    """Check out a connection that the server has not closed meanwhile, without a round trip to the server."""
    # After a restart of the server every pooled connection may be dead: discard each at most once,
    # then open one more.
    for _ in range(connections + 1):
        with engine.connect() as tx:
            # A new connection is not checked: over TLS it may have data to read (session tickets) that does not mean it was closed.
            if tx.info.setdefault("is_new", True) or _is_open(_link_of(tx)):
                tx.info["is_new"] = False
                yield tx
                return
            tx.invalidate()
    raise DatabaseUnavailable(faults.UNKNOWN)


def _is_open(link: Link) -> bool:
    """Check whether an idle connection is still open: it has nothing to read, neither an end of file nor an unexpected message."""
    if link.closed:
        return False
    poll = select.poll()
    poll.register(link.fileno(), select.POLLIN)
    return not poll.poll(0)


def _commit(tx: Connection) -> None:
    """Commit. Raises DatabaseUnavailable, in doubt, when the connection broke before the answer."""
    try:
        info = tx.info
        if tx.dialect.name == "postgresql":
            postgres.send(_link_of(tx), info[postgres.QUEUED], commit=True)
            info[postgres.QUEUED] = []
            tx.commit()
        else:
            _driver_of(tx).commit()
        info["committed"] = True
    # A condition that is checked in the pipeline itself, since its result cannot be looked at
    # without another round trip (ADR 32).
    except psycopg.errors.DivisionByZero as error:  # ``audit.store`` divides by zero when a chain's end moved
        raise EventChainMoved from error
    except (DBAPIError, psycopg.Error) as error:
        origin = error.orig if isinstance(error, DBAPIError) else error
        fault = faults.fault_of(origin)
        # Without an SQLSTATE the error is the connection's and not the server's: the commit may have reached the server.
        if fault is not None and isinstance(origin, psycopg.OperationalError) and not origin.sqlstate:
            _report(fault)
            raise DatabaseUnavailable(fault, in_doubt=True) from error
        raise


def _send_queued_first(tx: Connection, *_: object) -> None:
    """Send the queued statements before a statement that may depend on them."""
    if tx.info.get(postgres.QUEUED):
        send_queued(tx)


def send_queued(tx: Connection) -> None:
    """Send the queued statements of this transaction."""
    queued, tx.info[postgres.QUEUED] = tx.info[postgres.QUEUED], []
    try:
        postgres.send(_link_of(tx), queued, commit=False)
    except psycopg.errors.DivisionByZero as error:
        raise EventChainMoved from error


class EventChainMoved(Conflict):
    """An audit chain was extended by another process. The transaction is run once more, from the stored end of the chain."""

    def __init__(self) -> None:
        super().__init__("concurrent_change", "The audit chain was extended concurrently.")


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Translate driver errors: DatabaseUnavailable for faults, Conflict for serialization failures and deadlocks."""
    try:
        yield
    except (DBAPIError, sqlite3.Error, psycopg.Error) as error:
        origin = error.orig if isinstance(error, DBAPIError) else error
        # serialization_failure and deadlock_detected: the server undid this transaction in favour of another.
        if getattr(origin, "sqlstate", None) in {"40001", "40P01"}:
            raise Conflict(
                "concurrent_change", "This was changed at the same time by another request. Retry."
            ) from error
        if fault := next(filter(None, map(faults.fault_of, (origin, *_causes(error)))), None):
            _report(fault)
            raise DatabaseUnavailable(fault) from error
        raise
    except PoolTimeout as error:
        raise DatabaseUnavailable(faults.SILENT) from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """List an error and its causes: on a full disk SQLite rolls back by itself, and our own rollback then fails with another error."""
    cause: BaseException | None = error
    # Bounded: the contexts of exceptions that are raised again can form a cycle.
    for _ in range(CAUSES_BOUND):
        if cause is None:
            return
        yield cause
        cause = cause.__context__


_reported: dict[str, float] = {}


def _report(fault: faults.Fault) -> None:
    """Log a fault, each class at most once in ``REPORT_EVERY_S``: otherwise every request of a busy worker would."""
    now = monotonic()
    if now - _reported.get(fault.code, -REPORT_EVERY_S) >= REPORT_EVERY_S:
        _reported[fault.code] = now
        _log.warning("infra.database.unavailable", code=fault.code, what=fault.what, next=fault.next)


def is_unavailable(error: object) -> bool:
    """Check whether the server, or SQLite's file, is busy or unreachable; any other error is a bug of ours."""
    return isinstance(error, BaseException) and faults.fault_of(error) is not None


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver must not begin transactions itself: a deferred one that reads and then writes fails with SQLITE_BUSY_SNAPSHOT.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    # WAL: readers and the writer do not wait for each other. FULL: a revocation or a used code that was
    # answered must survive a power cut; NORMAL syncs the log at checkpoints only (ADR 2). SQLite leaves
    # foreign keys unchecked unless each connection asks for it.
    _use_wal(connection)
    for pragma in (
        "synchronous=FULL",
        "foreign_keys=ON",
        f"cache_size=-{CACHE_KIB}",
        f"wal_autocheckpoint={WAL_PAGES}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _use_wal(driver: sqlite3.Connection) -> None:
    """Turn the file's write-ahead log on, trying again while another process does the same.

    Both hold the read lock and ask for the exclusive one; SQLite then answers SQLITE_BUSY without waiting for its timeout.
    """
    ends = monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            driver.execute("PRAGMA journal_mode=WAL")
        except sqlite3.Error as error:
            if faults.fault_of(error) is not faults.LOCKED or monotonic() >= ends:
                raise
            sleep(WRITER_PAUSE_S)
        else:
            return


def _use_short_busy_timeout(connection: Any, _record: object) -> None:
    connection.execute(f"PRAGMA busy_timeout={SHORT_BUSY_TIMEOUT_MS}")
