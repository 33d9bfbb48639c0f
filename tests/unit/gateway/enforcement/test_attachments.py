"""What a write may point at: any planted address is found, wherever it stands in whatever resource."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.gateway.enforcement.attachments import Grounds, mentions
from tests.effort import effort
from tests.unit.gateway.enforcement.planted import BASE, PLANTED, RECORDS, places

GROUNDS = Grounds((BASE,), frozenset({"upstream.internal"}), frozenset({"images.example"}))


@settings(max_examples=effort(50, 5_000), deadline=None)
@given(record=RECORDS, planted=PLANTED, data=st.data())
def test_a_planted_address_is_found_at_any_place(
    record: dict[str, Any], planted: str, data: st.DataObject
) -> None:
    """Security decision 22: no write of any type adds such an address, wherever it stands."""
    before = mentions(record, GROUNDS)
    node, key = data.draw(st.sampled_from(places(record)))
    node[key] = [planted] if data.draw(st.booleans()) else planted

    fresh = mentions(record, GROUNDS) - before

    assert fresh


@settings(max_examples=effort(70, 2_000), deadline=None)
@given(record=RECORDS)
def test_nothing_is_found_where_nothing_was_planted(record: dict[str, Any]) -> None:
    assert {each.path[-1] for each in mentions(record, GROUNDS)} <= {"url"}


@pytest.mark.parametrize(
    ("record", "free"),
    [
        ({"content": [{"attachment": {"url": "Binary/b1"}}]}, False),
        ({"content": [{"attachment": {"url": "Binary/b1/_history/2"}}]}, False),
        ({"x": BASE + "Binary/b1"}, False),
        ({"x": "Binary/b1/"}, False),
        ({"content": [{"attachment": {"url": "https://images.example/1.png"}}]}, True),
        ({"content": [{"attachment": {"url": "https://images.example/Binary/1"}}]}, False),
        ({"content": [{"attachment": {"url": "https://images.example@other.example/1.png"}}]}, False),
        ({"content": [{"attachment": {"url": "https://other.example/1.png"}}]}, False),
        ({"content": [{"attachment": {"url": "storage/1"}}]}, False),
        ({"content": [{"attachment": {"url": "../storage/1?sig=x"}}]}, False),
        ({"content": [{"attachment": {"url": "data:text/plain,x"}}]}, True),
        ({"content": [{"attachment": {"data": "QmluYXJ5L2Iy"}}]}, True),
        ({"extension": [{"valueAttachment": {"url": "https://other.example/1"}}]}, False),
        ({"extension": [{"url": "https://other.example/an-extension"}]}, True),
        ({"identifier": [{"system": "http://upstream.internal/mrn", "value": "1"}]}, True),
        ({"identifier": [{"system": "http://upstream.internal/mrn?sig=1", "value": "1"}]}, False),
        ({"identifier": [{"system": "http://a@upstream.internal/mrn", "value": "1"}]}, False),
        ({"identifier": [{"system": "http://upstream.internal/mrn%3Fsig=1", "value": "1"}]}, False),
        ({"identifier": [{"system": "http://upstream.internal/mrn%2523x", "value": "1"}]}, False),
        ({"identifier": [{"system": "http://upstream.internal/Binary/1"}]}, False),
        ({"subject": {"reference": BASE + "Patient/p1"}}, True),
        ({"subject": {"reference": BASE + "http://upstream.internal/x"}}, False),
    ],
)
def test_what_a_write_may_not_add(record: dict[str, Any], free: bool) -> None:
    assert (mentions(record, GROUNDS) == frozenset()) is free


def test_what_stood_in_the_same_place_is_nothing_new() -> None:
    """C79: a record is read and written back whole; the same address in another place is another thing."""
    before = {"content": [{"attachment": {"url": "Binary/b1"}}], "note": [{"text": "Binary/b2"}]}
    moved = {"content": [{"attachment": {"url": "Binary/b2"}}, {"attachment": {"url": "Binary/b1"}}]}

    fresh = mentions(moved, GROUNDS) - mentions(before, GROUNDS)

    assert {each.text for each in fresh} == {"Binary/b2"}


def test_the_gateways_own_address_is_its_own_on_a_shared_host() -> None:
    shared = Grounds(("https://one.example/t/g/fhir/",), frozenset({"one.example"}))
    own, other = "https://one.example/t/g/fhir", "https://one.example/fhir/Patient/1"

    assert mentions({"a": own, "b": own + "/Patient/1"}, shared) == frozenset()
    assert {each.text for each in mentions({"a": other}, shared)} == {other}
