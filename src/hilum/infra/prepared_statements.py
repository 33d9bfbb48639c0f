"""Statements that every token needs, worked out once and run on the driver itself.

The layers between a statement and the driver take several times what the statement takes. These are written as any other, and
values pass through their columns' types both ways; only the way down is shorter.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Dialect, Executable, Table
from sqlalchemy.sql.elements import ColumnElement

from hilum.infra.db import insert_or_ignore_for, send_queued
from hilum.infra.postgres import QUEUED

Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Made:
    """The text for one kind of database. ``named``: it takes its values by name, else in the order of ``takes``."""

    sql: str
    named: bool
    takes: tuple[tuple[str, Convert | None], ...]
    gives: tuple[tuple[str, Convert | None], ...]
    fixed: dict[str, Any]
    """Values that the statement itself holds."""


class Prepared:
    """One statement. ``columns`` are what its rows hold; a statement that gives no rows names none.

    ``make`` gives the statement in the words of a dialect. Values are bound by the names of its parameters: every one, each time.
    """

    def __init__(self, make: Executable | Callable[[str], Executable], *columns: ColumnElement[Any]) -> None:
        self._make = make
        self._columns = columns
        self._made: dict[str, _Made] = {}

    def first(self, tx: Connection, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Run it and give its first row by column names, or None."""
        made = self._for(tx.dialect)
        rows = _run(tx, made, values).fetchall()
        if not rows:
            return None
        return {
            name: value if read is None else read(value)
            for (name, read), value in zip(made.gives, rows[0], strict=True)
        }

    def count(self, tx: Connection, values: Mapping[str, Any]) -> int:
        """Run it and tell how many rows it changed or added."""
        return int(_run(tx, self._for(tx.dialect), values).rowcount)

    def later(self, tx: Connection, values: Mapping[str, Any]) -> None:
        """Run it before the next statement that answers, or with the commit: on PostgreSQL that saves its round trip.

        For what nobody looks at: that it changed nothing, or breaks a rule, is only noticed then, and ends the transaction.
        """
        made = self._for(tx.dialect)
        if made.named:
            tx.info.setdefault(QUEUED, []).append((made.sql, _bound(made, values)))
        else:
            _run(tx, made, values)

    def _for(self, dialect: Dialect) -> _Made:
        found = self._made.get(dialect.name)
        if found is None:
            found = self._made[dialect.name] = self._compiled(dialect)
        return found

    def _compiled(self, dialect: Dialect) -> _Made:
        statement: Any = self._make(dialect.name) if callable(self._make) else self._make
        compiled = statement.compile(dialect=dialect)
        assert not compiled.literal_execute_params, "a list of values has no one text"
        names = compiled.positiontup if compiled.positional else tuple(compiled.binds)
        fixed = {
            name: bind.value
            for name, bind in compiled.binds.items()
            if not bind.required and bind.value is not None
        }
        takes = tuple((name, _binder(compiled.binds[name].type, dialect)) for name in names)
        gives = tuple((column.key or "", _reader(column.type, dialect)) for column in self._columns)
        return _Made(str(compiled), not compiled.positional, takes, gives, fixed)


def adds(table: Table) -> Prepared:
    """Prepare the insertion of a whole row."""
    return Prepared(table.insert())


def adds_or_ignores(table: Table) -> Prepared:
    """Prepare ``insert_or_ignore`` of a whole row; its count tells who was first."""
    return Prepared(lambda dialect: insert_or_ignore_for(dialect, table))


def _run(tx: Connection, made: _Made, values: Mapping[str, Any]) -> Any:
    driver: Any = tx.connection.driver_connection
    if made.named and tx.info.get(QUEUED):
        send_queued(tx)
    return driver.execute(made.sql, _bound(made, values))


def _bound(made: _Made, values: Mapping[str, Any]) -> Any:
    if made.fixed:
        values = made.fixed | dict(values)
    bound = ((name, values[name] if bind is None else bind(values[name])) for name, bind in made.takes)
    return dict(bound) if made.named else [value for _, value in bound]


def _binder(kind: Any, dialect: Dialect) -> Convert | None:
    bind: Convert | None = kind.dialect_impl(dialect).bind_processor(dialect)
    return bind


def _reader(kind: Any, dialect: Dialect) -> Convert | None:
    read: Convert | None = kind.dialect_impl(dialect).result_processor(dialect, None)
    return read
