"""The control-plane database: SQLite by default, PostgreSQL when asked; one set of tables and migrations for both."""

import select
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count, islice
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
    Table,
    create_engine,
    event,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool
from sqlalchemy.sql.dml import Insert
from sqlalchemy.types import TypeDecorator

from hilum.infra import database_faults as faults
from hilum.infra import lanes, logs, postgres
from hilum.infra.database_faults import DatabaseAway
from hilum.infra.lanes import BOUNDS, Lane
from hilum.infra.postgres import Link
from hilum.kernel.errors import DECIDED, Conflict

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

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ASKED_AT_ONCE = 500
BUSY_TIMEOUT_MS = 2_500
LOOK_FOR_MS = 8
"""SQLite looks at a lock after 1, 2 and 5 ms more; then a writer begins to wait from the start."""
WRITER_TIMEOUT_S = 10.0
"""How long a writer outside any request waits for its turn."""
CHECKOUT_TIMEOUT_S = 3.0
ROLLBACK_S = 0.5
REPORT_EVERY_S = 10.0
BREATH_S = 0.001
"""Between two writers the file's lock is free for so long, or another process, which only looks now and then, might never find it so."""
CACHE_KIB = 16 * 1024
WAL_PAGES = 8_000
"""So many pages (32 MB) gather before they are copied into the file: what is written often is then copied once."""
CAUSES_BOUND = 8
OWN_CHAIN = "own_chain"
"""Where a connection notes the audit chain that nobody else writes."""
TIPS = "tips"
"""Where a connection remembers the ends of its audit chains, as its last commit left them."""
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
    """Opens transactions; the only one who begins, commits or rolls back. Thread-safe; one per process.

    Each lane has connections of its own, opened when first needed.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        if self.is_sqlite:
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        self._engines: dict[Lane, Engine] = {}
        self._opening = RLock()
        self._numbers: set[int] = set()
        # SQLite's writer keeps one connection for itself: a connection's cache is worth nothing after another one has written.
        self.writing = self._open(Lane.OWN, 1) if self.is_sqlite else self.engine
        if self.is_sqlite:
            event.listen(self.writing, "connect", _look_often)
        self._gate, self._writer = Lock(), Lock()

    @property
    def engine(self) -> Engine:
        """The connections of code that runs outside any request."""
        return self._engine(Lane.OWN)

    def _engine(self, lane: Lane) -> Engine:
        found = self._engines.get(lane)
        if found is None:
            with self._opening:
                found = self._engines.get(lane)
                if found is None:
                    found = self._engines[lane] = self._open(lane, BOUNDS[lane].connections)
        return found

    def _open(self, lane: Lane, connections: int) -> Engine:
        pool = {"pool_size": connections, "max_overflow": 0, "pool_timeout": CHECKOUT_TIMEOUT_S}
        if self.is_sqlite:
            engine = create_engine(self.url, poolclass=QueuePool, hide_parameters=True, **pool)
            event.listen(engine, "connect", _prepare_sqlite)
            return engine
        engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: postgres.connect(self.url, lane),
            poolclass=QueuePool,
            pool_use_lifo=True,
            use_native_hstore=False,
            hide_parameters=True,
            **pool,
        )
        event.listen(engine, "connect", self._number)
        event.listen(engine, "close", self._let_go)
        event.listen(engine, "before_cursor_execute", _send_queued_first)
        return engine

    def _number(self, _connection: object, record: Any) -> None:
        """Assign a connection the lowest number that none has: it names the connection's own audit chain."""
        with self._opening:
            record.info["number"] = next(n for n in count() if n not in self._numbers)
            self._numbers.add(record.info["number"])

    def _let_go(self, _connection: object, record: Any) -> None:
        self._numbers.discard(record.info.get("number"))

    def write(self, work: Callable[[Connection], T], *, until: float | None = None) -> T:
        """Run ``work`` in one writing transaction: commit on return and on a decided refusal, else roll back.

        ``until`` is the monotonic time by which it must have ended. Raises Conflict when the database says that another transaction
        was first, DatabaseAway when it cannot be reached.
        """
        try:
            return self._write(work, until)
        except ChainMoved:  # found out at the commit, and nothing was changed
            return self._write(work, until)

    def _write(self, work: Callable[[Connection], T], until: float | None) -> T:
        with self._turn(until) as ends, self._transaction(None, ends) as tx:
            try:
                result = work(tx)
            except DECIDED:
                _commit(tx)
                raise
            _commit(tx)
            return result

    def write_together(
        self,
        works: Sequence[Callable[[Connection], Any]],
        on_loss: Callable[[], None],
        *,
        until: float | None = None,
    ) -> list[Outcome]:
        """Run each work as ``write`` would, all with one commit; return in their order how each ended, once that is durable.

        Each has a savepoint of its own, so one's failure takes nothing of another's. If the commit fails all have failed, and
        ``on_loss`` is called before anybody else may write.
        """
        ended: list[Outcome] = []
        with self._turn(until) as ends:
            try:
                with self._transaction(None, ends) as tx:
                    for work in works:
                        ended.append(self._within(tx, work))
                    _commit(tx)
            except Exception as error:  # noqa: BLE001 - a transaction's edge: whatever broke it, everyone in it must hear
                on_loss()
                return [Outcome(error=error)] * len(works)
        return ended

    def _within(self, tx: Connection, work: Callable[[Connection], Any]) -> Outcome:
        tx.exec_driver_sql("SAVEPOINT verb")
        try:
            with _in_our_words():
                outcome = Outcome(work(tx))
        except DECIDED as refusal:
            outcome = Outcome(error=refusal)
        except Exception as error:  # noqa: BLE001 - a verb's edge: the others go on
            tx.exec_driver_sql("ROLLBACK TO verb")
            tx.info.pop(TIPS, None)
            outcome = Outcome(error=error)
        tx.exec_driver_sql("RELEASE verb")
        return outcome

    @contextmanager
    def _turn(self, until: float | None) -> Iterator[float | None]:
        """Let this process's writers on SQLite take turns, and return by when the transaction must have ended.

        Its own waiting is not fair, so that under load one of many starves. Whoever is next holds the gate, so that the one before
        cannot take that turn too.
        """
        if not self.is_sqlite:
            yield until
            return
        ends = monotonic() + WRITER_TIMEOUT_S if until is None else until
        if not self._gate.acquire(timeout=max(0.0, ends - monotonic())):
            raise DatabaseAway(faults.SILENT)
        try:
            mine = self._writer.acquire(timeout=max(0.0, ends - monotonic()))
        finally:
            self._gate.release()
        if not mine:
            raise DatabaseAway(faults.SILENT)
        try:
            yield ends
        finally:
            self._writer.release()
            if self._gate.locked():
                sleep(BREATH_S)

    def read(self, work: Callable[[Connection], T], *, until: float | None = None) -> T:
        """Run ``work`` in one read-only view of the data."""
        with self._transaction(lanes.current(Lane.OWN), until) as tx:
            return work(tx)

    @contextmanager
    def _transaction(self, lane: Lane | None, until: float | None) -> Iterator[Connection]:
        """Open a transaction in a lane. ``lane`` is None for a writer, who on SQLite has one connection whatever the lane."""
        if self.is_sqlite:
            engine = self.writing if lane is None else self._engine(lane)
            with _in_our_words(), engine.connect() as tx:
                if lane is None:
                    _begin_writing(tx, until)
                else:
                    tx.exec_driver_sql("BEGIN")
                yield tx
            return
        lane = lane or lanes.current(Lane.OWN)
        with _in_our_words(), _checked_out(self._engine(lane), BOUNDS[lane].connections) as tx:
            link = _link_of(tx)
            link.until = until
            info = tx.info  # asked for later, a connection that broke would be made again
            info[postgres.QUEUED], info["committed"] = [], False
            try:
                tx.begin()
                yield tx
            finally:
                if not info["committed"]:
                    info.pop(TIPS, None)
                info[postgres.QUEUED] = []
                if link.closed and not tx.invalidated:
                    tx.invalidate()
                link.until = None if until is None else monotonic() + ROLLBACK_S

    def dispose(self) -> None:
        """Close every idle connection."""
        for engine in [*self._engines.values(), self.writing]:
            engine.dispose()


