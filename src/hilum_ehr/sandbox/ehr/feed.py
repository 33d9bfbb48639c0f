"""Follows the platform's stream of decisions, over one connection for all charts of this site and only while one is open.

Reads of the record are recorded themselves (C155): one connection records only that it was opened and closed. Decisions that the stream
reports as missed are read once, from the list of accesses.
"""

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace

import orjson

from hilum.infra import logs
from hilum.kernel.errors import HilumError, Invalid, NotPermitted, Unavailable
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
    """How long the stream is followed after a page was last read (``idle_s``), and the pause after it broke, or was refused.

    ``quiet_s``: silence after which the stream counts as broken; the platform sends a heartbeat every ten seconds. ``ready_s``: how long
    a launch or a page waits for the stream at most.
    """

    idle_s: float = 60.0
    again_s: float = 3.0
    refused_s: float = 300.0
    quiet_s: float = 30.0
    ready_s: float = 1.0


NORMAL = Pace()


class Feed:
    """The calls of this site's launches, as they are decided. Bound to one event loop."""

    def __init__(self, platform: Platform, pace: Pace = NORMAL) -> None:
        self._platform, self._pace = platform, pace
        self._cache = DecisionCache()
        self._following: asyncio.Task[None] | None = None
        self._rest: asyncio.TimerHandle | None = None
        # A launch waits for the connection, or its first calls would be decided before anybody listens.
        self._settled = asyncio.Event()
        """Set once the connection was made, or has failed."""
        self._place = ""
        """The id of the last message received, from which the next connection continues."""
        self._live = self._closed = False
        self._away = self._since = ""
        """Why nothing is received now, and since when."""

    async def look(self) -> None:
        """Follow the stream for another ``idle_s``. Waits at most ``ready_s`` until the connection is made or has failed."""
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        if self._rest is not None:
            self._rest.cancel()
        # Restarted by every page that looks: without a reader the connection ends after `idle_s`.
        self._rest = loop.call_later(self._pace.idle_s, self._stop)
        if self._following is None:
            self._settled.clear()
            self._following = loop.create_task(self._follow())
        with suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), self._pace.ready_s)

    def expect(self, launch: str) -> None:
        """Keep the calls under a launch that has just been opened."""
        # Whole from the start, if the stream is connected or will continue from a known id.
        self._cache.expect(launch, whole=self._live or bool(self._place))

    def forget(self, launch: str) -> None:
        self._cache.forget(launch)

    async def calls(self, tenant: str, launch: str) -> Calls:
        """Return the newest calls under a launch, and whether some may be missing."""
        await self.look()
        trouble = (
            f"Since {self._since}: {self._away} The sandbox tries again by itself." if self._away else ""
        )
        if not launch:
            return Calls((), 0, trouble)
        cached = self._cache.expect(launch, whole=False)
        # Only while the stream is live, so that no decision falls between the list and the stream.
        if self._live and not cached.whole and asyncio.get_running_loop().time() >= cached.again_at_s:
            await self._catch_up(tenant, launch, cached)
        if not cached.whole:
            trouble = trouble or cached.fault or NOT_RECEIVED
        return replace(inspect(cached.records.values()), trouble=trouble)

    async def close(self) -> None:
        """End following, at once and for good."""
        self._closed = True
        if self._rest is not None:
            self._rest.cancel()
        following = self._following
        self._stop()
        if following is not None:
            await asyncio.gather(following, return_exceptions=True)

    async def _catch_up(self, tenant: str, launch: str, cached: Launch) -> None:
        cached.whole, cached.fault = (
            True,
            "",
        )  # before reading: a decision missed meanwhile sets it to False again
        cached.again_at_s = asyncio.get_running_loop().time() + self._pace.again_s
        try:
            self._cache.keep(await self._platform.accesses(tenant, launch, CALLS_SHOWN))
        except HilumError as error:
            cached.whole = False
            cached.fault = f"What was missed could not be read: {_words(error)}"
            # A refused token stays refused; asking every three seconds would fill the platform's record.
            if isinstance(error, NotPermitted):
                cached.again_at_s += self._pace.refused_s

    def _stop(self) -> None:
        if self._following is not None:
            self._following.cancel()
        self._following, self._live = None, False

    async def _follow(self) -> None:
        while True:
            try:
                await self._connection()
            except HilumError as error:
                reason = error
            except Exception as error:  # noqa: BLE001 - the task's edge: the page must show that it failed
                _log.error("sandbox.feed.failed", kind=type(error).__name__, place=logs.place_of(error))
                reason = Unavailable("platform_unavailable", "The platform's stream cannot be read.")
            self._lose(reason)
            refused = isinstance(reason, NotPermitted)
            await asyncio.sleep(self._pace.refused_s if refused else self._pace.again_s)

    async def _connection(self) -> None:
        """Follow one connection until it ends. Always raises HilumError."""
        # Continues after the last id that arrived, so that a short break loses nothing.
        async with aclosing(self._platform.decisions(self._place, self._pace.quiet_s)) as messages:
            async for message in messages:
                self._take(message)
        raise Unavailable("stream_ended", "The platform's stream of decisions broke off.")

    def _take(self, message: Message) -> None:
        self._live, self._away, self._since = True, "", ""
        if message.event == "decision":
            self._cache.keep([_read(message)])
        elif message.event == "missed":
            self._cache.miss()
        elif message.event == "end":
            why = str(_read(message).get("why"))[:DETAIL_BOUND]
            raise Unavailable("stream_ended", _ENDS.get(why, f"The platform ended its stream: {why}."))
        self._place = message.id or self._place
        self._settled.set()

    def _lose(self, reason: HilumError) -> None:
        # The id is no longer accepted: begin from now, and read what was missed from the list.
        if isinstance(reason, Invalid):
            self._place = ""
        # Without an id the next connection cannot continue, so anything may have been missed.
        if not self._place:
            self._cache.miss()
        self._since = self._since or f"{self._platform.clock.now():%H:%M:%S}"
        self._away, self._live = _words(reason), False
        self._settled.set()


def _words(error: HilumError) -> str:
    return (error.detail or error.code)[:DETAIL_BOUND]


def _read(message: Message) -> dict[str, object]:
    try:
        found = orjson.loads(message.data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unavailable("platform_unavailable", "The platform's stream cannot be read.")
    return found
