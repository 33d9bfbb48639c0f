"""Sending: in process and over HTTP, within bounds, one tenant never in another's way."""

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.kernel.ids import TenantId
from hilum.gateway.upstream import live
from hilum.gateway.upstream.access import AWAY
from hilum.gateway.upstream.live import TOO_LARGE, Embedded, Upstreams
from hilum.gateway.upstream.models import (
    BUSY,
    CONNECTIONS_PER_TENANT,
    RESPONSE_BOUND,
    UNSTATED,
    WAITING_PER_TENANT,
    UpstreamRequest,
)
from hilum.identity.people.models import MovedReads, TenantFacts, UpstreamKind, UpstreamRef
from hilum.records.audit.models import Recorded
from hilum.records.keys.live import vault
from tests.sim.fhir_upstream import OtherServer, over_http
from tests.sim.upstream_secrets import sealed_header
from tests.sim.world import SeededIds

A, B = TenantId("a"), TenantId("b")
READ = UpstreamRequest("GET", "Patient/1", (("accept", "application/fhir+json"), ("cookie", "x=y")))
App = Callable[[Any, Any, Any], Awaitable[None]]


def facts(id_: TenantId = A, url: str = "", sealed: str = "") -> TenantFacts:
    kind = UpstreamKind.HTTP if url else UpstreamKind.EMBEDDED
    return TenantFacts(id_, UpstreamRef(kind, url, sealed), MovedReads.REFUSE, active=True)


def upstreams(*apps: App) -> Upstreams:
    found = dict(zip((A, B), apps, strict=False))
    return Upstreams(vault(), lambda id_: Embedded(found[id_], "http://x/fhir") if id_ in found else None)


