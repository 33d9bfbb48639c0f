"""What failed several times in a row is not tried for a while, and then by one request first (C134)."""

import asyncio
import socket
from datetime import timedelta

import pytest

from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.kernel.ids import TenantId
from hilum.gateway.upstream.breaker import FAILURES, KEPT, OPEN_S, Breakers
from hilum.gateway.upstream.live import Upstreams
from hilum.gateway.upstream.models import SlotRequest, UpstreamRequest
from hilum.identity.people.models import MovedReads, TenantFacts, UpstreamKind, UpstreamRef
from hilum.policy.matrix.models import ALL_PLACES
from hilum.records.audit.models import Recorded
from hilum.records.keys.live import vault

SERVER, APP, OTHER = (TenantId("a"), ""), (TenantId("a"), "app_1"), (TenantId("a"), "app_2")
READ = UpstreamRequest("GET", "Patient/1")


def opened(circuit: tuple[TenantId, str], at: float = 0.0) -> Breakers:
    breakers = Breakers()
    for _ in range(FAILURES):
        assert breakers.closed_in(circuit, at) == 0
        breakers.failed(circuit, at)
    return breakers


def test_it_opens_after_failures_in_a_row_and_lets_one_request_through_later() -> None:
    """C134: half-open by probe."""
    breakers = opened(SERVER)
    assert breakers.closed_in(SERVER, 1.0) == OPEN_S - 1
    assert [breakers.closed_in(SERVER, OPEN_S) for _ in range(3)] == [0, OPEN_S, OPEN_S]
    breakers.failed(SERVER, OPEN_S)
    assert breakers.closed_in(SERVER, OPEN_S + 1) == OPEN_S - 1


def test_a_success_in_between_begins_the_count_again() -> None:
    breakers = Breakers()
    for _ in range(3):
        for _ in range(FAILURES - 1):
            breakers.failed(SERVER, 0.0)
        breakers.succeeded(SERVER)
    assert (breakers.closed_in(SERVER, 0.0), bool(breakers)) == (0, False)


def test_a_probe_that_never_comes_back_does_not_keep_it_open() -> None:
    """A client may hang up in the middle: the next probe follows."""
    breakers = opened(SERVER)
    assert breakers.closed_in(SERVER, OPEN_S) == 0
    assert breakers.closed_in(SERVER, 2 * OPEN_S) == 0


def test_each_app_at_each_server_has_its_own() -> None:
    breakers = opened(APP)
    assert breakers.closed_in(APP, 1.0) > 0
    assert [breakers.closed_in(each, 1.0) for each in (SERVER, OTHER, (TenantId("b"), "app_1"))] == [0, 0, 0]


def test_what_fails_is_bounded() -> None:
    breakers = Breakers()
    for n in range(KEPT + 10):
        breakers.failed((TenantId(str(n)), ""), 0.0)
    assert len(breakers) <= KEPT


def there(port: int) -> TenantFacts:
    upstream = UpstreamRef(UpstreamKind.HTTP, f"http://127.0.0.1:{port}/fhir")
    return TenantFacts(TenantId("a"), upstream, MovedReads.REFUSE, active=True)


def slot(app: str) -> SlotRequest:
    return SlotRequest(0, ALL_PLACES, app)


def test_a_server_that_cannot_be_reached_is_not_tried_by_every_request() -> None:
    """C134: nothing of a write was sent, and the gateway says so."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]

    async def main() -> None:
        sender = Upstreams(vault(), lambda _: None, timedelta(seconds=1))
        details = []
        for _ in range(FAILURES + 2):
            with pytest.raises(Unavailable) as caught:
                await sender.send(there(port), READ, slot("app_1"))
            details.append("in a row" in caught.value.detail)
        assert details == [False] * FAILURES + [True] * 2
        write = UpstreamRequest("PUT", "Patient/1", (), b"{}")
        with pytest.raises(Unavailable) as caught:
            await sender.write(there(port), write, Recorded("req_1"), slot("app_2"))
        assert caught.value.code == "upstream_unavailable"
        await sender.close()

    asyncio.run(main())


def test_requests_of_an_app_that_nobody_answers_hold_up_no_other_app_and_open_nobody_elses_breaker() -> None:
    """C134: an app cannot make a server unreachable for others by what it asks."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"slow" not in head:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        else:
            await reader.read()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        tenant = there(server.sockets[0].getsockname()[1])
        sender = Upstreams(vault(), lambda _: None, timedelta(milliseconds=100))
        slow = UpstreamRequest("GET", "Patient?name=slow")
        codes = []
        for _ in range(FAILURES + 2):
            with pytest.raises(Unavailable) as caught:
                await sender.send(tenant, slow, slot("app_slow"))
            codes.append(caught.value.code)
        assert codes == ["upstream_answer_lost"] * FAILURES + ["upstream_app_limit"] * 2
        assert (await sender.send(tenant, READ, slot("app_ward"))).status == 200
        await sender.close()
        server.close()

    asyncio.run(main())
