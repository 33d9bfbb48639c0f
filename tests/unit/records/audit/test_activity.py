"""The merging of accesses and refused events into one list, and what a record keeps of what a stranger sent (security decision 5)."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.times import from_micros, to_micros
from hilum.records.audit.models import Access, AccessPage, Event, EventPage, RecordedEvent
from hilum.records.audit.policy import SENT_BOUND, activity, activity_from, as_sent
from tests.flows.journal_ground import AT, access

LIMIT = 3


def accesses(all_: list[Access], after: str = "", before: object = None) -> AccessPage:
    left = [each for each in all_ if before is None or each.at < before]  # type: ignore[operator]
    left = left[int(after) if after else 0 :] if before is None else left
    page = left[:LIMIT]
    # A journal's page has a next one whenever it is full.
    place = all_.index(page[-1]) + 1 if page else 0
    return AccessPage(tuple(page), str(place) if len(page) == LIMIT else "")


def events(all_: list[RecordedEvent], after: str = "", before: object = None) -> EventPage:
    left = [each for each in all_ if before is None or each.at < before]  # type: ignore[operator]
    left = left[int(after) if after else 0 :] if before is None else left
    page = left[:LIMIT]
    place = all_.index(page[-1]) + 1 if page else 0
    return EventPage(tuple(page), str(place) if len(left) > LIMIT else "")


@given(st.lists(st.integers(0, 6), max_size=12), st.lists(st.integers(0, 6), max_size=12))
def test_every_record_is_listed_once_and_in_order_however_times_coincide(a: list[int], b: list[int]) -> None:
    """C150."""
    first = [access(n, at=AT + timedelta(seconds=second)) for n, second in enumerate(sorted(a, reverse=True))]
    second = [
        RecordedEvent("w", n, AT + timedelta(seconds=at), "client:x", f"req_{n}", Event("room.thing.do"))
        for n, at in enumerate(sorted(b, reverse=True))
    ]
    seen, after = list[Access | RecordedEvent](), ""
    for _ in range(len(a) + len(b) + 1):
        of_accesses, of_events = activity_from(after)
        page = activity(accesses(first, **of_accesses), events(second, **of_events))
        seen += page.records
        after = page.next
        if not after:
            break

    assert not after
    assert [each.at for each in seen] == sorted((each.at for each in seen), reverse=True)
    every: list[Access | RecordedEvent] = [*first, *second]
    assert sorted(each.request_id for each in seen) == sorted(each.request_id for each in every)


def test_a_place_that_no_page_gave_is_refused() -> None:
    assert activity_from("5~before7") == [{"after": "5"}, {"before": from_micros(7)}]
    assert to_micros(from_micros(7)) == 7
    for text in ("before-1~x", "before~x", "beforex~x", f"before{'9' * 18}~x"):
        with pytest.raises(Invalid):
            activity_from(text)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("https://app.example/cb", "https://app.example/cb"),
        ("a\x1b[31mb\r\nc\x00", "a?[31mb??c?"),
        ("user\u202egnp.exe", "user?gnp.exe"),
        ("x" * 1_000, "x" * SENT_BOUND),
        ("", ""),
    ],
)
def test_what_a_stranger_sent_is_bounded_and_acts_on_no_terminal(sent: str, kept: str) -> None:
    assert as_sent(sent) == kept
