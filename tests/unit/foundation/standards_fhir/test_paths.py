"""The compiler of search expressions, held against fhirpathpy. Source: FHIR R4 fhirpath.html, search.html."""

import json
import re
from typing import Any

import pytest
from fhirpathpy import compile as oracle
from fhirpathpy.models import models

from hilum.foundation.standards.fhir.definitions import resource_types
from hilum.foundation.standards.fhir.paths import Leaf, UnsupportedExpression, compile_expression
from hilum.foundation.standards.fhir.searchparams import Kind, parameters_of

SAMPLES: tuple[dict[str, Any], ...] = (
    {
        "resourceType": "Patient", "id": "p1", "active": True, "gender": "female", "birthDate": "1990-02-03",
        "meta": {"tag": [{"system": "urn:t", "code": "a"}], "profile": ["http://p"], "source": "urn:s"},
        "identifier": [{"system": "urn:mrn", "value": "1"}, {"value": "2"}],
        "name": [{"family": "Łódź", "given": ["Ana", "Maria"], "prefix": ["Dr"]}, {"text": "AM", "use": "nickname"}],
        "telecom": [{"system": "phone", "value": "1"}, {"system": "email", "value": "a@b"}, {"value": "x"}],
        "address": [{"use": "home", "line": ["1 Main"], "city": "X", "state": "Y", "postalCode": "1", "country": "US"}],
        "generalPractitioner": [{"reference": "Practitioner/1"}], "managingOrganization": {"reference": "Organization/1"},
        "communication": [{"language": {"coding": [{"code": "en"}]}}], "deceasedBoolean": False,
        "link": [{"other": {"reference": "Patient/2"}, "type": "seealso"}],
        "extension": [{"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race",
                       "extension": [{"url": "ombCategory", "valueCoding": {"system": "urn:r", "code": "2106-3"}},
                                     {"url": "text", "valueString": "White"}]}],
    },
    {
        "resourceType": "Observation", "id": "o1", "status": "final",
        "category": [{"coding": [{"system": "urn:c", "code": "vital-signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9"}], "text": "BP"},
        "subject": {"reference": "Patient/p1"}, "encounter": {"reference": "Encounter/1"},
        "performer": [{"reference": "Practitioner/1"}, {"reference": "Organization/1"}],
        "effectivePeriod": {"start": "2026-03-01", "end": "2026-03-02"},
        "component": [
            {"code": {"coding": [{"code": "8480-6"}]}, "valueQuantity": {"value": 120, "unit": "mmHg"}},
            {"code": {"coding": [{"code": "8462-4"}]}, "dataAbsentReason": {"coding": [{"code": "unknown"}]}},
        ],
    },
    {
        "resourceType": "Observation", "id": "o2", "status": "final", "code": {"text": "x"},
        "effectiveDateTime": "2026-03-01", "valueCodeableConcept": {"coding": [{"code": "y"}], "text": "Yes"},
        "dataAbsentReason": {"coding": [{"code": "unknown"}]}, "subject": {"reference": "Group/1"},
    },
    {
        "resourceType": "Condition", "id": "c1", "subject": {"reference": "Patient/p1"}, "onsetAge": {"value": 30, "unit": "a"},
        "clinicalStatus": {"coding": [{"code": "active"}]}, "abatementString": "last spring", "recordedDate": "2026-03-01",
        "code": {"coding": [{"code": "1"}]}, "evidence": [{"code": [{"text": "e"}], "detail": [{"reference": "Observation/o1"}]}],
        "stage": [{"summary": {"coding": [{"code": "I"}]}}],
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/condition-assertedDate", "valueDateTime": "2026-02-28"}],
    },
    {
        "resourceType": "MedicationRequest", "id": "m1", "status": "active", "intent": "order",
        "medicationReference": {"reference": "Medication/1"}, "subject": {"reference": "Patient/p1"},
        "authoredOn": "2026-03-01T10:00:00Z", "requester": {"reference": "Practitioner/1"},
        "dosageInstruction": [{"timing": {"event": ["2026-03-02", "2026-03-03"]}}],
    },
    {
        "resourceType": "MedicationRequest", "id": "m2", "status": "active", "intent": "order", "subject": {"reference": "Patient/p1"},
        "medicationCodeableConcept": {"coding": [{"system": "rx", "code": "7"}]},
    },
    {
        "resourceType": "Encounter", "id": "e1", "status": "finished", "class": {"system": "v3", "code": "AMB"},
        "subject": {"reference": "Patient/p1"}, "period": {"start": "2026-03-01"}, "length": {"value": 30, "unit": "min"},
        "participant": [{"individual": {"reference": "Practitioner/1"}, "type": [{"coding": [{"code": "PPRF"}]}]}],
        "hospitalization": {"dischargeDisposition": {"coding": [{"code": "home"}]}},
        "location": [{"location": {"reference": "Location/1"}, "period": {"start": "2026-03-01"}}],
    },
    {
        "resourceType": "Library", "id": "l1", "status": "draft", "type": {"text": "x"},
        "relatedArtifact": [{"type": "depends-on", "resource": "http://a|1"}, {"type": "successor", "resource": "http://b"}],
        "useContext": [{"code": {"code": "age"}, "valueRange": {"low": {"value": 1}}}],
    },
    {
        "resourceType": "Goal", "id": "g1", "lifecycleStatus": "active", "description": {"text": "walk"},
        "subject": {"reference": "Patient/p1"}, "startDate": "2026-03-01", "target": [{"dueDate": "2026-06-01"}],
    },
)  # fmt: skip
BEYOND_THE_ORACLE = re.compile(r"resolve\(\)|Resource\.meta|hasExtension")
"""fhirpathpy has no resolve(), no hasExtension(), and finds nothing under ``Resource.meta``."""
CASES = [
    pytest.param(sample, code, p.expression, id=f"{sample['resourceType']}/{sample['id']}:{code}")
    for sample in SAMPLES
    for code, p in parameters_of(sample["resourceType"]).items()
    if p.kind is not Kind.COMPOSITE and not BEYOND_THE_ORACLE.search(p.expression)
]


def canonical(values: list[Any]) -> list[str]:
    return sorted(json.dumps(value, sort_keys=True) for value in values)


@pytest.mark.parametrize(("sample", "code", "expression"), CASES)
def test_the_compiler_selects_what_fhirpath_selects(
    sample: dict[str, Any], code: str, expression: str
) -> None:
    selected = compile_expression(expression, sample["resourceType"])(sample)

    # Where a search parameter ends in an extension, the index wants its value; FHIRPath stops at the extension.
    wanted = re.sub(r"(extension\('[^']*'\))$", r"\1.value", expression)
    # fhirpathpy does not know that every type is a Resource.
    wanted = re.sub(r"^Resource\b", sample["resourceType"], wanted)
    expected = oracle(wanted, models["r4"])(sample)  # type: ignore[call-arg]  # typed as if it evaluated at once
    assert canonical([value for _, value in selected]) == canonical(expected)


def test_every_search_expression_of_r4_compiles() -> None:
    count = 0
    for resource_type in resource_types():
        for parameter in parameters_of(resource_type).values():
            compile_expression(parameter.expression, resource_type)
            count += 1

    assert count > 2_500


def test_what_refers_to_another_type_is_left_out() -> None:
    select = compile_expression("Observation.subject.where(resolve() is Patient)", "Observation")

    assert select({"subject": {"reference": "Group/1"}}) == []
    assert select({"subject": {"reference": "MyPatient/1"}}) == []
    assert select({"subject": {"display": "Patient/1"}}) == []
    assert [v for _, v in select({"subject": {"reference": "Patient/1"}})] == [{"reference": "Patient/1"}]
    assert select({"subject": {"reference": "http://a/fhir/Patient/1/_history/2"}})
    assert select({"subject": {"type": "Patient", "identifier": {"value": "1"}}})


def test_meta_is_found_under_every_type() -> None:
    select = compile_expression("Resource.meta.tag", "Patient")

    assert select(SAMPLES[0]) == [(Leaf("Coding"), {"system": "urn:t", "code": "a"})]


def test_a_bound_code_carries_its_system() -> None:
    select = compile_expression("Patient.gender", "Patient")

    assert select(SAMPLES[0]) == [(Leaf("code", "http://hl7.org/fhir/administrative-gender"), "female")]


@pytest.mark.parametrize(
    ("deceased", "expected"),
    [
        ({}, False),
        ({"deceasedBoolean": False}, False),
        ({"deceasedBoolean": True}, True),
        ({"deceasedDateTime": "2026"}, True),
    ],
)
def test_deceased_is_true_or_false_for_everybody(deceased: dict[str, Any], expected: bool) -> None:
    select = compile_expression("Patient.deceased.exists() and Patient.deceased != false", "Patient")

    assert select(deceased) == [(Leaf("boolean"), expected)]


def test_the_other_types_of_a_union_select_nothing() -> None:
    select = compile_expression("Patient.gender | Practitioner.gender", "Observation")

    assert select({"gender": "female"}) == []


@pytest.mark.parametrize(
    "expression",
    [
        "Patient.name.first()",
        "Patient.name.where(use != 'old')",
        "Patient.name.where(use)",
        "Patient..name",
        "Patient.name +",
        "Patient.name.repeat(x)",
        "Patient.name[a]",
        "Patient.where(resolve() is)",
    ],
)
def test_a_form_that_r4_does_not_use_is_refused(expression: str) -> None:
    with pytest.raises(UnsupportedExpression):
        compile_expression(expression, "Patient")


@pytest.mark.parametrize(
    "value",
    [{}, {"name": None}, {"name": "x"}, {"name": [None, 3, "x", {"family": None}]}, {"name": {"family": {}}}],
)
def test_odd_json_selects_without_failing(value: dict[str, Any]) -> None:
    family = compile_expression("Patient.name.family", "Patient")(value)

    assert all(each is not None for each in family)
    assert list(compile_expression("Patient.telecom.where(system='phone')", "Patient")(value)) == []
