"""Bounds on bodies and on requests under way, in process (C201, security decision 26)."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.foundation.kernel.errors import HilumError
from hilum.foundation.web import bounds
from hilum.foundation.web.asgi import Message
from hilum.foundation.web.bounds import LINGERING_BOUND, Body, Busy, Limits, RefusalDelay, RequestsInProgress
from tests.effort import effort

SOURCES = ("198.51.100.1", "198.51.100.2", "2001:db8::/64")


def parts(chunks: Iterable[bytes], *, whole: bool = True) -> Any:
    left = list(chunks)

    async def receive() -> dict[str, Any]:
        if not left and not whole:
            return {"type": "http.disconnect"}
        chunk = left.pop(0) if left else b""
        return {"type": "http.request", "body": chunk, "more_body": bool(left) or not whole}

    return receive


def test_a_body_beyond_the_bound_of_its_route_is_refused_by_its_header() -> None:
    """Security decision 26: no byte of it is read."""
    taken = False

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken = True
        return {"type": "http.request", "body": b"x" * 9_000}

    body = Body(receive, RequestsInProgress(), "s", bound=bounds.LARGE_BODY_BOUND, declared=9_000)
    body.narrow(bounds.SMALL_BODY_BOUND)

    assert (outcome(body), taken) == ("body_too_large", False)


async def read(body: Body) -> int:
    size = 0
    while not body.whole:
        size += len((await body())["body"])
    return size


def outcome(body: Body) -> str:
    try:
        return str(asyncio.run(read(body)))
    except HilumError as error:
        return error.code


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([1] * bounds.PARTS_BOUND, str(bounds.PARTS_BOUND)),
        ([1] * (bounds.PARTS_BOUND + 2), "body_fragmented"),
        ([bounds.PART_MEAN_BOUND] * 2_000, str(2_000 * bounds.PART_MEAN_BOUND)),
        ([60_000, *[1] * 400], "60400"),
        ([60_000, *[1] * 1_000], "body_fragmented"),
    ],
)
def test_a_body_in_many_small_parts_is_refused(sizes: list[int], expected: str) -> None:
    """C201: a part of one byte costs as much as one of many, so that bytes alone do not bound what a stranger costs."""
    body = Body(parts(b"x" * size for size in sizes), RequestsInProgress(), "s", bound=10**7, declared=-1)

    assert outcome(body) == expected


@pytest.mark.parametrize(
    ("chunks", "declared", "expected"),
    [
        ([b"x" * 100], 100, "100"),
        ([b"x" * 50, b"x" * 50], -1, "100"),
        ([], -1, "0"),
        ([b"x" * 101], -1, "body_too_large"),
        ([b"x"] * 101, -1, "body_too_large"),
        ([b"x"], 101, "body_too_large"),
        ([b"x"], 10**30, "body_too_large"),
    ],
)
def test_a_body_is_read_up_to_its_bound(chunks: list[bytes], declared: int, expected: str) -> None:
    in_progress = RequestsInProgress()
    body = Body(parts(chunks), in_progress, "s", bound=100, declared=declared)

    assert outcome(body) == expected
    asyncio.run(body.release())
    assert in_progress.body_bytes == 0


def test_a_body_that_breaks_off_is_no_body() -> None:
    body = Body(parts([b"x"], whole=False), RequestsInProgress(), "s", bound=100, declared=10)

    assert outcome(body) == "body_incomplete"


@pytest.mark.parametrize(
    ("lingering", "declared", "dropped"),
    [(0, 1_000, 3), (LINGERING_BOUND, 1_000, 0), (0, 10, 0)],
    ids=["refused", "too many linger", "read whole"],
)
def test_the_rest_of_a_refused_body_is_dropped_while_few_linger(
    lingering: int, declared: int, dropped: int
) -> None:
    """Nothing of it is kept, and the count of those that linger returns to where it was."""
    in_progress = RequestsInProgress()
    in_progress.lingering = lingering
    left = [b"12345", b"67890", b""]

    async def receive() -> Message:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    body = Body(receive, in_progress, "s", bound=100, declared=declared)
    outcome(body)
    before = len(left)
    asyncio.run(body.release())

    assert (before - len(left), in_progress.lingering, in_progress.body_bytes) == (dropped, lingering, 0)


def test_after_a_fault_nothing_more_is_read() -> None:
    asked = []

    async def receive() -> dict[str, Any]:
        asked.append(1)
        return {"type": "http.request", "body": b"x" * 60, "more_body": True}

    body = Body(receive, RequestsInProgress(), "s", bound=100, declared=-1)

    assert [outcome(body), outcome(body), outcome(body)] == ["body_too_large"] * 3
    assert len(asked) == 2


@pytest.mark.parametrize(("chunk", "reads"), [(b"", 0), (b"x", 3)])
def test_a_body_that_is_silent_or_trickles_is_given_up(
    monkeypatch: pytest.MonkeyPatch, chunk: bytes, reads: int
) -> None:
    monkeypatch.setattr(bounds, "BODY_GRACE_S", 0.05)
    given_ = 0

    async def receive() -> dict[str, Any]:
        nonlocal given_
        if given_ >= reads:
            await asyncio.Event().wait()
        given_ += 1
        return {"type": "http.request", "body": chunk, "more_body": True}

    assert outcome(Body(receive, RequestsInProgress(), "s", bound=100, declared=-1)) == "body_too_slow"


def test_the_whole_body_has_a_deadline_however_steady_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "BODY_DEADLINE_S", 0.05)

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    assert outcome(Body(receive, RequestsInProgress(), "s", bound=10**9, declared=-1)) == "body_too_slow"


def test_bodies_of_one_source_and_of_all_are_bounded_in_number_and_in_memory() -> None:
    limits = Limits(bodies=3, source_bodies=2, body_memory=100)
    in_progress = RequestsInProgress(limits)
    in_progress.body_begins("a")
    in_progress.body_begins("a")
    with pytest.raises(Busy) as refused:
        in_progress.body_begins("a")
    in_progress.body_begins("b")
    with pytest.raises(Busy) as full:
        in_progress.body_begins("c")

    assert (refused.value.code, full.value.code) == ("source_busy", "server_busy")
    assert (
        outcome(Body(parts([b"x" * 101]), RequestsInProgress(limits), "s", bound=1_000, declared=-1))
        == "server_busy"
    )


@given(st.lists(st.tuples(st.sampled_from(SOURCES), st.booleans()), max_size=60))
@settings(max_examples=effort(70, 5_000), deadline=None)
def test_requests_in_progress_never_exceed_their_bounds_and_are_counted_down(
    steps: list[tuple[str, bool]],
) -> None:
    in_progress = RequestsInProgress(Limits(requests=5, source_requests=3))
    under_way: list[str] = []
    for source, comes in steps:
        if comes:
            busy = in_progress.enter(source)
            assert (busy is None) == (len(under_way) < 5 and under_way.count(source) < 3)
            if busy is None:
                under_way.append(source)
        elif source in under_way:
            in_progress.leave(source)
            under_way.remove(source)
        assert in_progress.requests == len(under_way)
    for source in under_way:
        in_progress.leave(source)

    assert in_progress.requests == 0
    assert all(in_progress.enter(source) is None for source in SOURCES)


@given(st.lists(st.floats(0, 0.2), min_size=1, max_size=120))
@settings(max_examples=effort(40, 5_000), deadline=None)
def test_refusals_at_once_never_pass_burst_and_rate_and_nobody_waits_for_anothers(
    pauses: list[float],
) -> None:
    refusal_delay, now, free = RefusalDelay(burst=10, rate=20), 100.0, 0
    for pause in pauses:
        now += pause
        free += refusal_delay.delay_s("a", now) == 0

    assert free <= 10 + 20 * (now - 100.0) + 1
    assert refusal_delay.delay_s("b", now) == 0
    assert refusal_delay.delay_s("a", now + 1.0) == 0
