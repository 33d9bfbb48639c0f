"""Strangers cost little: bounds before anybody is authenticated, tried on the real site (C201, security decision 26)."""

import asyncio
import itertools
import resource
import socket
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from hilum.foundation.web.bounds import BODY_GRACE_S, SOURCE_BODIES_BOUND
from tests.sim.running import Running
from tests.sim.stranger import FHIR, FORM, JSON, REGISTER, TOKEN, Received, connections

CONNECTIONS = 4_096
"""What ``HILUM_CONNECTIONS`` is where nobody sets it."""
TWO_MB = 2 * 1024 * 1024
GARBAGE = "Authorization: Bearer hil_at_" + "A" * 43 + "_" + "B" * 8
API_GARBAGE = "Authorization: Bearer hil_pat_" + "A" * 43
LAUNCHES, SIGNIN, VENDORS = "/t/general/ehr/launches", "/t/general/signin", "/api/v1/vendors"


def ask(
    running: Running, method: str, path: str, *headers: str, body: bytes = b"", within_s: float = 5
) -> Received:
    with connections(running, 1) as (one,):
        return one.ask(method, path, *headers, body=body).receive(within_s)


@dataclass(frozen=True)
class Ask:
    """A request whose body never comes, with this way to say how long it is, and this credential."""

    method: str
    path: str
    kind: str
    framing: str
    token: str = ""


def ask_at_once(running: Running, asked: list[Ask], within_s: float = 5) -> dict[Ask, Received]:
    """Send each on a connection of its own, all before the first answer is read: a server that refuses lingers before it closes.

    No body is ever sent: a server that waited for one would answer 408, and no other status.
    """
    with connections(running, len(asked)) as made:
        for one, each in zip(made, asked, strict=True):
            one.ask(each.method, each.path, each.kind, each.framing, *filter(None, [each.token]))
        return {each: one.receive(within_s) for one, each in zip(made, asked, strict=True)}


def bearer(running: Running, role: str = "platform_admin") -> str:
    return f"Authorization: Bearer {running.staff(role)['api_token']}"


def memory_mb(running: Running) -> float:
    """Return how much memory the processes of the sandbox use."""
    kept = found = {running.process.pid}
    parents = {}
    for each in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            parents[int(each.name)] = int((each / "stat").read_text().rpartition(")")[2].split()[1])
    while found:
        found = {pid for pid, parent in parents.items() if parent in kept} - kept
        kept = kept | found
    pages = 0
    for pid in kept:
        with suppress(OSError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def reads(running: Running, count: int) -> list[float]:
    """Time so many requests of an honest client, each on a connection of its own. Fails when one waits for bodies that others do not send."""
    took = []
    for _ in range(count):
        begun = time.monotonic()
        assert (
            httpx2.get(f"{running.base}/t/general/fhir/metadata", timeout=BODY_GRACE_S - 1).status_code == 200
        )
        took.append(time.monotonic() - begun)
    return took


def test_http2_is_not_spoken(running: Running) -> None:
    with connections(running, 1) as (one,):
        said = one.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)).receive(2)

    assert said.closed
    assert said.raw == b"" or said.status == 400


def test_an_offer_of_another_protocol_is_not_taken(running: Running) -> None:
    h2c = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    websocket = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )

    with connections(running, 2) as made:
        for one, offer in zip(made, (h2c, websocket), strict=True):
            one.ask("GET", "/healthz", *offer)
        assert [one.receive(2).status for one in made] == [200, 200]


def test_the_api_refuses_a_stranger_before_reading_a_body(running: Running) -> None:
    """C201: 401 before 422 and 413; nothing of the body was sent, and the answer is there."""
    paths = {VENDORS: 401, "/api/v1/switches": 401, LAUNCHES: 401, "/api/v1/nothing-here": 404}
    tokens = ("", API_GARBAGE, GARBAGE, "Authorization: Basic Zm9vOmJhcg==")
    framings = ("Content-Length: 200000000", "Transfer-Encoding: chunked")

    said = ask_at_once(
        running, [Ask("POST", *case) for case in itertools.product(paths, [JSON], framings, tokens)]
    )

    assert len(said) == 32
    for asked, each in said.items():
        assert (each.status, each.closed) == (paths[asked.path], True), asked
        assert each.headers["content-type"] == "application/problem+json", asked


