"""Pages of a list: a stable order by key, and the key to go on after."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

PAGE_BOUND = 200
"""Rows of a page at most. Longer lists are read page by page; none is cut."""


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Which page of a list: ``limit`` rows ``after`` the key of the last one seen, which is empty for the first page."""

    after: str = ""
    limit: int = PAGE_BOUND

    def __post_init__(self) -> None:
        assert 1 <= self.limit <= PAGE_BOUND, "the edge refuses any other"


FIRST_PAGE = PageQuery()


def walk(read: Callable[[PageQuery], Sequence[T]], key: Callable[[T], str]) -> Iterator[T]:
    """Read a list whole, page by page; for what must not miss a row."""
    page = FIRST_PAGE
    while found := read(page):
        yield from found
        page = PageQuery(key(found[-1]))
