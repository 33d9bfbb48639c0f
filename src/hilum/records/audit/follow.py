"""Following every journal of the installation while it is written: one polling thread for all followers, which never blocks a writer."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import merge

import orjson

from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.kernel.ports import Clock
from hilum.records.audit.journal_records import AccessReader, NewRecords, Positions
from hilum.records.audit.models import (
    FOLLOWED_BOUND,
    FOLLOWERS_BOUND,
    POLL_BOUND,
    RESUME_BOUND,
    RESUME_WITHIN,
    Access,
)

_CLOCKS_APART = timedelta(minutes=1)
"""How far the clocks of two nodes may differ: a record has the time of the node that wrote it."""


@dataclass(frozen=True, slots=True)
class FollowedRecord:
    """A record with its journal and its number in that journal."""

    journal: str
    number: int
    access: Access


@dataclass(slots=True)
class ResumePoint:
    """The progress of a follower: the last record of each recently active journal, and when following began.

    A journal without a position had been silent for a while when following began, so all that it wrote since is new to the follower.
    """

    began: datetime
    left: datetime
    """When it was last written."""
    positions: Positions = field(default_factory=dict)
    lately: dict[str, datetime] = field(default_factory=dict)

    def step(self, seen: FollowedRecord) -> None:
        """Advance past a record. Drops journals that have long been silent, so that the SSE event id stays short."""
        at = seen.access.at
        self.positions[seen.journal] = seen.number
        self.lately[seen.journal] = at
        # On PostgreSQL every boot of every worker has a journal of its own, and an id would name all of them.
        for journal in [
            each for each, last in self.lately.items() if last < at - RESUME_WITHIN - _CLOCKS_APART
        ]:
            del self.positions[journal], self.lately[journal]

    def write(self, now: datetime) -> bytes:
        rows = [[name, number, self.lately[name].timestamp()] for name, number in self.positions.items()]
        return orjson.dumps([self.began.timestamp(), now.timestamp(), rows])

    @staticmethod
    def read(written: bytes) -> "ResumePoint":
        began, left, rows = orjson.loads(written)
        positions = {name: number for name, number, _ in rows}
        return ResumePoint(_at(began), _at(left), positions, {name: _at(at) for name, _, at in rows})


def _at(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)


class Follower:
    """The buffer of one follower. When it is full, the oldest records are dropped and counted."""

    def __init__(self, wanted: Callable[[Access], bool], place: ResumePoint, upto: Positions) -> None:
        self.wants = wanted
        self._waiting: deque[FollowedRecord] = deque(maxlen=FOLLOWED_BOUND)
        self._woken = asyncio.Event()
        self._dropped = 0
        self.place = place
        self.upto = upto
        """The ends of the journals when it began: it is offered later records only."""
        self.end_reason = ""
        """Why no more records will come; empty while more may."""

    def offer(self, seen: FollowedRecord) -> None:
        if seen.number <= self.upto.get(seen.journal, 0):
            return
        if self.wants(seen.access):
            # The deque drops the oldest by itself; the count is what the reader is sent.
            self._dropped += len(self._waiting) == FOLLOWED_BOUND
            self._waiting.append(seen)
            self._woken.set()
        # A record that is not wanted advances the place too, but only if no wanted one is still ahead of it.
        elif not self._waiting:
            self.place.step(seen)

    def end(self, why: str) -> None:
        self.end_reason = why
        self._woken.set()

    def take(self) -> FollowedRecord | None:
        """Return the oldest buffered record and advance past it; None if there is none."""
        if not self._waiting:
            return None
        seen = self._waiting.popleft()
        self.place.step(seen)
        return seen

    def take_dropped(self) -> int:
        """Return how many records were dropped since the last call."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    async def wait(self, within_s: float) -> bool:
        """Wait until a record is buffered or following has ended; return False when neither happened in time."""
        if not self._waiting and not self.end_reason:
            self._woken.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), within_s)
        return bool(self._waiting or self.end_reason)


