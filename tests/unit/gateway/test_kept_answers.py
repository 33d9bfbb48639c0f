"""Which answers are kept beside a record, for which permit, and what of them is another request's own (C75)."""

from dataclasses import replace

import pytest

from hilum.gateway.kept_answers import ANSWERS_BOUND, find_answer, keep_answer
from hilum.gateway.rendering import Answer
from hilum.upstream.models import UpstreamResponse
from tests.unit.gateway.facts import ask, permit, token

SHOWN = Answer(200, b"{}", ((b"etag", b'W/"1"'),), patient="p1", returned=1, found="p1:1")


def response() -> UpstreamResponse:
    return UpstreamResponse(200, {}, b"{}")


def shown(found: Answer | None) -> tuple[object, ...] | None:
    """Return what an app sees of an answer, and what is recorded of it: whose record it is, and how many were shown."""
    if found is None:
        return None
    return found.status, found.body, found.headers, found.patient, found.returned, found.found


def test_an_answer_is_found_by_its_own_permit_and_with_its_own_response_alone() -> None:
    mine, other, stored = permit(), permit(ask("Observation/o2")), response()

    keep_answer(mine, stored, SHOWN)

    assert shown(find_answer(mine, stored)) == shown(SHOWN)
    assert find_answer(other, stored) is None
    assert find_answer(mine, response()) is None


@pytest.mark.parametrize(
    "target", ["Provenance/x1", "Observation/o1?_elements=code", "Observation/o1?_summary=true"]
)
def test_what_other_records_or_another_shape_decided_is_not_kept(target: str) -> None:
    """C75: the records that a Provenance is about may change while it does not."""
    asked, stored = permit(ask(target), token("patient/*.rs")), response()

    keep_answer(asked, stored, SHOWN)

    assert find_answer(asked, stored) is None


def test_what_a_request_adds_to_its_answer_stays_its_own() -> None:
    """The rest of an app's quota, whose scripts may read it, and which writes it settles."""
    mine, stored = permit(), response()
    given = replace(
        SHOWN, rates=((b"x", b"1"),), origins=frozenset({"https://app.example"}), settles=("req_1",)
    )
    keep_answer(mine, stored, given)

    first = find_answer(mine, stored)
    assert first is not None
    assert (first.rates, first.origins, first.settles) == ((), frozenset(), ())
    first.origins = frozenset({"https://other.example"})

    again = find_answer(mine, stored)
    assert again is not None
    assert (shown(again), again.origins) == (shown(SHOWN), frozenset())


def test_so_many_answers_are_kept_with_a_record_and_no_more() -> None:
    stored = response()
    permits = [permit(ask(f"Observation/o{n}")) for n in range(ANSWERS_BOUND + 1)]
    for each in permits:
        keep_answer(each, stored, SHOWN)

    assert stored.made is not None
    assert len(stored.made) <= ANSWERS_BOUND
    assert shown(find_answer(permits[-1], stored)) == shown(SHOWN)
