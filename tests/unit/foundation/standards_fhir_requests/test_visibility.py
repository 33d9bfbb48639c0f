"""Whose a resource is, checked against the compartment that served as the table's draft."""

from typing import Any

import pytest

from hilum.foundation.standards.fhir.definitions import elements, patient_compartment, resource_types
from hilum.foundation.standards.fhir.labels import is_restricted
from hilum.foundation.standards.fhir.searchparams import parameters_of
from hilum.foundation.standards.fhir.visibility import (
    VISIBILITY,
    Belonging,
    is_judged_by_targets,
    local_reference,
    one_patient,
    patients_among,
    subjects_of,
    targets_of,
)

BASES = ("http://here.example/fhir/",)
LISTED = sorted(VISIBILITY)
OF_A_SUBJECT = [name for name, rule in VISIBILITY.items() if rule.belonging is Belonging.SUBJECT]

NOT_IN_THE_COMPARTMENT = {"Device", "GuidanceResponse", "Task"}
"""R4 leaves them out of the Patient compartment, though they name their patient."""
IN_THE_COMPARTMENT_BUT_NOT_JUDGED = {
    "AuditEvent",
    "Basic",
    "EnrollmentRequest",
    "Person",
    "Schedule",
    "SupplyRequest",
}
"""Refused: whose they are is not told by one element that could be relied on."""


def test_every_listed_type_is_an_r4_type() -> None:
    assert set(LISTED) <= resource_types()


def test_the_table_and_the_compartment_differ_only_where_it_is_said() -> None:
    """Security decision 10: the compartment is only the draft."""
    judged = {
        name for name, rule in VISIBILITY.items() if rule.belonging in {Belonging.SUBJECT, Belonging.SELF}
    }
    draft = set(patient_compartment()) - {"Group", "Provenance"}

    assert judged - draft == NOT_IN_THE_COMPARTMENT
    assert draft - judged == IN_THE_COMPARTMENT_BUT_NOT_JUDGED


@pytest.mark.parametrize("name", OF_A_SUBJECT)
def test_the_deciding_elements_exist_and_may_refer_to_a_patient(name: str) -> None:
    for path in VISIBILITY[name].paths:
        holder = name
        for step in path[:-1]:
            holder = elements(holder)[step].types[0].name
        kinds = elements(holder)[path[-1]].types
        assert any(k.name == "Reference" and (not k.targets or "Patient" in k.targets) for k in kinds), path


@pytest.mark.parametrize("name", [n for n in LISTED if VISIBILITY[n].narrow])
def test_the_narrowing_parameter_looks_at_exactly_the_deciding_elements(name: str) -> None:
    """Otherwise a narrowed search would find other records than those that are visible."""
    rule = VISIBILITY[name]
    expression = parameters_of(name)[rule.narrow].expression.removesuffix(".where(resolve() is Patient)")

    expected = "Resource.id" if rule.belonging is Belonging.SELF else f"{name}.{'.'.join(rule.paths[0])}"
    assert expression == expected
    assert len(rule.paths) <= 1


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ({"reference": "Patient/p1"}, {"p1"}),
        ({"reference": "Patient/p1/_history/3"}, {"p1"}),
        ({"reference": "http://here.example/fhir/Patient/p1"}, {"p1"}),
        ({"reference": "Group/g1"}, set()),
        ({"reference": "http://there.example/fhir/Patient/p1"}, None),
        ({"reference": "https://here.example/fhir/Patient/p1"}, None),
        ({"reference": "#p1"}, None),
        ({"reference": "urn:uuid:0"}, None),
        ({"reference": "patient"}, None),
        ({"reference": "Patient/"}, None),
        ({"reference": "Patient/a b"}, None),
        ({"reference": "Patient/p1/x"}, None),
        ({"reference": ["Patient/p1"]}, None),
        ({"reference": None}, None),
        ({"identifier": {"value": "p1"}}, None),
        ({"display": "Somebody"}, None),
        ({}, None),
        ("Patient/p1", None),
        (None, None),
        (5, None),
    ],
)
def test_only_a_literal_reference_to_a_patient_of_this_server_says_whose_it_is(
    subject: Any, expected: set[str] | None
) -> None:
    found = subjects_of({"resourceType": "Observation", "subject": subject}, BASES)

    assert found == (None if expected is None else frozenset(expected))


