"""What one enforced read costs in CPU time: ``python -m tests.bench.reads``.

Drives the gateway's ASGI callable in this process, 64 requests at a time, over the embedded server and over an HTTP server in another
process, with the real journal. ``mixed`` reads 2,000 Patients by 200 tokens in random order, and ``site`` is the same behind the outermost
callable; ``others`` reads each Patient by a token of its own; ``once`` reads each only once; ``search`` asks for another patient each time.
Prints the best and the median of several rounds in microseconds of CPU per request, of all threads: on a machine that is busy with other
work the best ones are compared, in turn, several times each.
"""

import asyncio
import gc
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import count, cycle
from pathlib import Path
from typing import Any

import uvloop

from hilum.controls.switches import service as controls
from hilum.controls.switches.models import BURST_BOUND, RATE_BOUND_PER_S, Quota
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.migrations.run import migrate
from hilum.foundation.infra.system import SystemIds
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.web.asgi import App
from hilum.records.keys import live as keys
from hilum.server.asgi import Dispatcher
from hilum.server.platform import COLLECT_EVERY
from hilum.server.refusals import refuser
from tests.bench.rig import LOAD_CORE, nginx
from tests.flows.gateway_ground import GENERAL, Ground, ground, patient
from tests.sim.postgres import free_port
from tests.sim.world import FakeClock
from tests.unit.gateway.enforcement.facts import category, observation

AT_ONCE = 64
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "9"))
READS, SEARCHES = 4_000, 640
OTHERS, TOKENS, CHARTS = 2_000, 200, 150
Asked = Iterator[tuple[str, str]]
"""Targets with the tokens that ask for them."""
TEXT = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">' + "x" * 1600 + "</div>"}


class TickingClock(FakeClock):
    """A clock that moves by a microsecond each time it is read."""

    def now(self) -> datetime:
        self._now += timedelta(microseconds=1)
        return self._now


def scope_of(target: str, token: str) -> dict[str, Any]:
    path, _, query = target.partition("?")
    raw = f"/t/{GENERAL}/fhir/{path}"
    return {
        "type": "http",
        "method": "GET",
        "path": raw,
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "headers": [
            (b"host", b"127.0.0.1:8000"),
            (b"authorization", f"Bearer {token}".encode()),
            (b"accept", b"*/*"),
        ],
        "state": {"request_id": "", "correlation_id": "", "source": "192.0.2.9"},
    }


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Any) -> None:
    if message["type"] == "http.response.start":
        assert message["status"] == 200, message


async def measure(app: App, asked: Asked, reads: int) -> tuple[float, float]:
    """Return the least and the median CPU time of a request among the rounds, in microseconds."""
    ids = SystemIds()

    async def reader(left: int) -> None:
        for _ in range(left):
            scope = scope_of(*next(asked))
            scope["state"]["request_id"] = ids.new("req")
            await app(scope, _receive, _send)

    rounds: list[float] = []
    for _ in range(ROUNDS + 1):
        began = time.process_time()
        await asyncio.gather(*(reader(reads // AT_ONCE) for _ in range(AT_ONCE)))
        rounds.append((time.process_time() - began) * 1e6 / (reads // AT_ONCE * AT_ONCE))
    return min(rounds[1:]), statistics.median(rounds[1:])


def site_of(made: Ground) -> App:
    """Return the gateway behind the outermost callable, as a worker serves it."""

    @asynccontextmanager
    async def living() -> AsyncIterator[None]:
        yield

    hosts = frozenset({"127.0.0.1:8000"})
    return Dispatcher(
        made.gateway,
        gateway=made.gateway,
        hosts=lambda: hosts,
        ids=SystemIds(),
        trusted_proxies=frozenset(),
        lifespan=living,
        refuse=refuser(None),  # type: ignore[arg-type]
    )


def mixed(targets: list[str], tokens: list[str]) -> Asked:
    """Yield a random target by a random token, the same in each run."""
    chance = random.Random(7)
    while True:
        yield chance.choice(targets), chance.choice(tokens)


def lift(made: Ground) -> None:
    quota = Quota(float(RATE_BOUND_PER_S), BURST_BOUND)
    made.run(lambda ctx: controls.set_quota(ctx, made.clients["app"].app, GENERAL, quota))


async def embedded(made: Ground) -> dict[str, tuple[float, float]]:
    lift(made)
    made.load(*({**patient(f"n{n}"), "text": TEXT} for n in range(READS * (ROUNDS + 1))))
    lab = category("laboratory")
    made.load(
        *(
            observation(f"ob{n}-{k}", f"n{n}", category=lab, code={"text": "Sodium"}, text=TEXT)
            for n in range(CHARTS)
            for k in range(25)
        )
    )
    tokens = [made.token("user/*.rs", patient="") for _ in range(TOKENS)]
    reads = [f"Patient/n{n}" for n in range(OTHERS)]
    searches = [f"Observation?patient=n{n}&_count=20" for n in range(CHARTS)]
    others = [(f"Patient/n{n}", made.token("patient/*.rs", patient=f"n{n}")) for n in range(OTHERS)]
    gc.freeze()
    # As a worker does: collecting more often would cost each read more the more it allocates.
    gc.set_threshold(COLLECT_EVERY, 20, 50)
    gateway = made.gateway
    return {
        "mixed": await measure(gateway, mixed(reads, tokens), READS),
        "site": await measure(site_of(made), mixed(reads, tokens), READS),
        "others": await measure(gateway, cycle(others), READS),
        "once": await measure(gateway, ((f"Patient/n{n}", tokens[0]) for n in count()), READS),
        "search": await measure(gateway, mixed(searches, tokens), SEARCHES),
    }


async def over_http(made: Ground) -> dict[str, tuple[float, float]]:
    lift(made)
    tokens = [made.token("user/*.rs", patient="") for _ in range(TOKENS)]
    reads = [f"Patient/n{n}" for n in range(OTHERS)]
    return {"http mixed": await measure(made.gateway, mixed(reads, tokens), READS // 2)}


def played(
    story: Callable[[Ground], Awaitable[dict[str, tuple[float, float]]]], upstream: str = ""
) -> dict[str, tuple[float, float]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'hilum.db'}"
        migrate(url)
        clock, ids = TickingClock(), SystemIds()
        uow = UnitOfWork.create(Database(url), clock, ids, "bench")

        async def run() -> dict[str, tuple[float, float]]:
            async with ground(uow, clock, ids, folder, http_upstream=upstream) as made:  # type: ignore[arg-type]
                return dict(await story(made))

        found = uvloop.run(run())
        uow.close()
        return found


def main() -> None:
    keys.install(keys.Vault("bench-key-encryption-key-0123456789abcdef"))
    found = played(embedded)
    port = free_port()
    body = json.dumps({**patient("ID"), "text": {**TEXT, "div": "<div>" + "x" * 1600 + "</div>"}})
    server = (
        f"server {{ listen 127.0.0.1:{port}; keepalive_requests 1000000; location ~ ^/fhir/Patient/(?<asked>n[0-9]+)$ "
        f"{{ add_header ETag 'W/\"1\"'; return 200 '{body.replace('ID', '$asked')}'; }} }}"
    )
    with nginx(server, core=LOAD_CORE):
        found |= played(over_http, f"http://127.0.0.1:{port}/fhir")
    for name, (best, median) in found.items():
        print(f"{name}: {best:.1f} us at best, median {median:.1f}")


if __name__ == "__main__":
    main()
