"""The HTTP client over real sockets, on the event loop of the tests and on that of the server."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hilum.gateway.upstream import http_client
from hilum.gateway.upstream.http_client import HttpClient, Lost, NotSent, base_of
from hilum.gateway.upstream.models import UpstreamRequest

READ = UpstreamRequest("GET", "Patient/1")
DEADLINE = timedelta(seconds=5)
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    made: Run = request.param
    return made


class Server:
    """Answers each request on a connection by ``answer``, which gets the head; None closes the connection."""

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self.answer = answer
        self.heads: list[bytes] = []
        self.connections = 0
        self.ended = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    self.heads.append(head)
                    answer = self.answer(head)
                    if answer is None:
                        return
                    writer.write(answer)
        finally:
            self.ended += 1
            writer.close()

    async def __aenter__(self) -> str:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/fhir"

    async def __aexit__(self, *_exit: object) -> None:
        self.server.close()
        for _ in range(200):
            if self.ended == self.connections:
                return
            await asyncio.sleep(0.01)


def ok(_: bytes) -> bytes:
    return b'HTTP/1.1 200 OK\r\netag: W/"1"\r\nx-other: y\r\ncontent-length: 2\r\n\r\n{}'


def test_a_connection_serves_one_request_after_the_other(run: Run) -> None:
    async def main() -> None:
        server, client = Server(ok), HttpClient(DEADLINE)
        async with server as url:
            for _ in range(3):
                response = await client.send(url, READ, (("accept", "application/fhir+json"),))
                assert (response.status, response.headers, response.body) == (200, {"etag": 'W/"1"'}, b"{}")
            client.close()
        assert (server.connections, len(server.heads)) == (1, 3)
        first, *lines = server.heads[0].decode().split("\r\n")
        assert first == "GET /fhir/Patient/1 HTTP/1.1"
        assert lines[:4] == [
            f"host: {url.split('/')[2]}",
            "user-agent: hilum-gateway",
            "accept-encoding: identity",
            "accept: application/fhir+json",
        ]

    run(main())


def test_each_request_has_its_own_target_and_headers(run: Run) -> None:
    """C70: what requests to one server have in common is written once, and nothing that is of one of them."""
    form = (("content-type", "application/x-www-form-urlencoded"),)
    requests: tuple[tuple[str, UpstreamRequest, tuple[tuple[str, str], ...], str, list[str]], ...] = (
        ("/fhir", UpstreamRequest("GET", "Patient/1"), (("authorization", "Bearer a"),), "GET /fhir/Patient/1", ["authorization: Bearer a"]),
        ("/fhir", UpstreamRequest("GET", "Patient/2"), (), "GET /fhir/Patient/2", []),
        ("/fhir", UpstreamRequest("GET", "?a=b"), (), "GET /fhir?a=b", []),
        ("", UpstreamRequest("GET", "?a=b"), (), "GET /?a=b", []),
        ("", UpstreamRequest("GET", ""), (), "GET /", []),
        ("/fhir", UpstreamRequest("POST", "Patient/_search"), form, "POST /fhir/Patient/_search", [": ".join(form[0]), "content-length: 0"]),
    )  # fmt: skip

    async def main() -> None:
        server, client = Server(ok), HttpClient(DEADLINE)
        async with server as url:
            for path, request, fields, _, _ in requests * 2:
                await client.send(url.removesuffix("/fhir") + path, request, fields)
            client.close()
        heads = [head.decode().removesuffix("\r\n\r\n").split("\r\n") for head in server.heads]
        assert [(line, rest[3:]) for line, *rest in heads] == [
            (f"{line} HTTP/1.1", rest) for *_, line, rest in requests * 2
        ]

    run(main())


def test_requests_at_one_time_never_share_a_connection(run: Run) -> None:
    """C70: an answer goes to whom it belongs."""

    def echo(head: bytes) -> bytes:
        name = head.split(b" ")[1].rpartition(b"/")[2]
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(name), name)

    async def main() -> None:
        server, client = Server(echo), HttpClient(DEADLINE)
        async with server as url:
            for _ in range(5):
                answers = await asyncio.gather(
                    *(client.send(url, UpstreamRequest("GET", f"Patient/{n}"), ()) for n in range(20))
                )
                assert [answer.body for answer in answers] == [str(n).encode() for n in range(20)]
            client.close()
        assert server.connections <= 20

    run(main())


def test_each_request_is_given_up_at_its_own_deadline(run: Run) -> None:
    """One timer serves all requests: none is given up before its time, and none stays."""
    wait_s = 0.2

    async def main() -> None:
        server, client = Server(lambda _: b""), HttpClient(timedelta(seconds=wait_s))
        loop = asyncio.get_running_loop()

        async def given_up(after_s: float) -> float:
            await asyncio.sleep(after_s)
            begun = loop.time()
            with pytest.raises(Lost):
                await client.send(url, READ, ())
            return loop.time() - begun

        async with server as url:
            waits = await asyncio.gather(*(given_up(n * wait_s / 3) for n in range(5)))
            assert all(waited >= wait_s * 0.9 for waited in waits)
            client.close()

    run(main())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]",
    ],
)
def test_a_connection_that_can_no_longer_be_trusted_serves_nobody_else(run: Run, answer: bytes) -> None:
    async def main() -> None:
        server, client = Server(lambda _: answer), HttpClient(DEADLINE)
        async with server as url:
            for _ in range(3):
                assert (await client.send(url, READ, ())).body == b"{}"
            client.close()
        assert server.connections == 3

    run(main())


@pytest.mark.parametrize(
    ("hint", "connections"),
    [
        ("timeout=1", 3),
        ("max=100, timeout=1", 3),
        ("timeout=0", 3),
        ("timeout=5", 1),
        ("timeout=soon", 1),
        ("max=100", 1),
    ],
)
def test_a_connection_that_its_server_is_about_to_close_is_not_used(
    run: Run, hint: str, connections: int
) -> None:
    """Node closes after the five seconds that it says: a write sent in that moment is lost, and nobody knows whether it was done."""
    said = f"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nkeep-alive: {hint}\r\n\r\n{{}}".encode()

    async def main() -> None:
        server, client = Server(lambda _: said), HttpClient(DEADLINE)
        async with server as url:
            for _ in range(3):
                assert (await client.send(url, READ, ())).body == b"{}"
            client.close()
        assert server.connections == connections

    run(main())


def test_connections_that_are_no_longer_used_are_closed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hospital that moved leaves no connections to its FHIR server of before; one that is asked now and then keeps its own."""
    monkeypatch.setattr(http_client, "IDLE_LIFE", timedelta(seconds=0.2))

    async def main() -> None:
        before, after, client = Server(ok), Server(ok), HttpClient(DEADLINE)
        async with before as old, after as new:
            await asyncio.gather(*(client.send(old, READ, ()) for _ in range(3)))
            for _ in range(20):
                await client.send(new, READ, ())
                await asyncio.sleep(0.05)
            assert (before.connections, before.ended) == (3, 3)
            assert (after.connections, after.ended) == (1, 0)
            await asyncio.sleep(0.6)
            assert after.ended == 1
            client.close()

    run(main())