@pytest.mark.parametrize("body", [b"{", b'{"a": 1}', b"[" * 100_000], ids=["broken", "wrong", "deep"])
def test_a_stranger_is_refused_whatever_the_body_says(running: Running, body: bytes) -> None:
    answer = httpx2.post(running.base + VENDORS, content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 401


def test_the_gateway_refuses_a_token_that_is_none_before_reading_a_body(running: Running) -> None:
    ways = (("POST", FHIR), ("PUT", FHIR + "/x"))
    framings = (f"Content-Length: {TWO_MB}", "Content-Length: 9000000000", "Transfer-Encoding: chunked")
    tokens = ("", GARBAGE, "Authorization: Bearer x")
    kind = "Content-Type: application/fhir+json"

    said = ask_at_once(
        running,
        [Ask(*way, kind, *case) for way in ways for case in itertools.product(framings, tokens)],
    )

    assert len(said) == 18
    for asked, each in said.items():
        assert (each.status, each.closed) == (401, True), asked
        assert b"OperationOutcome" in each.body, asked


def test_a_large_body_is_refused_in_the_form_that_the_address_answers_in(running: Running) -> None:
    """Declared too large: refused unread. Source: RFC 9110 section 15.5.14"""
    length = "Content-Length: 200000000"
    asked = [
        Ask("POST", VENDORS, JSON, length, bearer(running)),
        Ask("POST", TOKEN, FORM, length),
        Ask("POST", REGISTER, JSON, length),
        Ask("POST", SIGNIN, FORM, length),
        Ask("POST", "/api/v1/tokens", JSON, length),
    ]
    said = {each.path: received for each, received in ask_at_once(running, asked).items()}

    assert {path: (each.status, each.closed) for path, each in said.items()} == dict.fromkeys(
        said, (413, True)
    )
    kinds = {path: each.headers["content-type"].partition(";")[0] for path, each in said.items()}
    assert kinds == {
        VENDORS: "application/problem+json",
        TOKEN: "application/json",
        REGISTER: "application/json",
        SIGNIN: "text/html",
        "/api/v1/tokens": "application/problem+json",
    }
    assert all("x-request-id" in each.headers for each in said.values())


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        (FHIR, 401, "application/fhir+json"),
        (VENDORS, 401, "application/json"),
        (TOKEN, 413, "application/x-www-form-urlencoded"),
    ],
)
def test_who_sends_a_large_body_reads_the_refusal_and_no_reset(
    running: Running, path: str, status: int, kind: str
) -> None:
    """A client that sends before it reads gets the answer each time, also one that loses what it received to a reset (RFC 9112 section 9.6)."""

    async def sent() -> list[int]:
        async with httpx2.AsyncClient() as http:
            return [
                (
                    await http.post(
                        running.base + path, content=bytes(3_000_000), headers={"content-type": kind}
                    )
                ).status_code
                for _ in range(20)
            ]

    assert asyncio.run(sent()) == [status] * 20


def test_a_body_of_unsaid_length_is_counted_while_it_streams(running: Running) -> None:
    """C201: 200 MB without a Content-Length used to take 590 MB more memory."""
    before = memory_mb(running)
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    said = []
    for path, token in ((VENDORS, bearer(running)), (TOKEN, ""), ("/api/v1/tokens", "")):
        with connections(running, 1) as (one,):
            one.ask(
                "POST",
                path,
                FORM if path == TOKEN else JSON,
                "Transfer-Encoding: chunked",
                *filter(None, [token]),
            )
            for _ in range(200):
                one.send(chunk)
            said.append(one.receive(5))

    assert [each.status for each in said] == [413, 413, 413]
    assert memory_mb(running) - before < 60


def test_a_body_has_a_deadline_and_a_minimum_rate(running: Running) -> None:
    """C201: silent bodies and those that trickle are refused with 408, and their connections closed."""
    asked = [
        (TOKEN, FORM, ""),
        (SIGNIN, FORM, ""),
        (REGISTER, JSON, ""),
        ("/api/v1/tokens", JSON, ""),
        (VENDORS, JSON, bearer(running)),
    ]
    with connections(running, 2 * len(asked)) as made:
        for at, one in enumerate(made):
            path, kind, token = asked[at % len(asked)]
            one.ask("POST", path, kind, "Content-Length: 6000", *filter(None, [token]))
        trickling = made[len(asked) :]
        for _ in range(int(BODY_GRACE_S) + 1):
            for one in trickling:
                one.send(b"a")
            time.sleep(0.9)
        said = [one.receive(10) for one in made]

    assert [(each.status, each.closed) for each in said] == [(408, True)] * len(made)
    assert max(each.took_s for each in said) < BODY_GRACE_S + 15


