"""The control epoch: for each part of the enforcement facts, how often it changed, and what changed last.

A sequence would not be ordered by commit; a row locked by UPDATE until commit is. Each part has a row of its own, made when the part
first changes, so that writers of different parts never wait for each other. Each advance gives the row a new random mark: two copies
of a database that went different ways never agree on count and mark, even where they agree on the count (a failover that lost
commits, a restored backup).

Beside the count, each advance leaves rows that name what it changed. Who holds the facts of an earlier stamp reads those, and reads
everything again where they do not lead from that stamp to the present one without a gap.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, TypeVar

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
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Insert

from hilum.infra.db import Instant, metadata
from hilum.infra.prepared_statements import Prepared, adds
from hilum.kernel.ids import Part

T = TypeVar("T")
KEPT_BOUND = 20_000
CHANGES_BOUND = 10_000
"""Changes that are followed one by one; who missed more reads everything again."""
KEYS_BOUND = 5_000
"""Keys that one transaction names; where it changed more, everything is read again."""
CHANGES_KEPT = timedelta(minutes=15)
PURGE_BATCH = 5_000
ANYTHING = ""
"""The key of a change that does not say what it changed."""
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
"""``before`` is the mark that the last advance found. ``at`` is the latest time at which the part changed."""

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
"""What each count of a part changed. ``at_n`` numbers the keys of one count."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """The count of a part with its mark. Equal stamps mean equal facts."""

    n: int = 0
    mark: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that changed: the ``key`` under which its room named it, and when."""

    n: int
    key: str
    at: datetime


class Stamps(dict[Part, Stamp]):
    """The stamp of every part; a part that never changed has the first."""

    def __missing__(self, part: Part) -> Stamp:
        return Stamp()

    @property
    def total(self) -> int:
        """How many changes there were of all parts together."""
        return sum(stamp.n for stamp in self.values())

    @property
    def newest(self) -> datetime | None:
        """The latest time at which any part changed."""
        return self._newest

    _newest: datetime | None = None

    def follows(self, before: "Stamps") -> bool:
        """Return whether the same database can have gone from ``before`` to this."""
        return all(self[part].n > stamp.n or self[part] == stamp for part, stamp in before.items())


def _random(dialect: str) -> Any:
    """Return the database's own expression for 64 random bits: the mark must differ for any two writers, whatever they were given."""
    if dialect == "postgresql":
        return func.hashtextextended(literal_column("gen_random_uuid()::text"), 0)
    return func.random()


def _advance(dialect: str) -> Insert:
    insert: Any = (postgresql if dialect == "postgresql" else sqlite).insert(fact_epoch)
    first = {"part": bindparam("part"), "n": 1, "mark": _random(dialect), "before": 0, "at": bindparam("now")}
    given = insert.values(first)
    later = case((fact_epoch.c.at > given.excluded.at, fact_epoch.c.at), else_=given.excluded.at)
    step = {"n": fact_epoch.c.n + 1, "mark": _random(dialect), "before": fact_epoch.c.mark, "at": later}
    return given.on_conflict_do_update(index_elements=[fact_epoch.c.part], set_=step).returning(  # type: ignore[no-any-return]
        fact_epoch.c.n, fact_epoch.c.before
    )


_ADVANCE = Prepared(_advance, fact_epoch.c.n, fact_epoch.c.before)
_ADD_CHANGE = adds(fact_change)
_READ = select(fact_epoch.c.part, fact_epoch.c.n, fact_epoch.c.mark, fact_epoch.c.at)


def advance(
    tx: Connection, part: Part, keys: Iterable[str] = (), *, now: datetime, urgent: bool = False
) -> None:
    """Count a change of ``part``, and name what it changed; others see it when the transaction commits.

    Without keys, or with more than KEYS_BOUND, everybody reads the whole part again. ``urgent``: on PostgreSQL, wake every process
    at once. Others learn of it with their next poll; notifying makes commits wait for each other.
    """
    row = _ADVANCE.first(tx, {"part": part, "now": now})
    assert row is not None, "an upsert returns its row"
    named = list(dict.fromkeys(keys))
    if not named or len(named) > KEYS_BOUND:
        named = [ANYTHING]
    rows = [row | {"part": part, "at_n": at_n, "key": key, "at": now} for at_n, key in enumerate(named)]
    if len(rows) == 1:
        _ADD_CHANGE.later(tx, rows[0])
    else:
        tx.execute(fact_change.insert(), rows)
    if urgent and tx.dialect.name == "postgresql":
        tx.exec_driver_sql(f"NOTIFY {CHANNEL}")


def renew(tx: Connection) -> None:
    """Set a new mark for every part, so that no process trusts what it knew of this database: it was restored from a copy."""
    tx.execute(
        fact_epoch.update().values({"n": fact_epoch.c.n + 1, "mark": _random(tx.dialect.name), "before": 0})
    )


def read(tx: Connection) -> Stamps:
    """Return the stamp of every part that ever changed."""
    stamps = Stamps()
    for part, n, mark, at in tx.execute(_READ):
        stamps[Part(part)] = Stamp(n, mark)
        stamps._newest = at if stamps._newest is None else max(at, stamps._newest)  # noqa: SLF001 - made here
    return stamps


