"""Following every journal of the installation while it is written: one look for all who follow, in a thread, never in a writer's way."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import merge

import orjson

from hilum.audit.journal_records import AccessReader, Followed, Positions
from hilum.audit.models import (
    FOLLOWED_BOUND,
    FOLLOWERS_BOUND,
    LOOK_BOUND,
    RESUME_BOUND,
    RESUME_WITHIN,
    Access,
)
from hilum.kernel.errors import Unavailable
from hilum.kernel.ports import Clock

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Seen:
    """A record where it stands: in which journal, as which of its records."""

    journal: str
    number: int
    access: Access


@dataclass(slots=True)
class Place:
    """How far somebody has followed: the last record of each journal that wrote lately, and since when they follow.

    A journal that is not named wrote nothing from a while before they began, so whatever it wrote since is new to them.
    """

    began: datetime
    left: datetime
    """When the place was last written down."""
    positions: Positions = field(default_factory=dict)
    lately: dict[str, datetime] = field(default_factory=dict)

    def step(self, seen: Seen) -> None:
        """Go past a record; journals that have long been silent are no longer named, so that the place stays small."""
        at = seen.access.at
        self.positions[seen.journal] = seen.number
        self.lately[seen.journal] = at
        for journal in [each for each, last in self.lately.items() if last < at - RESUME_WITHIN - _MINUTE]:
            del self.positions[journal], self.lately[journal]

    def write(self, now: datetime) -> bytes:
        rows = [[name, number, self.lately[name].timestamp()] for name, number in self.positions.items()]
        return orjson.dumps([self.began.timestamp(), now.timestamp(), rows])

    @staticmethod
    def read(written: bytes) -> "Place":
        began, left, rows = orjson.loads(written)
        positions = {name: number for name, number, _ in rows}
        return Place(_at(began), _at(left), positions, {name: _at(at) for name, _, at in rows})


def _at(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)


class Follower:
    """Records for one who follows. What is not taken in time is dropped and counted."""

    def __init__(self, wanted: Callable[[Access], bool], place: Place, upto: Positions) -> None:
        self.wants = wanted
        self._waiting: deque[Seen] = deque(maxlen=FOLLOWED_BOUND)
        self._stirred = asyncio.Event()
        self._dropped = 0
        self.place = place
        self.upto = upto
        """Where the journals stood when it began: it is offered what follows."""
        self.over = ""
        """Why nothing more will come."""

    def offer(self, seen: Seen) -> None:
        if self.wants(seen.access):
            self._dropped += len(self._waiting) == FOLLOWED_BOUND
            self._waiting.append(seen)
            self._stirred.set()
        elif not self._waiting:
            self.place.step(seen)

    def end(self, why: str) -> None:
        self.over = why
        self._stirred.set()

    def take(self) -> Seen | None:
        """Take the oldest record, if one waits, and step past it."""
        if not self._waiting:
            return None
        seen = self._waiting.popleft()
        self.place.step(seen)
        return seen

    def take_dropped(self) -> int:
        """Tell how many were dropped since it was last told."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    async def stir(self, within_s: float) -> bool:
        """Wait until something waits or it is over; False when neither happened in time."""
        if not self._waiting and not self.over:
            self._stirred.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stirred.wait(), within_s)
        return bool(self._waiting or self.over)