def test_connections_without_bodies_and_without_headers_do_not_stop_others(running: Running) -> None:
    """C201: 1,300 connections used to stop every request for as long as they stood."""
    quiet = reads(running, 20)
    with connections(running, 1_300) as made:
        for one in made[:650]:
            one.ask("POST", TOKEN, FORM, "Content-Length: 1000")
        crowded = reads(running, 20)
        answered = [one for one in made[:650] if one.has_answer()]
        refused = [one.receive(1) for one in answered[:20]]

    assert len(answered) >= 650 - SOURCE_BODIES_BOUND
    assert statistics.median(crowded) < statistics.median(quiet) + 1
    assert {(each.status, each.closed) for each in refused} <= {(429, True), (408, True)}
    assert any(each.status == 429 and int(each.headers["retry-after"]) >= 1 for each in refused)


def test_more_silent_connections_than_there_are_places_do_not_keep_others_out(running: Running) -> None:
    """C201: the silent ones of the largest holder are closed to make room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 500
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * wanted)), hard))
    made = [socket.socket() for _ in range(wanted)]
    try:
        for one in made:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", urlsplit(running.base).port))
        time.sleep(0.5)
        took = [httpx2.get(f"{running.base}/readyz", timeout=10).elapsed.total_seconds() for _ in range(20)]
    finally:
        for one in made:
            one.close()

    assert statistics.median(took) < 3


def test_a_flood_of_headers_stays_within_the_bound_of_memory(running: Running) -> None:
    """C201: a connection holds at most 64 KiB of headers; HTTP/2 let them expand to gigabytes."""
    before = memory_mb(running)
    with connections(running, 400) as made:
        for one in made:
            one.send(b"GET / HTTP/1.1\r\nHost: x\r\nx: " + b"a" * 200_000)
        reads(running, 3)
        grown = memory_mb(running) - before
        said = [one.receive(1) for one in made[:5]]

    assert grown < 60
    assert {each.status for each in said} <= {431, 0}


@pytest.mark.parametrize(
    "head",
    [
        b"x: " + b"a" * 100_000,
        b"\r\n".join(b"x-%d: 1" % at for at in range(120)),
    ],
    ids=["large", "many"],
)
def test_headers_are_bounded_in_size_and_number(running: Running, head: bytes) -> None:
    """Source: RFC 6585 section 5"""
    with connections(running, 1) as (one,):
        said = one.send(
            b"GET /healthz HTTP/1.1\r\nHost: " + one.host.encode() + b"\r\n" + head + b"\r\n\r\n"
        ).receive(3)

    assert (said.status, said.closed) == (431, True)


def test_a_request_has_one_host(running: Running) -> None:
    """RFC 9112 section 3.2: none or more than one is 400."""
    hosts = (
        "Host: {own}\r\nHost: {own}",
        "Host: {own}\r\nHost: evil.example",
        "Host: evil.example\r\nHost: {own}",
        "",
        "Host: ",
    )
    cases = list(itertools.product(["/healthz", FHIR, VENDORS, TOKEN], hosts))

    with connections(running, len(cases)) as made:
        for one, (path, lines) in zip(made, cases, strict=True):
            head = [f"GET {path} HTTP/1.1", *filter(None, [lines.format(own=one.host)]), "", ""]
            one.send("\r\n".join(head).encode())
        said = {case: one.receive(3) for one, case in zip(made, cases, strict=True)}

    assert {case: (each.status, each.closed) for case, each in said.items()} == dict.fromkeys(
        cases, (400, True)
    )


def test_a_body_ends_in_one_way_only(running: Running) -> None:
    """RFC 9112 section 6.3: what two readers might cut differently is refused, and never keeps its connection."""
    framings = (
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: 3, 3",
        "Content-Length: +3",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, identity",
    )
    smuggled = b"3\r\na=b\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

    with connections(running, len(framings)) as made:
        for one, framing in zip(made, framings, strict=True):
            one.send(
                f"POST {TOKEN} HTTP/1.1\r\nHost: {one.host}\r\n{FORM}\r\n{framing}\r\n\r\n".encode()
                + smuggled
            )
        said = {framing: one.receive(3) for one, framing in zip(made, framings, strict=True)}

    for framing, each in said.items():
        assert (each.status, each.closed) == (400, True), framing
        assert each.raw.count(b"HTTP/1.1 ") == 1, framing


def test_one_source_that_fills_its_places_leaves_those_of_others(running: Running) -> None:
    """What is counted is given back: after a crowd has gone, its source is served again."""
    for _ in range(3):
        with connections(running, SOURCE_BODIES_BOUND + 10) as made:
            for one in made:
                one.ask("POST", TOKEN, FORM, "Content-Length: 1000")
            with ThreadPoolExecutor(4) as pool:
                assert len(list(pool.map(lambda _: reads(running, 1), range(8)))) == 8

    until = time.monotonic() + 30
    while (said := ask(running, "POST", TOKEN, FORM, "Content-Length: 3", body=b"a=b")).status == 429:
        assert time.monotonic() < until
    assert said.status == 400
