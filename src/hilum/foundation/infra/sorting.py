"""Builds the query of one page of a list in the requested order, so that an index sorts it and finds its start, on both databases."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, String, Table, func, literal, literal_column, tuple_

from hilum.foundation.infra.db import Instant
from hilum.foundation.kernel.pages import PageQuery, Sorts, cursor_unknown

NEVER = "9223372036854775807"
"""The sort value of a missing moment, after every other. An index over such a column has ``coalesce(column, NEVER)``."""
NAME = "name"
"""The column that is sorted without regard to case. An index over it has ``lower(name)``."""


def paged(query: Select[Any], table: Table, sorts: Sorts, page: PageQuery) -> Select[Any]:
    """Limit a query of ``table`` to one page: by the key, or in the order that the page requests. Raises Invalid for an unknown cursor."""
    key = table.c[sorts.key]
    if not page.sort:
        return by_key(query, key, page)
    is_descending = page.sort.startswith("-")
    column, place = table.c[sorts.field(page.sort)], sorts.place(page)
    terms: list[ColumnElement[Any]] = [key] if column is key else [_term(column), key]
    if place is not None:
        value, last = place
        after = [literal(last)] if column is key else [_value(column, value), literal(last)]
        row, start = tuple_(*terms), tuple_(*after)
        query = query.where(row < start if is_descending else row > start)
    ordered = [term.desc() for term in terms] if is_descending else terms
    return query.order_by(*ordered).limit(page.limit)


def by_key(query: Select[Any], key: ColumnElement[Any], page: PageQuery) -> Select[Any]:
    """Limit a query to one page, in the order of a column that is unique in it."""
    return query.where(key > page.after).order_by(key).limit(page.limit)


def newest_first(query: Select[Any], table: Table, page: PageQuery) -> Select[Any]:
    """Limit a query of ``table`` to one page, newest first. Ids are ordered by time, so the key's index is read backwards."""
    query = query.order_by(table.c.id.desc()).limit(page.limit)
    return query.where(table.c.id < page.after) if page.after else query


def _term(column: Column[Any]) -> ColumnElement[Any]:
    if column.name == NAME:
        return func.lower(column)
    # A literal and not a parameter: only then does the expression match the index.
    return func.coalesce(column, literal_column(NEVER)) if column.nullable else column


def moment_of(text: str) -> datetime:
    """Parse a moment in a cursor. Raises Invalid."""
    try:
        at = datetime.fromisoformat(text)
        # Without a zone it would be read in this machine's zone.
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise cursor_unknown() from error
    raise cursor_unknown()


def _value(column: Column[Any], value: str | None) -> ColumnElement[Any]:
    """Return a cursor's value as the SQL expression that ``_term`` is compared with. Raises Invalid."""
    if isinstance(column.type, Instant):
        if value is None and column.nullable:
            return literal_column(NEVER)
        return literal(moment_of(value or ""), Instant)
    if value is None or not isinstance(column.type, String):
        raise cursor_unknown()
    # Lowered by the database, as the column is: SQLite lowers ASCII letters only, PostgreSQL all.
    return func.lower(value) if column.name == NAME else literal(value)
