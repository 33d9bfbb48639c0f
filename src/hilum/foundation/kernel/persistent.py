"""Immutable collections that share structure: a change costs about the square root of the size.

Entries are in pages, chosen by the high bits of their hash; a change copies only the pages that it touches. A look-up costs one
indexing more than a dict's.
"""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from math import isqrt
from typing import Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")
_HIGH = 32
"""Pages are chosen by bits from this one up. A dict uses the low bits, which must stay different within a page."""
_SMALL = 64
"""Up to this size a mapping is one page: copying it whole costs less than choosing a page."""
_PAGES_BOUND = 1 << 16
BUCKET_S = 60
"""The granularity with which a RecentSet expires members."""


class PersistentMap(Mapping[K, V]):
    """An immutable mapping; ``changed`` returns another one that shares the unchanged pages."""

    __slots__ = ("_count", "_mask", "_pages")

    def __init__(self, entries: Mapping[K, V] | Iterable[tuple[K, V]] = ()) -> None:
        whole = dict(entries)
        pages: list[dict[K, V]] = [{} for _ in range(_pages_for(len(whole)))]
        mask = len(pages) - 1
        for key, value in whole.items():
            pages[hash(key) >> _HIGH & mask][key] = value
        self._pages, self._mask, self._count = tuple(pages), mask, len(whole)

    @staticmethod
    def of(entries: Mapping[K, V]) -> "PersistentMap[K, V]":
        """Return ``entries`` as a PersistentMap, without a copy if it is one."""
        return entries if isinstance(entries, PersistentMap) else PersistentMap(entries)

    def changed(self, puts: Mapping[K, V], gone: Iterable[K] = ()) -> "PersistentMap[K, V]":
        """Return this mapping with the entries ``puts`` and without the keys ``gone``."""
        pages, mask, count = list(self._pages), self._mask, self._count
        copied: set[int] = set()

        def own(at: int) -> dict[K, V]:
            if at not in copied:
                pages[at] = pages[at].copy()
                copied.add(at)
            return pages[at]

        for key in gone:
            at = hash(key) >> _HIGH & mask
            if key in pages[at]:
                del own(at)[key]
                count -= 1
        for key, value in puts.items():
            page = own(hash(key) >> _HIGH & mask)
            count += key not in page
            page[key] = value
        # Pages grow with the square root of the size, so copying one page and copying the list of
        # pages cost about the same.
        if count > max(_SMALL, (len(pages) // 2) ** 2) and len(pages) < _PAGES_BOUND:
            return PersistentMap(item for page in pages for item in page.items())
        changed: PersistentMap[K, V] = object.__new__(PersistentMap)
        changed._pages, changed._mask, changed._count = tuple(pages), mask, count
        return changed

    def get(self, key: Any, default: Any = None, /) -> Any:
        """Return the value of ``key``, or ``default``."""
        return self._pages[hash(key) >> _HIGH & self._mask].get(key, default)

    def __getitem__(self, key: K) -> V:
        return self._pages[hash(key) >> _HIGH & self._mask][key]

    def __contains__(self, key: object) -> bool:
        return key in self._pages[hash(key) >> _HIGH & self._mask]

    def __iter__(self) -> Iterator[K]:
        return (key for page in self._pages for key in page)

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"PersistentMap({dict(self)!r})"


def _pages_for(count: int) -> int:
    if count <= _SMALL:
        return 1
    return min(_PAGES_BOUND, 1 << (4 * isqrt(count)).bit_length())


class RecentSet(AbstractSet[K]):
    """An immutable set whose members have a time, after which they expire.

    Adding and expiring cost only the members added or expired: they are grouped by the minute of their time.
    """

    __slots__ = ("_buckets", "_map", "_mask", "_pages")

    def __init__(self, entries: Iterable[tuple[K, datetime]] = ()) -> None:
        minutes: dict[K, int] = {}
        by_minute: dict[int, list[K]] = {}
        for key, at in entries:
            minute = _minute(at)
            if key not in minutes or minutes[key] < minute:
                minutes[key] = minute
                by_minute.setdefault(minute, []).append(key)
        self._set(PersistentMap(minutes), {minute: (tuple(keys), ()) for minute, keys in by_minute.items()})

    @staticmethod
    def of(members: AbstractSet[K]) -> "RecentSet[K]":
        """Return ``members`` as a RecentSet; another kind of set must be empty, since its members have no times."""
        if isinstance(members, RecentSet):
            return members
        assert not members, "members of a RecentSet need times"
        return RecentSet()

    def changed(
        self, entries: Iterable[tuple[K, datetime]], *, forget_before: datetime | None = None
    ) -> "RecentSet[K]":
        """Return this set with ``entries``, and without members whose minute ended before ``forget_before``."""
        oldest = None if forget_before is None else _minute(forget_before)
        puts: dict[K, int] = {}
        for key, at in entries:
            minute = _minute(at)
            if oldest is None or minute >= oldest:
                # The latest time counts, whatever the order in which changes arrive.
                puts[key] = max(minute, puts.get(key, minute), self._map.get(key, minute))
        by_minute: dict[int, list[K]] = {}
        for key, minute in puts.items():
            by_minute.setdefault(minute, []).append(key)
        buckets = dict(self._buckets)
        for minute, keys in by_minute.items():
            # A linked list: adding to a minute copies none of its members.
            buckets[minute] = (tuple(keys), buckets.get(minute, ()))
        past = [] if forget_before is None else self._past(forget_before)
        gone = [key for key in self.expired(forget_before) if key not in puts] if forget_before else []
        if not puts and not past:
            return self
        for minute in past:
            del buckets[minute]
        changed: RecentSet[K] = object.__new__(RecentSet)
        changed._set(self._map.changed(puts, gone), buckets)
        return changed

    def expired(self, forget_before: datetime) -> list[K]:
        """List the members whose minute ended before ``forget_before``; the cost is linear in their number."""
        return [
            key
            for minute in self._past(forget_before)
            for key in _chained(self._buckets[minute])
            # A member that was added again with a later time is in that minute's bucket too.
            if self._map.get(key) == minute
        ]

    def _past(self, forget_before: datetime) -> list[int]:
        oldest = _minute(forget_before)
        return [minute for minute in self._buckets if minute < oldest]

    def _set(self, members: PersistentMap[K, int], buckets: dict[int, tuple[Any, ...]]) -> None:
        # The map's pages: the hot path saves a call by looking there directly.
        self._map, self._pages, self._mask, self._buckets = members, members._pages, members._mask, buckets  # noqa: SLF001

    def __contains__(self, key: object) -> bool:
        return key in self._pages[hash(key) >> _HIGH & self._mask]

    def __iter__(self) -> Iterator[K]:
        return iter(self._map)

    def __len__(self) -> int:
        return len(self._map)

    def __hash__(self) -> int:
        return self._hash()

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> frozenset[Any]:  # results of & and | have no times
        return frozenset(it)

    def __repr__(self) -> str:
        return f"RecentSet({set(self)!r})"


def _minute(at: datetime) -> int:
    return int(at.timestamp()) // BUCKET_S


def _chained(chain: tuple[Any, ...]) -> Iterator[Any]:
    while chain:
        keys, chain = chain
        yield from keys
