"""What the index holds of a resource. Source: FHIR R4 search.html#ptypes."""

from typing import Any

import pytest

from hilum.foundation.standards.fhir.dates import OPEN_HIGH
from hilum_ehr.fhirserver.indexing import Indexer, index_keys
from hilum_ehr.fhirserver.models import IndexRows
from tests.unit.fhirserver.driver import BASE

NUMBERS = {key: number for number, key in enumerate(index_keys(), 1)}
INDEXER = Indexer(NUMBERS, BASE)


def rows(resource: dict[str, Any]) -> IndexRows:
    return INDEXER.rows(resource)


def under(table: tuple[tuple[Any, ...], ...], key: str) -> set[tuple[Any, ...]]:
    return {row[2:] for row in table if row[0] == NUMBERS[key]}


def test_every_parameter_has_one_number() -> None:
    keys = list(index_keys())

    assert len(keys) == len(set(keys))
    assert "Observation.code" in NUMBERS
    assert "Observation.patient:identifier" in NUMBERS
    assert "Observation.code-value-quantity$1" in NUMBERS
    assert "Patient._id" not in NUMBERS


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({"reference": "Patient/1"}, ("1", "Patient")),
        ({"reference": f"{BASE}/Patient/1"}, ("1", "Patient")),
        ({"reference": "Patient/1/_history/4"}, ("1", "Patient")),
        ({"reference": "http://other/fhir/Patient/1"}, ("http://other/fhir/Patient/1", "")),
        ({"reference": f"{BASE}evil/Patient/1"}, (f"{BASE}evil/Patient/1", "")),
        ({"reference": "urn:uuid:1"}, ("urn:uuid:1", "")),
        ({"reference": "#inside"}, ("", "")),
        ({"display": "somebody"}, ("", "")),
        ({"reference": "Nonsense/1"}, ("Nonsense/1", "")),
        ({"reference": "Patient/a b"}, ("Patient/a b", "")),
    ],
)
def test_a_reference_is_kept_as_type_and_id_or_as_an_address(
    reference: dict[str, Any], expected: tuple[str, str]
) -> None:
    """FHIR R4 search.html#reference: relative and absolute forms of one base are equal."""
    found = rows({"resourceType": "Observation", "subject": reference})

    assert under(found.reference, "Observation.subject") == {expected}


def test_a_reference_by_identifier_is_kept_for_its_modifier() -> None:
    found = rows(
        {"resourceType": "Observation", "subject": {"identifier": {"system": "urn:s", "value": "AB"}}}
    )

    assert under(found.token, "Observation.subject:identifier") == {("ab", "urn:s")}


def test_tokens_keep_code_and_system_and_nothing_of_a_bare_text() -> None:
    coded = {"coding": [{"system": "s", "code": "A"}, {"code": "B"}, {"display": "no code"}]}

    found = rows(
        {"resourceType": "Observation", "status": "final", "code": coded, "category": [{"text": "t"}]}
    )

    assert under(found.token, "Observation.code") == {("a", "s"), ("b", "")}
    assert under(found.token, "Observation.category") == {("", "")}
    assert under(found.token, "Observation.status") == {("final", "http://hl7.org/fhir/observation-status")}


def test_components_stay_together_in_groups() -> None:
    """FHIR R4 search.html#composite."""
    component = [
        {"code": {"coding": [{"code": "x"}]}, "valueQuantity": {"value": 1}},
        {"code": {"coding": [{"code": "y"}]}, "valueQuantity": {"value": 2}},
        {"code": {"coding": [{"code": "z"}]}},
    ]

    found = rows({"resourceType": "Observation", "component": component})

    codes = {
        row[1]: row[2]
        for row in found.token
        if row[0] == NUMBERS["Observation.component-code-value-quantity$0"]
    }
    values = {
        row[1]: row[2]
        for row in found.quantity
        if row[0] == NUMBERS["Observation.component-code-value-quantity$1"]
    }
    assert codes == {0: "x", 1: "y"}
    assert values == {0: 1.0, 1: 2.0}


@pytest.mark.parametrize(
    ("value", "low_high"),
    [
        ({"value": 5}, (5.0, 5.0)),
        ({"value": 5, "comparator": "<"}, (-1e300, 5.0)),
        ({"value": 5, "comparator": ">="}, (5.0, 1e300)),
    ],
)
def test_a_quantity_with_a_comparator_is_open_on_that_side(
    value: dict[str, Any], low_high: tuple[float, float]
) -> None:
    found = rows({"resourceType": "Observation", "valueQuantity": value})

    assert {row[:2] for row in under(found.quantity, "Observation.value-quantity")} == {low_high}


@pytest.mark.parametrize("value", [{"unit": "mg"}, {}])
def test_a_quantity_without_a_value_is_not_kept(value: dict[str, Any]) -> None:
    assert (
        under(
            rows({"resourceType": "Observation", "valueQuantity": value}).quantity,
            "Observation.value-quantity",
        )
        == set()
    )


def test_an_open_period_reaches_to_the_end_of_time() -> None:
    found = rows({"resourceType": "Encounter", "period": {"start": "2026"}})

    assert {row[1] for row in under(found.date, "Encounter.date")} == {OPEN_HIGH}


def test_a_canonical_address_counts_with_and_without_its_version() -> None:
    found = rows({"resourceType": "Patient", "meta": {"profile": ["http://p|1"]}})

    assert under(found.uri, "Patient._profile") == {("http://p|1",), ("http://p",)}


@pytest.mark.parametrize(
    "resource_type",
    ["Patient", "Observation", "Bundle", "Binary", "QuestionnaireResponse", "Library", "MolecularSequence"],
)
def test_an_empty_resource_has_almost_nothing(resource_type: str) -> None:
    found = rows({"resourceType": resource_type})

    assert sum(map(len, found)) <= 1
