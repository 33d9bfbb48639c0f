"""Answers of HTTP/1.1, in every framing and in whatever pieces they arrive."""

import gc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.gateway.upstream import http1
from hilum.gateway.upstream.http1 import (
    CHUNKS_BOUND,
    HEAD_BOUND,
    INTERIM_BOUND,
    LINE_KEPT_BOUND,
    PIECES_BOUND,
    AnswerReader,
    Malformed,
    TooLarge,
)
from tests.effort import effort

BOUND = 4_000
KEPT = frozenset({"etag", "content-type"})
BODIES = st.binary(max_size=BOUND)
OK = b"HTTP/1.1 200 OK\r\n"


def reader() -> AnswerReader:
    return AnswerReader(KEPT, BOUND)


def chunked(body: bytes, cuts: list[int]) -> bytes:
    """Write a body in chunks of these sizes, the rest in one."""
    written = b""
    for size in cuts:
        part, body = body[:size], body[size:]
        written += b"%x;name=value\r\n%b\r\n" % (len(part), part) if part else b""
    return written + (b"%X\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\nx-trailer: y\r\n\r\n"


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """Cut what a server sends as a network would."""
    for size in cuts:
        if size < len(data):
            yield data[:size]
            data = data[size:]
    yield data


CUTS = st.lists(st.integers(1, 60), max_size=40)


@settings(max_examples=effort(50, 10_000))
@given(body=BODIES, framing=st.sampled_from(["sized", "chunked", "until the end"]), chunks=CUTS, cuts=CUTS, interim=st.integers(0, INTERIM_BOUND))  # fmt: skip
def test_an_answer_is_the_same_in_whatever_pieces_it_arrives(
    body: bytes, framing: str, chunks: list[int], cuts: list[int], interim: int
) -> None:
    """RFC 9112 sections 6 and 7."""
    head = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * interim + OK + b'ETag:  W/"1" \r\n'
    sent = {
        "sized": head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
        "chunked": head + b"transfer-encoding: Chunked\r\n\r\n" + chunked(body, chunks),
        "until the end": head + b"\r\n" + body,
    }[framing]
    read = reader()

    arrived = [read.feed(piece) for piece in pieces(sent, cuts)]

    assert not any(arrived[:-1])
    assert (arrived[-1] or read.end()) is True
    assert (read.status, read.headers, read.body) == (200, {"etag": 'W/"1"'}, body)
    assert read.keep_alive == (framing != "until the end")


@settings(max_examples=effort(50, 10_000))
@given(body=st.binary(min_size=1, max_size=200), sized=st.booleans(), left=st.integers(1, 400))
def test_an_answer_that_ends_early_is_never_whole(body: bytes, sized: bool, left: int) -> None:
    """C196: what is lost on its way is not taken for an answer."""
    framing = b"content-length: %d" % len(body) if sized else b"transfer-encoding: chunked"
    sent = OK + framing + b"\r\n\r\n" + (body if sized else chunked(body, [3]))
    read = reader()

    assert not read.feed(sent[: max(0, len(sent) - left)])
    assert not read.end()


@settings(max_examples=effort(80, 10_000))
@given(data=st.binary(max_size=300), cuts=CUTS, begins=st.sampled_from([b"", OK, OK + b"transfer-encoding: chunked\r\n\r\n"]))  # fmt: skip
def test_whatever_arrives_is_an_answer_or_refused_by_name(
    data: bytes, cuts: list[int], begins: bytes
) -> None:
    """The reader is total: no other error leaves it."""
    read = reader()
    try:
        for piece in pieces(begins + data, cuts):
            read.feed(piece)
        read.end()
    except (Malformed, TooLarge):
        return


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\ncontent-length: 0\n\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 600 High\r\n\r\n",
        b"HTTP/1.1 20x OK\r\n\r\n",
        b"http/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * (INTERIM_BOUND + 1),
        OK + b"content-length: 1\r\n folded\r\n\r\n",
        OK + b"content-length : 1\r\n\r\n",
        OK + b"etag: a\0b\r\n\r\n",
        OK + b"etag: a\rb: c\r\n\r\n",
        OK + b": nameless\r\n\r\n",
        OK + b"content-length: -1\r\n\r\n",
        OK + b"content-length: +1\r\n\r\n",
        OK + b"content-length: 1_0\r\n\r\n",
        OK + b"content-length: 0x1\r\n\r\n",
        OK + b"content-length: \r\n\r\n",
        OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\n",
        OK + b"content-length: 1, 2\r\n\r\n",
        OK + b"content-length: \xb2\r\n\r\n",
        OK + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        OK + b"transfer-encoding: gzip, chunked\r\n\r\n",
        OK + b"transfer-encoding: identity\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        OK + b"content-encoding: gzip\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n-1\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n0x1\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n1\na\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n1\r\nab\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n1\r\na0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n0\r\nno trailer\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n" + b"1;" + b"x" * 2_000,
        OK + b"x: " + b"y" * HEAD_BOUND,
    ],
)
def test_an_answer_that_two_readers_could_read_differently_is_refused(sent: bytes) -> None:
    """RFC 9112 sections 2.2, 5.2, 6.3 and 7.1."""
    with pytest.raises(Malformed):
        reader().feed(sent)


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        (b"etag:" + b" " * 60_000 + b"\0", True),
        (b"etag: x" + b" \t" * 30_000 + b"x", False),
        (b"etag:" + b" " * 60_000, False),
        (b"x" * 60_000, True),
    ],
)
def test_a_header_line_of_blanks_is_read_in_linear_time(line: bytes, refused: bool) -> None:
    """A FHIR server that anybody runs must not hold up the requests of all others. C132."""
    read = reader()

    try:
        read.feed(OK + line + b"\r\ncontent-length: 0\r\n\r\n")
    except Malformed:
        assert refused
    else:
        assert not refused


