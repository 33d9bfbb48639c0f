"""Follows the platform's stream of decisions while a page shows an app's calls, over one connection for all charts of this site.

The platform records each read of its access records (C155). Of a stream it records only that it was opened and closed, so the site follows the
stream, and reads the list of accesses only for decisions that the stream missed.
"""

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace

import orjson

from hilum.foundation.infra import logs
from hilum.foundation.kernel.errors import HilumError, Invalid, NotPermitted, Unavailable
from hilum_ehr.sandbox.ehr.decision_cache import DecisionCache, Launch
from hilum_ehr.sandbox.ehr.inspector import CALLS_SHOWN, Calls, inspect
from hilum_ehr.sandbox.ehr.platform import Platform
from hilum_ehr.sandbox.ehr.sse import Message

DETAIL_BOUND = 300
NOT_RECEIVED = "The platform has sent nothing yet. Calls that were missed are read as soon as it does."
_ENDS = {
    "server_stops": "The platform is being stopped.",
    "audit_unavailable": "The platform cannot read its record.",
}
_log = logs.get("sandbox")


@dataclass(frozen=True, slots=True)
class Pace:
    """Times of the connection, in seconds."""

    idle_s: float = 60.0
    """For how long the stream is followed after the last page was shown."""
    again_s: float = 3.0
    """The pause before connecting again after the stream broke off."""
    refused_s: float = 300.0
    """The pause after the platform refused."""
    quiet_s: float = 30.0
    """Silence after which the stream counts as broken. The platform sends a heartbeat every ten seconds."""
    ready_s: float = 1.0
    """How long a launch or a page waits for the connection at most."""


NORMAL = Pace()


class Feed:
    """The calls of this site's launches, as they are decided. Bound to one event loop."""

    def __init__(self, platform: Platform, pace: Pace = NORMAL) -> None:
        self._platform, self._pace = platform, pace
        self._cache = DecisionCache()
        self._task: asyncio.Task[None] | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._settled = asyncio.Event()
        """Set once the connection was made, or has failed."""
        self._last_id = ""
        """The id of the last message received, from which the next connection continues."""
        self._live = self._closed = False
        self._trouble = self._since = ""
        """Why nothing is received now, and since when."""

    async def follow(self) -> None:
        """Follow the stream for another ``idle_s``; return once the connection is made or has failed, after ``ready_s`` at most.

        A launch waits for it, so that the decisions on its first calls are received.
        """
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._idle_timer = loop.call_later(self._pace.idle_s, self._stop)
        if self._task is None:
            self._settled.clear()
            self._task = loop.create_task(self._keep_connected())
        with suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), self._pace.ready_s)

    def expect(self, launch: str) -> None:
        """Keep the calls under a launch that has just been opened."""
        # Nothing is missed if the stream is connected, or will continue from a known id.
        self._cache.expect(launch, whole=self._live or bool(self._last_id))

    def forget(self, launch: str) -> None:
        """Drop the calls under a launch that has ended."""
        self._cache.forget(launch)

    async def calls(self, tenant: str, launch: str) -> Calls:
        """Return the newest calls under a launch, and whether some may be missing."""
        await self.follow()
        trouble = (
            f"Since {self._since}: {self._trouble} The sandbox tries again by itself."
            if self._trouble
            else ""
        )
        if not launch:
            return Calls((), 0, trouble)
        cached = self._cache.expect(launch, whole=False)
        # Only while the stream is connected, so that no decision falls between the list and the stream.
        if self._live and not cached.whole and asyncio.get_running_loop().time() >= cached.again_at_s:
            await self._catch_up(tenant, launch, cached)
        if not cached.whole:
            trouble = trouble or cached.fault or NOT_RECEIVED
        return replace(inspect(cached.records.values()), trouble=trouble)

    async def close(self) -> None:
        """Close the connection; it is not opened again."""
        self._closed = True
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        task = self._task
        self._stop()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)

    async def _catch_up(self, tenant: str, launch: str, cached: Launch) -> None:
        """Read a launch's decisions from the list of accesses."""
        # Before reading: a decision that is missed meanwhile sets it to False again.
        cached.whole, cached.fault = True, ""
        cached.again_at_s = asyncio.get_running_loop().time() + self._pace.again_s
        try:
            self._cache.keep(await self._platform.accesses(tenant, launch, CALLS_SHOWN))
        except HilumError as error:
            cached.whole = False
            cached.fault = f"What was missed could not be read: {_words(error)}"
            # A refused token stays refused, and the platform records each attempt.
            if isinstance(error, NotPermitted):
                cached.again_at_s += self._pace.refused_s

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task, self._live = None, False

    async def _keep_connected(self) -> None:
        while True:
            try:
                await self._receive()
            except HilumError as error:
                reason = error
            except Exception as error:  # noqa: BLE001 - the task's edge: the page must show that it failed
                _log.error("sandbox.feed.failed", kind=type(error).__name__, place=logs.place_of(error))
                reason = Unavailable("platform_unavailable", "The platform's stream cannot be read.")
            self._record_loss(reason)
            refused = isinstance(reason, NotPermitted)
            await asyncio.sleep(self._pace.refused_s if refused else self._pace.again_s)

    async def _receive(self) -> None:
        """Connect, and receive messages until the connection ends. Always raises HilumError."""
        async with aclosing(self._platform.decisions(self._last_id, self._pace.quiet_s)) as messages:
            async for message in messages:
                self._handle(message)
        raise Unavailable("stream_ended", "The platform's stream of decisions broke off.")

    def _handle(self, message: Message) -> None:
        self._live, self._trouble, self._since = True, "", ""
        if message.event == "decision":
            self._cache.keep([_read(message)])
        elif message.event == "missed":
            self._cache.miss()
        elif message.event == "end":
            why = str(_read(message).get("why"))[:DETAIL_BOUND]
            raise Unavailable("stream_ended", _ENDS.get(why, f"The platform ended its stream: {why}."))
        self._last_id = message.id or self._last_id
        self._settled.set()

    def _record_loss(self, reason: HilumError) -> None:
        # The platform no longer accepts the id: begin from now, and read what was missed from the list.
        if isinstance(reason, Invalid):
            self._last_id = ""
        # Without an id the next connection cannot continue, so anything may have been missed.
        if not self._last_id:
            self._cache.miss()
        self._since = self._since or f"{self._platform.clock.now():%H:%M:%S}"
        self._trouble, self._live = _words(reason), False
        self._settled.set()


def _words(error: HilumError) -> str:
    return (error.detail or error.code)[:DETAIL_BOUND]


def _read(message: Message) -> dict[str, object]:
    try:
        content = orjson.loads(message.data)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise Unavailable("platform_unavailable", "The platform's stream cannot be read.")
    return content
