"""One page of a list in the order that somebody asked for: sorted and started by an index, on both databases."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, String, Table, func, literal, literal_column, tuple_

from hilum.infra.db import Instant
from hilum.kernel.pages import PageQuery, Sorts, cursor_unknown

NEVER = "9223372036854775807"
"""Where a moment that is not set stands: after every other. An index over such a column has ``coalesce(column, NEVER)``."""
NAME = "name"
"""The column that is sorted without regard to case. An index over it has ``lower(name)``."""


def paged(chosen: Select[Any], table: Table, sorts: Sorts, page: PageQuery) -> Select[Any]:
    """Return one page of what is chosen of a table: by its key, or in the order that the page asks for. Raises Invalid (the cursor)."""
    key = table.c[sorts.key]
    if not page.sort:
        return chosen.where(key > page.after).order_by(key).limit(page.limit)
    column, place = table.c[sorts.field(page.sort)], sorts.place(page)
    terms: list[ColumnElement[Any]] = [key] if column is key else [_term(column), key]
    if place is not None:
        value, last = place
        after = [literal(last)] if column is key else [_value(column, value), literal(last)]
        bound, start = tuple_(*terms), tuple_(*after)
        chosen = chosen.where(bound < start if page.sort.startswith("-") else bound > start)
    ordered = [each.desc() for each in terms] if page.sort.startswith("-") else terms
    return chosen.order_by(*ordered).limit(page.limit)


def newest_first(chosen: Select[Any], table: Table, page: PageQuery) -> Select[Any]:
    """Return one page of what is chosen of a table, the newest first. Ids are ordered by time, so it is the key's index read backwards."""
    chosen = chosen.order_by(table.c.id.desc()).limit(page.limit)
    return chosen.where(table.c.id < page.after) if page.after else chosen


def _term(column: Column[Any]) -> ColumnElement[Any]:
    if column.name == NAME:
        return func.lower(column)
    # Written out and not a parameter: only then is it the expression of the index.
    return func.coalesce(column, literal_column(NEVER)) if column.nullable else column


def moment_of(text: str) -> datetime:
    """Return a moment of a cursor. Raises Invalid."""
    try:
        at = datetime.fromisoformat(text)
        # Without a zone it would be taken for one of this machine's.
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise cursor_unknown() from error
    raise cursor_unknown()


def _value(column: Column[Any], value: str | None) -> ColumnElement[Any]:
    """Return a column's value of a cursor, as it is compared. Raises Invalid."""
    if isinstance(column.type, Instant):
        if value is None and column.nullable:
            return literal_column(NEVER)
        return literal(moment_of(value or ""), Instant)
    if value is None or not isinstance(column.type, String):
        raise cursor_unknown()
    # Lowered by the database too, as what it is compared with: SQLite lowers ASCII letters only, PostgreSQL all.
    return func.lower(value) if column.name == NAME else literal(value)
