"""Immutable collections that share what did not change: a change costs about the square root of the size.

Entries lie in pages, chosen by the high bits of their hash; a change copies only the pages that it touches. A look-up costs one
index more than a dict's.
"""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from math import isqrt
from typing import Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")
_HIGH = 32
"""A dict places its entries by the low bits, so within a page those must differ."""
_SMALL = 64
_PAGES_BOUND = 1 << 16
BUCKET_S = 60
"""How finely a RecentSet forgets."""


class PersistentMap(Mapping[K, V]):
    """An immutable mapping; ``changed`` makes another that shares every page without a change."""

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
        """Return ``entries`` as one."""
        return entries if isinstance(entries, PersistentMap) else PersistentMap(entries)

    def changed(self, puts: Mapping[K, V], gone: Iterable[K] = ()) -> "PersistentMap[K, V]":
        """Return this mapping without the keys ``gone``, and with ``puts``."""
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
        if count > max(_SMALL, (len(pages) // 2) ** 2) and len(pages) < _PAGES_BOUND:
            return PersistentMap(item for page in pages for item in page.items())
        made: PersistentMap[K, V] = object.__new__(PersistentMap)
        made._pages, made._mask, made._count = tuple(pages), mask, count
        return made

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
    """An immutable set whose members are forgotten some time after the moment they bear.

    Both adding and forgetting cost what is added and forgotten: members are kept by the minute of their moment.
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
        """Return ``members`` as one; from another kind of set only where that is empty, since moments cannot be made up."""
        if isinstance(members, RecentSet):
            return members
        assert not members, "members come with their moments"
        return RecentSet()

    def changed(
        self, entries: Iterable[tuple[K, datetime]], *, forget_before: datetime | None = None
    ) -> "RecentSet[K]":
        """Return this set with more members, and without those whose minute ended before ``forget_before``."""
        oldest = None if forget_before is None else _minute(forget_before)
        puts: dict[K, int] = {}
        for key, at in entries:
            minute = _minute(at)
            if oldest is None or minute >= oldest:
                puts[key] = max(minute, puts.get(key, minute), self._map.get(key, minute))
        by_minute: dict[int, list[K]] = {}
        for key, minute in puts.items():
            by_minute.setdefault(minute, []).append(key)
        buckets = dict(self._buckets)
        for minute, keys in by_minute.items():
            buckets[minute] = (tuple(keys), buckets.get(minute, ()))
        past = [] if forget_before is None else self._past(forget_before)
        gone = [key for key in self.expired(forget_before) if key not in puts] if forget_before else []
        if not puts and not past:
            return self
        for minute in past:
            del buckets[minute]
        made: RecentSet[K] = object.__new__(RecentSet)
        made._set(self._map.changed(puts, gone), buckets)
        return made

    def expired(self, forget_before: datetime) -> list[K]:
        """List the members whose minute ended before ``forget_before``; costs what it lists."""
        return [
            key
            for minute in self._past(forget_before)
            for key in _chained(self._buckets[minute])
            if self._map.get(key) == minute  # a later moment stands in a bucket of its own
        ]

    def _past(self, forget_before: datetime) -> list[int]:
        oldest = _minute(forget_before)
        return [minute for minute in self._buckets if minute < oldest]

    def _set(self, members: PersistentMap[K, int], buckets: dict[int, tuple[Any, ...]]) -> None:
        # The map's own pages, for one call less where a request is judged.
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
    def _from_iterable(cls, it: Iterable[Any]) -> frozenset[Any]:  # what & and | give has no moments
        return frozenset(it)

    def __repr__(self) -> str:
        return f"RecentSet({set(self)!r})"


def _minute(at: datetime) -> int:
    return int(at.timestamp()) // BUCKET_S


def _chained(chain: tuple[Any, ...]) -> Iterator[Any]:
    while chain:
        keys, chain = chain
        yield from keys
