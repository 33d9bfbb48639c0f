"""The control epoch: for each part of the enforcement facts, how often it changed, and what changed recently.

The count is a row that UPDATE locks until commit, so counts are ordered by commit; a sequence would not be. Each part has its own
row, created at its first change, so that writers of different parts never wait for each other. Each advance sets a new random mark:
two copies of a database that diverged (a failover that lost commits, a restored backup) differ in the mark even where their counts
are equal.

Each advance also adds rows with the changed keys. A process that holds the facts of an earlier stamp reads those keys, or reads
everything again when the rows do not lead from its stamp to the present one without a gap.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from cachetools import LRUCache
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    bindparam,
    case,
    delete,
    func,
    literal,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Insert

from hilum.foundation.infra.db import Instant, metadata
from hilum.foundation.infra.postgres import QUEUED
from hilum.foundation.infra.prepared_statements import PreparedStatement
from hilum.foundation.kernel.ids import Part

T = TypeVar("T")
CACHE_BOUND = 20_000
CHANGES_BOUND = 10_000
"""Changes that are read one by one; a process that missed more reads everything again."""
KEYS_BOUND = 5_000
"""Keys that one transaction records; when it changed more, everything is read again."""
CHANGES_KEPT = timedelta(minutes=15)
PURGE_BATCH = 5_000
ANYTHING = ""
"""The key of a change without keys: the whole part is read again."""
CHANNEL = "hilum_epoch"

fact_epoch = Table(
    "fact_epoch",
    metadata,
    Column("part", String(40), primary_key=True),
    Column("n", BigInteger, nullable=False),
    Column("mark", BigInteger, nullable=False),
    Column("before", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
)
"""``before`` is the mark that the last advance replaced. ``at`` is the latest time at which the part changed."""

fact_change = Table(
    "fact_change",
    metadata,
    Column("part", String(40), primary_key=True),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("at_n", Integer, primary_key=True, autoincrement=False),
    Column("key", String(700), nullable=False),
    Column("before", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
    Index(None, "at"),
)
"""The keys that each count of a part changed. ``at_n`` numbers the keys of one count."""


class Stamp(NamedTuple):
    """The count of a part with its mark. Equal stamps mean equal facts."""

    n: int = 0
    mark: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One change: the key that its module recorded, and when."""

    n: int
    key: str
    at: datetime


class Stamps(dict[Part, Stamp]):
    """The stamp of every part; a part that never changed has ``Stamp()``."""

    newest: datetime | None = None
    """The latest time at which any part changed."""

    def __missing__(self, part: Part) -> Stamp:
        return Stamp()

    @property
    def total(self) -> int:
        """The number of changes of all parts."""
        return sum(stamp.n for stamp in self.values())

    def follows(self, before: "Stamps") -> bool:
        """Check whether one database can have advanced from ``before`` to these stamps; False means another copy of it."""
        return all(self[part].n > stamp.n or self[part] == stamp for part, stamp in before.items())


def _random(dialect: str) -> Any:
    """Return an SQL expression for 64 random bits, drawn by the database: processes with equal seeds must not draw equal marks."""
    if dialect == "postgresql":
        return func.hashtextextended(literal_column("gen_random_uuid()::text"), 0)
    return func.random()


def _advance(dialect: str) -> Insert:
    insert: Any = (postgresql if dialect == "postgresql" else sqlite).insert(fact_epoch)
    first = {"part": bindparam("part"), "n": 1, "mark": _random(dialect), "before": 0, "at": bindparam("now")}
    # One upsert, so the row is locked from here to the commit (ADR 5).
    upsert = insert.values(first)
    # The clock of this writer may be behind that of the writer before it; ``at`` must not go back,
    # since processes place their clocks by it.
    later = case((fact_epoch.c.at > upsert.excluded.at, fact_epoch.c.at), else_=upsert.excluded.at)
    step = {"n": fact_epoch.c.n + 1, "mark": _random(dialect), "before": fact_epoch.c.mark, "at": later}
    return upsert.on_conflict_do_update(index_elements=[fact_epoch.c.part], set_=step).returning(  # type: ignore[no-any-return]
        fact_epoch.c.n, fact_epoch.c.before
    )


def _advance_naming_one(_dialect: str) -> Insert:
    advanced = _advance("postgresql").cte("advanced")
    counted = select(
        bindparam("part", type_=fact_change.c.part.type),
        advanced.c.n,
        literal(0),
        bindparam("key", type_=fact_change.c.key.type),
        advanced.c.before,
        bindparam("now", type_=Instant()),
    )
    return fact_change.insert().from_select(list(fact_change.c), counted)


