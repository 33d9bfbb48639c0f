"""A gateway that answers twelve writers at once until it is killed; it prints what was sent and what came back."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from hilum.infra.db import Database
from hilum.infra.system import SystemClock, SystemIds
from hilum.infra.unit_of_work import UnitOfWork
from hilum.keys import live as keys
from tests.flows import gateway_ground
from tests.unit.gateway.facts import observation

LANES = 12


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

        async def send(text: str) -> None:
            body = observation("", code={"text": text})
            del body["id"]
            print("sent", text, flush=True)
            answer = await made.send("POST", "Observation", token, body=body)
            print("got", text, answer.status, flush=True)

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