class Tail:
    """Looks at every journal while somebody follows. Belongs to one event loop."""

    def __init__(self, open_reader: Callable[[], AccessReader], clock: Clock, look_s: float) -> None:
        self._open_reader, self._clock, self._look_s = open_reader, clock, look_s
        self._followers: list[Follower] = []
        self._positions: Positions = {}
        self._lately: dict[str, datetime] = {}
        self._starting = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None

    async def follow(self, wanted: Callable[[Access], bool]) -> Follower:
        """Begin to follow, from now. ``leave`` ends it. Raises Unavailable when too many follow or no journal can be read."""
        async with self._starting:
            if len(self._followers) >= FOLLOWERS_BOUND:
                raise Unavailable("too_many_subscribers", "Too many are looking on already.")
            if self._looking is None:
                reader = self._open_reader()
                begun = asyncio.ensure_future(asyncio.to_thread(self._begin, reader))
                try:
                    await asyncio.shield(begun)
                    self._looking = asyncio.create_task(self._look_on(reader))
                finally:
                    # Not in the task, which may be cancelled before it began.
                    (self._looking or begun).add_done_callback(lambda _: reader.close())
            now = self._clock.now()
            lately = {name: at for name, at in self._lately.items() if at >= now - RESUME_WITHIN}
            place = Place(now, now, {name: self._positions[name] for name in lately}, lately)
            made = Follower(wanted, place, dict(self._positions))
            self._followers.append(made)
            return made

    def leave(self, follower: Follower) -> None:
        """End following; with the last one, looking ends too."""
        if follower in self._followers:
            self._followers.remove(follower)
        if not self._followers and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def end(self, why: str) -> None:
        """Let everybody go."""
        for follower in self._followers:
            follower.end(why)

    async def catch_up(self, follower: Follower, left: Place) -> "Missed":
        """Read what followed a place that was left, up to where the follower began. Raises Unavailable."""
        return await asyncio.to_thread(self._catch_up, follower, left)

    def _catch_up(self, follower: Follower, left: Place) -> "Missed":
        reader, horizon = self._open_reader(), self._clock.now() - RESUME_WITHIN
        try:
            floor, unnamed = reader.starts(horizon), reader.starts(max(left.began - _MINUTE, horizon))
            positions = {
                name: max(left.positions.get(name, unnamed.get(name, 0)), floor.get(name, 0))
                for name in follower.upto
            }
            found: list[Seen] = []
            read, behind = 0, True
            while behind and read < RESUME_BOUND:
                page = list(_in_order(_up_to(reader.after(positions, LOOK_BOUND), follower.upto)))
                positions |= {seen.journal: seen.number for seen in page}
                found += [seen for seen in page if follower.wants(seen.access)]
                read, behind = read + len(page), bool(page)
        finally:
            reader.close()
        return Missed(tuple(found), more=behind or left.left < horizon)

    def _begin(self, reader: AccessReader) -> None:
        now = self._clock.now()
        before, self._positions = reader.starts(now - RESUME_WITHIN - _MINUTE), reader.ends()
        self._lately = {name: now for name, end in self._positions.items() if end > before.get(name, 0)}

    async def _look_on(self, reader: AccessReader) -> None:
        look: asyncio.Future[Followed] | None = None
        try:
            while True:
                await asyncio.sleep(self._look_s)
                look = asyncio.ensure_future(
                    asyncio.to_thread(reader.after, dict(self._positions), LOOK_BOUND)
                )
                with suppress(Unavailable):
                    self._give(await asyncio.shield(look))
        except Exception:  # noqa: BLE001 - the task's edge: whoever follows must hear of it
            self._looking = None
            self.end("audit_unavailable")
        finally:
            if look is not None:
                # The thread goes on when this task does not, and would open anew what is closed under it.
                await asyncio.gather(look, return_exceptions=True)

    def _give(self, found: Followed) -> None:
        for seen in _in_order(found):
            self._positions[seen.journal] = seen.number
            self._lately[seen.journal] = seen.access.at
            for follower in self._followers:
                follower.offer(seen)


@dataclass(frozen=True, slots=True)
class Missed:
    """What is wanted of what was missed. ``more``: some lies too far back to be given."""

    records: tuple[Seen, ...]
    more: bool


def _in_order(found: Followed) -> Iterator[Seen]:
    """Give records in the order of time, yet those of one journal in the journal's own order, so that a place in it is exact."""
    journals = [[Seen(name, number, access) for number, access in rows] for name, rows in found.items()]
    return merge(*journals, key=lambda seen: seen.access.at)


def _up_to(found: Followed, ends: Mapping[str, int]) -> Followed:
    return {
        name: [row for row in rows if row[0] <= ends[name]] for name, rows in found.items() if name in ends
    }