def test_a_head_that_trickles_in_is_refused_before_it_costs_much() -> None:
    """Read again with each byte, the longest heads took a worker ten seconds. C132."""
    long = (b"HTTP/1.1 103 Early\r\n" + b"a: b\r\n" * 9_000 + b"\r\n") * INTERIM_BOUND
    short = OK + b"x-other: " + b"y" * 1_000 + b"\r\ncontent-length: 0\r\n\r\n"
    read = reader()

    assert [read.feed(short[n : n + 1]) for n in range(len(short))][-1]
    read, fed = reader(), 0
    with pytest.raises(Malformed):
        for fed in range(len(long)):
            read.feed(long[fed : fed + 1])
    assert fed <= PIECES_BOUND


def test_a_body_of_too_many_chunks_is_refused() -> None:
    """Sixteen million chunks of a byte take a worker a minute. C132."""
    read = AnswerReader(KEPT, CHUNKS_BOUND * 4)
    read.feed(OK + b"transfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * CHUNKS_BOUND)

    with pytest.raises(TooLarge):
        read.feed(b"1\r\nx\r\n")


@pytest.mark.parametrize("line", [b"a:\r\n", b"x-trailer: " + b"y" * 1000 + b"\r\n"])
def test_a_trailer_is_as_long_as_a_head_at_most(line: bytes) -> None:
    """Eight million lines of it, under the bound of a body, took a worker ten seconds. C132."""
    begins = OK + b"transfer-encoding: chunked\r\n\r\n0\r\n"
    fits = line * (HEAD_BOUND // len(line) - 1)
    read = AnswerReader(KEPT, 100 * HEAD_BOUND)

    assert read.feed(begins + fits + b"\r\n")
    assert read.keep_alive
    with pytest.raises(Malformed):
        AnswerReader(KEPT, 100 * HEAD_BOUND).feed(begins + fits + line * 2)


def test_what_an_interim_answer_says_is_not_said_by_the_answer() -> None:
    """RFC 9110 section 15.2."""
    read = reader()

    assert read.feed(
        b'HTTP/1.1 103 Early\r\netag: "1"\r\n\r\n' + OK + b'etag: "2"\r\ncontent-length: 0\r\n\r\n'
    )
    assert read.headers == {"etag": '"2"'}


@pytest.mark.parametrize(
    "sent",
    [
        OK + b"content-length: %d\r\n\r\n" % (BOUND + 1),
        OK + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % (BOUND + 1),
        OK + b"transfer-encoding: chunked\r\n\r\n" + (b"%x\r\n%b\r\n" % (BOUND // 2 + 1, b"x" * (BOUND // 2 + 1))) * 2,
        OK + b"\r\n" + b"x" * (BOUND + 1),
    ],
)  # fmt: skip
def test_a_body_past_its_bound_is_refused_as_soon_as_that_is_known(sent: bytes) -> None:
    """C132."""
    with pytest.raises(TooLarge):
        reader().feed(sent)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.1 200\r\n", True),
        (b"HTTP/1.1 200 OK\r\nconnection: keep-alive, Close\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\n", True),
    ],
)
def test_a_connection_is_kept_only_where_its_server_keeps_it(head: bytes, expected: bool) -> None:
    """RFC 9112 section 9.3."""
    read = reader()

    assert read.feed(head + b"content-length: 2\r\n\r\n{}")
    assert read.keep_alive is expected


@pytest.mark.parametrize(
    ("framing", "kept"),
    [
        (b"", True),
        (b"content-length: 0\r\n", True),
        (b"content-length: 99\r\n", False),
        (b"transfer-encoding: chunked\r\n", False),
    ],
)
@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_content_has_none_whatever_its_length_says(
    status: int, framing: bytes, *, kept: bool
) -> None:
    """RFC 9112 section 6.3. What may follow all the same is not read as the answer to the next request."""
    read = reader()

    assert read.feed(b"HTTP/1.1 %d None\r\n%b\r\n" % (status, framing))
    assert (read.body, read.keep_alive) == (b"", kept)


def test_a_line_that_was_read_before_is_judged_as_it_was_then() -> None:
    """Lines are kept, of all servers together: what one of them sends says nothing about another's answers."""
    sent = OK + b'ETag: W/"7"\r\ncontent-length: 2\r\n'
    first, second, doubled = reader(), reader(), reader()
    first.feed(sent + b"\r\n{}")
    first.headers["etag"] = "changed"

    assert second.feed(sent + b"\r\n{}")
    assert second.headers == {"etag": 'W/"7"'}
    for _ in range(2):
        with pytest.raises(Malformed):
            reader().feed(sent + b"etag : x\r\n\r\n")
    with pytest.raises(Malformed):
        doubled.feed(sent + b"content-length: 3\r\n\r\n")


def test_a_long_line_is_read_and_not_kept() -> None:
    """C132: what a server sends once takes no memory from then on."""
    kept, reason = http1._kept_field.cache_info().currsize, b" " + b"x" * LINE_KEPT_BOUND
    read = AnswerReader({"etag"}, BOUND)

    assert read.feed(b"HTTP/1.1 204" + reason + b"\r\netag:" + reason + b"\r\n\r\n")

    assert read.headers == {"etag": reason.decode().strip()}
    assert http1._kept_field.cache_info().currsize == kept


def test_bytes_behind_an_answer_end_the_connection() -> None:
    """What a server sends without a request is the answer to none."""
    read = reader()

    assert read.feed(OK + b"content-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n\r\n")
    assert (read.body, read.keep_alive) == (b"{}", False)


@pytest.mark.parametrize(
    "sent",
    [
        OK + b"content-length: 4\r\n\r\nbody",
        OK + b"transfer-encoding: chunked\r\n\r\n" + chunked(b"body", [1]),
        OK + b"\r\nuntil the end",
        OK + b"content-length: 4\r\n\r\nbo",
    ],
)
def test_a_body_leaves_memory_with_its_answer(sent: bytes) -> None:
    # A worker collects cycles seldom, so thousands of bodies of up to 16 MiB would wait for that.
    gc.disable()
    try:
        # The youngest generation alone: it is empty after this, and a whole suite is in the others.
        gc.collect(0)
        read = reader()
        read.feed(sent)
        read.end()
        del read
        assert gc.collect(0) == 0
    finally:
        gc.enable()