def _begin_writing(tx: Connection, until: float | None) -> None:
    """Begin once no other process writes, looking every few milliseconds until the deadline.

    SQLite's own waiting looks ever more seldom, at last ten times a second: who has waited long then loses to whoever has just come,
    and of several busy processes one waited for hundreds of turns of the others.
    """
    while True:
        try:
            tx.exec_driver_sql("BEGIN IMMEDIATE")
        except DBAPIError as error:
            if faults.fault_of(error.orig) is not faults.LOCKED or until is None or monotonic() >= until:
                raise
        else:
            return


def _link_of(tx: Connection) -> Link:
    link = tx.connection.driver_connection
    assert isinstance(link, Link)
    return link


@contextmanager
def _checked_out(engine: Engine, connections: int) -> Iterator[Connection]:
    """Take a connection that the server has not closed meanwhile, without asking the server: that would be a round trip."""
    for _ in range(connections + 1):
        with engine.connect() as tx:
            # A new connection is not looked at: over TLS there may be something to read that is nobody's end.
            if tx.info.setdefault("is_new", True) or _stands(_link_of(tx)):
                tx.info["is_new"] = False
                yield tx
                return
            tx.invalidate()
    raise DatabaseAway(faults.UNKNOWN)


def _stands(link: Link) -> bool:
    """Return whether an idle connection is as it was left. Something to read there is its end, or a message that nobody waits for."""
    if link.closed:
        return False
    poll = select.poll()
    poll.register(link.fileno(), select.POLLIN)
    return not poll.poll(0)


