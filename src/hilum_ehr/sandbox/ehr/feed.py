"""Following the platform's stream of decisions, once for all charts of this site and only while somebody looks.

One connection reads the record, so an open chart puts no more on record than that the stream was opened and closed (C155). What the
stream says it did not give is read once, from the list.
"""

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace

import orjson

from hilum.infra import logs
from hilum.kernel.errors import HilumError, Invalid, NotPermitted, Unavailable
from hilum_ehr.sandbox.ehr.decision_cache import Heard, Launch
from hilum_ehr.sandbox.ehr.inspector import CALLS_SHOWN, Calls, inspect
from hilum_ehr.sandbox.ehr.platform import Platform
from hilum_ehr.sandbox.ehr.sse import Message

DETAIL_BOUND = 300
UNHEARD = "The platform has not been heard yet. What was missed is read as soon as it is."
_ENDS = {
    "server_stops": "The platform is being stopped.",
    "audit_unavailable": "The platform cannot read its record.",
}
_log = logs.get("sandbox")


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the stream is followed after somebody looked, and how soon it is tried again when it broke, or was refused.

    ``quiet_s``: silence that counts as broken; the platform gives a sign of life every ten seconds. ``ready_s``: how long a launch
    and a look wait for the stream at most.
    """

    idle_s: float = 60.0
    again_s: float = 3.0
    refused_s: float = 300.0
    quiet_s: float = 30.0
    ready_s: float = 1.0


NORMAL = Pace()


class Feed:
    """The calls of this site's launches as they are decided. Belongs to one event loop."""

    def __init__(self, platform: Platform, pace: Pace = NORMAL) -> None:
        self._platform, self._pace = platform, pace
        self._heard = Heard()
        self._following: asyncio.Task[None] | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._settled = asyncio.Event()
        """It is followed, or known not to be."""
        self._place = ""
        """How far was heard: where the next connection goes on."""
        self._live = self._closed = False
        self._away = self._since = ""
        """Why nothing is heard now, and since when."""

    async def look(self) -> None:
        """Somebody looks or is about to: follow, for a while yet. Waits, not for long, until that has begun or failed."""
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        if self._rest is not None:
            self._rest.cancel()
        self._rest = loop.call_later(self._pace.idle_s, self._stop)
        if self._following is None:
            self._settled.clear()
            self._following = loop.create_task(self._follow())
        with suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), self._pace.ready_s)

    def expect(self, launch: str) -> None:
        """Keep the calls under a launch that has just been opened."""
        self._heard.expect(launch, whole=self._live or bool(self._place))

    def forget(self, launch: str) -> None:
        self._heard.forget(launch)

    async def calls(self, tenant: str, launch: str) -> Calls:
        """Return the newest calls under a launch, and whether some may be missing."""
        await self.look()
        trouble = (
            f"Since {self._since}: {self._away} The sandbox tries again by itself." if self._away else ""
        )
        if not launch:
            return Calls((), 0, trouble)
        known = self._heard.expect(launch, whole=False)
        if self._live and not known.whole and asyncio.get_running_loop().time() >= known.again_at_s:
            await self._catch_up(tenant, launch, known)
        if not known.whole:
            trouble = trouble or known.fault or UNHEARD
        return replace(inspect(known.records.values()), trouble=trouble)

    async def close(self) -> None:
        """End following, at once and for good."""
        self._closed = True
        if self._rest is not None:
            self._rest.cancel()
        following = self._following
        self._stop()
        if following is not None:
            await asyncio.gather(following, return_exceptions=True)

    async def _catch_up(self, tenant: str, launch: str, known: Launch) -> None:
        known.whole, known.fault = True, ""  # beforehand: what is missed meanwhile makes it False again
        known.again_at_s = asyncio.get_running_loop().time() + self._pace.again_s
        try:
            self._heard.keep(await self._platform.accesses(tenant, launch, CALLS_SHOWN))
        except HilumError as error:
            known.whole = False
            known.fault = f"What was missed could not be read: {_words(error)}"
            if isinstance(error, NotPermitted):
                known.again_at_s += self._pace.refused_s

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
            except Exception as error:  # noqa: BLE001 - the task's edge: whoever looks must hear of it
                _log.error("sandbox.feed.failed", kind=type(error).__name__, place=logs.place_of(error))
                reason = Unavailable("platform_unavailable", "The platform's stream cannot be read.")
            self._lose(reason)
            refused = isinstance(reason, NotPermitted)
            await asyncio.sleep(self._pace.refused_s if refused else self._pace.again_s)

    async def _connection(self) -> None:
        """Follow one connection. Raises when it ends, whatever it ends with."""
        async with aclosing(self._platform.decisions(self._place, self._pace.quiet_s)) as messages:
            async for message in messages:
                self._take(message)
        raise Unavailable("stream_ended", "The platform's stream of decisions broke off.")

    def _take(self, message: Message) -> None:
        self._live, self._away, self._since = True, "", ""
        if message.event == "decision":
            self._heard.keep([_read(message)])
        elif message.event == "missed":
            self._heard.miss()
        elif message.event == "end":
            why = str(_read(message).get("why"))[:DETAIL_BOUND]
            raise Unavailable("stream_ended", _ENDS.get(why, f"The platform ended its stream: {why}."))
        self._place = message.id or self._place
        self._settled.set()

    def _lose(self, reason: HilumError) -> None:
        if isinstance(reason, Invalid):
            self._place = ""
        if not self._place:
            self._heard.miss()
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
