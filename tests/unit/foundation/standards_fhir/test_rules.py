"""What fhirkit does not look at. Source: FHIR R4 terminologies.html#required, references.html."""

import pytest

from hilum.foundation.standards.fhir.rules import rule_issues

NAME_USE = "http://hl7.org/fhir/name-use"


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "Patient", "gender": "female", "birthDate": "1990"},
        {"resourceType": "Patient", "generalPractitioner": [{"reference": "Organization/1"}]},
        {"resourceType": "Patient", "generalPractitioner": [{"display": "Dr Who"}]},
        {"resourceType": "Patient", "generalPractitioner": [{"reference": "urn:uuid:0"}]},
        {"resourceType": "Condition", "clinicalStatus": {"text": "active, I think"}},
        {
            "resourceType": "Patient",
            "extension": [
                {"url": "http://x", "_valueCode": {"extension": [{"url": "http://y", "valueCode": "z"}]}}
            ],
        },
        {
            "resourceType": "Patient",
            "extension": [{"url": "http://x", "extension": [{"url": "y", "valueCode": "z"}]}],
        },
        {
            "resourceType": "Patient",
            "_birthDate": {"id": "b"},
            "name": [{"given": ["a", None], "_given": [None, {"id": "z"}]}],
        },
        {
            "resourceType": "Observation",
            "contained": [{"resourceType": "Patient", "id": "p"}],
            "subject": {"reference": "#p"},
        },
        {
            "resourceType": "Observation",
            "contained": [{"resourceType": "Provenance", "target": [{"reference": "#"}]}],
        },
        {
            "resourceType": "Observation",
            "contained": [
                {"resourceType": "Patient", "id": "p", "managingOrganization": {"reference": "#o"}},
                {"resourceType": "Organization", "id": "o"},
            ],
            "subject": {"reference": "#p"},
        },
        {"resourceType": "Observation", "focus": [{"reference": "Anything/1"}, {"reference": "Patient/1"}]},
    ],
)
def test_what_keeps_the_rules_passes(resource: dict[str, object]) -> None:
    assert rule_issues(resource) == []


@pytest.mark.parametrize(
    ("resource", "where"),
    [
        ({"resourceType": "Patient", "gender": "femal"}, "Patient.gender"),
        ({"resourceType": "Patient", "birthDate": "2026-02-30"}, "Patient.birthDate"),
        ({"resourceType": "Patient", "name": [{"use": "usual"}, {"use": "nick"}]}, "Patient.name[1].use"),
        ({"resourceType": "Patient", "contact": [{"gender": "X"}]}, "Patient.contact[0].gender"),
        ({"resourceType": "Patient", "generalPractitioner": [{"reference": "Patient/1"}]}, "Patient.generalPractitioner[0]"),
        ({"resourceType": "Observation", "subject": {"reference": "http://other/fhir/Practitioner/1"}}, "Observation.subject"),
        ({"resourceType": "Observation", "subject": {"reference": "Practitioner/1/_history/2"}}, "Observation.subject"),
        ({"resourceType": "Observation", "component": [{"code": {"text": "x"}}, {"valueQuantity": {"comparator": "~"}}]}, "Observation.component[1].valueQuantity.comparator"),
        ({"resourceType": "Patient", "contained": [{"resourceType": "Patient", "gender": "?"}]}, "Patient.contained[0].gender"),
        ({"resourceType": "Patient", "extension": [{"valuePeriod": {"start": "2026-02-30"}}]}, "Patient.extension[0].valuePeriod.start"),
        ({"resourceType": "Patient", "maritalStatus": {}}, "Patient.maritalStatus"),
        ({"resourceType": "Patient", "name": [{"family": "x"}, {}]}, "Patient.name[1]"),
        ({"resourceType": "Patient", "_birthDate": {}}, "Patient._birthDate"),
        ({"resourceType": "Patient", "extension": [{"url": "http://x"}]}, "Patient.extension[0]"),
        ({"resourceType": "Patient", "extension": [{"url": "http://x", "valueCode": "a", "extension": [{"url": "y", "valueCode": "b"}]}]}, "Patient.extension[0]"),
        ({"resourceType": "Patient", "_birthDate": {"extension": [{"url": "http://x"}]}}, "Patient._birthDate.extension[0]"),
        ({"resourceType": "Patient", "name": [{"_given": [None, {"extension": [{"url": "http://x"}]}]}]}, "Patient.name[0]._given[1].extension[0]"),
        ({"resourceType": "Observation", "contained": [{"resourceType": "Patient", "id": "p", "contained": [{"resourceType": "Patient", "id": "q"}]}]}, "Observation.contained[0]"),
        ({"resourceType": "Observation", "contained": [{"resourceType": "Patient", "id": "a_b"}]}, "Observation.contained[0]"),
        ({"resourceType": "Observation", "subject": {"reference": "#p"}}, "Observation.subject"),
        ({"resourceType": "Observation", "subject": {"reference": "#q"}, "contained": [{"resourceType": "Patient", "id": "p"}]}, "Observation.subject"),
        ({"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient", "contained": [{"resourceType": "Patient", "id": "p"}]}}, {"resource": {"resourceType": "Observation", "subject": {"reference": "#p"}}}]}, "Bundle.entry[1].resource.subject"),
        ({"resourceType": "Patient", "text": {"status": "generated", "div": "<div>x</div>"}}, "Patient.text"),
        ({"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient", "id": "a b"}}]}, "Bundle.entry[0].resource"),
        ({"resourceType": "Condition", "clinicalStatus": {"coding": [{"system": "http://elsewhere", "code": "active"}]}}, "Condition.clinicalStatus"),
        ({"resourceType": "Condition", "clinicalStatus": {"coding": [{"code": "active"}]}}, "Condition.clinicalStatus"),
        ({"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient", "gender": "?"}}]}, "Bundle.entry[0].resource.gender"),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_named_with_its_place(resource: dict[str, object], where: str) -> None:
    assert [found.expression for found in rule_issues(resource)] == [where]