class Tail:
    """Polls every journal while there are followers. Belongs to one event loop."""

    def __init__(self, open_reader: Callable[[], AccessReader], clock: Clock, poll_s: float) -> None:
        self._open_reader, self._clock, self._poll_s = open_reader, clock, poll_s
        self._followers: list[Follower] = []
        self._positions: Positions = {}
        self._lately: dict[str, datetime] = {}
        self._starting = asyncio.Lock()
        self._polling: asyncio.Task[None] | None = None

    async def follow(self, wanted: Callable[[Access], bool]) -> Follower:
        """Start to follow, from now; ``leave`` ends it. Raises Unavailable when too many follow or no journal can be read."""
        # Two followers at once would start two polls.
        async with self._starting:
            if len(self._followers) >= FOLLOWERS_BOUND:
                raise Unavailable(
                    "too_many_subscribers",
                    f"This worker already serves {FOLLOWERS_BOUND} audit streams. Close one, or try again later.",
                )
            # The poll for other followers has read up to its last look: records since then are not new to this one.
            ends = await asyncio.to_thread(self._ends) if self._polling else {}
            if self._polling is None:
                reader = self._open_reader()
                begun = asyncio.ensure_future(asyncio.to_thread(self._begin, reader))
                try:
                    # Shielded: a follower that leaves at once must not leave
                    # the thread with a reader that is closed under it.
                    await asyncio.shield(begun)
                    self._polling = asyncio.create_task(self._poll(reader))
                finally:
                    # A callback, not a ``finally`` in the task: a task that is cancelled before it starts never runs.
                    (self._polling or begun).add_done_callback(lambda _: reader.close())
            now = self._clock.now()
            ahead = {name: end for name, end in ends.items() if end > self._positions.get(name, 0)}
            upto = self._positions | ahead
            lately = {name: at for name, at in self._lately.items() if at >= now - RESUME_WITHIN}
            lately |= dict.fromkeys(ahead, now)
            place = ResumePoint(now, now, {name: upto[name] for name in lately}, lately)
            follower = Follower(wanted, place, upto)
            self._followers.append(follower)
            return follower

    def leave(self, follower: Follower) -> None:
        """End following; polling ends with the last follower."""
        if follower in self._followers:
            self._followers.remove(follower)
        # Without followers nothing is read.
        if not self._followers and self._polling is not None:
            self._polling.cancel()
            self._polling = None

    def end(self, why: str) -> None:
        """End every follower."""
        for follower in self._followers:
            follower.end(why)

    async def catch_up(self, follower: Follower, place: ResumePoint) -> "Missed":
        """Read the records after a resume point, up to where the follower began. Raises Unavailable."""
        return await asyncio.to_thread(self._catch_up, follower, place)

    def _catch_up(self, follower: Follower, place: ResumePoint) -> "Missed":
        reader, horizon = self._open_reader(), self._clock.now() - RESUME_WITHIN
        try:
            # Journals without a position had written nothing shortly before ``place.began``.
            floor, unnamed = reader.starts(horizon), reader.starts(max(place.began - _CLOCKS_APART, horizon))
            # The furthest of three: where the reader stood, the age limit, and for journals that it had never
            # seen, the time when it began.
            positions = {
                name: max(place.positions.get(name, unnamed.get(name, 0)), floor.get(name, 0))
                for name in follower.upto
            }
            found: list[FollowedRecord] = []
            read, behind = 0, True
            # Bounded, since a reader that returns after a busy hour may have missed millions; it is informed
            # that there were more.
            while behind and read < RESUME_BOUND:
                page = list(_in_order(_up_to(reader.after(positions, POLL_BOUND), follower.upto)))
                positions |= {seen.journal: seen.number for seen in page}
                found += [seen for seen in page if follower.wants(seen.access)]
                read, behind = read + len(page), bool(page)
        finally:
            reader.close()
        return Missed(tuple(found), more=behind or place.left < horizon)

    def _ends(self) -> Positions:
        reader = self._open_reader()
        try:
            return reader.ends()
        finally:
            reader.close()

    def _begin(self, reader: AccessReader) -> None:
        now = self._clock.now()
        # Starts are read before ends: a record in between counts as recent, never as missed.
        before, self._positions = reader.starts(now - RESUME_WITHIN - _CLOCKS_APART), reader.ends()
        self._lately = {name: now for name, end in self._positions.items() if end > before.get(name, 0)}

    async def _poll(self, reader: AccessReader) -> None:
        pending: asyncio.Future[NewRecords] | None = None
        try:
            while True:
                await asyncio.sleep(self._poll_s)
                pending = asyncio.ensure_future(
                    asyncio.to_thread(reader.after, dict(self._positions), POLL_BOUND)
                )
                # A database that is away for a moment delays the
                # stream; the positions are kept and nothing is lost.
                with suppress(Unavailable):
                    self._deliver(await asyncio.shield(pending))
        except Exception:  # noqa: BLE001 - the task's edge: followers must be notified
            self._polling = None
            self.end("audit_unavailable")
        finally:
            if pending is not None:
                # The thread outlives a cancelled task, and would reopen a reader that is closed while it reads.
                await asyncio.gather(pending, return_exceptions=True)

    def _deliver(self, found: NewRecords) -> None:
        for seen in _in_order(found):
            self._positions[seen.journal] = seen.number
            self._lately[seen.journal] = seen.access.at
            for follower in self._followers:
                follower.offer(seen)


@dataclass(frozen=True, slots=True)
class Missed:
    """Records that a follower missed and wants. ``more``: there were others, too old or too many to be returned."""

    records: tuple[FollowedRecord, ...]
    more: bool


def _in_order(found: NewRecords) -> Iterator[FollowedRecord]:
    """Merge records by time, keeping each journal's own order, so that a position in it stays exact."""
    journals = [
        [FollowedRecord(name, number, access) for number, access in rows] for name, rows in found.items()
    ]
    return merge(*journals, key=lambda seen: seen.access.at)


def _up_to(found: NewRecords, ends: Mapping[str, int]) -> NewRecords:
    return {
        name: [row for row in rows if row[0] <= ends[name]] for name, rows in found.items() if name in ends
    }
