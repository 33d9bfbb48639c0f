"""What a FHIR server says it can do: asked once, whoever wants to know, and in nobody's way."""

import asyncio
from typing import Any

import orjson
import pytest

from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.kernel.ids import TenantId
from hilum.gateway.upstream.live import UNREADABLE, CapabilityCache, Embedded, RecentlyFailed, Upstreams
from hilum.gateway.upstream.models import (
    CAPABILITIES_LIFE,
    CAPABILITIES_RETRY,
    CONNECTIONS_PER_TENANT,
    UpstreamRequest,
)
from hilum.identity.people.models import MovedReads, TenantFacts, UpstreamKind, UpstreamRef
from hilum.records.keys.live import vault
from tests.sim.world import FakeClock

TENANT = TenantFacts(TenantId("a"), UpstreamRef(UpstreamKind.EMBEDDED), MovedReads.REFUSE, active=True)
BASE = "http://hilum.example/t/a/fhir"
STATEMENT = orjson.dumps({"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": []})
STRANGERS = 400


class Server:
    """Counts what it is asked, and answers when it is let."""

    def __init__(self, status: int = 200, body: bytes = STATEMENT) -> None:
        self.status, self.body = status, body
        self.asked: list[str] = []
        self.open = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        await self.open.wait()
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": self.body})


def upstreams(server: Server) -> Upstreams:
    return Upstreams(vault(), lambda _: Embedded(server, "http://x/fhir"))


def test_many_strangers_cost_the_server_one_request(clock: FakeClock) -> None:
    """Contract, Addresses: ``/metadata`` is public; C201."""

    async def story() -> None:
        server = Server()
        cache = CapabilityCache(upstreams(server), clock)
        waiting = [asyncio.create_task(cache.of(TENANT, BASE)) for _ in range(STRANGERS)]
        await asyncio.sleep(0)
        waiting.pop().cancel()  # one of them leaves, be it the first
        waiting.pop(0).cancel()
        await asyncio.sleep(0)
        server.open.set()

        told = await asyncio.gather(*waiting)

        assert len({id(capabilities) for capabilities in told}) == 1
        assert server.asked == ["/metadata"]

    asyncio.run(story())


@pytest.mark.parametrize(("status", "body"), [(500, b""), (200, b"no json"), (200, b"{}"), (401, STATEMENT)])
def test_a_failure_is_remembered_for_a_while_and_says_how_long(
    clock: FakeClock, status: int, body: bytes
) -> None:
    """C201: a server that is in trouble is not asked by each stranger."""

    async def story() -> None:
        server = Server(status, body)
        server.open.set()
        cache = CapabilityCache(upstreams(server), clock)
        first = await asyncio.gather(*(cache.of(TENANT, BASE) for _ in range(20)), return_exceptions=True)
        with pytest.raises(RecentlyFailed) as again:
            await cache.of(TENANT, BASE)
        asked = len(server.asked)
        clock.advance(CAPABILITIES_RETRY)
        server.status, server.body = 200, STATEMENT
        await cache.of(TENANT, BASE)

        assert {type(error) for error in first} == {Unavailable}
        assert 0 < again.value.retry_after_s <= CAPABILITIES_RETRY.total_seconds()
        assert (again.value.code == UNREADABLE) == (status == 200)
        assert (asked, len(server.asked)) == (1, 2)

    asyncio.run(story())


def test_the_last_statement_stands_in_while_the_server_is_away(clock: FakeClock) -> None:
    async def story() -> None:
        server = Server()
        server.open.set()
        cache = CapabilityCache(upstreams(server), clock)
        known = await cache.of(TENANT, BASE)
        clock.advance(CAPABILITIES_LIFE)
        server.status = 503

        assert [await cache.of(TENANT, BASE) for _ in range(5)] == [known] * 5
        assert len(server.asked) == 2

    asyncio.run(story())


def test_asking_for_it_takes_no_place_of_a_read_and_a_read_takes_none_of_it(clock: FakeClock) -> None:
    """C201: 400 strangers made two of three reads 429."""

    async def story() -> None:
        server = Server()
        ways = upstreams(server)
        cache = CapabilityCache(ways, clock)
        strangers = [asyncio.create_task(cache.of(TENANT, BASE)) for _ in range(STRANGERS)]
        await asyncio.sleep(0)
        reads = [
            asyncio.create_task(ways.send(TENANT, UpstreamRequest("GET", f"Patient/{n}")))
            for n in range(CONNECTIONS_PER_TENANT)
        ]
        while len(server.asked) < CONNECTIONS_PER_TENANT + 1:
            await asyncio.sleep(0)
        server.open.set()

        answers = await asyncio.gather(*reads)
        await asyncio.gather(*strangers)

        assert {answer.status for answer in answers} == {200}

    asyncio.run(story())


def test_what_an_earlier_server_says_is_not_said_of_the_next(clock: FakeClock) -> None:
    async def story() -> None:
        server = Server()
        cache = CapabilityCache(upstreams(server), clock)
        moved = TenantFacts(
            TENANT.id, UpstreamRef(UpstreamKind.EMBEDDED, "x"), MovedReads.REFUSE, active=True
        )
        first = asyncio.create_task(cache.of(TENANT, BASE))
        await asyncio.sleep(0)
        second = asyncio.create_task(cache.of(moved, BASE))
        await asyncio.sleep(0)
        server.open.set()

        assert await first is not await second
        assert await cache.of(moved, BASE) is await second
        assert len(server.asked) == 2

    asyncio.run(story())
