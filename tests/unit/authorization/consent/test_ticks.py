"""The consent page: plain words for everything, and ticks that mean exactly what the contract says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.authorization.consent import policy
from hilum.authorization.consent.words import CATEGORIES, SPECIAL, TYPES
from hilum.foundation.standards.fhir.visibility import VISIBILITY
from hilum.foundation.standards.smart.scopes import SPECIAL as SPECIAL_SCOPES
from hilum.foundation.standards.smart.scopes import Prefix, all_covered, parse_scope, parse_stored, types_of

INFERNO = (
    "launch/patient",
    "openid",
    "fhirUser",
    "offline_access",
    "patient/Condition.rs",
    "patient/Observation.rs",
    "patient/Patient.rs",
)
"""Conformance 3.6 [9.26], ONC (g)(10) granular scope selection."""
VITALS = (
    "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|vital-signs"
)
PROBLEMS = (
    "patient/Condition.rs?category=http://terminology.hl7.org/CodeSystem/condition-category|problem-list-item"
)

letters = st.sampled_from(["r", "rs", "cruds", "cud", "s", "read", "write", "*"])
types = st.sampled_from(
    ["*", "Patient", "Condition", "Observation", "Encounter", "Practitioner", "DocumentReference"]
)
clinical = st.builds("{}/{}.{}".format, st.sampled_from(["patient", "user"]), types, letters)
asked_scopes = st.lists(
    st.one_of(clinical, st.sampled_from(sorted(SPECIAL_SCOPES)), st.sampled_from([VITALS, PROBLEMS])),
    min_size=1,
    max_size=8,
    unique=True,
)


def values(asked: tuple[str, ...]) -> list[str]:
    return [choice.value for choice in policy.choices(asked)]


@given(asked_scopes)
def test_nothing_unticked_grants_exactly_the_strings_asked(asked: list[str]) -> None:
    """contract.md: Nothing unticked: the exact scope strings asked are granted."""
    assert policy.apply_ticks(asked, values(tuple(asked))) == tuple(asked)


@given(asked_scopes, st.data())
def test_granted_is_within_asked_whatever_is_ticked(asked: list[str], data: st.DataObject) -> None:
    """C68: no path yields more."""
    offered = [
        *values(tuple(asked)),
        "patient/Immunization.cruds",
        "user/*.cruds",
        "offline_access",
        VITALS,
        "x",
    ]
    ticked = data.draw(st.lists(st.sampled_from(offered), unique=True))

    granted = policy.apply_ticks(asked, ticked)

    assert all_covered(granted, asked)
    assert len(parse_stored(granted)) == len(granted)


@given(asked_scopes, st.data())
def test_unticking_more_never_grants_more(asked: list[str], data: st.DataObject) -> None:
    offered = values(tuple(asked))
    ticked = data.draw(st.lists(st.sampled_from(offered), unique=True)) if offered else []
    fewer = data.draw(st.lists(st.sampled_from(ticked), unique=True)) if ticked else []

    assert all_covered(policy.apply_ticks(asked, fewer), policy.apply_ticks(asked, ticked))


@given(asked_scopes, st.data())
def test_what_was_granted_covers_every_tick_that_was_offered(asked: list[str], data: st.DataObject) -> None:
    offered = values(tuple(asked))
    ticked = data.draw(st.lists(st.sampled_from(offered), unique=True)) if offered else []

    assert all_covered(ticked, policy.apply_ticks(asked, ticked))


@given(asked_scopes)
def test_ticking_is_repeatable(asked: list[str]) -> None:
    ticked = values(tuple(asked))[::2]
    granted = policy.apply_ticks(asked, ticked)

    assert policy.apply_ticks(granted, values(granted)) == granted


def test_a_wildcard_with_a_type_unticked_becomes_the_remaining_types() -> None:
    asked = ("launch/patient", "patient/*.rs")
    ticked = [value for value in values(asked) if not value.startswith("patient/Encounter.")]

    granted = policy.apply_ticks(asked, ticked)

    assert granted[0] == "launch/patient"
    assert set(granted[1:]) == {f"patient/{name}.rs" for name in types_of(Prefix.PATIENT)} - {
        "patient/Encounter.rs",
        "patient/Binary.rs",
    }
    assert "patient/Observation.rs" in granted


def test_a_wildcard_whose_categories_are_partly_unticked_names_the_ticked_ones() -> None:
    asked = ("patient/*.rs",)
    ticked = [v for v in values(asked) if not v.startswith("patient/Observation.") or v == VITALS]

    granted = policy.apply_ticks(asked, ticked)

    assert VITALS in granted
    assert "patient/Observation.rs" not in granted
    assert "patient/Condition.rs" in granted


def test_unticked_categories_replace_the_whole_type() -> None:
    """Conformance [9.26]: no resource-level Condition or Observation scope, granular ones instead, Patient untouched."""
    ticked = ["offline_access", "patient/Patient.rs", VITALS, PROBLEMS]

    granted = policy.apply_ticks(INFERNO, ticked)

    assert granted == (
        "launch/patient",
        "openid",
        "fhirUser",
        "offline_access",
        PROBLEMS,
        VITALS,
        "patient/Patient.rs",
    )


def test_the_categories_are_those_that_certification_asks_for() -> None:
    """Conformance [9.26] and its granular scope sets."""
    offered = set(values(INFERNO))

    condition, us_condition = (
        "http://terminology.hl7.org/CodeSystem/condition-category",
        "http://hl7.org/fhir/us/core/CodeSystem/condition-category",
    )
    observation, us_category = (
        "http://terminology.hl7.org/CodeSystem/observation-category",
        "http://hl7.org/fhir/us/core/CodeSystem/us-core-category",
    )
    assert {
        f"patient/Condition.rs?category={condition}|encounter-diagnosis",
        f"patient/Condition.rs?category={condition}|problem-list-item",
        f"patient/Condition.rs?category={us_condition}|health-concern",
        *(
            f"patient/Observation.rs?category={observation}|{code}"
            for code in ("laboratory", "social-history", "vital-signs", "survey", "procedure")
        ),
        f"patient/Observation.rs?category={us_category}|sdoh",
    } <= offered
    assert "patient/Condition.rs" not in offered


def test_a_type_whose_categories_are_all_unticked_is_not_granted() -> None:
    granted = policy.apply_ticks(INFERNO, ["offline_access", "patient/Patient.rs"])

    assert granted == ("launch/patient", "openid", "fhirUser", "offline_access", "patient/Patient.rs")


def test_a_whole_types_own_string_stands_for_all_its_categories_unless_some_are_ticked() -> None:
    assert "patient/Condition.rs" in policy.apply_ticks(INFERNO, ["patient/Condition.rs"])
    assert "patient/Condition.rs" not in policy.apply_ticks(INFERNO, ["patient/Condition.rs", PROBLEMS])
    assert policy.apply_ticks(("patient/*.rs",), ["patient/*.rs"]) == ("patient/*.rs",)


def test_keeping_access_can_be_declined_and_identity_comes_with_the_rest() -> None:
    """C88; conformance [11] 4: the person sees, and can take away, offline access."""
    granted = policy.apply_ticks(INFERNO, ["patient/Patient.rs"])

    assert "offline_access" not in granted
    assert {"openid", "fhirUser", "launch/patient"} <= set(granted)


def test_nothing_ticked_grants_nothing_clinical() -> None:
    assert policy.apply_ticks(INFERNO, []) == ("launch/patient", "openid", "fhirUser")


@pytest.mark.parametrize(
    "ticked", [["patient/Immunization.rs"], ["patient/Patient.cruds"], ["user/Patient.rs"], ["*"]]
)
def test_a_tick_that_was_not_offered_counts_for_nothing(ticked: list[str]) -> None:
    assert policy.apply_ticks(("patient/Patient.rs",), ticked) == ()


def test_a_granular_scope_that_was_asked_is_kept_verbatim_or_dropped() -> None:
    asked = (VITALS, "patient/Observation.r?code=http://loinc.org|8867-4")

    assert policy.apply_ticks(asked, asked) == asked
    assert policy.apply_ticks(asked, asked[1:]) == asked[1:]


def test_writes_and_reads_of_a_type_are_ticked_apart() -> None:
    asked = ("patient/Encounter.rs", "patient/Encounter.cu")

    assert policy.apply_ticks(asked, ["patient/Encounter.rs"]) == ("patient/Encounter.rs",)


def test_under_patient_a_wildcard_reaches_neither_directories_nor_groups() -> None:
    """Security decision 10: shared types need an explicit scope; Group never under ``patient/``."""
    reached = set(types_of(Prefix.PATIENT))

    assert not reached & {"Organization", "Practitioner", "Location", "Medication", "Group"}
    assert {"Patient", "Provenance", "Binary"} <= reached
    assert {"Practitioner", "Group"} <= set(types_of(Prefix.USER))


def test_every_type_that_can_pass_has_plain_words() -> None:
    """C87: each permission in plain words."""
    assert set(TYPES) >= set(VISIBILITY)
    assert set(SPECIAL) >= set(SPECIAL_SCOPES)
    for title, meaning, _ in TYPES.values():
        assert title == title.strip()
        assert title[0].islower()
        assert meaning.endswith(".")


@pytest.mark.parametrize(
    ("scope", "title", "writes", "sensitive"),
    [
        ("patient/AllergyIntolerance.rs", "See allergies", False, False),
        ("patient/AllergyIntolerance.cruds", "See, add, change and delete allergies", True, False),
        ("patient/Condition.rs", "See health problems", False, True),
        (PROBLEMS, "See health problems: the problem list", False, True),
        (VITALS, "See measurements and findings: vital signs", False, True),
        ("patient/Encounter.s", "Find visits", False, False),
        ("patient/Encounter.u", "Change visits", True, False),
        ("user/*.cud", "Add, change and delete everything in the record", True, True),
        ("patient/Observation.read", "See measurements and findings", False, True),
        ("patient/Observation.rs?code=8867-4", "See measurements and findings: code 8867-4", False, True),
        ("patient/NewKind.r", "See new kind entries", False, True),
        ("offline_access", "Keep access when you are away", False, True),
        ("openid", "Know who you are", False, False),
        ("not a scope", "Nothing", False, False),
    ],
)
def test_plain_words_say_what_a_scope_permits(scope: str, title: str, writes: bool, sensitive: bool) -> None:
    told = policy.plain_words(scope)

    assert (told.title, told.writes, told.sensitive) == (title, writes, sensitive)
    assert told.scope == scope


def test_plain_words_say_whose_data_is_meant() -> None:
    assert policy.plain_words("patient/Encounter.r").reach == "of this patient"
    assert policy.plain_words("user/Encounter.r").reach == "of every patient you may open"
    assert policy.plain_words("system/Encounter.r").reach == "of every patient"


@given(asked_scopes)
def test_every_choice_has_words_and_parses(asked: list[str]) -> None:
    for choice in policy.choices(asked):
        assert choice.words.title
        assert not isinstance(parse_scope(choice.value), str)
        assert set(choice.scopes) <= set(asked)


def test_only_types_with_categories_are_offered_in_parts() -> None:
    assert policy.categories_of("Encounter") == ()
    assert [choice.group for choice in policy.choices(("patient/Encounter.rs",))] == [""]
    grouped = [c for c in policy.choices(INFERNO) if c.group]
    assert {c.group for c in grouped} == {"patient/Condition.rs", "patient/Observation.rs"}
    assert len(grouped) == sum(map(len, CATEGORIES.values()))
