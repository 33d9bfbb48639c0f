"""The rows of a table as values of a frozen dataclass: adds, gets, finds, lists and saves them.

Columns and fields have the same names, and a field's type says how it is stored: an enum as its value; a tuple, a set or a mapping as JSON
or, in a column of text, as words with spaces between them; a date in its ISO form; None as NULL or, in a column of text that may not be
NULL, as an empty text. ``Stored`` and ``Parts`` say it where this does not.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import date
from enum import Enum, EnumType, StrEnum
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, Generic, NewType, TypeVar, Union, get_args, get_origin, get_type_hints

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Executable,
    Select,
    String,
    Table,
    bindparam,
    func,
    select,
)

from hilum.foundation.infra.db import in_batches, insert_or_ignore
from hilum.foundation.infra.prepared_statements import PreparedStatement
from hilum.foundation.infra.sorting import by_key, newest_first, paged
from hilum.foundation.infra.stored_enums import member_of
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery, Sorts
from hilum.foundation.kernel.sentences import in_words

T = TypeVar("T")
Convert = Callable[[Any], Any]
Condition = ColumnElement[bool]
PARSED_BOUND = 50_000
"""A million rows share few texts of words; parsed once, each is one object in memory."""


@dataclass(frozen=True, slots=True)
class Stored:
    """How a field is stored: ``write`` turns it into the column's value, ``read`` turns it back."""

    write: Convert
    read: Convert


@dataclass(frozen=True, slots=True)
class Parts:
    """A field with fields of its own, each in a column. ``columns`` names those that are called otherwise.

    ``unless_null`` is the column whose NULL says that there is no value.
    """

    kind: type
    columns: Mapping[str, str] = field(default_factory=dict)
    unless_null: str = ""
    fields: Mapping[str, "Stored | Parts"] = field(default_factory=dict)


def member_or(kind: type[StrEnum], default: StrEnum | None, column: str) -> Stored:
    """Store an enum of which a newer release may have more members: those are read as ``default``, with an error in the log."""
    return Stored(
        _value,
        lambda word: None if word is None else member_of(kind, word, column) or default,
    )


@lru_cache(maxsize=PARSED_BOUND)
def words(joined: str) -> tuple[str, ...]:
    """Return the words of a text."""
    return tuple(str(joined).split())


@lru_cache(maxsize=PARSED_BOUND)
def word_set(joined: str) -> frozenset[str]:
    """Return the words of a text as a set."""
    return frozenset(str(joined).split())


def given(**equal: Any) -> dict[str, Any]:
    """Return those conditions that have a value."""
    return {name: value for name, value in equal.items() if value is not None}


def _value(member: Enum | str) -> Any:
    # A condition may state the value itself.
    return member.value if isinstance(member, Enum) else member


def _stored(hint: Any, column: Column[Any]) -> Stored | None:
    """Return how values of a type are stored in a column; None: as they are."""
    is_union = get_origin(hint) in {Union, UnionType}
    types = [kind for kind in (get_args(hint) if is_union else (hint,)) if kind is not NoneType]
    stored = _plainly_stored(types[0], column) if len(types) == 1 else None
    if not is_union or len(types) == len(get_args(hint)):
        return stored
    if stored is None and (column.nullable or not isinstance(column.type, String)):
        return None
    missing = None if column.nullable else ""
    write, read = (stored.write, stored.read) if stored else (str, str)
    return Stored(
        lambda value: missing if value is None else write(value),
        lambda value: None if value == missing else read(value),
    )


def _plainly_stored(hint: Any, column: Column[Any]) -> Stored | None:
    hint = hint.__supertype__ if isinstance(hint, NewType) else hint
    origin, is_text = get_origin(hint) or hint, isinstance(column.type, String)
    if not isinstance(origin, type):  # Any, Literal
        return None
    assert not is_dataclass(origin), f"{column} needs a Stored"
    if issubclass(origin, Enum):
        return Stored(_value, origin)
    if origin is date and is_text:
        return Stored(date.isoformat, date.fromisoformat)
    if issubclass(origin, Mapping):
        return Stored(dict, lambda value: value)
    items = {get_origin(kind) or kind for kind in get_args(hint)}
    nested = [kind for kind in items if is_dataclass(kind) or kind is tuple or isinstance(kind, EnumType)]
    assert not nested, f"{column} needs a Stored"
    if issubclass(origin, tuple):
        return Stored(" ".join, words) if is_text else Stored(list, tuple)
    if issubclass(origin, AbstractSet):
        return (
            Stored(lambda value: " ".join(sorted(value)), word_set) if is_text else Stored(sorted, frozenset)
        )
    return None