def answering(status: int, *chunks: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        for n, chunk in enumerate(chunks):
            await send({"type": "http.response.body", "body": chunk, "more_body": n + 1 < len(chunks)})

    return app


def test_an_embedded_server_gets_only_what_it_may_and_gives_only_what_it_may() -> None:
    """C70."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, await receive()))
        await answering(200, b"{", b"}", headers=((b"etag", b'W/"1"'), (b"set-cookie", b"a=b")))(
            scope, receive, send
        )

    async def main() -> None:
        request = UpstreamRequest("PUT", "Patient/1?a=b", (*READ.headers, ("if-match", 'W/"1"')), b"{}")
        response = await upstreams(app).write(facts(), request, Recorded("req_1"))

        assert (response.status, response.body, response.headers) == (200, b"{}", {"etag": 'W/"1"'})

    asyncio.run(main())
    scope, message = seen[0]
    assert (scope["method"], scope["path"], scope["query_string"]) == ("PUT", "/Patient/1", b"a=b")
    assert dict(scope["headers"]) == {
        b"accept": b"application/fhir+json",
        b"if-match": b'W/"1"',
        b"content-length": b"2",
    }
    assert message["body"] == b"{}"


@pytest.mark.parametrize("app", [None, "silent", "broken"])
def test_a_server_that_does_not_answer_is_away(app: str | None) -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        return

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("inside")

    apps: dict[str | None, tuple[App, ...]] = {None: (), "silent": (silent,), "broken": (broken,)}

    with pytest.raises(Unavailable) as caught:
        asyncio.run(upstreams(*apps[app]).send(facts(), READ))

    assert caught.value.code == (AWAY if app is None else live.LOST)
    assert "inside" not in str(caught.value)


WRITES = [
    UpstreamRequest("POST", "Patient", (), b"{}"),
    UpstreamRequest("POST", "Patient/_search/", (), b"{}"),
    UpstreamRequest("POST", "Patient?x=/_search", (), b"{}"),
    UpstreamRequest("POST", "", (), b"{}"),
    UpstreamRequest("PUT", "Patient/1", (), b"{}"),
    UpstreamRequest("PUT", "Patient/_search", (), b"{}"),
    UpstreamRequest("PATCH", "Patient/1", (), b"[]"),
    UpstreamRequest("DELETE", "Patient/1"),
    UpstreamRequest("post", "Patient", (), b"{}"),
    UpstreamRequest("MERGE", "Patient", (), b"{}"),
]


@pytest.mark.parametrize("request_", WRITES, ids=lambda r: f"{r.method} {r.target}")
def test_nothing_that_changes_data_leaves_without_its_own_intent(request_: UpstreamRequest) -> None:
    """C196; security decision 20: of whatever kind, also those that are not offered yet."""
    reached: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["method"])
        await answering(200, b"{}")(scope, receive, send)

    async def main() -> None:
        intent = Recorded("req_1")
        with pytest.raises(AssertionError):
            await upstreams(app).send(facts(), request_)
        assert reached == []
        await upstreams(app).write(facts(), request_, intent)
        with pytest.raises(AssertionError):
            await upstreams(app).write(facts(), request_, intent)

    asyncio.run(main())
    assert reached == [request_.method]


def test_a_write_that_waited_too_long_for_its_turn_does_not_leave() -> None:
    """C196: by then it may be settled as not done, and an identical one carried out. Judged last, after the wait for a slot."""
    reached: list[str] = []
    go = asyncio.Event()
    late = False

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["method"])
        await go.wait()
        await answering(200, b"{}")(scope, receive, send)

    async def main() -> None:
        nonlocal late
        sender = upstreams(app)
        reads = [asyncio.create_task(sender.send(facts(), READ)) for _ in range(CONNECTIONS_PER_TENANT)]
        await asyncio.sleep(0)
        intent = Recorded("req_1", lambda: late)
        write = asyncio.create_task(sender.write(facts(), UpstreamRequest("DELETE", "Patient/1"), intent))
        await asyncio.sleep(0)
        late = True
        go.set()
        await asyncio.gather(*reads)

        with pytest.raises(Unavailable, match="not sent"):
            await write

    asyncio.run(main())
    assert "DELETE" not in reached


def test_a_search_by_form_is_no_write() -> None:
    async def main() -> None:
        search = UpstreamRequest("POST", "Observation/_search", (), b"code=x")
        assert (await upstreams(answering(200, b"{}")).send(facts(), search)).status == 200

    asyncio.run(main())


def test_an_answer_past_its_bound_is_not_taken() -> None:
    """C132: response ceilings, in process and over HTTP."""
    chunk = b"x" * (RESPONSE_BOUND // 2 + 1)

    async def main() -> None:
        with pytest.raises(Unavailable) as caught:
            await upstreams(answering(200, chunk, chunk)).send(facts(), READ)
        assert caught.value.code == TOO_LARGE

    asyncio.run(main())
    with over_http(OtherServer(raw=chunk * 2)) as base:

        async def over() -> None:
            sender = upstreams()
            with pytest.raises(Unavailable) as caught:
                await sender.send(facts(url=base), READ)
            assert caught.value.code == TOO_LARGE
            await sender.close()

        asyncio.run(over())


def test_one_tenants_slow_server_takes_no_place_of_anothers() -> None:
    """C133, C144, vision 5: bulkheads. What floods one hospital leaves each other one its slots."""

    async def main() -> None:
        opened = asyncio.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            await opened.wait()
            await answering(200, b"{}")(scope, receive, send)

        sender = upstreams(slow, answering(200, b"{}"))
        slots = CONNECTIONS_PER_TENANT + WAITING_PER_TENANT
        held = [asyncio.ensure_future(sender.send(facts(A), READ)) for _ in range(slots)]
        for _ in range(10):
            await asyncio.sleep(0)

        with pytest.raises(Unavailable) as caught:
            await sender.send(facts(A), READ)
        other = await sender.send(facts(B), READ)
        opened.set()
        answers = await asyncio.gather(*held)

        assert caught.value.code == BUSY
        assert other.status == 200
        assert len(answers) == slots
        assert (await sender.send(facts(A), READ)).status == 200

    asyncio.run(main())


def test_a_place_is_given_back_when_its_request_is_cancelled() -> None:
    async def main() -> None:
        never = asyncio.Event()

        async def stuck(scope: Any, receive: Any, send: Any) -> None:
            if not never.is_set():
                await never.wait()
            await answering(200, b"{}")(scope, receive, send)

        sender = upstreams(stuck)
        held = [asyncio.ensure_future(sender.send(facts(), READ)) for _ in range(CONNECTIONS_PER_TENANT + 5)]
        for _ in range(10):
            await asyncio.sleep(0)
        for each in held:
            each.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        never.set()

        assert (await asyncio.wait_for(sender.send(facts(), READ), 5)).status == 200

    asyncio.run(main())


@pytest.mark.parametrize("target", ["../x", "/x", "http://evil.example/x"])
def test_a_request_that_would_leave_the_base_is_not_sent(target: str) -> None:
    server = OtherServer()
    with over_http(server) as base:

        async def main() -> None:
            sender = upstreams()
            with pytest.raises(Unavailable):
                await sender.send(facts(url=base), UpstreamRequest("GET", target))
            await sender.close()

        asyncio.run(main())
    assert not server.seen


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"])
def test_a_server_that_never_ends_its_answer_is_away_at_the_deadline(begun: bytes) -> None:
    """C71: a slow upstream holds a slot no longer than its deadline, however far its answer came."""
    deadline, let_go = timedelta(milliseconds=300), asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(begun)
        with suppress(ConnectionError):
            while not reader.at_eof():
                await reader.read(1024)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        let_go.set()

    async def main() -> None:
        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        sender = Upstreams(vault(), lambda _: None, deadline)
        started = time.monotonic()
        with pytest.raises(Unavailable, match=live.LOST):
            await sender.send(facts(url=f"http://127.0.0.1:{port}/fhir"), READ)
        assert time.monotonic() - started < 10
        await sender.close()
        await asyncio.wait_for(let_go.wait(), 10)
        server.close()
        await server.wait_closed()

    asyncio.run(main())


def test_redirects_are_not_followed() -> None:
    """Security decision 15."""
    server = OtherServer(status=302)
    with over_http(server) as base:

        async def main() -> None:
            sender = upstreams()
            assert (await sender.send(facts(url=base), READ)).status == 302
            await sender.close()

        asyncio.run(main())
    assert len(server.seen) == 1


def test_credentials_are_opened_once_and_only_for_their_host(ids: SeededIds) -> None:
    server = OtherServer()
    with over_http(server) as base:
        good = sealed_header("Bearer s3cret", url=base, ids=ids)
        other = sealed_header("Bearer s3cret", url="https://elsewhere.example", ids=ids)

        async def main() -> None:
            sender = upstreams()
            for _ in range(2):
                await sender.send(facts(url=base, sealed=good), READ)
            for wrong in (other, good[:-2], "x"):
                with pytest.raises(Unavailable):
                    await sender.send(facts(url=base, sealed=wrong), READ)
            await sender.close()

        asyncio.run(main())
    assert [headers.get("authorization") for _, _, headers in server.seen] == ["Bearer s3cret"] * 2


@pytest.mark.parametrize("how", ["closes", "resets", "never answers", "answers in part"])
def test_a_server_that_took_a_write_and_lost_its_answer_is_never_called_away(how: str) -> None:
    """C196: the client's own errors call this a failed connection, whatever was sent before."""
    took: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        took.append(await reader.readuntil(b"{}"))
        try:
            if how == "answers in part":
                writer.write(b"HTTP/1.1 201 Created\r\ncontent-length: 99\r\n\r\n{")
            if how == "never answers":
                await reader.read()
            if how == "resets":
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
        finally:
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        sender = Upstreams(vault(), lambda _: None, timedelta(milliseconds=300))
        request = UpstreamRequest("POST", "Observation", (), b"{}")
        with pytest.raises(Unavailable) as caught:
            await sender.write(facts(url=f"http://127.0.0.1:{port}/fhir"), request, Recorded("req_1"))
        assert (caught.value.code, len(took)) == (live.LOST, 1)
        await sender.close()
        server.close()

    asyncio.run(main())


def test_a_write_that_was_not_sent_is_distinguished_from_one_that_was() -> None:
    """C196."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]

    async def main() -> None:
        sender = upstreams()
        there = facts(url=f"http://127.0.0.1:{port}/fhir")
        with pytest.raises(Unavailable) as caught:
            await sender.write(there, UpstreamRequest("POST", "Observation", (), b"{}"), Recorded("req_1"))
        assert caught.value.code == AWAY
        await sender.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (1, (200, 3)),
        (2, (live.LOST, 3)),
    ],
)
def test_a_read_on_a_connection_that_the_server_closed_meanwhile_is_sent_once_more(
    broken: int, expected: tuple[object, int]
) -> None:
    """C85: two of many reads were 503 under load for no reason that the record could name; a write is never sent again."""
    took: list[bytes] = []
    handlers: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.append(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                took.append(await reader.readuntil(b"\r\n\r\n"))
                if 1 < len(took) <= 1 + broken:
                    break  # as if it had closed an idle connection just then
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        there = facts(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/fhir")
        sender = Upstreams(vault(), lambda _: None)
        await sender.send(there, READ)
        found: object
        try:
            found = (await sender.send(there, READ)).status
        except Unavailable as error:
            found = error.code
        assert (found, len(took)) == expected
        assert sender.held(UNSTATED.rank) == 0
        await sender.close()
        server.close()
        await asyncio.gather(*(handler for handler in handlers if handler is not None))

    asyncio.run(main())
