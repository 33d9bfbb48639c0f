"""Statements on the token path, compiled once and executed on the driver directly.

SQLAlchemy's execution layers cost several times as much as a short statement itself. Prepared statements are written like any other
and values are converted by their columns' types in both directions; only those layers are skipped (docs/architecture.md, two ways to the
database).
"""

from collections import namedtuple
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Dialect, Executable, Float, Select, Table, bindparam, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.elements import ColumnElement

from hilum.foundation.infra.db import BATCH_SIZE, in_batches, insert_or_ignore_for, send_queued
from hilum.foundation.infra.postgres import QUEUED

Convert = Callable[[Any], Any]
_new_record: Any = namedtuple  # noqa: PYI024 - its fields are known only here
LIST_LENGTHS = (1, 4, 16, 64, BATCH_SIZE)
"""Numbers of values for which an IN list is compiled."""


@dataclass(frozen=True, slots=True)
class _Compiled:
    """The SQL of one dialect. ``named``: values are bound by name, else by position, in the order of ``parameters``."""

    sql: str
    named: bool
    parameters: tuple[tuple[str, Convert | None], ...]
    results: tuple[tuple[str, Convert | None], ...]
    literals: dict[str, Any]
    """Values that are part of the statement."""


class PreparedStatement:
    """One statement. ``columns`` are the columns of its rows; none for a statement without rows.

    ``build`` is the statement, or a function from the dialect's name to it. Each execution must supply a value for every parameter.
    """

    def __init__(self, build: Executable | Callable[[str], Executable], *columns: ColumnElement[Any]) -> None:
        self._build = build
        self._columns = columns
        self._record = _new_record("Record", [column.key or "" for column in columns])
        self._by_dialect: dict[str, _Compiled] = {}

    def first(self, tx: Connection, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Execute it and return its first row by column name, or None."""
        return next(iter(self.mappings(tx, values)), None)

    def mappings(self, tx: Connection, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Execute it and return its rows, each by column name."""
        compiled = self._for(tx.dialect)
        return [
            {
                name: value if read is None else read(value)
                for (name, read), value in zip(compiled.results, row, strict=True)
            }
            for row in _run(tx, compiled, values).fetchall()
        ]

    def records(self, tx: Connection, values: Mapping[str, Any]) -> list[Any]:
        """Execute it and return its rows, with their columns as attributes."""
        return self.received(tx, self.send(tx, values))

    def send(self, tx: Connection, values: Mapping[str, Any]) -> Any:
        """Execute it and return the driver's cursor."""
        return _run(tx, self._for(tx.dialect), values)

    def received(self, tx: Connection, cursor: Any) -> list[Any]:
        """Return the rows of a cursor of ``send``, with their columns as attributes."""
        readers = [read for _, read in self._for(tx.dialect).results]
        return [
            self._record._make(
                value if read is None else read(value) for read, value in zip(readers, row, strict=True)
            )
            for row in cursor.fetchall()
        ]

    def rows(self, tx: Connection) -> list[Any]:
        """Execute it without parameters and return the driver's own rows, so no column may need a conversion by its type."""
        compiled = self._for(tx.dialect)
        assert not any(read for _, read in compiled.results), "these values are not converted"
        return list(_run(tx, compiled, {}).fetchall())

    def count(self, tx: Connection, values: Mapping[str, Any]) -> int:
        """Execute it and return the number of rows that it changed or added."""
        return int(_run(tx, self._for(tx.dialect), values).rowcount)

    def enqueue(self, tx: Connection, values: Mapping[str, Any]) -> None:
        """Queue it: on PostgreSQL it is sent together with the next statement or the commit, which saves a round trip.

        For statements whose result is not needed. An error, such as a broken constraint, surfaces only then and aborts the transaction.
        """
        compiled = self._for(tx.dialect)
        if compiled.named:
            tx.info.setdefault(QUEUED, []).append((compiled.sql, _bound(compiled, values)))
        else:  # SQLite is in this process: there is no round trip to save
            _run(tx, compiled, values)

    def _for(self, dialect: Dialect) -> _Compiled:
        compiled = self._by_dialect.get(dialect.name)
        if compiled is None:
            compiled = self._by_dialect[dialect.name] = self._compile(dialect)
        return compiled

    def _compile(self, dialect: Dialect) -> _Compiled:
        statement: Any = self._build(dialect.name) if callable(self._build) else self._build
        compiled = statement.compile(dialect=dialect)
        # Such a statement has another text for each number of values, and could not be compiled once.
        assert not compiled.literal_execute_params, "an IN list has no fixed SQL text"
        names = compiled.positiontup if compiled.positional else tuple(compiled.binds)
        literals = {
            name: bind.value
            for name, bind in compiled.binds.items()
            if not bind.required and bind.value is not None
        }
        parameters = tuple((name, _binder(compiled.binds[name].type, dialect)) for name in names)
        results = tuple((column.key or "", _reader(column.type, dialect)) for column in self._columns)
        return _Compiled(str(compiled), not compiled.positional, parameters, results, literals)


def read_together(tx: Connection, *reads: tuple[PreparedStatement, Mapping[str, Any]]) -> list[list[Any]]:
    """Execute several statements, on PostgreSQL in one round trip; return the rows of each, with their columns as attributes."""
    if tx.dialect.name != "postgresql":
        return [statement.records(tx, values) for statement, values in reads]
    driver: Any = tx.connection.driver_connection
    if tx.info.get(QUEUED):
        send_queued(tx)
    with driver.pipeline():
        cursors = [statement.send(tx, values) for statement, values in reads]
    return [statement.received(tx, cursor) for (statement, _), cursor in zip(reads, cursors, strict=True)]


class PreparedByValues:
    """A SELECT of the rows that have one of some values in a column. ``columns`` are the columns of its rows."""

    def __init__(self, query: Select[Any], column: ColumnElement[Any], *columns: ColumnElement[Any]) -> None:
        self._query, self._column, self._columns = query, column, columns
        self._by_length: dict[int, PreparedStatement] = {}

    def records(self, tx: Connection, wanted: Collection[Any]) -> list[Any]:
        """Execute it and return its rows, with their columns as attributes."""
        found = []
        for batch in in_batches(wanted):
            length = next(each for each in LIST_LENGTHS if each >= len(batch))
            # The last value fills up the rest: to ask for a value twice finds its rows once.
            filled = batch + batch[-1:] * (length - len(batch))
            values = {f"value_{at}": value for at, value in enumerate(filled)}
            found += self._of(length).records(tx, values)
        return found

    def _of(self, length: int) -> PreparedStatement:
        statement = self._by_length.get(length)
        if statement is None:
            values = [bindparam(f"value_{at}", type_=self._column.type) for at in range(length)]
            listed = self._query.where(self._column.in_(values))
            statement = self._by_length[length] = PreparedStatement(listed, *self._columns)
        return statement


def prepare_rows(table: Table, *names: str) -> PreparedStatement:
    """Prepare a SELECT of whole rows by the values of the columns ``names``."""
    conditions = (table.c[name] == bindparam(name) for name in names)
    return PreparedStatement(select(table).where(*conditions), *table.c)


def prepare_rows_by_values(table: Table, name: str) -> PreparedByValues:
    """Prepare a SELECT of the whole rows that have one of some values in the column ``name``."""
    return PreparedByValues(select(table), table.c[name], *table.c)


def prepare_insert(table: Table) -> PreparedStatement:
    """Prepare the INSERT of a whole row."""
    return PreparedStatement(table.insert())


def prepare_insert_or_ignore(table: Table) -> PreparedStatement:
    """Prepare ``insert_or_ignore`` of a whole row; its count is 1 if the row was new, else 0."""
    return PreparedStatement(lambda dialect: insert_or_ignore_for(dialect, table))


def insert_many(tx: Connection, table: Table, rows: Iterable[tuple[Any, ...]]) -> None:
    """Insert many whole rows. Their values are in the order of the table's columns, and need no conversion by their types."""
    driver: Any = tx.connection.driver_connection
    if tx.dialect.name != "postgresql":
        driver.executemany(_sqlite_insert(table), rows)
        return
    if tx.info.get(QUEUED):
        send_queued(tx)
    name = tx.dialect.identifier_preparer
    columns = ", ".join(name.quote(column.name) for column in table.columns)
    # COPY: an INSERT of each row costs the server four times as much, and this process twice.
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY {name.format_table(table)} ({columns}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(row)


def _sqlite_insert(table: Table) -> str:
    return str(table.insert().compile(dialect=sqlite.dialect()))


def _run(tx: Connection, compiled: _Compiled, values: Mapping[str, Any]) -> Any:
    driver: Any = tx.connection.driver_connection
    if compiled.named and tx.info.get(QUEUED):  # this statement may depend on the queued ones
        send_queued(tx)
    return driver.execute(compiled.sql, _bound(compiled, values))


def _bound(compiled: _Compiled, values: Mapping[str, Any]) -> Any:
    if compiled.literals:
        values = compiled.literals | dict(values)
    if compiled.named:
        return {
            name: values[name] if bind is None else bind(values[name]) for name, bind in compiled.parameters
        }
    return [values[name] if bind is None else bind(values[name]) for name, bind in compiled.parameters]


def _binder(kind: Any, dialect: Dialect) -> Convert | None:
    bind: Convert | None = kind.dialect_impl(dialect).bind_processor(dialect)
    return bind


def _reader(kind: Any, dialect: Dialect) -> Convert | None:
    if isinstance(
        kind, Float
    ):  # both drivers return floats; without the type of its rows SQLAlchemy could not say so
        return None
    read: Convert | None = kind.dialect_impl(dialect).result_processor(dialect, None)
    return read