_ADVANCE = PreparedStatement(_advance, fact_epoch.c.n, fact_epoch.c.before)
_ADVANCE_NAMING_ONE = PreparedStatement(_advance_naming_one)
"""Both steps of a change with one key, on PostgreSQL: nothing of it is needed before the commit, so it is sent with it."""
_READ = select(fact_epoch.c.part, fact_epoch.c.n, fact_epoch.c.mark, fact_epoch.c.at)
_STAMPS = PreparedStatement(
    select(fact_epoch.c.part, fact_epoch.c.n, fact_epoch.c.mark),
    fact_epoch.c.part,
    fact_epoch.c.n,
    fact_epoch.c.mark,
)


def advance(
    tx: Connection, part: Part, keys: Iterable[str] = (), *, now: datetime, urgent: bool = False
) -> None:
    """Count a change of ``part`` and record its keys; other processes see it when the transaction commits.

    Without keys, or with more than KEYS_BOUND, every process reads the whole part again. ``urgent``: on PostgreSQL, notify every
    process at once. Other changes wait for the next poll, because NOTIFY takes a lock that makes commits wait for each other.
    """
    named, on_postgres = list(dict.fromkeys(keys)), tx.dialect.name == "postgresql"
    if not named or len(named) > KEYS_BOUND:
        named = [ANYTHING]
    if len(named) == 1 and on_postgres:
        _ADVANCE_NAMING_ONE.enqueue(tx, {"part": part, "now": now, "key": named[0]})
    else:
        row = _ADVANCE.first(tx, {"part": part, "now": now})
        assert row is not None, "an upsert returns its row"
        rows = [row | {"part": part, "at_n": at_n, "key": key, "at": now} for at_n, key in enumerate(named)]
        tx.execute(fact_change.insert(), rows)
    # Sent by the server at the commit, and not at all after a rollback.
    if urgent and on_postgres:
        tx.info.setdefault(QUEUED, []).append((f"NOTIFY {CHANNEL}", None))


def renew(tx: Connection) -> None:
    """Set a new mark for every part, so that every process discards its facts: the database was restored from a copy."""
    tx.execute(
        fact_epoch.update().values({"n": fact_epoch.c.n + 1, "mark": _random(tx.dialect.name), "before": 0})
    )


def read(tx: Connection) -> Stamps:
    """Return the stamp of every part that ever changed."""
    stamps = Stamps()
    for part, n, mark, at in tx.execute(_READ):
        stamps[Part(part)] = Stamp(n, mark)
        stamps.newest = at if stamps.newest is None else max(at, stamps.newest)
    return stamps


def read_stamps(tx: Connection) -> Stamps:
    """Return the stamp of every part that ever changed, without ``newest``: each verb that uses cached facts reads them once."""
    return Stamps({Part(part): Stamp(n, mark) for part, n, mark in _STAMPS.rows(tx)})


def changes(tx: Connection, part: Part, since: Stamp, until: Stamp) -> tuple[Change, ...] | None:
    """Return the changes after ``since`` up to ``until``; None when they are incomplete and everything must be read.

    They are complete if every count in between is present, the first one replaced the mark of ``since``, and each recorded its keys.
    """
    if not 0 < until.n - since.n <= CHANGES_BOUND:
        return None
    query = (
        select(fact_change.c.n, fact_change.c.key, fact_change.c.before, fact_change.c.at)
        .where(fact_change.c.part == part, fact_change.c.n > since.n, fact_change.c.n <= until.n)
        .order_by(fact_change.c.n, fact_change.c.at_n)
        # One more than the bound, to detect that there are more.
        .limit(CHANGES_BOUND + 1)
    )
    rows = tx.execute(query).all()
    has_every_count = len({row.n for row in rows}) == until.n - since.n
    # The first change must have replaced the mark that the caller holds. Otherwise the counts
    # belong to another copy of the database, after a failover or a restore, and following them
    # would miss what differs.
    if not has_every_count or len(rows) > CHANGES_BOUND or rows[0].before != since.mark:
        return None
    # One change without keys among them makes the rest pointless: the part is read whole.
    if any(row.key == ANYTHING for row in rows):
        return None
    return tuple(Change(row.n, row.key, row.at) for row in rows)


def has_parted(tx: Connection, part: Part, since: Stamp, until: Stamp) -> bool:
    """Check whether ``until`` is of another copy of the database than ``since``, also where it is ahead; False if that is not known any longer."""
    if until.n <= since.n:
        return until != since
    after = select(fact_change.c.before).where(fact_change.c.part == part, fact_change.c.n == since.n + 1)
    before = tx.execute(after.limit(1)).scalar()
    return before is not None and before != since.mark


