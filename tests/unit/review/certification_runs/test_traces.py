"""The least scopes that permit a trace, and the shapes that a contract keeps (C220)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.foundation.standards.smart.scopes import ClinicalScope, letters_of, parse_stored, render
from hilum.review.certification_runs.judging import MINT
from hilum.review.certification_runs.models import Call, Row
from hilum.review.certification_runs.traces import calls_of, launch_scopes, permits, propose, shapes_of
from tests.sim.world import START
from tests.unit.review.certification_runs.cases import asked, happened

LAB = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"
VITAL = "http://terminology.hl7.org/CodeSystem/observation-category|vital-signs"


def read(type_: str = "Patient", rule: str = "patient/*.rs", **more: Any) -> Row:
    return asked(1, **{"name": "read", "type": type_, "asked": f"/{type_}/1", "rule": rule} | more)


def search(query: str, type_: str = "Observation", rule: str = "patient/*.rs", **more: Any) -> Row:
    return asked(1, type=type_, asked=f"/{type_}?{query}", rule=rule, **more)


CASES: dict[str, tuple[tuple[Row, ...], tuple[str, ...], tuple[str, ...]]] = {
    "a wildcard becomes the types and letters that were used": (
        (read(), read("Condition"), search("patient=1", "Condition")),
        (),
        ("patient/Condition.rs", "patient/Patient.r"),
    ),
    "a search of one category is proposed for the category": (
        (search(f"patient=1&category={LAB}"), search(f"category={LAB}&_count=3")),
        (),
        (f"patient/Observation.s?category={LAB}",),
    ),
    "searches of two categories are proposed for both": (
        (search(f"category={LAB}"), search(f"category={VITAL}")),
        (),
        (f"patient/Observation.s?category={LAB}", f"patient/Observation.s?category={VITAL}"),
    ),
    "one search without a category needs the whole type": (
        (search(f"category={LAB}"), search("patient=1")),
        (),
        ("patient/Observation.s",),
    ),
    "a category without a system, several at once, or not that category are no single category": (
        (search("category=laboratory"), search(f"category={LAB},{VITAL}", "Condition"), search(f"category:not={LAB}", "Goal")),
        (),
        ("patient/Condition.s", "patient/Goal.s", "patient/Observation.s"),
    ),
    "a read by id is of no category that is known": (
        (search(f"category={LAB}"), read("Observation")),
        (),
        ("patient/Observation.r", f"patient/Observation.s?category={LAB}"),
    ),
    "a scope that reaches more patients and fewer records replaces none": (
        (read("Observation", f"patient/Observation.rs, user/Observation.rs?category={LAB}"),),
        (),
        ("patient/Observation.r", f"user/Observation.r?category={LAB}"),
    ),
    "the next page needs what the first needed": (
        (search(f"category={LAB}"), search("_page=abc")),
        (),
        (f"patient/Observation.s?category={LAB}",),
    ),
    "a next page whose first page is not in the trace needs the whole type": (
        (search("_page=abc"), search(f"category={LAB}")),
        (),
        ("patient/Observation.s",),
    ),
    "what was granted by category stays so, also more than are proposed one by one": (
        tuple(read("Observation", f"patient/Observation.rs?category=http://x|{n}") for n in range(6)),
        (),
        tuple(f"patient/Observation.r?category=http://x|{n}" for n in range(6)),
    ),
    "of what was granted whole, more categories than a few are the whole type": (
        tuple(search(f"category=http://x|{n}") for n in range(5)),
        (),
        ("patient/Observation.s",),
    ),
    "of two scopes that permitted a read, the one that reaches further is needed": (
        (read(rule="patient/Patient.r, user/Patient.rs"),),
        (),
        ("user/Patient.r",),
    ),
    "what came along needs a letter too, as far as the client had one": (
        (search("_include=MedicationRequest:medication&_revinclude=Provenance:target", "MedicationRequest"),),
        ("patient/MedicationRequest.rs", "patient/Medication.rs", "patient/Provenance.rs"),
        ("patient/Medication.r", "patient/MedicationRequest.s", "patient/Provenance.s"),
    ),
    "an attachment is read through a record that may be read": (
        (read("Binary"), search("patient=1", "DocumentReference")),
        ("patient/Binary.r", "patient/DocumentReference.rs", "patient/Media.r"),
        ("patient/Binary.r", "patient/DocumentReference.rs"),
    ),
    "a write needs its letter alone": (
        (read(name="update", rule="user/Patient.cruds"), read(name="create", type_="Condition", rule="user/Condition.cu")),
        (),
        ("user/Condition.c", "user/Patient.u"),
    ),
    "the person's own record needs who they are": ((read("Practitioner", "fhirUser"),), (), ("fhirUser", "openid")),
    "what was refused, and what no scope permits, is no part of it": (
        (read(reason="scope_insufficient"), asked(1, name="capabilities", type="", rule="")),
        (),
        (),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("rows", "held", "expected"), CASES.values(), ids=CASES)
def test_the_least_scopes_of_a_trace(
    rows: tuple[Row, ...], held: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    """C220."""
    # One after the other: a page follows its search.
    ordered = [replace(row, at=START + timedelta(seconds=n)) for n, row in enumerate(rows)]

    found = propose(calls_of(ordered, held))

    assert tuple(each.scope for each in found) == tuple(sorted(expected))
    assert all(each.calls for each in found), "each names the calls that need it"


def minted(at: float, *scopes: str, launch: str = "lch_1", family: str = "fam_1", **facts: str) -> Row:
    return replace(happened(at, MINT, scopes=list(scopes), family=family, **facts), launch=launch)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ((minted(1, "launch", "openid", "fhirUser", "offline_access", "patient/Patient.r"),), "fhirUser launch openid"),
        ((minted(1, "launch", "launch/patient"),), "launch"),
        ((minted(1, "launch", "launch/patient", "offline_access", launch=""),), "launch/patient"),
        ((minted(1, "launch", "offline_access"), minted(2, "launch", "offline_access")), "launch offline_access"),
        ((minted(1, "online_access"), minted(2, "online_access", family="fam_2")), ""),
        ((replace(minted(1, "launch"), outcome="refused"),), ""),
    ],
)  # fmt: skip
def test_scopes_of_a_launch_are_those_that_it_used(rows: tuple[Row, ...], expected: str) -> None:
    """C220: what refreshes is needed once something was refreshed; a patient is chosen only where no chart was open."""
    assert " ".join(launch_scopes(rows)) == expected
    assert [each.scope for each in propose((), launch_scopes(rows))] == expected.split()


def test_shapes_are_the_same_for_every_patient_and_say_in_which_workflow() -> None:
    """C220: no patient and no value of a parameter is in a contract."""
    rows = (
        minted(0, "launch", workflow="intake"),
        *(search(f"patient=p{n}&code=8867-4", launch="lch_1") for n in range(3)),
        search("subject=Patient/p9", launch="lch_1", rule="user/Observation.rs"),
        read(launch="lch_2"),
    )

    shapes = shapes_of(calls_of(rows, ()))

    assert [(each.workflow, each.interaction, each.type, each.number) for each in shapes] == [
        ("", "read", "Patient", 1),
        ("intake", "search-type", "Observation", 4),
    ]
    assert shapes[1].parameters == ("code", "patient", "subject")
    assert shapes[1].scopes == ("patient/Observation.s", "user/Observation.s")
    assert "p9" not in repr(shapes)


TYPES = ("Observation", "Condition", "Patient")
SCOPES = st.builds(
    lambda prefix, type_, letters, category: (
        f"{prefix}/{type_}.{letters}{f'?category=http://x|{category}' if category else ''}"
    ),
    st.sampled_from(("patient", "user")),
    st.sampled_from(TYPES),
    st.sampled_from(("r", "s", "rs", "cruds")),
    st.sampled_from(("", "", "a", "b")),
)
ROWS = st.builds(
    lambda name, type_, rules, category: asked(
        1,
        name=name,
        type=type_,
        asked=f"/{type_}?category=http://x|{category}" if category else f"/{type_}/1",
        rule=", ".join(rules),
    ),
    st.sampled_from(("read", "search-type", "update")),
    st.sampled_from(TYPES),
    st.lists(SCOPES, min_size=1, max_size=3, unique=True),
    st.sampled_from(("", "a", "b", "c", "d", "e", "f")),
)


@given(st.lists(ROWS, max_size=12))
def test_a_proposal_permits_every_call_and_nothing_of_it_can_be_left_out(rows: list[Row]) -> None:
    """C220: as whole scopes and letter by letter."""
    calls = calls_of(rows, ())
    proposed = [each.scope for each in propose(calls)]

    def enough(scopes: list[str]) -> bool:
        return all(_within(scopes, each) for each in calls)

    assert enough(proposed)
    for number, text in enumerate(proposed):
        rest = proposed[:number] + proposed[number + 1 :]
        assert not enough(rest)
        (scope,) = parse_stored((text,))
        assert isinstance(scope, ClinicalScope)
        for letter in letters_of(scope.letters):
            less = render(replace(scope, letters=scope.letters & ~_mask(letter)))
            assert not enough([*rest, less]) if scope.letters != _mask(letter) else True


def _mask(letter: str) -> int:
    (scope,) = parse_stored((f"patient/Patient.{letter}",))
    assert isinstance(scope, ClinicalScope)
    return scope.letters


def _within(scopes: list[str], call: Call) -> bool:
    return permits(scopes, call.needs)
