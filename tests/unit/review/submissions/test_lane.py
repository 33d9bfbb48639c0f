"""The regulated lane depends on what the policy may name there, and on nothing of the other lane (C112)."""

import dataclasses
from itertools import chain, combinations

import grimp
import pytest

from hilum.policy.matrix.document import read_book
from hilum.policy.matrix.models import LANE_STEPS, NEVER_A_CONDITION, LaneStep, StepCondition
from hilum.policy.matrix.shipped import shipped_book, shipped_document
from hilum.review.submissions.lane import LaneFacts, is_protected, lacking, step_named

OTHER_LANE = {
    f"hilum.review.submissions.{name}"
    for name in (
        "disciplines",
        "discipline_store",
        "decisions",
        "checks",
        "checking",
        "automatic",
        "appeals",
        "scorecards",
        "moves",
    )
}
ALLOWED = {"hilum.review.submissions.policy", "hilum.review.submissions.service"}
"""Who may sign and see is one file for both lanes; the service lists the verbs of both."""
CONDITIONS = list(StepCondition)
SETS = list(chain.from_iterable(combinations(CONDITIONS, n) for n in range(len(CONDITIONS) + 1)))


def test_no_module_of_the_lane_reads_anything_of_the_other_lane() -> None:
    """C112: a step that asked for a discipline, a check, a finding or a certificate would have to import one."""
    graph = grimp.build_graph("hilum", cache_dir=None)
    modules = {"certificates", "revalidation", "agreements", "installations", "billing", "marketplace"}

    for module in (
        "hilum.review.submissions.lane",
        "hilum.review.submissions.lane_models",
        "hilum.review.submissions.lane_store",
    ):
        read = set(graph.find_modules_directly_imported_by(module))
        assert not read & OTHER_LANE, module
        assert not {each for each in read if each.split(".")[1] in modules}, module


def test_a_step_depends_on_nothing_but_the_conditions_that_a_policy_may_name() -> None:
    """C112: there is no field for a fee, a certificate or exclusivity."""
    fields = {each.name for each in dataclasses.fields(LaneFacts)}

    assert fields == {each.value for each in StepCondition}
    assert not fields & NEVER_A_CONDITION


@pytest.mark.parametrize("required", SETS, ids=lambda each: "+".join(each) or "nothing")
def test_a_step_lacks_exactly_what_it_requires_and_does_not_hold(required: tuple[StepCondition, ...]) -> None:
    """C112: whatever else is true, taking a condition out of the facts adds that one and no other."""
    step = LaneStep("enable", 5, frozenset(required))
    for held in SETS:
        facts = LaneFacts(**{each.value: each in held for each in CONDITIONS})
        assert set(lacking(step, facts)) == set(required) - set(held)


@pytest.mark.parametrize("word", sorted(NEVER_A_CONDITION))
@pytest.mark.parametrize("step", range(len(LANE_STEPS)))
def test_a_policy_whose_lane_waits_for_a_fee_a_certificate_or_exclusivity_is_refused(
    word: str, step: int
) -> None:
    """C112: each mutation of the shipped policy that adds one."""
    document = shipped_document()
    lane = [dict(each) for each in document["regulated_lane"]]
    lane[step]["requires"] = [*lane[step]["requires"], word]

    book, faults = read_book(document | {"regulated_lane": lane})

    assert book is None
    assert "regulated_lane_condition" in {each.code for each in faults}


def test_the_shipped_lane_takes_ten_and_five_business_days() -> None:
    """C112: 45 CFR 170.404(b)."""
    book = shipped_book()

    assert [step_named(book, name).within_business_days for name in LANE_STEPS] == [10, 5]


@pytest.mark.parametrize(
    ("scopes", "protected"),
    [
        (("patient/Observation.rs",), True),
        (("launch/patient", "openid", "offline_access", "patient/*.rs"), True),
        (("patient/Observation.rs?category=laboratory",), True),
        (("patient/Observation.crs",), False),
        (("user/Observation.rs",), False),
        (("system/Observation.rs", "patient/Observation.rs"), False),
        (("launch/patient",), False),
        (("patient/Observation.rs", "nonsense/"), False),
        ((), False),
    ],
)
def test_what_is_protected_is_a_patients_own_record(scopes: tuple[str, ...], protected: bool) -> None:
    assert is_protected(scopes) is protected
