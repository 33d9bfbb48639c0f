"""Whether an app met a scenario and behaved is judged from what the audit has of it, and from nothing else (C122, C126)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hilum.review.certification_runs.declared import unasked
from hilum.review.certification_runs.judging import (
    BEGIN,
    END,
    MINT,
    NOTHING,
    SCENARIOS,
    WINDOW_BOUND,
    judge_run,
)
from hilum.review.certification_runs.models import Outcome
from hilum.review.certification_runs.policy import declinable, without_optional
from tests.unit.review.certification_runs.cases import (
    CASES,
    INCOMPLETE,
    MET,
    NOT_MET,
    STOPPED,
    Rows,
    asked,
    during,
    happened,
    minted,
    refused,
    taken,
)


@pytest.mark.parametrize(
    ("scenario", "rows", "expected"),
    [pytest.param(name, rows, outcome, id=f"{name}: {what}") for name, what, outcome, rows in CASES],
)
def test_an_app_is_judged_by_what_it_did(scenario: str, rows: Rows, expected: Outcome) -> None:
    """C122: and told what a well-made app does, or what is still to be shown."""
    found = judge_run(scenario, during(scenario, rows))

    assert found.outcome is expected, found.sentence
    assert found.sentence.endswith(".")
    assert bool(found.fix) is (expected is not MET)


def test_every_scenario_has_an_app_that_passes_one_that_fails_and_one_without_evidence() -> None:
    met = {name for name, _, outcome, _ in CASES if outcome is MET}
    assert met == set(SCENARIOS)
    assert {name for name, _, outcome, _ in CASES if outcome is INCOMPLETE} == set(SCENARIOS)
    # A launch, new keys: whoever fails at these does nothing more, which cannot be told from not trying.
    assert {name for name, _, outcome, _ in CASES if outcome is NOT_MET} == set(SCENARIOS) - {
        "launch",
        "key_rotation",
    }


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_without_records_nothing_is_met(scenario: str) -> None:
    """C126: missing records never pass."""
    assert judge_run(scenario, ()).outcome is INCOMPLETE
    assert judge_run(scenario, during(scenario, ())).outcome is INCOMPLETE


@pytest.mark.parametrize(
    ("scenario", "rows"),
    [pytest.param(name, rows, id=f"{name}: {what}") for name, what, outcome, rows in CASES if outcome is MET],
)
def test_what_is_met_is_no_longer_met_when_its_records_are_deleted(scenario: str, rows: Rows) -> None:
    """C126: of the records by which a scenario was met, the first ones alone do not show it."""
    assert judge_run(scenario, during(scenario, rows[:0])).outcome is INCOMPLETE
    assert judge_run(scenario, rows).outcome is INCOMPLETE, "and it must have been begun"


def test_a_scenario_that_this_release_does_not_know_is_not_met() -> None:
    found = judge_run("made_up", during("made_up", (taken(1), minted(2), asked(3))))

    assert found.outcome is INCOMPLETE


def test_a_scenario_is_judged_by_the_last_time_that_it_was_begun_and_by_nothing_outside_of_it() -> None:
    bad = during("kill_switch", refused(9, *STOPPED), until=20)
    good = tuple(
        replace(each, at=each.at + timedelta(seconds=100))
        for each in during("kill_switch", refused(1, *STOPPED), until=20)
    )
    beside = refused(9, *STOPPED, at=130)

    assert judge_run("kill_switch", bad).outcome is NOT_MET
    assert judge_run("kill_switch", (*beside, *good, *bad)).outcome is MET, "in whatever order they come"


@pytest.mark.parametrize("before", ["launch", "slow_answer"])
@pytest.mark.parametrize("until", [60, None])
def test_a_scenario_that_ends_the_one_before_it_is_judged_by_its_own_records(
    before: str, until: float | None
) -> None:
    """The end of the one before and the beginning are of one moment, in any order; also where the same scenario begins again."""
    second = (happened(30, BEGIN, scenario="slow_answer"), asked(31, latency_ms=3000))
    ended = () if until is None else (happened(until, END, scenario="slow_answer"),)
    rows = (*during(before, (asked(1),), until=30), *second, *ended, asked(61, latency_ms=1), asked(31.5))

    assert judge_run("slow_answer", rows).outcome is NOT_MET, "it sent the same again meanwhile"
    assert judge_run("slow_answer", rows[:-1]).outcome is MET
    assert judge_run("slow_answer", rows[-2::-1]).outcome is MET
    assert judge_run("slow_answer", (*rows[:3], *second[:1], *ended)).outcome is INCOMPLETE


def test_a_stop_that_was_watched_for_a_moment_only_shows_nothing() -> None:
    """C195."""
    found = judge_run("kill_switch", during("kill_switch", refused(1, *STOPPED), until=2))

    assert found.outcome is INCOMPLETE


def test_a_backend_service_is_in_no_scenario_about_a_person() -> None:
    for name, known in SCENARIOS.items():
        found = judge_run(name, during(name, (), backend=True))
        assert (found.outcome is MET) is known.person, name
    assert judge_run("chart_moved", ()).outcome is INCOMPLETE, "it must have been begun all the same"
    begun = during("launch", (minted(1), asked(2)), backend=True)
    assert judge_run("launch", begun).outcome is MET


def test_a_scenario_of_more_records_than_can_be_compared_is_not_judged() -> None:
    """Each with each: what an app sends must not keep everybody else's writes waiting while it is judged."""
    many = refused(WINDOW_BOUND, 429, "quota_exceeded", every=0.01)

    found = judge_run("quota_exceeded", during("quota_exceeded", many))

    assert found.outcome is INCOMPLETE
    assert "records, so it was not judged" in found.sentence


