"""Keyset pagination: a list is ordered by its key, or by a column and the key, and a page starts after the last row of the one before."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from hilum.foundation.kernel import base64url
from hilum.foundation.kernel.errors import Invalid

T = TypeVar("T")

PAGE_BOUND = 200
"""The most rows in a page. Longer lists are read page by page, never truncated."""


@dataclass(frozen=True, slots=True)
class PageQuery:
    """One page of a list: ``limit`` rows ``after`` the last of the previous page, empty for the first.

    ``sort`` is one of the list's orders (``Sorts``); empty sorts by the key.
    """

    after: str = ""
    limit: int = PAGE_BOUND
    sort: str = ""

    def __post_init__(self) -> None:
        assert 1 <= self.limit <= PAGE_BOUND, "routes refuse other limits"

    def holds(self, key: str) -> bool:
        """Check whether the only row of a list is on this page."""
        return not self.after if self.sort else key > self.after


FIRST_PAGE = PageQuery()


def walk(read: Callable[[PageQuery], Sequence[T]], key: Callable[[T], str]) -> Iterator[T]:
    """Yield every row of a list, reading it page by page."""
    page = FIRST_PAGE
    # By key and not by offset, so that rows added meanwhile shift nothing.
    while rows := read(page):
        yield from rows
        page = PageQuery(key(rows[-1]))


@dataclass(frozen=True, slots=True)
class Sorts:
    """The sort orders that a list offers: a word for each column, with ``-`` before it for descending.

    ``columns`` maps the word to the record's field, which has the column's name. ``key`` is unique in the list and orders rows with equal
    values. Rows without a value come last ascending and first descending.
    """

    columns: Mapping[str, str]
    key: str = "id"

    @property
    def words(self) -> tuple[str, ...]:
        """Return every order of the list."""
        return tuple(word for each in self.columns for word in (each, f"-{each}"))

    def field(self, sort: str) -> str:
        """Return the column of an order. Routes refuse unknown orders."""
        return self.columns[sort.removeprefix("-")]

    def cursor(self, sort: str) -> Callable[[Any], str]:
        """Return the function from a row to its cursor in an order; without an order, the cursor is the row's key."""
        if not sort:
            return lambda row: str(getattr(row, self.key))
        field = self.field(sort)

        def place(row: Any) -> str:
            value = getattr(row, field)
            at = value.isoformat() if isinstance(value, datetime) else value
            # With the value, since the row may be changed or deleted before the next page is read.
            text = json.dumps([sort, at, str(getattr(row, self.key))], ensure_ascii=False)
            return base64url.encode(text.encode())

        return place

    def next(self, rows: Sequence[Any], page: PageQuery) -> str:
        """Return the cursor of the page after ``rows``; empty if this page is not full."""
        return self.cursor(page.sort)(rows[-1]) if len(rows) >= page.limit else ""

    def place(self, page: PageQuery) -> tuple[str | None, str] | None:
        """Return the column's value and the key after which a page starts; None for the first page. Raises Invalid."""
        if not page.after:
            return None
        try:
            sort, value, key = json.loads(base64url.decode(page.after))
            # Databases accept neither half a surrogate pair, which fails to encode, nor a zero byte.
            has_zero = "\x00" in f"{value}{key}".encode().decode()
        # RecursionError: a thousand nested brackets are too deep for the parser.
        except (ValueError, TypeError, RecursionError) as error:
            raise cursor_unknown() from error
        if has_zero or sort != page.sort or not isinstance(key, str) or not isinstance(value, str | None):
            raise cursor_unknown()
        return value, key


def cursor_unknown() -> Invalid:
    """Build the error of a cursor that no page of the list returned."""
    return Invalid(
        "cursor_unknown",
        "This is not a cursor of this list in this order. Begin with its first page.",
        fields={"after": "cursor_unknown"},
    )
