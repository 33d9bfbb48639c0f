"""The verdict of a containment report (C148): contained only if nothing passed and nothing is missing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.controls.switches.models import Mode, Switch, Target, TargetKind
from hilum.operations.switch_administration.models import Confirmation, Confirmations, Containment, Gap
from hilum.operations.switch_administration.policy import end_of, filters_of, judge
from hilum.records.audit.models import PermittedRequest, Window, WindowFault

ENGAGED = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LAST = ENGAGED + timedelta(milliseconds=40)
UNTIL = ENGAGED + timedelta(minutes=5)
SWITCH = Switch("sw_1", Target(TargetKind.APP, "app_1"), Mode.FULL_STOP, "drill", "staff:sam", ENGAGED)


def confirmed(node: str = "a", worker: str = "a-1", ms: float = 40) -> Confirmation:
    return Confirmation(node, worker, ENGAGED + timedelta(milliseconds=ms), ms)


ALL = Confirmations({"a": 2, "b": 1}, (confirmed(ms=5), confirmed(worker="a-2"), confirmed("b", "b-1", 30)))


def permitted(at_ms: float, took_ms: float = 1, **more: Any) -> PermittedRequest:
    at = ENGAGED + timedelta(milliseconds=at_ms)
    facts: dict[str, Any] = {"interaction": "read"} | more
    ended = at + timedelta(milliseconds=took_ms)
    return PermittedRequest("req_1", "general", "app_1", at=at, ended=ended, **facts)


def verdict(
    *requests: PermittedRequest, confirmations: Confirmations = ALL, until: datetime = UNTIL, **switch: Any
) -> tuple[Containment, set[Gap]]:
    found = judge(replace(SWITCH, **switch), confirmations, Window(requests), until)
    return found.verdict, set(found.gaps)


def test_a_switch_that_all_confirmed_and_nobody_passed_has_contained() -> None:
    assert verdict() == (Containment.CONTAINED, set())
    assert verdict(permitted(-5), permitted(10, 29)) == (Containment.CONTAINED, set())


@pytest.mark.parametrize(
    "request_",
    [
        permitted(40, 0),
        permitted(41),
        permitted(39, 1),
        permitted(-30_000, 30_041),
        permitted(60_000),
        permitted(41, interaction="create"),
    ],
)
def test_an_answer_after_the_last_confirmation_shows_that_it_has_not(request_: PermittedRequest) -> None:
    found = judge(SWITCH, ALL, Window((permitted(-5), request_)), UNTIL)

    assert found.verdict is Containment.NOT_CONTAINED
    assert found.passed == (request_,)


def test_an_answer_that_was_kept_back_is_named_and_is_none_that_passed() -> None:
    late = permitted(-10, 100, kept_back="switch_engaged")

    found = judge(SWITCH, ALL, Window((late,)), UNTIL)

    assert (found.verdict, found.kept_back, found.passed) == (Containment.CONTAINED, (late,), ())


GAPS: dict[Gap, dict[str, Any]] = {
    Gap.MODE_STOPS_NO_REQUESTS: {"mode": Mode.OBSERVE},
    Gap.TARGET_NOT_RECORDED: {"target": Target(TargetKind.RESOURCE_TYPE, "Observation")},
    Gap.NODES_NOT_RECORDED: {"confirmations": replace(ALL, expected=None)},
    Gap.NODE_NOT_CONFIRMED: {"confirmations": replace(ALL, expected={"a": 2, "b": 1, "c": 1})},
    Gap.CONFIRMATIONS_UNREAD: {"confirmations": replace(ALL, all_read=False)},
    Gap.ENDED_BEFORE_CONFIRMED: {"until": LAST},
}


@pytest.mark.parametrize("gap", GAPS)
def test_without_everything_that_would_show_a_pass_nothing_is_proven(gap: Gap) -> None:
    assert verdict(**GAPS[gap]) == (Containment.NOT_PROVEN, {gap})


@pytest.mark.parametrize("expected", [{}, {"a": 3, "b": 1}, {"a": 2, "b": 2}, {"z": 1}])
def test_a_worker_too_few_proves_nothing(expected: dict[str, int]) -> None:
    assert verdict(confirmations=replace(ALL, expected=expected))[0] is Containment.NOT_PROVEN


def test_one_worker_that_confirms_twice_is_one() -> None:
    twice = Confirmations({"a": 2}, (confirmed(), confirmed(ms=50)))
    assert verdict(confirmations=twice) == (Containment.NOT_PROVEN, {Gap.NODE_NOT_CONFIRMED})


def test_nobody_confirmed_and_nothing_read_proves_nothing() -> None:
    silent = Confirmations({"a": 1}, ())
    assert judge(SWITCH, silent, None, UNTIL).verdict is Containment.NOT_PROVEN
    assert judge(SWITCH, silent, Window(), UNTIL).verdict is Containment.NOT_PROVEN
    assert judge(SWITCH, ALL, None, UNTIL).verdict is Containment.NOT_PROVEN


@pytest.mark.parametrize("fault", WindowFault)
def test_a_window_not_read_whole_proves_nothing(fault: WindowFault) -> None:
    found = judge(SWITCH, ALL, Window(faults=(fault,)), UNTIL)
    assert (found.verdict, found.gaps) == (Containment.NOT_PROVEN, (Gap(fault.value),))


def test_a_request_that_outlasted_the_switch_may_have_been_decided_under_it() -> None:
    before_the_end = 5 * 60_000 - 1
    assert verdict(permitted(before_the_end, 5)) == (Containment.NOT_PROVEN, {Gap.UNDER_WAY_AT_END})


def test_read_only_stops_writes_and_no_reads() -> None:
    assert verdict(permitted(50), mode=Mode.READ_ONLY)[0] is Containment.CONTAINED
    for interaction in ("create", "update", "patch", "delete"):
        found = verdict(permitted(50, interaction=interaction), mode=Mode.READ_ONLY)
        assert found[0] is Containment.NOT_CONTAINED


def test_a_switch_acts_until_its_release_its_end_or_now() -> None:
    at = [ENGAGED + timedelta(minutes=n) for n in (1, 2, 3)]
    assert end_of(SWITCH, at[2]) == at[2]
    assert end_of(replace(SWITCH, released_at=at[0], expires_at=at[1]), at[2]) == at[0]
    assert end_of(replace(SWITCH, expires_at=at[1]), at[2]) == at[1]


@pytest.mark.parametrize("kind", TargetKind)
def test_only_targets_that_records_name_can_be_proven(kind: TargetKind) -> None:
    unnamed = {TargetKind.VERSION, TargetKind.SCOPE, TargetKind.RESOURCE_TYPE}
    assert (filters_of(Target(kind, "x/y")) is None) == (kind in unnamed)


@given(
    st.lists(st.tuples(st.integers(-90_000, 290_000), st.integers(0, 60_000), st.booleans())),
    st.sampled_from([ALL, *(each["confirmations"] for each in GAPS.values() if "confirmations" in each)]),
    st.lists(st.sampled_from(WindowFault)),
)
def test_contained_means_that_nothing_passed_and_nothing_is_missing(
    requests: list[tuple[int, int, bool]], confirmations: Confirmations, faults: list[WindowFault]
) -> None:
    found = [permitted(at, took, kept_back="switch_engaged" if kept else "") for at, took, kept in requests]

    judged = judge(SWITCH, confirmations, Window(tuple(found), faults=tuple(faults)), UNTIL)

    late = [each for each in found if each.ended >= LAST and not each.kept_back]
    contained = not late and not faults and confirmations is ALL
    assert (judged.verdict is Containment.CONTAINED) == contained
    assert set(judged.passed) <= set(late)
    assert (judged.verdict is Containment.NOT_CONTAINED) == bool(judged.passed)
