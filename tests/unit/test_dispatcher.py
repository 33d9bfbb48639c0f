"""Who a request comes from, and that its place is given back, at the outermost layer (C201, security decision 26)."""

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hilum.foundation.web.bounds import Limits, RefusalDelay, RequestsInProgress
from hilum.server.asgi import Dispatcher
from hilum.server.refusals import refuse_plainly
from tests.sim.world import SeededIds

PROXY, OUTER = "10.0.0.1", "10.0.0.2"
Headers = list[tuple[bytes, bytes]]


class Site:
    """A dispatcher before an application that answers with the source, once it is let go."""

    def __init__(self, status: int = 200, delay: RefusalDelay | None = None, **limits: int) -> None:
        self.status = status
        self.go = asyncio.Event()
        self.go.set()
        self.fails = False
        self.in_progress = RequestsInProgress(Limits(**limits))
        self.dispatcher = Dispatcher(
            self._app,
            gateway=None,
            hosts=lambda: frozenset({"h"}),
            ids=SeededIds(),
            trusted_proxies=frozenset({PROXY, OUTER}),
            lifespan=self._life,
            refuse=refuse_plainly,
            in_progress=self.in_progress,
            refusal_delay=delay,
        )

    @asynccontextmanager
    async def _life(self) -> Any:
        yield

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        await self.go.wait()
        if self.fails:
            raise RuntimeError("a bug")
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": scope["state"]["source"].encode()})

    async def ask(self, client: str, *headers: tuple[str, str]) -> tuple[int, dict[str, str], str]:
        sent: list[Any] = []
        given: Headers = [(b"host", b"h"), *((name.encode(), value.encode()) for name, value in headers)]
        scope = {"type": "http", "method": "GET", "path": "/", "headers": given, "client": (client, 1)}

        async def receive() -> Any:
            return {"type": "http.request"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.dispatcher(scope, receive, send)
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], found, sent[1]["body"].decode()


@pytest.mark.parametrize(
    ("client", "forwarded", "source"),
    [
        ("198.51.100.1", [], "198.51.100.1"),
        ("198.51.100.1", ["203.0.113.9"], "198.51.100.1"),
        (PROXY, [], PROXY),
        (PROXY, ["203.0.113.9"], "203.0.113.9"),
        (PROXY, ["192.0.2.66, 203.0.113.9"], "203.0.113.9"),
        (PROXY, ["203.0.113.9, " + OUTER], "203.0.113.9"),
        (PROXY, ["192.0.2.66", "203.0.113.9"], "203.0.113.9"),
        (PROXY, [", ".join(["192.0.2.66"] * 500 + ["203.0.113.9"])], "203.0.113.9"),
    ],
)
def test_the_source_is_the_nearest_address_that_no_trusted_proxy_vouches_for(
    client: str, forwarded: list[str], source: str
) -> None:
    """What a caller writes into ``X-Forwarded-For`` is not believed, in one line or in several."""

    async def story() -> str:
        return (await Site().ask(client, *(("x-forwarded-for", each) for each in forwarded)))[2]

    assert asyncio.run(story()) == source


def test_sources_behind_a_proxy_are_counted_each_for_itself_and_given_back() -> None:
    async def story() -> list[int]:
        site = Site(source_requests=1)
        site.go.clear()
        first = asyncio.create_task(site.ask(PROXY, ("x-forwarded-for", "203.0.113.1")))
        await asyncio.sleep(0)
        again, headers, _ = await site.ask(PROXY, ("x-forwarded-for", "203.0.113.1"))
        assert int(headers["retry-after"]) >= 1
        assert headers["connection"] == "close"
        other = asyncio.create_task(site.ask(PROXY, ("x-forwarded-for", "203.0.113.2")))
        await asyncio.sleep(0)
        site.go.set()
        found = [(await first)[0], again, (await other)[0]]
        site.fails = True
        found.append((await site.ask(PROXY, ("x-forwarded-for", "203.0.113.1")))[0])
        site.fails = False
        found.append((await site.ask(PROXY, ("x-forwarded-for", "203.0.113.1")))[0])
        assert site.in_progress.requests == 0
        return found

    assert asyncio.run(story()) == [200, 429, 200, 500, 200]


def test_all_sources_together_are_bounded() -> None:
    async def story() -> int:
        site = Site(requests=1)
        site.go.clear()
        first = asyncio.create_task(site.ask("198.51.100.1"))
        await asyncio.sleep(0)
        refused = (await site.ask("198.51.100.2"))[0]
        site.go.set()
        await first
        return refused

    assert asyncio.run(story()) == 503


@pytest.mark.parametrize("network", ["2001:db8:1:2::", "2001:db8:1:2:ffff::1"])
def test_a_subscribers_network_is_one_source(network: str) -> None:
    """One subscriber holds a whole /64."""

    async def story() -> int:
        site = Site(source_requests=1)
        site.go.clear()
        first = asyncio.create_task(site.ask("2001:db8:1:2::7"))
        await asyncio.sleep(0)
        refused = (await site.ask(network))[0]
        site.go.set()
        await first
        return refused

    assert asyncio.run(story()) == 429


@pytest.mark.parametrize(
    "sent", ["hil_at_" + "A" * 43 + "_12345678", "x" * 200, "a b", "aGlsX2F0XzEyMzQ1Njc4OTA"]
)
def test_a_callers_id_that_holds_a_secret_is_not_kept(sent: str) -> None:
    """C153: it would come to stand in every record of the request."""

    async def story() -> dict[str, str]:
        return (await Site().ask("198.51.100.1", ("x-request-id", sent)))[1]

    assert "x-correlation-id" not in asyncio.run(story())


@pytest.mark.parametrize(
    ("status", "counts"),
    [(200, False), (303, False), (404, False), (503, False)]
    + [(status, True) for status in (400, 401, 403, 413, 422, 429)],
)
def test_every_refusal_of_a_network_counts_towards_its_delay(status: int, counts: bool) -> None:
    """Security decision 26: whatever a stranger is refused for, a loop of it is slowed down."""
    delay = RefusalDelay(burst=2, rate=0)
    site = Site(status, delay)

    async def ask() -> float:
        for _ in range(2):
            await site.ask("2001:db8::1")
        return delay.delay_s("2001:db8::/64", asyncio.get_running_loop().time())

    assert (asyncio.run(ask()) > 0) == counts