class _Shape:
    """Which columns a dataclass has in a table, and how its fields are stored there."""

    def __init__(self, table: Table, parts: Parts) -> None:
        self.kind, self.table = parts.kind, table
        self.writers: dict[str, Convert | None] = {}
        self._plain: list[tuple[str, str, int, Convert | None]] = []
        self._parts: list[tuple[str, _Shape, int | None]] = []
        hints, names = get_type_hints(parts.kind), table.c.keys()
        for each in fields(parts.kind):
            name, how = parts.columns.get(each.name, each.name), parts.fields.get(each.name)
            if isinstance(how, Parts):
                shape = _Shape(table, how)
                self._parts.append(
                    (each.name, shape, names.index(how.unless_null) if how.unless_null else None)
                )
                self.writers |= shape.writers
            elif name in table.c:
                how = how or _stored(hints[each.name], table.c[name])
                self._plain.append((each.name, name, names.index(name), how.read if how else None))
                self.writers[name] = how.write if how else None
            else:
                has_default = each.default is not MISSING or each.default_factory is not MISSING
                assert has_default, f"{table.name} has no column for {each.name}"

    def read(self, row: Sequence[Any], more: Mapping[str, Any]) -> Any:
        values = {name: row[at] if read is None else read(row[at]) for name, _, at, read in self._plain}
        for name, shape, null_at in self._parts:
            values[name] = None if null_at is not None and row[null_at] is None else shape.read(row, {})
        if more:
            values.update(more)
        return self.kind(**values)

    def write(self, value: Any) -> dict[str, Any]:
        row = {column: self.stored(column, getattr(value, name)) for name, column, _, _ in self._plain}
        for name, shape, _ in self._parts:
            part = getattr(value, name)
            row |= dict.fromkeys(shape.writers) if part is None else shape.write(part)
        return row

    def stored(self, column: str, value: Any) -> Any:
        write = self.writers.get(column)
        return value if write is None or isinstance(value, ColumnElement) else write(value)


