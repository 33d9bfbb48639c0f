"""Keyset pagination: lists have a stable order, by their key or by a column and the key, and a page starts after a row's place in it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from hilum.kernel import base64url
from hilum.kernel.errors import Invalid

T = TypeVar("T")

PAGE_BOUND = 200
"""The most rows in a page. Longer lists are read page by page, never truncated."""


@dataclass(frozen=True, slots=True)
class PageQuery:
    """One page of a list: ``limit`` rows ``after`` the last of the previous page, empty for the first.

    ``sort`` is one of the list's orders (``Sorts``); empty: the list's own, by its key.
    """

    after: str = ""
    limit: int = PAGE_BOUND
    sort: str = ""

    def __post_init__(self) -> None:
        assert 1 <= self.limit <= PAGE_BOUND, "routes refuse other limits"

    def holds(self, key: str) -> bool:
        """Check whether this page has the one row of a list of one."""
        return not self.after if self.sort else key > self.after


FIRST_PAGE = PageQuery()


def walk(read: Callable[[PageQuery], Sequence[T]], key: Callable[[T], str]) -> Iterator[T]:
    """Yield every row of a list, reading it page by page."""
    page = FIRST_PAGE
    # By key and not by offset: rows that are added meanwhile shift nothing.
    while rows := read(page):
        yield from rows
        page = PageQuery(key(rows[-1]))


@dataclass(frozen=True, slots=True)
class Sorts:
    """The orders that one may ask of a list, a closed list: a word for each column, and ``-`` before it for the other way.

    ``columns``: the field of a record, which is its column too, by the word. ``key`` is unique in the list, and decides between rows that have
    the same in the column. A row that has nothing in the column comes last upwards and first downwards.
    """

    columns: Mapping[str, str]
    key: str = "id"

    @property
    def words(self) -> tuple[str, ...]:
        """Return every order of the list."""
        return tuple(word for each in self.columns for word in (each, f"-{each}"))

    def field(self, sort: str) -> str:
        """Return the column of an order. Routes refuse what is none."""
        return self.columns[sort.removeprefix("-")]

    def cursor(self, sort: str) -> Callable[[Any], str]:
        """Return what makes the cursor of a row in an order; of the list's own order, the row's key."""
        if not sort:
            return lambda row: str(getattr(row, self.key))
        field = self.field(sort)

        def place(row: Any) -> str:
            value = getattr(row, field)
            at = value.isoformat() if isinstance(value, datetime) else value
            # The value and not the key alone: the row may be changed or deleted before the next page is read.
            text = json.dumps([sort, at, str(getattr(row, self.key))], ensure_ascii=False)
            return base64url.encode(text.encode())

        return place

    def next(self, found: Sequence[Any], page: PageQuery) -> str:
        """Return where a list goes on after a page; empty if the page is not full."""
        return self.cursor(page.sort)(found[-1]) if len(found) >= page.limit else ""

    def place(self, page: PageQuery) -> tuple[str | None, str] | None:
        """Return the column's value and the key after which a page of an order starts; None: it is the first. Raises Invalid."""
        if not page.after:
            return None
        try:
            sort, value, key = json.loads(base64url.decode(page.after))
            # Neither half a character nor a zero byte: no database takes them.
            odd = "\x00" in f"{value}{key}".encode().decode()
        # A thousand brackets within each other are too deep for the parser.
        except (ValueError, TypeError, RecursionError) as error:
            raise cursor_unknown() from error
        if odd or sort != page.sort or not isinstance(key, str) or not isinstance(value, str | None):
            raise cursor_unknown()
        return value, key


def cursor_unknown() -> Invalid:
    """Build the error of a cursor that no page of the list has given."""
    return Invalid(
        "cursor_unknown",
        "This is not a cursor of this list in this order. Begin with its first page.",
        fields={"after": "cursor_unknown"},
    )
