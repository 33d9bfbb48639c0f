"""Listeners of the stream of decisions."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.flows.outside.ground import PATIENCE_S, Grant, Outside


@dataclass
class Heard:
    """What one listener received."""

    request_id: str
    decisions: list[str] = field(default_factory=list)
    last_id: str = ""
    end: str = ""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, line: str) -> None:
        name, _, value = line.partition(": ")
        if name == "id":
            self.last_id = value
        elif name == "data":
            data = orjson.loads(value)
            if "request_id" in data:
                self.decisions.append(data["request_id"])
            else:
                self.end = data["why"]
            self.changed.set()

    async def until(self, wanted: Any) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not wanted():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def listening(
    outside: Outside, token: str, *, query: str = "", last_event_id: str = ""
) -> AsyncIterator[Heard]:
    headers = {"authorization": f"Bearer {token}"} | (
        {"last-event-id": last_event_id} if last_event_id else {}
    )
    url = f"{outside.running.base}/api/v1/events{query}"
    async with outside.fresh().stream("GET", url, headers=headers, timeout=PATIENCE_S) as answer:
        assert answer.status_code == 200
        heard, begun = Heard(answer.headers["x-request-id"]), asyncio.Event()

        async def read() -> None:
            async for line in answer.aiter_lines():
                heard.take(line)
                begun.set()

        reading = asyncio.ensure_future(read())
        async with asyncio.timeout(PATIENCE_S):
            await begun.wait()
        try:
            yield heard
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


def token_of(outside: Outside, role: str) -> str:
    return str(outside.running.staff(role)["api_token"])


async def launch_of(outside: Outside, grant: Grant) -> str:
    first = await outside.read(grant)
    found = (
        await outside.api("GET", f"/explain/{first.headers['x-request-id']}", by="auditor.quispe")
    ).json()
    return str(found["accesses"][0]["launch"])
