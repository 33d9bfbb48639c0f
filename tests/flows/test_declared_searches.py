"""Every reference parameter that the CapabilityStatement declares finds what the charts refer to. Source: FHIR R4 search.html#reference."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hilum.foundation.standards.fhir.searchparams import Kind, parameters_of
from hilum.foundation.standards.fhir.visibility import rule_of
from tests.unit.fhirserver.driver import Fhir
from tests.unit.synthesis.hospital import TENANTS, made

CHARTS = made(TENANTS[0])
PATIENTS = sorted(each["id"] for each in CHARTS if each["resourceType"] == "Patient")[:3]


@pytest.fixture(scope="module")
def fhir() -> Iterator[Fhir]:
    with tempfile.TemporaryDirectory() as folder:
        driver = Fhir(Path(folder) / "fhir.db")
        driver.load(*CHARTS)
        yield driver
        driver.close()


@pytest.fixture(scope="module")
def declared(fhir: Fhir) -> dict[str, dict[str, Any]]:
    """The types that apps may read and that the charts hold, as they are declared in /metadata."""
    held = {each["resourceType"] for each in CHARTS}
    (rest,) = fhir.get("/metadata").json["rest"]
    return {each["type"]: each for each in rest["resource"] if each["type"] in held and rule_of(each["type"])}


def over_one_element(kind: str) -> list[list[str]]:
    """Group the reference parameters of a type that are over the same element, and may all refer to a patient."""
    groups: dict[str, list[str]] = {}
    for code, parameter in parameters_of(kind).items():
        element = parameter.expression.removesuffix(".where(resolve() is Patient)")
        if parameter.kind is Kind.REFERENCE:
            groups.setdefault(element, []).append(code)
    return [codes for codes in groups.values() if "patient" in codes and len(codes) > 1]


def test_subject_and_patient_find_the_same(fhir: Fhir, declared: dict[str, dict[str, Any]]) -> None:
    compared, found = set(), 0
    for kind in declared:
        names = {each["name"] for each in declared[kind]["searchParam"] if each["type"] == "reference"}
        for code in (code for codes in over_one_element(kind) for code in codes if code != "patient"):
            assert {code, "patient"} <= names
            for patient in PATIENTS:
                expected = fhir.search(kind, f"patient={patient}&_count=200")
                for spelling in (
                    f"{code}=Patient/{patient}",
                    f"{code}={patient}",
                    f"{code}:Patient={patient}",
                ):
                    assert fhir.search(kind, f"{spelling}&_count=200") == expected, (kind, spelling)
                found += len(expected)
            compared.add((kind, code))

    assert {("Condition", "subject"), ("Observation", "subject"), ("Coverage", "beneficiary")} <= compared
    assert found > 100


def test_what_refers_to_a_patient_comes_along_by_any_of_its_parameters(
    fhir: Fhir, declared: dict[str, dict[str, Any]]
) -> None:
    """FHIR R4 search.html#revinclude."""
    patient = PATIENTS[0]
    for kind in declared:
        for codes in over_one_element(kind):
            along = [fhir.get("/Patient", f"_id={patient}&_revinclude={kind}:{code}") for code in codes]
            assert all(each.status == 200 for each in along), (kind, codes)
            assert len({frozenset(each.included) for each in along}) == 1, (kind, codes)
            assert {f"{kind}:{code}" for code in codes} <= set(declared["Patient"]["searchRevInclude"])


def test_every_declared_reference_finds_a_record_that_has_it(
    fhir: Fhir, declared: dict[str, dict[str, Any]]
) -> None:
    """A parameter whose table says less than its element may hold finds nothing, and answers 200 all the same."""
    asked = 0
    for kind, described in declared.items():
        included = described.get("searchInclude", [])
        for code in (
            each["name"] for each in described["searchParam"] if f"{kind}:{each['name']}" in included
        ):
            for one in fhir.search(kind, f"{code}:missing=false&_count=1"):
                resource = fhir.get(f"/{kind}/{one}").json
                answer = fhir.get(f"/{kind}", f"_id={one}&_include={kind}:{code}")
                assert answer.included, (kind, code, resource)
                for name in sorted(answer.included):
                    assert one in fhir.search(kind, f"{code}={name}&_id={one}"), (kind, code, name)
                asked += 1

    assert asked > 40