def test_a_record_of_several_patients_belongs_to_all_of_them() -> None:
    actors = [{"actor": {"reference": f"Patient/p{n}"}} for n in (1, 2)]
    doctor = {"actor": {"reference": "Practitioner/d"}}

    found = subjects_of({"resourceType": "Appointment", "participant": [*actors, doctor]})

    assert found == frozenset({"p1", "p2"})


@pytest.mark.parametrize(
    "resource",
    [
        {},
        {"resourceType": 5},
        {"resourceType": "Nonsense"},
        {"resourceType": "Basic"},
        {"resourceType": "Patient"},
    ],
)
def test_what_cannot_be_determined_is_not_guessed(resource: dict[str, Any]) -> None:
    assert subjects_of(resource) is None


def test_only_types_with_a_subject_have_patients_of_their_own() -> None:
    about = [{"reference": "Patient/p1"}]

    assert subjects_of({"resourceType": "Provenance", "target": about}) == frozenset()
    assert subjects_of({"resourceType": "Organization", "subject": about[0]}) == frozenset()
    assert subjects_of({"resourceType": "Patient", "id": "p1"}) == frozenset({"p1"})


def test_records_are_one_patients_or_nobodys_in_particular() -> None:
    first, second = ({"resourceType": "Patient", "id": id_} for id_ in ("p1", "p2"))
    shared = {"resourceType": "Organization", "id": "o"}

    assert one_patient([first, shared, first]) == "p1"
    assert one_patient([first, second]) == ""
    assert one_patient([shared]) == ""
    assert one_patient([]) == ""
    assert is_judged_by_targets("Provenance")
    assert not is_judged_by_targets("Nonsense")


def test_each_patient_of_several_records_is_counted_by_what_belongs_to_them() -> None:
    """C94: a Group is its members', whom it names."""

    def of(*patients: str) -> list[dict[str, Any]]:
        return [{"reference": f"Patient/{each}"} for each in patients]

    observation = {"resourceType": "Observation", "subject": of("p1")[0]}
    visit = {"resourceType": "Appointment", "participant": [{"actor": each} for each in of("p1", "p2")]}
    group = {"resourceType": "Group", "member": [{"entity": each} for each in (*of("p3"), {"display": "x"})]}
    shared = {"resourceType": "Organization", "id": "o", "member": [{"entity": of("p4")[0]}]}

    assert patients_among([observation, visit, group, shared, {}]) == {"p1": 2, "p2": 1, "p3": 1}
    assert patients_among([]) == {}
    # What a Group names may be cut off the record of an answer, whose records were shown may not.
    assert list(patients_among([group, observation])) == ["p1", "p3"]


def test_a_provenance_about_nothing_or_elsewhere_has_no_targets() -> None:
    here = {"reference": "Observation/1"}
    assert targets_of({"target": [here]}) is not None
    for target in ([], [here, {"reference": "#x"}], [{"display": "x"}], None, [here] * 500):
        assert targets_of({"target": target}) is None


def test_a_reference_is_an_object() -> None:
    assert local_reference("Patient/1") is None


CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        (None, False),
        ({}, False),
        ({"security": []}, False),
        ({"security": [{"system": CONFIDENTIALITY, "code": "N"}]}, False),
        ({"security": [{"system": "http://other.example", "code": "N"}]}, False),
        ({"security": [{"system": CONFIDENTIALITY, "code": "R"}]}, True),
        ({"security": [{"system": CONFIDENTIALITY, "code": "v"}]}, True),
        ({"security": [{"system": "urn:oid:2.16.840.1.113883.5.25", "code": "N"}]}, False),
        ({"security": [{"system": "http://hl7.org/fhir/v3/ActCode", "code": "TREAT"}]}, False),
        ({"security": [{"system": "urn:oid:2.16.840.1.113883.5.25", "code": "R"}]}, True),
        ({"security": [{"system": "http://hl7.org/fhir/v3/Confidentiality", "code": "v"}]}, True),
        ({"security": [{"system": "urn:oid:2.16.840.1.113883.5.4", "code": "ETH"}]}, True),
        ({"security": [{"system": "http://hl7.org/fhir/v3/ActCode", "code": "42cfrpart2"}]}, True),
        ({"security": [{"code": "R"}]}, True),
        ({"security": [{"system": ACT_CODE, "code": "42CFRPart2"}]}, True),
        ({"security": [{"system": ACT_CODE, "code": "ETH"}]}, True),
        ({"security": [{"system": ACT_CODE, "code": "PSY"}]}, True),
        ({"security": [{"system": CONFIDENTIALITY, "code": "N"}, {"system": ACT_CODE, "code": "HIV"}]}, True),
        ({"security": {"system": CONFIDENTIALITY, "code": "N"}}, True),
        ({"security": ["R"]}, True),
        ({"security": {}}, True),
        ({"security": ""}, True),
        ({"security": [{"system": CONFIDENTIALITY, "code": 5}]}, True),
        ("restricted", True),
    ],
)
def test_labels_restrict_and_unreadable_ones_too(meta: Any, expected: bool) -> None:
    """C82."""
    assert is_restricted({"resourceType": "Observation", "meta": meta}) is expected


@pytest.mark.parametrize(
    "system",
    [
        None, "", 5, CONFIDENTIALITY.replace("http:", "https:"), f"{CONFIDENTIALITY}/", f" {CONFIDENTIALITY} ", CONFIDENTIALITY.upper(),
        f"{CONFIDENTIALITY}|2.0.0", "urn:oid:2.16.840.1.113883.5.25", "http://terminology.hl7.org/CodeSystem/v2-0177", "http://hospital.example/labels",
    ],
)  # fmt: skip
def test_a_label_withholds_however_its_system_is_spelled(system: Any) -> None:
    """C82: HL7 v2 tables, C-CDA and hospitals have the same codes under systems of their own, and unknown means withheld."""
    for code in ("V", "r", " R ", "HIV", "42CFRPart2"):
        assert is_restricted({"meta": {"security": [{"system": system, "code": code}]}}), code
    for code in ("N", "TREAT", "U"):
        assert not is_restricted({"meta": {"security": [{"system": system, "code": code}]}}), code


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ({"confidentiality": "R"}, True),
        ({"confidentiality": "v"}, True),
        ({"confidentiality": ["R"]}, True),
        ({"securityLabel": [{"coding": [{"system": CONFIDENTIALITY, "code": "R"}]}]}, True),
        ({"securityLabel": [{"text": "open"}, {"coding": [{"system": ACT_CODE, "code": "HIV"}]}]}, True),
        ({"securityLabel": [{"coding": {"system": CONFIDENTIALITY, "code": "N"}}]}, True),
        ({"securityLabel": ["R"]}, True),
        ({"securityLabel": {"coding": []}}, True),
        ({"securityLabel": None}, True),
        (
            {"securityLabel": [{"coding": [{"system": CONFIDENTIALITY, "code": "N"}]}, {"text": "open"}]},
            False,
        ),
        ({"securityLabel": []}, False),
        ({"confidentiality": "N"}, False),
        ({"confidentiality": "N", "meta": {"security": [{"code": "R"}]}}, True),
        ({"confidentiality": "N", "securityLabel": [{"coding": [{"code": "R"}]}]}, True),
    ],
)
def test_a_document_is_restricted_by_what_it_says_of_itself(inside: dict[str, Any], expected: bool) -> None:
    """C82: a Composition says it in its confidentiality, a DocumentReference in its securityLabel."""
    assert is_restricted({"resourceType": "Composition", **inside}) is expected
