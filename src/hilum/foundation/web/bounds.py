"""Limits on bodies and concurrent requests of unauthenticated callers, enforced in front of every framework.

Source: security decision 26
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cachetools import LRUCache

from hilum.foundation.kernel.errors import HilumError, Invalid, Unavailable
from hilum.foundation.standards.networks import network_of
from hilum.foundation.web.asgi import Message, Receive

API_BODY_BOUND = 64 * 1024
SMALL_BODY_BOUND = 8 * 1024
"""For routes of the API that anyone, or every holder of a token, may call."""
LARGE_BODY_BOUND = 1024 * 1024
"""For routes of the API with a field that needs it; each declares so (``web.api.audience``)."""
PAGE_BODY_BOUND = 256 * 1024
BODY_DEADLINE_S = 30.0
"""Time in which a whole body must arrive, however steadily it trickles in (slow-body attacks)."""
BODY_GRACE_S = 5.0
BODY_RATE_BOUND = 8 * 1024
"""Minimum bytes a second of a body, after the grace period of BODY_GRACE_S."""
PARTS_BOUND = 256
"""How many parts a body may have however small they are."""
PART_MEAN_BOUND = 256
"""Minimum mean bytes of a part, beyond PARTS_BOUND parts: each part costs an event loop iteration, however small it is."""
LINGER_S, LINGER_SILENCE_S, LINGER_BYTES = 2.0, 0.3, 16 * 1024 * 1024
"""Limits on what is read of an unread body and discarded after the answer: seconds, seconds of silence, bytes. A connection that is
closed while its client still sends is reset, and the client then loses the answer."""
LINGERING_BOUND = 64
"""How many connections of a worker may linger at a time; beyond, they are closed at once."""
REQUESTS_BOUND = 2_048
SOURCE_REQUESTS_BOUND = 512
BODIES_BOUND = 512
SOURCE_BODIES_BOUND = 128
BODY_MEMORY_BOUND = 64 * 1024 * 1024
"""Maximum bytes of all bodies that a worker holds at one time."""
REFUSALS_BURST, REFUSALS_RATE = 200.0, 50.0
"""How many refusals of one source are answered without a delay: at once, and a second on average."""
REFUSAL_DELAY_S = 0.25
GUESSES_BURST, GUESSES_RATE, GUESS_DELAY_S = 40.0, 0.5, 3.0
"""The same for refused guesses at passwords and at codes of identity providers, over all names."""
SOURCES_BOUND = 10_000
"""Of how many sources a worker counts refusals; beyond, it forgets the one that was refused longest ago."""
BUSY_RETRY_S = 1
TOO_LARGE, TOO_SLOW, INCOMPLETE = "body_too_large", "body_too_slow", "body_incomplete"
FRAGMENTED = "body_fragmented"


class Busy(Unavailable):
    """A limit of concurrency is reached: that of this source (``source_busy``) or of the worker (``server_busy``)."""

    retry_after_s = BUSY_RETRY_S


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one worker admits at a time, in total and from one source."""

    requests: int = REQUESTS_BOUND
    source_requests: int = SOURCE_REQUESTS_BOUND
    bodies: int = BODIES_BOUND
    source_bodies: int = SOURCE_BODIES_BOUND
    body_memory: int = BODY_MEMORY_BOUND


