"""Rows with a value that Hilum never writes: each is left out by itself, and keeps nobody from the others (ADR 150).

Somebody wrote to the database, or its file is damaged: a time beyond the calendar, JSON of another shape, in SQLite a value of any
type. Tables that are read for everybody have columns (``Moment``, ``Document``) that read such a value as UNREADABLE instead of
raising, and their rows are judged one by one (``RowCheck``) before they decide anything.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import JSON, Boolean, Column, Dialect, Integer, String, Table
from sqlalchemy.types import TypeDecorator

from hilum.infra import logs, metrics
from hilum.infra.db import Instant

R = TypeVar("R", bound=Sequence[Any])
T = TypeVar("T")
DAMAGED = (AttributeError, KeyError, OverflowError, TypeError, ValueError)
"""What reading or digesting such a value raises."""
_log = logs.get("infra")


class Unreadable(datetime):
    """The type of UNREADABLE, by which it differs from every stored moment."""


UNREADABLE = Unreadable(1970, 1, 1, tzinfo=UTC)
"""Stands for a value that cannot be read. Where such a row is only shown, so that somebody can remove it, it is 1970."""


class Moment(Instant):
    """An ``Instant`` of a table that is read for everybody."""

    cache_ok = True

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        try:
            return super().process_result_value(value, dialect)
        except DAMAGED:
            return UNREADABLE


class Document(TypeDecorator[Any]):
    """JSON of a table that is read for everybody. ``shape`` is the type of its values."""

    impl = JSON
    cache_ok = True

    def __init__(self, shape: type = dict, *, none_as_null: bool = False) -> None:
        super().__init__(none_as_null=none_as_null)
        self.shape, self.none_as_null = shape, none_as_null

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        read = super().result_processor(dialect, coltype)

        def guarded(value: Any) -> Any:
            try:
                return value if read is None else read(value)
            except DAMAGED:
                return UNREADABLE

        return guarded


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row that was left out. ``app``: the app that it is of, where its table says so."""

    table: str
    id: str
    app: str = ""


@dataclass(slots=True)
class RowCheck:
    """Judges whether each column of a table's row has a value of the type that Hilum writes there."""

    table: Table
    _kinds: tuple[frozenset[type] | None, ...] = ()
    _seen: set[tuple[type, ...]] = field(default_factory=set)
    """Types of rows that fit: nearly all rows have one of a few."""

    def __post_init__(self) -> None:
        self._kinds = tuple(map(kinds_of, self.table.columns))

    def fits(self, row: Sequence[object]) -> bool:
        """Check a row that has every column of the table, in the table's order."""
        types = tuple(map(type, row))
        if types in self._seen:
            return True
        if not all(kinds is None or kind in kinds for kind, kinds in zip(types, self._kinds, strict=True)):
            return False
        self._seen.add(types)
        return True

    def made(self, rows: Iterable[R], make: Callable[[R], T]) -> Iterator[T]:
        """Yield what is made of the rows that can be read; note each of the others."""
        for row in rows:
            try:
                found = [make(row)] if self.fits(row) else []
            except DAMAGED:
                found = []
            if not found:
                note(self.table.name, row)
            yield from found


def kinds_of(column: Column[Any]) -> frozenset[type] | None:
    """Return the types that a column's values have in Python; None if they may have any."""
    kind = column.type
    if isinstance(kind, Document):
        found: type = kind.shape
    elif isinstance(kind, Instant):
        found = datetime
    elif isinstance(kind, Boolean):
        found = bool
    elif isinstance(kind, Integer):
        found = int
    elif isinstance(kind, String):
        found = str
    else:
        return None
    return frozenset({found, type(None)} if column.nullable else {found})


_noted: ContextVar[list[UnreadableRow] | None] = ContextVar("noted", default=None)


@contextmanager
def noting() -> Iterator[list[UnreadableRow]]:
    """Collect the rows that are left out within the block; also for whoever collects around it."""
    found: list[UnreadableRow] = []
    outer = _noted.get()
    token = _noted.set(found)
    try:
        yield found
    finally:
        _noted.reset(token)
        if outer is not None:
            outer += found


def note(table: str, row: Any) -> None:
    """Count, log and collect a row that is left out, without anything of what is in it but its id."""
    app = getattr(row, "app", "")
    left_out = UnreadableRow(table, str(row[0])[:100], app if isinstance(app, str) else "")
    metrics.ROWS_UNREADABLE.add(table)
    _report(table, left_out.id)
    found = _noted.get()
    if found is not None:
        found.append(left_out)


@lru_cache(maxsize=1_000)
def _report(table: str, id_: str) -> None:
    # Once for each row: facts are read again and again.
    _log.error("infra.row.unreadable", table=table, id=id_)
