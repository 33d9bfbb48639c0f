"""Calls that a certified app makes and that its contract does not have (C220)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.foundation.kernel.ids import AppId, VersionId
from hilum.records.audit.models import PermitCount
from hilum.review.certification_runs.models import RunContract, Shape
from hilum.review.recertification.drift import by_public_client, concern_of, outside, together
from hilum.review.recertification.models import RULES_BOUND, Severity
from tests.sim.world import START

SHAPES = (
    Shape("read", "Patient", ("patient/Patient.r",)),
    Shape("search-type", "Observation", ("patient/Observation.s",), ("category", "patient")),
    Shape("update", "Appointment", ("user/Appointment.u",)),
    Shape("create", "Binary", ("patient/DocumentReference.c",)),
)
CONTRACT = RunContract(
    "cert_1", AppId("app_1"), VersionId("ver_1"), "sub_1", "d", "run_1", "r", SHAPES, START
)


def permit(interaction: str, type_: str, rule: str) -> PermitCount:
    return PermitCount(rule, type_, interaction, 3, START)


@pytest.mark.parametrize(
    "same",
    [
        permit("read", "Patient", "patient/Patient.rs"),
        permit("read", "Patient", "patient/*.cruds"),
        permit("search-type", "Observation", "patient/Observation.rs?category=http://x|a"),
        permit("search-type", "Observation", "patient/Observation.rs, user/Observation.rs"),
        permit("create", "Binary", "patient/DocumentReference.cu"),
        # No call of the app's kind: who uses it reads their own record.
        permit("read", "Practitioner", "fhirUser"),
        permit("capabilities", "", ""),
    ],
)
def test_what_the_contract_has_is_no_drift(same: PermitCount) -> None:
    """C220: whatever the certified scopes are written as, and also if a hospital granted less."""
    assert outside([same], CONTRACT) == ()


@pytest.mark.parametrize(
    ("beyond", "severity", "about", "otherwise"),
    [
        (permit("create", "Appointment", "user/Appointment.cu"), Severity.HIGH, "create Appointment", False),
        (permit("delete", "Goal", "user/Goal.d"), Severity.HIGH, "delete Goal", False),
        (permit("read", "Condition", "patient/*.rs"), Severity.MEDIUM, "read Condition", False),
        (permit("read", "Observation", "patient/Observation.rs"), Severity.LOW, "read Observation", False),
        (permit("search-type", "Observation", "user/Observation.rs"), Severity.MEDIUM, "search-type Observation", True),
        (permit("update", "Appointment", "system/Appointment.u"), Severity.HIGH, "update Appointment", True),
        # An unknown scope permitted nothing that the contract has.
        (permit("read", "Goal", "?"), Severity.MEDIUM, "read Goal", False),
    ],
)  # fmt: skip
def test_what_the_contract_does_not_have_is_found_by_its_weight(
    beyond: PermitCount, severity: Severity, about: str, otherwise: bool
) -> None:
    """C220: a write is graver than a type, and a type than another way to read one that was shown."""
    (found,) = outside([*(permit(*each) for each in KNOWN), beyond], CONTRACT)

    assert (found.severity, found.about, found.otherwise) == (severity, about, otherwise)
    concern = concern_of(found)
    assert (concern.rule, concern.about, concern.certain) == ("calls.as_certified", about, True)
    assert all((concern.evidence, concern.reproduction, concern.fix))
    assert "run_1" in concern.evidence


KNOWN = (("read", "Patient", "patient/Patient.r"), ("update", "Appointment", "user/Appointment.u"))


def test_several_certifications_in_force_are_one_measure() -> None:
    """C220, ADR 36: what one contract has is no drift from another; a certification without a contract says nothing about its scopes."""
    other = replace(CONTRACT, run="run_2", shapes=(Shape("read", "Condition", ("patient/Condition.r",)),))
    condition = permit("read", "Condition", "patient/Condition.rs")
    goal = permit("read", "Goal", "patient/Goal.rs")

    assert [each.about for each in outside([condition, goal], CONTRACT)] == ["read Condition", "read Goal"]
    for contracts in ((CONTRACT, other), (other, CONTRACT)):
        (left,) = outside([condition, goal], *contracts)
        assert (left.about, left.run) == ("read Goal", contracts[0].run)
    assert outside([condition, goal], CONTRACT, other, unmeasured=("patient/Goal.r",)) == ()
    assert (
        len(outside([permit("read", "Goal", "user/Goal.r")], CONTRACT, unmeasured=("patient/Goal.r",))) == 1
    )


def test_an_empty_contract_has_no_call() -> None:
    assert len(outside([permit(*each) for each in KNOWN], replace(CONTRACT, shapes=()))) == 2


@given(
    st.permutations(
        [
            permit("read", "Condition", "patient/Condition.r"),
            permit("read", "Condition", "user/Condition.rs"),
            permit("create", "Goal", "user/Goal.c"),
            permit("search-type", "Goal", "user/Goal.s"),
        ]
    )
)
def test_the_order_of_counts_does_not_matter(permits: list[PermitCount]) -> None:
    found = outside(permits, CONTRACT)

    assert [each.about for each in found] == ["create Goal", "read Condition", "search-type Goal"]
    assert found[1].scopes == ("patient/Condition.r", "user/Condition.r")


def test_what_several_versions_did_is_one_finding_of_the_gravest() -> None:
    """C220: a version that nobody uses hides nothing of the others."""
    other = replace(CONTRACT, run="run_2", shapes=(*SHAPES, Shape("search-type", "Goal", ("user/Goal.s",))))
    known = outside([permit("read", "Goal", "user/Goal.r")], other)
    unknown = outside(
        [permit("read", "Goal", "user/Goal.r"), permit("create", "Goal", "user/Goal.c")], CONTRACT
    )
    at = (replace(known[0], tenants=("mercy",)), *(replace(each, tenants=("general",)) for each in unknown))

    created, read = together(at)

    assert (created.about, created.tenants) == ("create Goal", ("general",))
    assert (read.about, read.severity, read.run) == ("read Goal", Severity.MEDIUM, "run_1")
    assert read.tenants == ("general", "mercy")
    assert together(reversed(at)) == (created, read)


def test_what_a_public_client_did_weighs_least_unless_another_client_did_it_too() -> None:
    """C220: whoever uses such an app holds its tokens, and could have it stopped for everybody by calls of their own."""
    (created,) = outside([permit("create", "Goal", "user/Goal.c")], CONTRACT)
    public = by_public_client(created)

    assert (created.severity, public.severity) == (Severity.HIGH, Severity.LOW)
    assert together([public]) == (public,)
    assert together([public, created]) == together([created, public]) == (created,)
    assert "public client" in concern_of(public).evidence
    assert "public client" not in concern_of(created).evidence


def test_any_number_of_ways_to_be_permitted_is_looked_at_by_a_bounded_number() -> None:
    """C220: an app that asks for other scopes in each token must not keep the look at every other app from ending."""
    ways = [permit("create", "Goal", f"user/Goal.c?category=x|{n}") for n in range(RULES_BOUND * 5)]

    (found,) = outside(ways, CONTRACT)

    assert len(found.rules) == RULES_BOUND