def _commit(tx: Connection) -> None:
    """Commit. A connection that broke meanwhile leaves in doubt whether it was."""
    try:
        info = tx.info
        if tx.dialect.name == "postgresql":
            postgres.send(_link_of(tx), info[postgres.QUEUED], commit=True)
            info[postgres.QUEUED] = []
        tx.commit()
        info["committed"] = True
    except psycopg.errors.DivisionByZero as error:
        raise ChainMoved("concurrent_change", "The audit chain moved on.") from error
    except (DBAPIError, psycopg.Error) as error:
        origin = error.orig if isinstance(error, DBAPIError) else error
        found = faults.fault_of(origin)
        if found is not None and isinstance(origin, psycopg.OperationalError) and not origin.sqlstate:
            _report(found)
            raise DatabaseAway(found, in_doubt=True) from error
        raise


def _send_queued_first(tx: Connection, *_: object) -> None:
    """Send what is queued before a statement that might look at it."""
    if tx.info.get(postgres.QUEUED):
        send_queued(tx)


def send_queued(tx: Connection) -> None:
    """Send what is queued in this transaction now."""
    queued, tx.info[postgres.QUEUED] = tx.info[postgres.QUEUED], []
    try:
        postgres.send(_link_of(tx), queued, commit=False)
    except psycopg.errors.DivisionByZero as error:
        raise ChainMoved("concurrent_change", "The audit chain moved on.") from error


class ChainMoved(Conflict):
    """An audit chain ends elsewhere than this process remembered. The transaction is tried once more, from what is stored."""


@contextmanager
def _in_our_words() -> Iterator[None]:
    """Raise our own error when the database was away, or another transaction first."""
    try:
        yield
    except (DBAPIError, sqlite3.Error, psycopg.Error) as error:
        origin = error.orig if isinstance(error, DBAPIError) else error
        if getattr(origin, "sqlstate", None) in {"40001", "40P01"}:
            raise Conflict("concurrent_change", "Somebody else changed this at the same moment.") from error
        if found := next(filter(None, map(faults.fault_of, (origin, *_before(error)))), None):
            _report(found)
            raise DatabaseAway(found) from error
        raise
    except PoolTimeout as error:
        raise DatabaseAway(faults.SILENT) from error


def _before(error: BaseException) -> Iterator[BaseException]:
    """List an error and those that it arose from: SQLite itself rolls back on a full disk, and undoing the rest fails in other words."""
    seen: BaseException | None = error
    for _ in range(CAUSES_BOUND):
        if seen is None:
            return
        yield seen
        seen = seen.__context__


_reported: dict[str, float] = {}


def _report(fault: faults.Fault) -> None:
    """Log a fault, each class at most once in ``REPORT_EVERY_S``: every request of a busy worker meets it."""
    now = monotonic()
    if now - _reported.get(fault.code, -REPORT_EVERY_S) >= REPORT_EVERY_S:
        _reported[fault.code] = now
        _log.warning("infra.database.unavailable", code=fault.code, what=fault.what, next=fault.next)


def is_away(error: object) -> bool:
    """Return whether the server, or SQLite's file, is busy or out of reach; anything else is a bug of ours."""
    return isinstance(error, BaseException) and faults.fault_of(error) is not None


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


def _look_often(connection: Any, _record: object) -> None:
    connection.execute(f"PRAGMA busy_timeout={LOOK_FOR_MS}")
