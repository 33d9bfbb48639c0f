"""Keyset pagination: lists have a stable order by key, and a page starts after a key."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

PAGE_BOUND = 200
"""The most rows in a page. Longer lists are read page by page, never truncated."""


@dataclass(frozen=True, slots=True)
class PageQuery:
    """One page of a list: ``limit`` rows ``after`` the last key of the previous page, empty for the first."""

    after: str = ""
    limit: int = PAGE_BOUND

    def __post_init__(self) -> None:
        assert 1 <= self.limit <= PAGE_BOUND, "routes refuse other limits"


FIRST_PAGE = PageQuery()


def walk(read: Callable[[PageQuery], Sequence[T]], key: Callable[[T], str]) -> Iterator[T]:
    """Yield every row of a list, reading it page by page."""
    page = FIRST_PAGE
    # By key and not by offset: rows that are added meanwhile shift nothing.
    while rows := read(page):
        yield from rows
        page = PageQuery(key(rows[-1]))
