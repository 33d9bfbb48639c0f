"""What one enforced read costs a worker as it is wired, in CPU time: ``python -m tests.bench.wired``.

Builds the platform of a worker in this process, as its server does, and drives its outermost callable 64 requests at a time: one repeated
read of a Patient of the sandbox, with the real journal. Prints the best and the median of several rounds in microseconds of CPU per
request, of the event loop's thread and of all threads. With ``calls`` it lists the Python functions that one read calls, in their order.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import uvloop

from hilum.apps.clients import service as clients
from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens.models import Grant
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import BURST_BOUND, RATE_BOUND_PER_S, Quota
from hilum.foundation.infra import settings
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.database_clock import steady
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.ids import ClientId, LaunchId, TenantId
from hilum.foundation.kernel.pages import PageQuery
from hilum.foundation.web.asgi import App, Message
from hilum.identity.people import service as identity
from hilum.server import platform
from hilum.server.platform import Platform
from tests.bench.rig import seeded
from tests.bench.setup import TRACE
from tests.unit.policy.matrix.books import LIFETIMES

AT_ONCE, READS = 64, 6_400
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
TENANT, PATIENT = TenantId("general"), "gen-pat-okafor-rosalind"
PATH = f"/t/{TENANT}/fhir/Patient/{PATIENT}"


def mint(ctx: Context) -> str:
    """Return a token as of a physician's launch, whose app may read as often as it likes."""
    client = clients.client_facts(ctx, ClientId("bench-symmetric"))
    assert client is not None
    controls.set_quota(ctx, client.app, TENANT, Quota(float(RATE_BOUND_PER_S), BURST_BOUND))
    person = next(each for each in identity.list_people(ctx, TENANT, PageQuery()) if each.role == "physician")
    grant = Grant(
        TENANT,
        client.id,
        client.app,
        client.version,
        client.vendor,
        ("launch", "openid", "fhirUser", "patient/*.rs"),
        person=person.id,
        role=person.role,
        fhir_user=person.fhir_user,
        patient=PATIENT,
        launch=LaunchId("lau_bench"),
    )
    life = timedelta(minutes=50)
    return tokens.mint(
        ctx, grant, offline=None, code_family=None, lifetimes=LIFETIMES, life=life
    ).access_token


@asynccontextmanager
async def lived(made: Platform) -> AsyncIterator[None]:
    """Run what runs beside the requests of a worker."""
    messages: asyncio.Queue[Message] = asyncio.Queue()
    told: asyncio.Queue[Message] = asyncio.Queue()
    life = asyncio.ensure_future(made.dispatcher({"type": "lifespan"}, messages.get, told.put))
    await messages.put({"type": "lifespan.startup"})
    assert (await told.get())["type"] == "lifespan.startup.complete"
    yield
    await messages.put({"type": "lifespan.shutdown"})
    await life


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Message) -> None:
    if message["type"] == "http.response.start":
        assert message["status"] == 200, message


async def read(app: App, headers: list[tuple[bytes, bytes]], times: int = 1) -> None:
    for _ in range(times):
        scope: dict[str, Any] = {"type": "http", "method": "GET", "path": PATH, "raw_path": PATH.encode(), "query_string": b""}  # fmt: skip
        scope |= {"headers": list(headers), "client": ("127.0.0.1", 50_000), "state": {}}
        await app(scope, _receive, _send)


async def drive(app: App, headers: list[tuple[bytes, bytes]]) -> None:
    await asyncio.gather(*(read(app, headers, READS // AT_ONCE) for _ in range(AT_ONCE)))


@contextmanager
def called() -> Iterator[list[str]]:
    """Gather the names of the Python functions that are called in this thread."""
    names: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            names.append(f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_qualname}")

    sys.setprofile(note)
    try:
        yield names
    finally:
        sys.setprofile(None)


async def measure(environment: dict[str, str], *, calls: bool) -> None:
    configured = settings.read(environment)
    made = platform.build(configured, steady(configured.database_url, SystemClock()), SystemIds())
    token = made.kit.uow.write_now(mint, actor=SYSTEM, trace=TRACE)
    host = configured.base_url.partition("://")[2]
    headers = [(b"host", host.encode()), (b"authorization", f"Bearer {token}".encode())]
    async with lived(made):
        await drive(made.dispatcher, headers)
        if calls:
            await asyncio.sleep(0.1)
            with called() as names:
                await read(made.dispatcher, headers)
            print(*names, f"{len(names)} calls", sep="\n")
            return
        loop, every = [], []
        for _ in range(ROUNDS):
            began = time.thread_time(), time.process_time()
            await drive(made.dispatcher, headers)
            loop.append((time.thread_time() - began[0]) * 1e6 / READS)
            every.append((time.process_time() - began[1]) * 1e6 / READS)
        for name, found in (("event loop", loop), ("all threads", every)):
            print(f"{name}: {min(found):.1f} us at best, median {statistics.median(found):.1f}")


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        uvloop.run(measure(seeded(Path(home)), calls="calls" in sys.argv))


if __name__ == "__main__":
    main()
