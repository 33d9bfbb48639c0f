"""The stream of decisions as server-sent events: of all workers, each once, resumable, ended when the reader loses the right to read.

Source: HTML living standard, section 9.2 (server-sent events).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import HilumError, Invalid
from hilum.foundation.kernel.ports import Clock, Ids
from hilum.records.audit.follow import FollowedRecord, Follower, ResumePoint, Tail
from hilum.records.audit.models import Access, Outcome
from hilum.records.keys.live import vault

RETRY_MS = 1_000
CHUNK_BOUND = 50
"""How many records leave after one check of the reader's right."""
_PURPOSE = "audit.stream"


@dataclass(frozen=True, slots=True)
class Pace:
    """Intervals: ``poll_s`` between polls of the journals, ``heartbeat_s`` between heartbeats, ``recheck_s`` between checks of a silent stream's reader.

    ``stall_s``: how long a reader may take to receive one record before the stream is closed.
    """

    poll_s: float = 0.2
    heartbeat_s: float = 10.0
    recheck_s: float = 5.0
    stall_s: float = 30.0


@dataclass(slots=True)
class Stream:
    """One reader's stream. ``bound_to`` identifies reader and filters: its event ids can be opened only with the same ones."""

    reader: Actor
    tail: Tail
    follower: Follower
    pace: Pace
    clock: Clock
    ids: Ids
    bound_to: str
    check_reader: Callable[[], Awaitable[None]]
    """Raises HilumError when the reader may no longer read, which ends the stream."""
    given: int = 0
    dropped: int = 0
    why: str = "reader_left"

    async def parts(self, place: ResumePoint | None) -> AsyncIterator[bytes]:
        """Yield the stream from now, or from the resume point ``place``."""
        # The id comes first, so that a browser that loses the connection before any record resumes from here.
        yield b": listening\nretry: %d\n" % RETRY_MS + self._id(place or self.follower.place) + b"\n"
        try:
            if place is not None:
                missed = await self.tail.catch_up(self.follower, place)
                if missed.more:
                    yield _event(b"missed", {"why": "too_far_back"})
                parts = []
                for seen in missed.records:
                    place.step(seen)
                    parts.append(self._decision(seen, place))
                for start in range(0, len(parts), CHUNK_BOUND):
                    yield await self._checked(parts[start : start + CHUNK_BOUND])
            async for part in self._live():
                yield part
        except HilumError as error:
            self.why = error.code
        yield _event(b"end", {"why": self.why})

    async def _checked(self, parts: list[bytes]) -> bytes:
        """Join records that leave now. Raises HilumError if the reader's token, session or right has ended since they were taken."""
        await self.check_reader()
        self.given += len(parts)
        return b"".join(parts)

    async def _live(self) -> AsyncIterator[bytes]:
        now = asyncio.get_running_loop().time
        rechecked_at = heartbeat_at = now()
        while True:
            # A stream outlives requests: the reader's account, role or token may have ended since it was opened.
            if now() - rechecked_at >= self.pace.recheck_s:
                await self.check_reader()
                rechecked_at = now()
            if dropped := self.follower.take_dropped():
                self.dropped += dropped
                yield _event(b"missed", {"why": "too_slow", "count": dropped})
            if parts := self._taken():
                yield await self._checked(parts)
                continue
            if self.follower.end_reason:
                self.why = self.follower.end_reason
                return
            woken = await self.follower.wait(min(self.pace.recheck_s, self.pace.heartbeat_s))
            if not woken and now() - heartbeat_at >= self.pace.heartbeat_s:
                heartbeat_at = now()
                yield b": still here\n" + self._id(self.follower.place) + b"\n"

    def _taken(self) -> list[bytes]:
        parts: list[bytes] = []
        while len(parts) < CHUNK_BOUND and (seen := self.follower.take()):
            parts.append(self._decision(seen, self.follower.place))
        return parts

    def _decision(self, seen: FollowedRecord, place: ResumePoint) -> bytes:
        return b"event: decision\n" + self._id(place) + b"data: " + orjson.dumps(seen.access) + b"\n\n"

    def _id(self, place: ResumePoint) -> bytes:
        written = place.write(self.clock.now())
        # Sealed, because positions reveal how much other tenants do, and bound to reader and filters, so that
        # an id cannot be used to read with other filters.
        sealed = vault().seal(_PURPOSE, written, nonce=self.ids, bound_to=self.bound_to)
        return b"id: " + sealed.encode() + b"\n"


def read_resume_point(last_event_id: str, bound_to: str) -> ResumePoint | None:
    """Return the resume point in a ``Last-Event-ID``; None if that is empty. Raises Invalid if it belongs to another reader or filter."""
    if not last_event_id:
        return None
    try:
        return ResumePoint.read(vault().open(_PURPOSE, last_event_id, bound_to))
    except Invalid as error:
        fault = "is not an id of a stream with this reader and these filters; leave it out to stream from now"
        raise Invalid("last_event_id_invalid", f"Last-Event-ID {fault}.") from error


class Streamed(StreamingResponse):
    """A response without an end. ``ended`` is called exactly once, however it ends. A reader that stalls for ``stall_s`` is disconnected."""

    def __init__(
        self, parts: AsyncIterator[bytes], *, stall_s: float, ended: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__(parts, media_type="text/event-stream", headers={"cache-control": "no-store"})
        self._stall_s, self._ended = stall_s, ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A reader that stops reading would hold its slot and its buffer for as long as the connection lives.
        async def send_in_time(message: Message) -> None:
            await asyncio.wait_for(send(message), self._stall_s)

        try:
            with suppress(TimeoutError, ClientDisconnect):
                await super().__call__(scope, receive, send_in_time)
        finally:
            # Shielded: a disconnect cancels this task, and the end must still be recorded.
            await asyncio.shield(asyncio.ensure_future(self._ended()))


def fits(wanted: dict[str, str]) -> Callable[[Access], bool]:
    """Return the predicate of a stream. Intents are left out, since their outcome is the decision."""

    def wants(access: Access) -> bool:
        if access.outcome is Outcome.INTENDED:
            return False
        return all(getattr(access, name) == value for name, value in wanted.items())

    return wants


def _event(name: bytes, data: dict[str, object]) -> bytes:
    return b"event: " + name + b"\ndata: " + orjson.dumps(data) + b"\n\n"
