"""The stream of decisions taken apart, and what is kept of it."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.foundation.kernel.errors import Unavailable
from hilum_ehr.sandbox.ehr.decision_cache import LAUNCHES_KEPT, TEXT_BOUND, DecisionCache
from hilum_ehr.sandbox.ehr.inspector import CALLS_SHOWN, inspect
from hilum_ehr.sandbox.ehr.sse import EVENT_BOUND, Message, Parser

STREAM = (
    b": listening\nretry: 1000\nid: a\n\n"
    b'event: decision\nid: b\ndata: {"n": 1}\n\n'
    b": still here\nid: c\n\n"
    b"event: missed\ndata: one\ndata:two\ndata\n\n"
)
MESSAGES = [
    Message(id="a"),
    Message("decision", '{"n": 1}', "b"),
    Message(id="c"),
    Message("missed", "one\ntwo\n"),
]


def taken(chunks: list[bytes]) -> list[Message]:
    parser = Parser()
    return [message for chunk in chunks for message in parser.take(chunk)]


@given(st.sets(st.integers(1, len(STREAM) - 1)), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_events_are_the_same_however_the_network_cuts_them_and_lines_end(
    cuts: set[int], end_of_line: bytes
) -> None:
    """HTML 9.2.5: a line ends with LF, CR or both; the pair may be cut in two."""
    written = STREAM.replace(b"\n", end_of_line)
    places = [0, *sorted(cuts), len(written)]

    found = taken([written[begin:end] for begin, end in pairwise(places)])

    assert found == MESSAGES


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (b"", []),
        (b"data: never ended", []),
        (b"data: never ended\n", []),
        (b"\n\n\n", []),
        (b": only a comment\n\n", []),
        (b"retry: 5\nwhatever: x\nDATA: x\n\n", []),
        (b"data\n\n", [Message()]),
        (b"data:  one space goes\n\n", [Message(data=" one space goes")]),
        (b"id: with \0 in it\ndata: x\n\n", [Message(data="x")]),
        (b"event: first\nevent: last\ndata: x\n\n", [Message("last", "x")]),
        (b"\xef\xbb\xbfdata: after the mark\n\n", [Message(data="after the mark")]),
        (b"data: \xff\n\n", [Message(data="\ufffd")]),
    ],
)
def test_what_is_no_event_is_none(written: bytes, found: list[Message]) -> None:
    """HTML 9.2.6."""
    assert taken([written]) == found


@pytest.mark.parametrize("line", [b"data: " + b"x" * 1_000 + b"\n", b": x\n" * 200, b"x" * 1_000])
def test_an_event_without_an_end_is_not_read_for_ever(line: bytes) -> None:
    with pytest.raises(Unavailable):
        taken([line] * (EVENT_BOUND // 500))


def decision(n: int, launch: str = "lch_1", **more: Any) -> dict[str, Any]:
    at = f"2026-03-02T09:{n // 60:02}:{n % 60:02}+00:00"
    return {"decision": f"req_{n}", "request_id": f"req_{n}", "launch": launch, "at": at} | more


def test_only_launches_that_are_expected_are_kept() -> None:
    cache = DecisionCache()
    cache.expect("lch_1", whole=True)

    cache.keep([decision(1), decision(2, "lch_2"), decision(3, ""), {"launch": "lch_1"}, {}])

    assert list(cache.expect("lch_1", whole=False).records) == ["req_1"]
    assert cache.expect("lch_2", whole=False).records == {}


def test_a_decision_that_comes_twice_is_kept_once() -> None:
    """From the stream, and from the list that was read because of a gap."""
    cache = DecisionCache()
    known = cache.expect("lch_1", whole=True)

    cache.keep([decision(1), decision(2)])
    cache.keep([decision(2), decision(1)])

    assert [call.request_id for call in inspect(known.records.values()).calls] == ["req_2", "req_1"]


@given(st.permutations(range(CALLS_SHOWN + 5)))
def test_the_newest_calls_stay_in_whatever_order_they_come(order: list[int]) -> None:
    cache = DecisionCache()
    known = cache.expect("lch_1", whole=True)

    cache.keep(decision(n) for n in order)

    assert set(known.records) == {f"req_{n}" for n in range(5, CALLS_SHOWN + 5)}


def test_what_is_kept_is_bounded_whatever_a_record_holds() -> None:
    cache = DecisionCache()
    known = cache.expect("lch_1", whole=True)

    cache.keep([decision(1, path="x" * 10_000, patient="p", latency_us="many", status=200, cost=None)])

    (kept,) = known.records.values()
    assert len(kept["path"]) == TEXT_BOUND
    assert kept["status"] == 200
    assert {"patient", "latency_us", "cost"}.isdisjoint(kept)


def test_the_launch_that_nobody_looked_at_for_longest_goes_first() -> None:
    cache = DecisionCache()
    first, second = (cache.expect(name, whole=True) for name in ("first", "second"))
    for n in range(LAUNCHES_KEPT - 2):
        cache.expect(f"lch_{n}", whole=True)
    cache.expect("first", whole=False)

    cache.expect("one more", whole=True)

    assert cache.expect("first", whole=False) is first
    assert cache.expect("second", whole=False) is not second


def test_what_was_missed_is_missed_for_every_launch_and_forgotten_launches_begin_again() -> None:
    cache = DecisionCache()
    one, two = (cache.expect(name, whole=True) for name in ("lch_1", "lch_2"))
    cache.keep([decision(1)])

    cache.miss()
    cache.forget("lch_1")
    cache.forget("never known")

    assert not one.whole
    assert not two.whole
    assert cache.expect("lch_1", whole=True).records == {}
