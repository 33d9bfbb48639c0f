"""A gateway that answers twelve writers at once until it is killed; it prints what was sent and what came back."""

import asyncio
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

from hilum.foundation.infra.db import Database
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.gateway.enforcement.routes import Gateway
from hilum.records.keys import live as keys
from tests.flows import gateway_ground
from tests.unit.gateway.enforcement.facts import observation

LANES = 12
_order: ContextVar[str] = ContextVar("order")
"""The order that the current task sends."""


async def serve(key: str, url: str, folder: str, token: str, first: str, unanswered: str) -> None:
    """Send again what nobody answered, then write without end, at ids that begin with ``first``."""
    keys.install(keys.Vault(key))
    clock: Any = SystemClock()
    ids: Any = SystemIds()
    uow = UnitOfWork.create(Database(url), clock, ids, "killed-" + ids.new("b"))
    # The test has put there what the gateway serves.
    vars(gateway_ground)["furnish"] = lambda *_: None
    async with gateway_ground.ground(uow, clock, ids, Path(folder)) as made:
        made.keeper.start()
        made.count = int(first)
        serve_request = made.gateway

        async def serve_and_print(scope: Any, receive: Any, send: Any) -> None:
            async def send_and_print(message: Any) -> None:
                await send(message)
                # Here and not after the request: once an answer is sent its claim is released, and the same create is a new one.
                if message["type"] == "http.response.start":
                    print("got", _order.get(), message["status"], flush=True)

            await serve_request(scope, receive, send_and_print)

        made.gateway = cast("Gateway", serve_and_print)

        async def send(text: str) -> None:
            body = observation("", code={"text": text})
            del body["id"]
            _order.set(text)
            print("sent", text, flush=True)
            await made.send("POST", "Observation", token, body=body)

        for text in Path(unanswered).read_text().split():
            await send(text)

        async def lane(number: int) -> None:
            n = 0
            while True:
                n += 1
                await send(f"{first}/{number}/{n}")

        await asyncio.gather(*(lane(number) for number in range(LANES)))


def main() -> None:
    asyncio.run(serve(*sys.argv[1:]))