class RequestsInProgress:
    """Counts requests and bodies in progress in one worker. Belongs to its event loop."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.requests = 0
        self.body_bytes = self.lingering = 0
        self._requests_of: dict[str, int] = {}
        self._bodies_of: dict[str, int] = {}
        self._bodies = 0

    def enter(self, source: str) -> Busy | None:
        """Count a request in, or return why it is refused. Each admitted request must ``leave``."""
        # The source's own bound first, so that a source that sends too much gets 429 and the others no 503.
        held = self._requests_of.get(source, 0)
        if held >= self.limits.source_requests:
            return Busy("source_busy", "Too many concurrent requests from this address. Try again shortly.")
        if self.requests >= self.limits.requests:
            return Busy("server_busy", "Too many concurrent requests. Try again shortly.")
        self.requests += 1
        self._requests_of[source] = held + 1
        return None

    def leave(self, source: str) -> None:
        """Count a request out."""
        self.requests -= 1
        # As ``_drop`` does, and without a call: every request passes here.
        left = self._requests_of[source] - 1
        if left:
            self._requests_of[source] = left
        else:
            del self._requests_of[source]

    def body_begins(self, source: str) -> None:
        """Count a body that starts to arrive. Raises Busy."""
        held = self._bodies_of.get(source, 0)
        if held >= self.limits.source_bodies:
            raise Busy("source_busy", "Too many concurrent uploads from this address. Try again shortly.")
        if self._bodies >= self.limits.bodies or self.body_bytes >= self.limits.body_memory:
            raise Busy("server_busy", "Too many concurrent uploads. Try again shortly.")
        self._bodies += 1
        self._bodies_of[source] = held + 1

    def body_ends(self, source: str) -> None:
        """Count a body out that has arrived or was abandoned."""
        self._bodies -= 1
        _drop(self._bodies_of, source)


def _drop(counts: dict[str, int], source: str) -> None:
    left = counts[source] - 1
    if left:
        counts[source] = left
    else:
        del counts[source]


class RefusalDelay:
    """Delays refusals of a source with many of them, so that guessing in a loop costs others little. Not thread-safe.

    A token bucket per source: refusals within burst and rate are answered at once; each further one waits ``delay_s``.
    """

    def __init__(
        self, *, burst: float = REFUSALS_BURST, rate: float = REFUSALS_RATE, delay_s: float = REFUSAL_DELAY_S
    ) -> None:
        self._burst, self._rate, self._delay_s = burst, rate, delay_s
        self._left: LRUCache[str, tuple[float, float]] = LRUCache(SOURCES_BOUND)

    def delay_s(self, source: str, now: float) -> float:
        """Count a refusal; return its delay in seconds. ``now`` is monotonic."""
        left, at = self._left.get(source, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        # A delayed refusal spends nothing. Otherwise a source that keeps guessing would be
        # delayed for longer than its rate says.
        is_free = left >= 1.0
        self._left[source] = (left - 1.0 if is_free else left, now)
        return 0.0 if is_free else self._delay_s

    async def hold(self, source: str) -> None:
        """Count a refusal of this source, and wait for its delay."""
        if delay_s := self.delay_s(source, asyncio.get_running_loop().time()):
            await asyncio.sleep(delay_s)

    @asynccontextmanager
    async def slowing(self, source: str) -> AsyncIterator[None]:
        """Delay a refusal that is raised inside the ``async with`` block. A source is an address; its network is counted."""
        try:
            yield
        except HilumError:
            # Delayed and not refused: people behind the same address must still get in.
            await self.hold(network_of(source))
            raise


def too_large(bound: int) -> Invalid:
    """Build the refusal of a body with more than ``bound`` bytes."""
    return Invalid(TOO_LARGE, f"The body is larger than {bound} bytes, the limit here.")


class Body:
    """An ASGI ``receive`` that passes a body through within its limits, and raises HilumError once it exceeds one.

    ``fault`` is that error. ``whole``: everything was read, so the connection can serve another request.
    """

    def __init__(
        self, receive: Receive, in_progress: RequestsInProgress, source: str, *, bound: int, declared: int
    ) -> None:
        self._receive, self._in_progress, self._source = receive, in_progress, source
        self._bound, self._declared = bound, declared
        self._began, self._seen, self._parts, self._counted = -1.0, 0, 0, False
        self.whole = False
        self.fault: HilumError | None = None

    def narrow(self, bound: int) -> None:
        """Lower the bound of a body of which nothing was read yet."""
        self._bound = min(self._bound, bound)

    async def __call__(self) -> Message:
        """Receive the next part. Raises Invalid for a body that is too large, slow or fragmented, Busy at a limit of the worker."""
        if self.whole:
            return await self._receive()
        if self.fault is not None:
            raise self.fault
        try:
            message = await self._part()
        except HilumError as error:
            self.fault = error
            self._give_back()
            raise
        self.whole = not message.get("more_body", False)
        if self.whole:
            self._arrived()
        return message

    async def _part(self) -> Message:
        loop = asyncio.get_running_loop()
        if self._began < 0:
            # Refused by its header, before a single byte of it is kept.
            if self._declared > self._bound:
                raise too_large(self._bound)
            self._in_progress.body_begins(self._source)
            self._counted, self._began = True, loop.time()
        # Each byte earns time, and a sender that trickles runs out of it. The deadline also ends what
        # keeps to the minimum rate.
        until = self._began + min(BODY_DEADLINE_S, BODY_GRACE_S + self._seen / BODY_RATE_BOUND)
        try:
            async with asyncio.timeout_at(until):
                message = await self._receive()
        except TimeoutError:
            raise Invalid(TOO_SLOW, "The body did not arrive in time.") from None
        if message["type"] == "http.disconnect":
            raise Invalid(INCOMPLETE, "The connection closed before the whole body arrived.")
        size = len(message.get("body", b""))
        self._seen += size
        self._parts += 1
        # Counted as it arrives and given back when the request has ended: what is declared may never come.
        self._in_progress.body_bytes += size
        if self._seen > self._bound:
            raise too_large(self._bound)
        if self._parts > PARTS_BOUND + self._seen // PART_MEAN_BOUND:
            raise Invalid(FRAGMENTED, "The body came in too many small parts. Send it in larger ones.")
        if self._in_progress.body_bytes > self._in_progress.limits.body_memory:
            raise Busy("server_busy", "Too many concurrent uploads. Try again shortly.")
        return message

    def _arrived(self) -> None:
        if self._counted:
            self._counted = False
            self._in_progress.body_ends(self._source)

    def _give_back(self) -> None:
        self._arrived()
        self._in_progress.body_bytes -= self._seen
        self._seen = 0

    async def release(self) -> None:
        """Release what the body holds when the request has ended, and let its sender read the answer before the connection closes.

        The server closes the connection of an unread body once ``receive`` is garbage-collected, so no reference to it may remain: not in
        the frames of an error's traceback, nor in a reference cycle.
        """
        self._give_back()
        try:
            await self._linger()
        finally:
            self._receive = _ended
            if self.fault is not None:
                self.fault.__traceback__ = self.fault.__context__ = self.fault.__cause__ = None

    async def _linger(self) -> None:
        is_over = self.whole or (self.fault is not None and self.fault.code in {TOO_SLOW, INCOMPLETE})
        if is_over or self._in_progress.lingering >= LINGERING_BOUND:
            return
        self._in_progress.lingering += 1
        try:
            async with asyncio.timeout(LINGER_S):
                await self._drop_rest()
        except TimeoutError:
            pass
        finally:
            self._in_progress.lingering -= 1

    async def _drop_rest(self) -> None:
        dropped = 0
        while dropped < LINGER_BYTES:
            message = await asyncio.wait_for(self._receive(), LINGER_SILENCE_S)
            dropped += len(message.get("body", b""))
            if not message.get("more_body", False):
                return


async def _ended() -> Message:
    return {"type": "http.disconnect"}
