"""The control epoch: one row that every change to enforcement facts advances in its own transaction.

A sequence would not be ordered by commit; one row locked by UPDATE is. Beside the total it counts each part,
so that a process reloads only what changed.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock
from typing import Any, TypeVar

from sqlalchemy import BigInteger, Column, Connection, Table, select

from hilum.infra.db import insert_or_ignore, metadata
from hilum.infra.prepared import Prepared

T = TypeVar("T")
KEPT_BOUND = 20_000


class Part(StrEnum):
    """Which room's facts changed."""

    IDENTITY = "identity"
    CONTROLS = "controls"
    REGISTRY = "registry"
    TOKENS = "tokens"
    CONSENT = "consent"
    LAUNCHES = "launches"


control_epoch = Table(
    "control_epoch",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("n", BigInteger, nullable=False),
    *(Column(part.value, BigInteger, nullable=False) for part in Part),
)

CHANNEL = "hilum_epoch"
_READ = Prepared(select(control_epoch), *control_epoch.c)


def advance(tx: Connection, part: Part) -> None:
    """Advance the epoch by one for ``part``; visible to others when the transaction commits."""
    column = control_epoch.c[part.value]
    step = control_epoch.update().values({control_epoch.c.n: control_epoch.c.n + 1, column: column + 1})
    if tx.execute(step).rowcount == 0:
        zeros = {"id": 1, "n": 0} | {each.value: 0 for each in Part}
        tx.execute(insert_or_ignore(tx, control_epoch).values(zeros))
        tx.execute(step)
    if tx.dialect.name == "postgresql":
        tx.exec_driver_sql(f"NOTIFY {CHANNEL}")


def read(tx: Connection) -> tuple[int, dict[Part, int]]:
    """Tell the total and each part's count; zeros before the first change."""
    row = _READ.first(tx, {})
    if row is None:
        return 0, dict.fromkeys(Part, 0)
    return row["n"], {part: row[part] for part in Part}


class Memory:
    """What a process read of the parts, each value with the count it was read at. Thread-safe; the least recently used goes first."""

    def __init__(self, bound: int = KEPT_BOUND) -> None:
        self._bound = bound
        self._kept: OrderedDict[tuple[Part, Hashable], tuple[int, Any]] = OrderedDict()
        self._lock = Lock()

    def find(self, part: Part, key: Hashable, count: int) -> Any:
        """Give the value that was read at this count, or None."""
        with self._lock:
            found = self._kept.get((part, key))
            if found is None or found[0] != count:
                return None
            self._kept.move_to_end((part, key))
            return found[1]

    def keep(self, part: Part, key: Hashable, count: int, value: object) -> None:
        """Keep a value in place of an older one."""
        with self._lock:
            self._kept[part, key] = count, value
            if len(self._kept) > self._bound:
                self._kept.popitem(last=False)

    def forget(self) -> None:
        """Forget all: a transaction was lost that may have read what it, or one beside it, had written."""
        with self._lock:
            self._kept.clear()


@dataclass(slots=True)
class View:
    """One verb's sight of the memory: the counts as its own transaction reads them.

    INVARIANT: a part that the verb itself advanced is neither taken from the memory nor put there.
    """

    memory: Memory
    counts: dict[Part, int] | None = None
    own: set[Part] = field(default_factory=set)

    def recall(
        self, tx: Connection, part: Part, key: Hashable, read_anew: Callable[[], T | None]
    ) -> T | None:
        """Give what ``read_anew`` gives: from memory if nothing of the part changed since. None is never kept."""
        if part in self.own:
            return read_anew()
        if self.counts is None:
            self.counts = read(tx)[1]
        count = self.counts[part]
        found: T | None = self.memory.find(part, key, count)
        if found is None:
            found = read_anew()
            if found is not None:
                self.memory.keep(part, key, count, found)
        return found
