"""Search of accesses: by the index, and in the journals for records not indexed yet."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime

from hilum.foundation.infra import lanes
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.kernel.errors import Unavailable
from hilum.records.audit import windows
from hilum.records.audit.access_index import AccessIndex
from hilum.records.audit.journal_records import (
    ChainRows,
    JournalReader,
    LocatedAccess,
    NewRecords,
    Positions,
    RecordPosition,
    fits,
    limit_of,
    newest_of,
)
from hilum.records.audit.models import (
    INDEX_BATCH,
    TAIL_BOUND,
    Access,
    AccessPage,
    AccessQuery,
    Head,
    OpenIntent,
    Window,
    WindowQuery,
)

TRIES = 5
"""How many pages of the index one search reads, if digests collided and records found did not match."""


class Indexed:
    """Reads the journals and searches them by their index. ``index`` returns None if nothing was indexed yet."""

    def __init__(self, journals: JournalReader, index: Callable[[], AccessIndex | None]) -> None:
        self._journals, self._index = journals, index

    def newest(self, query: AccessQuery) -> list[Access]:
        return list(self.page(query).accesses)

    def page(self, query: AccessQuery) -> AccessPage:
        limit = limit_of(query)
        with closing(self._journals):
            found = self._found(replace(query, limit=limit))
        full = len(found) == limit
        return AccessPage(tuple(access for _, access in found), found[-1][0].write() if full else "")

    def _found(self, query: AccessQuery) -> list[LocatedAccess]:
        # Validated first, so that a malformed cursor is refused whichever way the search takes.
        if query.after:
            RecordPosition.read(query.after)
        index = self._index()
        # The positions are read first: a record that is indexed
        # in between is found twice and merged, never missed.
        reached = index.positions() if index is not None else {}
        ends = self._journals.ends() if reached else {}
        missing = sum(end - reached.get(journal, 0) for journal, end in ends.items())
        # An index that far behind (a new one, a stopped job) would make each search read the difference.
        if index is None or not reached or missing > TAIL_BOUND:
            return self._journals.scan(query)
        return newest_of([self._indexed(index, query), self._tail(reached, query)], query)

    def _indexed(self, index: AccessIndex, query: AccessQuery) -> list[LocatedAccess]:
        found: list[LocatedAccess] = []
        wanted = query
        # A page may shrink because digests collide; another one fills it.
        for _ in range(TRIES):
            places = index.places(wanted, query.limit)
            found += [placed for placed in self._journals.at(places) if fits(placed, query)]
            if len(places) < query.limit or len(found) >= query.limit:
                return found
            wanted = replace(query, after=places[-1].write())
        raise Unavailable(
            "audit_read_slow", "The audit search took too long. Add a filter: tenant, app or time."
        )

    def _tail(self, reached: Positions, query: AccessQuery) -> Iterator[LocatedAccess]:
        """Yield matching records that are not indexed yet."""
        positions = dict(reached)
        while page := self._journals.after(positions, INDEX_BATCH):
            for journal, records in page.items():
                positions[journal] = records[-1][0]
                for number, access in records:
                    placed = RecordPosition(access.at, journal, number), access
                    if fits(placed, query):
                        yield placed

    def window(self, query: WindowQuery) -> Window:
        with closing(self._journals):
            return windows.read(self._journals, self._index(), query)

    def purge(self, before: datetime, may_continue: Callable[[], bool] = lambda: True) -> int:
        # Journals first: a crash in between leaves digests without payloads, which the next purge removes.
        removed = self._journals.purge(before, may_continue)
        if may_continue() and (index := self._index()) is not None:
            index.forget_patients(before)
        return removed

    def heads(self) -> dict[str, Head]:
        return self._journals.heads()

    def chains(self) -> Iterator[ChainRows]:
        return self._journals.chains()

    def stretches(self, since: datetime) -> Iterator[ChainRows]:
        return self._journals.stretches(since)

    def find(self, request_id: str) -> list[Access]:
        return self._journals.find(request_id)

    def scan(self, query: AccessQuery) -> list[LocatedAccess]:
        return self._journals.scan(query)

    def at(self, places: Sequence[RecordPosition]) -> list[LocatedAccess]:
        return self._journals.at(places)

    def open_intents(self) -> list[OpenIntent]:
        return self._journals.open_intents()

    def forget_intents(self, request_ids: Sequence[str]) -> None:
        self._journals.forget_intents(request_ids)

    def ends(self) -> Positions:
        return self._journals.ends()

    def starts(self, moment: datetime) -> Positions:
        return self._journals.starts(moment)

    def after(self, positions: Positions, most: int) -> NewRecords:
        return self._journals.after(positions, most)

    def close(self) -> None:
        self._journals.close()


def index_new_records(journals: JournalReader, index: AccessIndex, may_continue: Callable[[], bool]) -> int:
    """Index records of the journals until none is left to index; return how many."""
    count = 0
    with lanes.using(Lane.OWN), closing(journals):
        while may_continue() and (found := journals.after(index.positions(), INDEX_BATCH)):
            count += index.add(found)
    return count