def test_a_hospital_whose_name_is_never_found_holds_up_no_other(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C132: an event loop has two to six threads for look-ups, and a look-up cannot be ended."""
    ends, real, asked = threading.Event(), socket.getaddrinfo, []

    def getaddrinfo(host: str, *more: Any, **named: Any) -> Any:
        if host != "127.0.0.1":  # other threads of the suite connect by address
            asked.append(host)
        if "lost" in host:
            ends.wait(30)
            raise socket.gaierror
        return real(host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    async def main() -> None:
        server, client = Server(ok), HttpClient(DEADLINE)
        async with server as url:
            names = [f"http://lost-{n % 10}.example/fhir" for n in range(100)]
            lost = [asyncio.create_task(client.send(name, READ, ())) for name in names]
            await asyncio.sleep(0.1)
            there = url.replace("127.0.0.1", "localhost")
            async with asyncio.timeout(2):
                assert (await client.send(there, READ, ())).status == 200
            ends.set()
            ended = await asyncio.gather(*lost, return_exceptions=True)
            assert {type(each) for each in ended} == {NotSent}
            assert sorted(asked) == ["localhost", *(f"lost-{n}.example" for n in range(10))]
            with pytest.raises(NotSent):
                await client.send(names[0], READ, ())
            client.close()

    run(main())


def test_of_several_addresses_the_first_that_answers_is_taken(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo

    # Threads of other tests may resolve names meanwhile.
    def getaddrinfo(host: Any, *of: Any, **more: Any) -> Any:
        if host != "ehr.example":
            return resolve(host, *of, **more)
        addresses = ("127.0.0.99", "127.0.0.1")
        return [(socket.AF_INET, more["type"], 6, "", (address, 0)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    async def main() -> None:
        server, client = Server(ok), HttpClient(DEADLINE)
        async with server as url:
            there = url.replace("127.0.0.1", "ehr.example")
            assert (await client.send(there, READ, ())).body == b"{}"
            assert b"host: ehr.example:" in server.heads[0]
            client.close()

    run(main())


def test_what_an_idle_connection_says_is_no_answer_to_the_next_request(run: Run) -> None:
    """C70: a server that speaks unasked could answer one app with another's record."""

    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(ok(b""))
                await writer.drain()
                await asyncio.sleep(0.02)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nunsaid")
                await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url, client = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", HttpClient(DEADLINE)
        for _ in range(2):
            assert (await client.send(url, READ, ())).body == b"{}"
            await asyncio.sleep(0.1)
        client.close()
        await asyncio.sleep(0.05)
        server.close()

    run(main())


@pytest.mark.parametrize(
    "answer", [b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\n\r\n", None]
)
def test_what_is_no_answer_is_lost_and_its_connection_ends(run: Run, answer: bytes | None) -> None:
    async def main() -> None:
        server, client = Server(lambda _: answer), HttpClient(DEADLINE)
        async with server as url:
            with pytest.raises(Lost) as caught:
                await client.send(url, READ, ())
            client.close()
        assert caught.value.is_stale is (answer is None)
        assert server.ended == 1

    run(main())


def test_a_request_that_is_cancelled_takes_its_connection_along(run: Run) -> None:
    """Its answer may still come, and must not be the next one's."""

    async def main() -> None:
        server, client = Server(lambda _: b""), HttpClient(DEADLINE)
        async with server as url:
            sending = asyncio.ensure_future(client.send(url, READ, ()))
            while not server.heads:
                await asyncio.sleep(0.01)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            server.answer = ok
            assert (await client.send(url, READ, ())).body == b"{}"
            client.close()
        assert server.connections == 2

    run(main())


@pytest.mark.parametrize(
    "target", ["Patient/1 HTTP/1.1\r\nx: y", "Patient/a b", "Patient/\0", "Patient/\u00e9"]
)
def test_a_target_that_would_end_the_request_line_is_not_sent(target: str, run: Run) -> None:
    """The modules above encode what they send; the writer does not rely on it."""

    async def main() -> None:
        server, client = Server(ok), HttpClient(DEADLINE)
        async with server as there:
            with pytest.raises(NotSent):
                await client.send(there, UpstreamRequest("GET", target), ())
            client.close()
        assert not server.heads

    run(main())


@pytest.mark.parametrize(
    ("url", "fields"),
    [
        ("http://127.0.0.1:{port}/fhir", (("if-match", 'W/"1"\r\nx: y'),)),
        ("http://127.0.0.1:{port}/fhir", (("if-match", "\0"),)),
        ("http://127.0.0.1:{port}/fhir", (("if-match", "☃"),)),
        ("ftp://127.0.0.1:{port}/fhir", ()),
        ("http:///fhir", ()),
        ("http://127.0.0.1:99999/fhir", ()),
    ],
)
def test_what_cannot_be_written_as_one_request_is_not_sent(url: str, fields: Any, run: Run) -> None:
    async def main() -> None:
        server, client = Server(ok), HttpClient(DEADLINE)
        async with server as there:
            with pytest.raises(NotSent):
                await client.send(url.format(port=there.split(":")[2].split("/")[0]), READ, fields)
            client.close()
        assert not server.heads

    run(main())


def test_a_server_without_a_trusted_certificate_gets_nothing(run: Run, tmp_path: Path) -> None:
    """Security decision 15: a request holds PHI and the server's credentials."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    async def main() -> None:
        served = Server(ok)
        server = await asyncio.start_server(served.serve, "127.0.0.1", 0, ssl=context)
        port, client = server.sockets[0].getsockname()[1], HttpClient(DEADLINE)
        with pytest.raises(NotSent):
            await client.send(f"https://localhost:{port}/fhir", READ, ())
        client.close()
        assert not served.heads
        client._tls = ssl.create_default_context(cafile=str(pem))
        assert (await client.send(f"https://localhost:{port}/fhir", READ, ())).body == b"{}"
        with pytest.raises(NotSent):
            await client.send(f"https://127.0.0.1:{port}/fhir", READ, ())
        client.close()
        await asyncio.sleep(0.05)
        server.close()

    run(main())


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a.example/fhir", ("a.example", 80, False, "/fhir", "a.example")),
        ("https://A.example:443/fhir/", ("a.example", 443, True, "/fhir", "a.example")),
        ("https://a.example:8443", ("a.example", 8443, True, "", "a.example:8443")),
        ("http://[::1]:8080/x/y", ("::1", 8080, False, "/x/y", "[::1]:8080")),
        ("http://bücher.example/r4", ("xn--bcher-kva.example", 80, False, "/r4", "xn--bcher-kva.example")),
    ],
)
def test_a_base_is_read_as_where_to_connect_and_what_to_ask_for(url: str, expected: tuple[Any, ...]) -> None:
    base = base_of(url)

    assert (*base.origin[:3], base.prefix, base.field) == expected