def changes(tx: Connection, part: Part, since: Stamp, until: Stamp) -> tuple[Change, ...] | None:
    """Return what changed after ``since`` up to ``until``; None where that cannot be said, so that everything must be read.

    It can be said only if every count between them is there, the first one found the mark of ``since``, and each named what it changed.
    """
    if not 0 < until.n - since.n <= CHANGES_BOUND:
        return None
    query = (
        select(fact_change.c.n, fact_change.c.key, fact_change.c.before, fact_change.c.at)
        .where(fact_change.c.part == part, fact_change.c.n > since.n, fact_change.c.n <= until.n)
        .order_by(fact_change.c.n, fact_change.c.at_n)
        .limit(CHANGES_BOUND + 1)
    )
    rows = tx.execute(query).all()
    whole = len({row.n for row in rows}) == until.n - since.n
    if not whole or len(rows) > CHANGES_BOUND or rows[0].before != since.mark:
        return None
    if any(row.key == ANYTHING for row in rows):
        return None
    return tuple(Change(row.n, row.key, row.at) for row in rows)


def purge(tx: Connection, now: datetime) -> int:
    """Forget what changed long ago, at most PURGE_BATCH rows; return how many. Call again while it is not 0."""
    old = (
        select(fact_change.c.part, fact_change.c.n, fact_change.c.at_n)
        .where(fact_change.c.at < now - CHANGES_KEPT)
        .order_by(fact_change.c.at)
        .limit(PURGE_BATCH)
        .subquery()
    )
    same = (
        (fact_change.c.part == old.c.part) & (fact_change.c.n == old.c.n) & (fact_change.c.at_n == old.c.at_n)
    )
    return tx.execute(delete(fact_change).where(select(old.c.n).where(same).exists())).rowcount


def one_view(tx: Connection) -> None:
    """Let all statements of this transaction see the same data. To be called first in it; on SQLite it is always so."""
    if tx.dialect.name == "postgresql":
        tx.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


@dataclass(slots=True)
class Pending:
    """Changes that a verb announced.

    They are counted just before its commit, so that the rows of the parts are locked only for as long as the commit takes, and in the
    order of their names, so that no two transactions wait for each other.
    """

    named: dict[Part, list[str]] = field(default_factory=dict)
    whole: set[Part] = field(default_factory=set)
    urgent: set[Part] = field(default_factory=set)

    def add(self, part: Part, keys: Iterable[str], *, urgent: bool) -> None:
        given = list(keys)
        self.named.setdefault(part, []).extend(given)
        if not given:
            self.whole.add(part)
        if urgent:
            self.urgent.add(part)

    def flush(self, tx: Connection, now: datetime) -> None:
        """Count and name them; afterwards nothing is pending."""
        for part in sorted(self.named):
            keys = () if part in self.whole else self.named[part]
            advance(tx, part, keys, now=now, urgent=part in self.urgent)
        self.named.clear()
        self.whole.clear()
        self.urgent.clear()


class Memory:
    """Values that a process read of the parts, each with the stamp it was read at. Thread-safe; the least recently used goes first."""

    def __init__(self, bound: int = KEPT_BOUND) -> None:
        self._kept: LRUCache[tuple[Part, Hashable], tuple[Stamp, Any]] = LRUCache(bound)
        self._lock = Lock()

    def find(self, part: Part, key: Hashable, stamp: Stamp) -> Any:
        """Return the value that was read at this stamp, or None."""
        with self._lock:
            found = self._kept.get((part, key))
            return found[1] if found is not None and found[0] == stamp else None

    def latest(self, part: Part, key: Hashable) -> tuple[Stamp, Any] | None:
        """Return the value that was kept last with its stamp, or None."""
        with self._lock:
            return self._kept.get((part, key))

    def keep(self, part: Part, key: Hashable, stamp: Stamp, value: object) -> None:
        """Keep a value in place of an older one."""
        with self._lock:
            self._kept[part, key] = stamp, value

    def forget(self) -> None:
        """Forget all: a transaction was lost that may have read what it, or one beside it, had written."""
        with self._lock:
            self._kept.clear()


@dataclass(slots=True)
class View:
    """One verb's sight of the memory: the stamps as its own transaction reads them.

    INVARIANT: a part that the verb itself changed is neither taken from the memory nor put there.
    """

    memory: Memory
    stamps: Stamps | None = None
    own: set[Part] = field(default_factory=set)

    def stamp(self, tx: Connection, part: Part) -> Stamp:
        """Return the stamp of a part as the verb first saw it."""
        if self.stamps is None:
            self.stamps = read(tx)
        return self.stamps[part]

    def recall(
        self, tx: Connection, part: Part, key: Hashable, read_anew: Callable[[], T | None]
    ) -> T | None:
        """Return what ``read_anew`` returns: from memory if nothing of the part changed since. None is never kept."""
        if part in self.own:
            return read_anew()
        stamp = self.stamp(tx, part)
        found: T | None = self.memory.find(part, key, stamp)
        if found is None:
            found = read_anew()
            if found is not None:
                self.memory.keep(part, key, stamp, found)
        return found
