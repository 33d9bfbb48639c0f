"""A node whose path to PostgreSQL stands still answers 503 within the promised time at every endpoint, and is well again right after."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from tests.effort import FULL
from tests.flows.outside.ground import AT_MOST_S, WELL_WITHIN_S, Outside
from tests.sim.nodes import Nodes
from tests.sim.postgres import Cluster

SLOTS = 6
Ask = Callable[[], Awaitable[httpx2.Response]]


@contextmanager
def frozen_path(nodes: Nodes, _cluster: Cluster) -> Iterator[None]:
    nodes.a.path.freeze()
    yield
    nodes.a.path.thaw()


@contextmanager
def stopped_server(_nodes: Nodes, cluster: Cluster) -> Iterator[None]:
    """SIGSTOP for the server and all that serves its connections, as a suspended virtual machine or a stuck disk looks."""
    mother = int((cluster.data / "postmaster.pid").read_text().split()[0])
    family = [mother, *_children(mother)]
    _signal(family, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(family, signal.SIGCONT)


def _signal(family: list[int], number: signal.Signals) -> None:
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _children(mother: int) -> list[int]:
    tasks = Path(f"/proc/{mother}/task/{mother}/children")
    return [int(pid) for pid in tasks.read_text().split()]


async def timed(ask: Ask) -> tuple[int, float]:
    begun = time.monotonic()
    answer = await asyncio.wait_for(ask(), 30)
    return answer.status_code, time.monotonic() - begun


@asynccontextmanager
async def paced(outside: Outside) -> AsyncIterator[list[float]]:
    """Ask what waits for no database on and on, and note how long each answer took: so slow is the machine."""
    took: list[float] = []
    ended = asyncio.Event()

    async def keep_asking() -> None:
        while not ended.is_set():
            took.append((await timed(lambda: outside.http.get(f"{outside.running.base}/healthz")))[1])
            await asyncio.sleep(0.05)

    asking = asyncio.create_task(keep_asking())
    try:
        yield took
    finally:
        # Not cancelled: where an answer has just come, ``wait_for`` returns it and forgets that, before Python 3.12.
        ended.set()
        await asyncio.gather(asking, return_exceptions=True)


@pytest.mark.parametrize("fault", [frozen_path, stopped_server] if FULL else [stopped_server])
def test_every_endpoint_answers_within_the_bound_and_is_well_right_after(
    nodes: Nodes, postgres_cluster: Cluster, fault: Callable[[Nodes, Cluster], object]
) -> None:
    """Reads, tokens, discovery and keys hung for as long as the path was frozen. No place is lost either."""

    async def story(a: Outside, _b: Outside, _either: Outside) -> None:
        fresh = await a.grant()
        issuer = a.running.tenant()["issuer"]
        client = fresh.client
        endpoints: dict[str, Ask] = {
            "read": lambda: a.read(fresh),
            "token": lambda: client.token(
                grant_type="refresh_token", refresh_token=fresh.token["refresh_token"]
            ),
            "authorize": lambda: a.http.get(client.authorize_url("openid patient/Patient.rs")),
            "discovery": lambda: a.http.get(f"{issuer}/fhir/.well-known/smart-configuration"),
            "jwks": lambda: a.http.get(f"{issuer}/oauth/jwks.json"),
            "api": lambda: a.api("GET", "/switches"),
            "audit": lambda: a.api("GET", "/accesses"),
            "sign-in": lambda: a.http.get(f"{issuer}/signin"),
            "ready": lambda: a.http.get(f"{a.running.base}/readyz"),
        }
        healthy = ("discovery", "jwks", "api", "audit", "ready")
        for name in healthy:
            assert (await endpoints[name]()).status_code == 200, name
        with fault(nodes, postgres_cluster):  # type: ignore[attr-defined]  # a context manager, as both are
            await asyncio.sleep(0.1)
            asked = [(name, timed(endpoint)) for name, endpoint in endpoints.items() for _ in range(SLOTS)]
            async with paced(a) as pace:
                answers = await asyncio.gather(*(each for _, each in asked))
            at_most = AT_MOST_S + max(pace, default=0.0)
            slow = [
                (name, took) for (name, _), (_, took) in zip(asked, answers, strict=True) if took > at_most
            ]
            assert not slow, slow
            for (name, _), (status, _) in zip(asked, answers, strict=True):
                assert status == 503 or name in {"sign-in", "ready"}, (name, status)
            assert {(await endpoints["ready"]()).status_code, (await timed(endpoints["read"]))[0]} == {503}
        begun = time.monotonic()
        while {(await endpoints[name]()).status_code for name in (*healthy, "read")} != {200}:
            assert time.monotonic() - begun < WELL_WITHIN_S
        many = await asyncio.gather(*(endpoints[name]() for name in healthy for _ in range(SLOTS)))
        assert {each.status_code for each in many} <= {200, 429}
        again = await a.grant()
        assert (await a.read(again)).status_code == 200

    nodes.tell(story)