def purge(tx: Connection, now: datetime) -> int:
    """Delete changes older than CHANGES_KEPT, at most PURGE_BATCH rows; return how many. Call again until it returns 0."""
    old = (
        select(fact_change.c.part, fact_change.c.n, fact_change.c.at_n)
        .where(fact_change.c.at < now - CHANGES_KEPT)
        .order_by(fact_change.c.at)
        # Batches, so that each transaction is short. DELETE has no LIMIT on PostgreSQL, nor in
        # SQLite's usual builds: hence the subquery.
        .limit(PURGE_BATCH)
        .subquery()
    )
    is_old = (
        (fact_change.c.part == old.c.part) & (fact_change.c.n == old.c.n) & (fact_change.c.at_n == old.c.at_n)
    )
    return tx.execute(delete(fact_change).where(select(old.c.n).where(is_old).exists())).rowcount


def use_repeatable_read(tx: Connection) -> None:
    """Make all statements of this transaction see the same data. Call it before any other; SQLite always does so."""
    # Under READ COMMITTED, the default, each statement sees a moment of its own: what the statements of
    # one part read would not belong together.
    if tx.dialect.name == "postgresql":
        tx.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


@dataclass(slots=True)
class Pending:
    """Changes that a verb announced, until its commit.

    They are counted just before the commit, so that the parts' rows are locked for the commit only, and in the order of the parts'
    names, so that transactions cannot deadlock.
    """

    named: dict[Part, list[str]] = field(default_factory=dict)
    whole: set[Part] = field(default_factory=set)
    urgent: set[Part] = field(default_factory=set)

    def add(self, part: Part, keys: Iterable[str], *, urgent: bool) -> None:
        changed = list(keys)
        self.named.setdefault(part, []).extend(changed)
        if not changed:
            self.whole.add(part)
        if urgent:
            self.urgent.add(part)

    def flush(self, tx: Connection, now: datetime) -> None:
        """Advance the epoch of each announced part, and empty the list."""
        # One order for all transactions: each holds the rows it has locked until its commit.
        for part in sorted(self.named):
            keys = () if part in self.whole else self.named[part]
            advance(tx, part, keys, now=now, urgent=part in self.urgent)
        self.named.clear()
        self.whole.clear()
        self.urgent.clear()


class FactCache:
    """Cached values of the parts, each with the stamp at which it was read. Thread-safe; evicts the least recently used."""

    def __init__(self, bound: int = CACHE_BOUND) -> None:
        self._entries: LRUCache[tuple[Part, Hashable], tuple[Stamp, Any]] = LRUCache(bound)
        self._lock = Lock()

    def get(self, part: Part, key: Hashable, stamp: Stamp) -> Any:
        """Return the value that was read at this stamp, or None."""
        with self._lock:
            entry = self._entries.get((part, key))
            return entry[1] if entry is not None and entry[0] == stamp else None

    def latest(self, part: Part, key: Hashable) -> tuple[Stamp, Any] | None:
        """Return the last stored value with its stamp, or None."""
        with self._lock:
            return self._entries.get((part, key))

    def put(self, part: Part, key: Hashable, stamp: Stamp, value: object) -> None:
        """Store a value in place of an older one."""
        with self._lock:
            self._entries[part, key] = stamp, value

    def clear(self) -> None:
        """Remove all values. Called when a shared commit failed: a verb in it may have cached what another had written."""
        with self._lock:
            self._entries.clear()


@dataclass(slots=True)
class View:
    """One verb's view of the cache, with the stamps as its own transaction reads them.

    INVARIANT: values of a part that the verb itself changed are neither read from the cache nor stored there.
    """

    cache: FactCache
    stamps: Stamps | None = None
    own: set[Part] = field(default_factory=set)

    def stamp(self, tx: Connection, part: Part) -> Stamp:
        """Return the stamp of a part as the verb first read it."""
        if self.stamps is None:
            self.stamps = read_stamps(tx)
        return self.stamps[part]

    def cached(
        self, tx: Connection, part: Part, key: Hashable, read_value: Callable[[], T | None]
    ) -> T | None:
        """Return the result of ``read_value``: from the cache if the part has not changed since. None is never stored."""
        if part in self.own:
            return read_value()
        # The stamp is read before the value. A change committed in between then leaves a newer value under
        # an older stamp, which is read again; the other order would keep an old value under a new stamp.
        stamp = self.stamp(tx, part)
        value: T | None = self.cache.get(part, key, stamp)
        if value is None:
            value = read_value()
            if value is not None:
                self.cache.put(part, key, stamp, value)
        return value
