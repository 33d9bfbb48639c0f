"""The derived tables. Source: hl7.fhir.r4.core 4.0.1."""

from typing import Any

import pytest
from tools.derive_fhir_tables import derive_parameters

from hilum.foundation.standards.fhir.definitions import (
    elements,
    json_keys,
    patient_compartment,
    resource_types,
    value_set,
)
from hilum.foundation.standards.fhir.searchparams import Kind, parameters_of


def test_every_concrete_type_can_be_stored_but_parameters() -> None:
    assert len(resource_types()) == 145
    assert {"Patient", "Observation", "Bundle", "Binary"} <= resource_types()
    assert not {"Parameters", "Resource", "DomainResource"} & resource_types()


def test_a_choice_has_one_key_a_type() -> None:
    keys = {t.key for t in elements("Observation")["value"].types}

    assert {"valueQuantity", "valueCodeableConcept", "valueDateTime", "valueString"} <= keys
    assert json_keys("Observation")["valueQuantity"].name == "value"
    assert "value[x]" not in elements("Observation")


def test_a_reference_knows_its_targets() -> None:
    (kind,) = elements("Observation")["subject"].types

    assert set(kind.targets) == {"Patient", "Group", "Device", "Location"}
    assert elements("Observation")["focus"].types[0].targets == ()


def test_required_bindings_are_expanded() -> None:
    assert elements("Patient")["gender"].binding == "administrative-gender"
    codes = value_set("administrative-gender")["http://hl7.org/fhir/administrative-gender"]
    assert codes == {"male", "female", "other", "unknown"}


def test_mandatory_and_summary_elements_are_marked() -> None:
    observation = elements("Observation")

    assert {name for name, element in observation.items() if element.mandatory} == {"status", "code"}
    assert observation["value"].summary
    assert not observation["note"].summary


def test_the_patient_compartment_says_how_a_type_belongs() -> None:
    assert len(patient_compartment()) == 66
    assert patient_compartment()["AllergyIntolerance"] == ("patient", "recorder", "asserter")
    assert "Practitioner" not in patient_compartment()


def test_an_unknown_type_has_nothing() -> None:
    assert not elements("Nonsense")
    assert not json_keys("Nonsense")


@pytest.mark.parametrize("code", ["_text", "_content", "_filter", "_query", "phonetic", "age", "near"])
def test_what_an_index_cannot_answer_is_not_offered(code: str) -> None:
    assert code not in parameters_of("Patient")
    assert code not in parameters_of("Location")


def test_parameters_know_kind_and_targets() -> None:
    patient = parameters_of("Observation")["patient"]

    assert patient.kind is Kind.REFERENCE
    assert "Patient" in patient.targets
    assert parameters_of("Patient")["_id"].kind is Kind.TOKEN
    assert parameters_of("Provenance")["target"].targets


@pytest.mark.parametrize(
    ("resource_type", "code"),
    [
        ("Condition", "asserted-date"),
        ("CareTeam", "role"),
        ("Encounter", "discharge-disposition"),
        ("Goal", "description"),
        ("Patient", "race"),
    ],
)
def test_what_us_core_adds_is_offered(resource_type: str, code: str) -> None:
    """US Core 6.1.0."""
    assert code in parameters_of(resource_type)


def test_a_reference_parameter_accepts_every_target_of_its_element() -> None:
    """FHIR R4 search.html#reference: a parameter that lacks a target finds nothing, and answers 200 all the same."""
    compared = 0
    for type_ in resource_types():
        for code, parameter in parameters_of(type_).items():
            root, _, name = parameter.expression.partition(".")
            element = elements(type_).get(name) if root == type_ else None
            if parameter.kind is not Kind.REFERENCE or element is None:
                continue
            wanted = {target for each in element.types for target in each.targets}
            assert wanted & resource_types() <= set(parameter.targets), (type_, code)
            compared += 1

    assert compared > 300


def test_the_tool_refuses_two_definitions_of_one_parameter_and_leaves_out_examples() -> None:
    """Whichever of two came last would be the table's; HL7's package has an example that is another Condition.subject."""

    def subject(url: str, target: str) -> dict[str, Any]:
        return {
            "resourceType": "SearchParameter", "url": f"http://hl7.org/fhir/SearchParameter/{url}", "code": "subject", "base": ["Condition"],
            "type": "reference", "expression": "Condition.subject", "target": [target],
        }  # fmt: skip

    ours, example = subject("Condition-subject", "Patient"), subject("example-reference", "Organization")
    types = ["Condition", "Organization", "Patient"]

    derived = derive_parameters({"a": ours, "b": example}, types)
    assert derived == {"Condition": {"subject": ["reference", "Condition.subject", ["Patient"]]}}
    with pytest.raises(ValueError, match="Condition has two definitions of subject"):
        derive_parameters({"a": ours, "b": subject("other-subject", "Organization")}, types)