@pytest.mark.parametrize(
    ("scenario", "facts", "rows", "expected"),
    [
        ("optional_declined", {"optional": NOTHING}, (), MET),
        # A token that has what was to be declined is of before.
        (
            "optional_declined",
            {"optional": ["user/Condition.rs"]},
            (happened(1, MINT, scopes=["user/*.r"]), asked(2)),
            INCOMPLETE,
        ),
        (
            "optional_declined",
            {"optional": ["user/Condition.rs"]},
            (happened(1, MINT, scopes=["user/Patient.r"]), asked(2)),
            MET,
        ),
    ],
)
def test_what_a_version_declares_decides_what_is_to_be_shown(
    scenario: str, facts: dict[str, Any], rows: Rows, expected: Outcome
) -> None:
    """C211: of an app without optional scopes there is nothing to show."""
    assert judge_run(scenario, during(scenario, rows, **facts)).outcome is expected


@pytest.mark.parametrize(
    ("scopes", "optional", "left"),
    [
        ("launch user/Patient.rs user/Condition.rs", "user/Condition.rs", "launch user/Patient.rs"),
        ("user/Condition.cruds", "user/Condition.cud", "user/Condition.rs"),
        ("user/Condition.rs?category=a", "user/Condition.rs", ""),
        ("user/Condition.rs", "user/Condition.rs?category=a", "user/Condition.rs"),
        ("user/Condition.rs", "patient/Condition.rs", "user/Condition.rs"),
        ("user/*.rs", "user/Condition.rs", "user/*.rs"),
        ("launch offline_access", "offline_access", "launch"),
    ],
)
def test_what_is_declined_goes_letter_by_letter(scopes: str, optional: str, left: str) -> None:
    """C211."""
    assert " ".join(without_optional(scopes.split(), optional.split())) == left


CHANGES, ADDS = ("patient/Observation.crus",), ("patient/DocumentReference.c", "patient/Patient.rs")


@pytest.mark.parametrize(
    ("optional", "scopes", "names"),
    [
        (("user/Slot.rs",), CHANGES, ()),
        (("user/Slot.rs",), ("patient/*.*",), ()),
        ((), CHANGES, ("optional_declined",)),
        (None, CHANGES, ("optional_declined",)),
        (("user/Slot.rs",), ADDS, ("write_conflict",)),
    ],
    ids=["all", "v1 wildcard", "none optional", "says nothing", "only adds"],
)
def test_what_an_app_has_not_is_asked_of_nobody(
    optional: tuple[str, ...] | None, scopes: tuple[str, ...], names: tuple[str, ...]
) -> None:
    """C211: what is not known is asked for."""
    assert unasked(optional, scopes) == names


@pytest.mark.parametrize(
    ("held", "optional", "found"),
    [
        ("user/Slot.rs user/Patient.r", "user/Patient.r", "user/Patient.r"),
        ("user/Slot.rs user/Patient.rs", "user/Patient.s", "user/Patient.s"),
        ("user/*.rs", "user/Patient.r", ""),
        ("user/*.rs user/Slot.u", "user/Patient.r user/Slot.u", "user/Slot.u"),
        ("user/*.rs", "user/*.rs", "user/*.rs"),
        ("launch offline_access", "offline_access", "offline_access"),
    ],
)
def test_what_lies_within_a_wildcard_is_not_asked_to_be_declined(
    held: str, optional: str, found: str
) -> None:
    """C211: no token without it could be issued, so no run could ever show it."""
    assert " ".join(declinable(held.split(), optional.split())) == found