class Rows(Generic[T]):
    """The rows of a table, each a value of ``kind``. ``noun``: what the error says that there is none of; ``code``: the error's code.

    Conditions are SQL or, by the name of a column, the value that it must have. Columns that are no fields are given as they are stored.
    """

    def __init__(
        self, table: Table, kind: type[T], noun: str = "", *, code: str = "", **how: Stored | Parts
    ) -> None:
        self.table, self.noun, self._code = table, noun, code or f"{noun}_not_found"
        self._shape = _Shape(table, Parts(kind, fields=how))
        self._keys = [column.name for column in table.primary_key.columns]
        self._prepared: dict[tuple[Any, ...], PreparedStatement] = {}

    def of(self, row: Sequence[Any], **more: Any) -> T:
        """Return the value of a row that has or begins with the table's columns; ``more``: fields that have no column."""
        value: T = self._shape.read(row, more)
        return value

    def row(self, value: T) -> dict[str, Any]:
        """Return the stored values of a value's columns."""
        return self._shape.write(value)

    def missing(self) -> NotFound:
        """Return the error that says that there is no such value."""
        return NotFound(self._code, f"There is no such {in_words(self.noun)}.")

    def add(self, tx: Connection, value: T, **more: Any) -> None:
        """Add a value."""
        tx.execute(self.table.insert().values(self.row(value) | more))

    def add_new(self, tx: Connection, value: T, **more: Any) -> bool:
        """Add a value; return False if the table has one with the same key, or of which a constraint lets it have one."""
        return tx.execute(insert_or_ignore(tx, self.table).values(self.row(value) | more)).rowcount == 1

    def all(self, tx: Connection, *, lock: bool = False, **equal: Any) -> list[T]:
        """Read the values with these columns; ``lock``: no other transaction changes them until this one ends."""
        values = {name: self._shape.stored(name, value) for name, value in equal.items()}
        by = (lock, *((name, value is None) for name, value in values.items()))
        statement = self._prepared.get(by)
        if statement is None:
            same = (
                column.is_(None) if values[column.name] is None else column == bindparam(column.name)
                for column in (self.table.c[name] for name in values)
            )
            query = select(self.table).where(*same)
            statement = PreparedStatement(query.with_for_update() if lock else query, *self.table.c)
            self._prepared[by] = statement
        return [self.of(row) for row in statement.records(tx, values)]

    def find(self, tx: Connection, *, lock: bool = False, **equal: Any) -> T | None:
        """Find the one value with these columns; ``lock``: no other transaction changes it until this one ends."""
        return next(iter(self.all(tx, lock=lock, **equal)), None)

    def get(self, tx: Connection, key: str, *, lock: bool = False) -> T:
        """Get the value with a key; ``lock``: no other transaction changes it until this one ends. Raises NotFound."""
        value = self.find(tx, lock=lock, **{self._keys[0]: key})
        if value is None:
            raise self.missing()
        return value

    def where(self, *where: Condition, **equal: Any) -> list[Condition]:
        """Return conditions as SQL."""
        stored = ((self.table.c[name], self._shape.stored(name, value)) for name, value in equal.items())
        return [*where, *(column.is_(None) if value is None else column == value for column, value in stored)]

    def select(self, *where: Condition, **equal: Any) -> Select[Any]:
        """Build the query of whole rows."""
        return select(self.table).where(*self.where(*where, **equal))

    def read(self, tx: Connection, query: Executable) -> list[T]:
        """Read the values of a query of whole rows."""
        return [self.of(row) for row in tx.execute(query)]

    def first(self, tx: Connection, query: Executable) -> T | None:
        """Read the first value of a query of whole rows."""
        row = tx.execute(query).first()
        return None if row is None else self.of(row)

    def page(self, tx: Connection, page: PageQuery = FIRST_PAGE, *where: Condition, **equal: Any) -> list[T]:
        """List one page of values, by key."""
        return self.read(tx, by_key(self.select(*where, **equal), self.table.c[self._keys[0]], page))

    def newest(
        self, tx: Connection, page: PageQuery = FIRST_PAGE, *where: Condition, **equal: Any
    ) -> list[T]:
        """List one page of values, newest first."""
        return self.read(tx, newest_first(self.select(*where, **equal), self.table, page))

    def sorted(
        self, tx: Connection, sorts: Sorts, page: PageQuery, *where: Condition, **equal: Any
    ) -> list[T]:
        """List one page of values by key, or in the order that it asks for. Raises Invalid (the cursor)."""
        return self.read(tx, paged(self.select(*where, **equal), self.table, sorts, page))

    def among(
        self, tx: Connection, name: str, values: Iterable[Any], *where: Condition, **equal: Any
    ) -> list[T]:
        """Read the values that have one of some values in a column, however many."""
        query, column = self.select(*where, **equal), self.table.c[name]
        return [
            value for some in in_batches(values) for value in self.read(tx, query.where(column.in_(some)))
        ]

    def count(self, tx: Connection, *where: Condition, **equal: Any) -> int:
        """Count values."""
        query = select(func.count()).select_from(self.table).where(*self.where(*where, **equal))
        return int(tx.execute(query).scalar_one())

    def any(self, tx: Connection, *where: Condition, **equal: Any) -> bool:
        """Check whether there is such a value."""
        query = select(self.table.c[self._keys[0]]).where(*self.where(*where, **equal)).limit(1)
        return tx.execute(query).first() is not None

    def save(
        self, tx: Connection, value: T, *where: Condition, only: Iterable[str] = (), **equal: Any
    ) -> bool:
        """Save a value, or ``only`` some of its columns; return False if it no longer meets the conditions."""
        row = self.row(value)
        key = [self.table.c[name] == row.pop(name) for name in self._keys]
        values = {name: row[name] for name in only} or row
        query = self.table.update().where(*key, *self.where(*where, **equal)).values(values)
        return tx.execute(query).rowcount == 1

    def put(self, tx: Connection, value: T) -> None:
        """Add a value, or save it in place of the one with its key."""
        if not self.add_new(tx, value):
            self.save(tx, value)

    def change(self, tx: Connection, values: Mapping[str, Any], *where: Condition, **equal: Any) -> int:
        """Change columns of some rows in one statement; return how many it changed."""
        return tx.execute(self._update(values, *where, **equal)).rowcount

    def step(self, tx: Connection, values: Mapping[str, Any], *where: Condition, **equal: Any) -> T | None:
        """Change columns of one row in one statement; return the changed value, or None if none meets the conditions."""
        return self.first(tx, self._update(values, *where, **equal).returning(*self.table.c))

    def _update(self, values: Mapping[str, Any], *where: Condition, **equal: Any) -> Any:
        stored = {name: self._shape.stored(name, value) for name, value in values.items()}
        return self.table.update().where(*self.where(*where, **equal)).values(stored)

    def take(self, tx: Connection, *where: Condition, **equal: Any) -> T | None:
        """Delete one row in one statement; return its value, or None if there was none."""
        return self.first(
            tx, self.table.delete().where(*self.where(*where, **equal)).returning(*self.table.c)
        )

    def delete(self, tx: Connection, *where: Condition, **equal: Any) -> int:
        """Delete the rows that meet the conditions, of which there must be one; return how many there were."""
        conditions = self.where(*where, **equal)
        assert conditions, "true() deletes every row"
        return tx.execute(self.table.delete().where(*conditions)).rowcount

    def purge(self, tx: Connection, limit: int, *where: Condition) -> int:
        """Delete a batch of rows; return how many."""
        key = self.table.c[self._keys[0]]
        return self.delete(tx, key.in_(select(key).where(*where).limit(limit)))
