"""Every resource is valid FHIR R4, marked as synthetic, and points at nothing outside its hospital."""

import hashlib
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import date

import fhirkit
import orjson
import pytest

from hilum_ehr.synthesis import places
from hilum_ehr.synthesis.hospital import describe, synthesize
from hilum_ehr.synthesis.models import CastMember, HospitalPlan, Kind, PatientPlan, Resource, Role
from hilum_ehr.synthesis.policy import hospitals
from tests.effort import FULL, effort
from tests.unit.synthesis.hospital import (
    SEED,
    TENANTS,
    TODAY,
    everything,
    made,
    of,
    plan_of,
    references,
    values,
)

FHIR_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
DIGEST = """
import hashlib, orjson
from datetime import date
from hilum_ehr.synthesis.policy import hospitals
from hilum_ehr.synthesis.hospital import synthesize
for plan in hospitals():
    print(hashlib.sha256(orjson.dumps(synthesize(plan, seed={seed}, today=date.fromisoformat("{today}")))).hexdigest())
"""


def tried(tenant: str) -> list[Resource]:
    """Return every third resource, and some of each type; all of them under ``EFFORT=full``."""
    seen: Counter[str] = Counter()
    found = []
    for number, each in enumerate(made(tenant)):
        seen[each["resourceType"]] += 1
        if FULL or number % 3 == 0 or seen[each["resourceType"]] <= 10:
            found.append(each)
    return found


@pytest.mark.parametrize("tenant", TENANTS)
def test_every_resource_is_valid_fhir_r4(tenant: str) -> None:
    """C120: the sandbox is reproducible and conformant."""
    broken = {
        resource["id"]: [str(issue) for issue in issues]
        for resource in tried(tenant)
        if (issues := fhirkit.validate(orjson.dumps(resource)))
    }

    assert broken == {}


@pytest.mark.parametrize("tenant", TENANTS)
def test_every_reference_resolves_inside_the_hospital(tenant: str) -> None:
    known = {f"{resource['resourceType']}/{resource['id']}" for resource in made(tenant)}

    dangling = {reference for resource in made(tenant) for reference in references(resource)} - known

    assert dangling == set()


def test_every_resource_says_that_it_is_synthetic() -> None:
    """C120: data not marked synthetic is refused."""
    unmarked = [each["id"] for each in everything() if "HTEST" not in values(each, "meta.tag.code")]

    assert unmarked == []


def test_ids_are_valid_and_no_id_stands_in_two_hospitals() -> None:
    """FHIR R4 datatypes.html#id; security decision 10: a chart of one tenant is unknown to another."""
    ids = Counter((resource["resourceType"], resource["id"]) for resource in everything())

    assert [key for key, count in ids.items() if count > 1] == []
    assert [key for key in ids if not FHIR_ID.fullmatch(key[1])] == []


def test_three_hospitals_hold_more_than_a_hundred_patients() -> None:
    """C120: at least 3 tenants and 100 reproducible synthetic patients."""
    counts = {tenant: len(of(tenant, "Patient")) for tenant in TENANTS}

    assert counts == {"general": 60, "children": 35, "clinic": 25}


def test_the_same_seed_and_day_give_the_same_bytes_in_another_process() -> None:
    """C120: reproducible, whatever Python's hash seed is."""
    script = DIGEST.format(seed=SEED, today=TODAY)
    runs = [
        subprocess.run([sys.executable, "-c", script], env={"PYTHONHASHSEED": hash_seed}, capture_output=True, check=True, text=True).stdout.split()
        for hash_seed in (("0", "4242") if FULL else ("4242",))
    ]  # fmt: skip

    here = [hashlib.sha256(orjson.dumps(list(made(tenant)))).hexdigest() for tenant in TENANTS]

    assert runs == [here] * len(runs)


def test_another_seed_gives_other_people_but_keeps_the_planned_ones() -> None:
    plan = plan_of("clinic")

    other = {
        each["id"]
        for each in synthesize(plan, seed=SEED + 1, today=TODAY)
        if each["resourceType"] == "Patient"
    }
    here = {each["id"] for each in of("clinic", "Patient")}

    planned = {plan.patient_id(written.slug) for written in plan.notable}
    assert planned <= other & here
    assert other != here


def test_one_more_patient_changes_no_other_chart() -> None:
    plan = plan_of("clinic")

    larger = synthesize(replace(plan, size=plan.size + 1), seed=SEED, today=TODAY)

    kept = {each["id"]: each for each in larger}
    assert [
        each["id"] for each in made("clinic") if each["resourceType"] != "Group" and kept[each["id"]] != each
    ] == []


DAYS = [date(2027, 1, 1), date(2028, 2, 29), date(2026, 10, 10), date(2031, 7, 4)]


@pytest.mark.parametrize("today", DAYS if FULL else DAYS[:2])
def test_any_day_and_seed_give_valid_resources(today: date) -> None:
    plan = replace(plan_of("general"), size=plan_of("general").size if effort(0, 1) else 24)
    for seed in range(effort(1, 12)):
        resources = synthesize(plan, seed=seed, today=today)

        known = {f"{each['resourceType']}/{each['id']}" for each in resources}
        assert [each["id"] for each in resources if fhirkit.validate(orjson.dumps(each))] == []
        assert {reference for each in resources for reference in references(each)} <= known


def test_what_a_caller_changes_in_one_resource_changes_no_other() -> None:
    plan = replace(plan_of("clinic"), size=8)
    resources = synthesize(plan, seed=SEED, today=TODAY)

    resources[0]["meta"]["tag"][0]["code"] = "changed"

    assert [each["id"] for each in resources[1:] if values(each, "meta.tag.code") != ["HTEST"]] == []


@pytest.mark.parametrize("tenant", TENANTS)
def test_the_card_lists_every_chart_with_encounters_that_exist(tenant: str) -> None:
    """contract.md, card.json: patients with id, name, notable, encounters."""
    summaries = describe(plan_of(tenant), seed=SEED, today=TODAY)

    encounters = {each["id"]: each for each in of(tenant, "Encounter")}
    assert [summary.id for summary in summaries] == [each["id"] for each in of(tenant, "Patient")]
    assert all(summary.notable and summary.name for summary in summaries)
    for summary in summaries:
        starts = [encounters[one]["period"]["start"] for one in summary.encounters]
        assert starts == sorted(starts, reverse=True)
        assert all(
            encounters[one]["subject"]["reference"] == f"Patient/{summary.id}" for one in summary.encounters
        )


@pytest.mark.parametrize("tenant", TENANTS)
def test_everybody_who_signs_in_exists_in_the_data(tenant: str) -> None:
    """contract.md, card.json: fhirUser resources are readable."""
    known = {f"{resource['resourceType']}/{resource['id']}": resource for resource in made(tenant)}
    for member in plan_of(tenant).cast:
        assert member.fhir_user in known, member.username
        assert re.fullmatch(r"[A-Za-z0-9_.-]{12,}", member.password)
        if member.patient:
            assert member.fhir_user == f"Patient/{member.patient}"
        for ward in member.proxies:
            family = [
                each
                for each in of(tenant, "RelatedPerson")
                if each["patient"]["reference"] == f"Patient/{ward}"
            ]
            assert member.name.split()[-1] in {
                name for each in family for name in values(each, "name.family")
            }


@pytest.mark.parametrize("tenant", TENANTS)
def test_six_roles_sign_in_at_each_hospital(tenant: str) -> None:
    """C120: nurse, physician, analyst, administrator, front desk, patient."""
    assert {member.role for member in plan_of(tenant).cast} == set(Role)


def test_the_words_for_roles_are_the_platforms() -> None:
    """The sandbox may not import identity (house rule 6), so this test keeps both lists the same."""
    from hilum.identity.people.models import Role as PlatformRole

    assert {role.value for role in Role} == {role.value for role in PlatformRole}


def test_no_code_of_a_licensed_terminology_is_shipped() -> None:
    """dependencies.md section 4: CPT texts are the AMA's."""
    systems = {system for each in everything() for system in _systems(each)}

    assert not [system for system in systems if "ama-assn" in system or "cpt" in system.lower()]


def _systems(node: object) -> set[str]:
    if isinstance(node, dict):
        own = {node["system"]} if isinstance(node.get("system"), str) else set()
        return own.union(*(_systems(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(_systems(value) for value in node))
    return set()


@pytest.mark.parametrize(("nine", "whole"), [("123456789", "1234567893"), ("124531959", "1245319599")])
def test_a_provider_number_carries_its_check_digit(nine: str, whole: str) -> None:
    """US Core 6.1.0 us-core-17; the first is CMS's own worked example."""
    assert places.npi(nine) == whole


def _plan(**changes: object) -> HospitalPlan:
    plain: dict[str, object] = {
        "tenant": "x", "name": "X", "kind": Kind.CLINIC, "prefix": "x", "city": "C", "state": "MA", "postal_code": "0",
        "utc_offset_h": 0, "size": 1, "notable": (), "cast": (),
    }  # fmt: skip
    return HospitalPlan(**(plain | changes))  # type: ignore[arg-type]


CHART = PatientPlan("a", ("A",), "A", True, 9_000, (), "a")
PERSON = CastMember("u", "sandbox-user", Role.NURSE, "Practitioner/x-prac-u", "U U")


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 0, "notable": (CHART,)},
        {"size": 2, "notable": (CHART, CHART)},
        {"cast": (PERSON, PERSON)},
        {"size": 100_000},
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(AssertionError):
        _plan(**changes)


def test_hospitals_have_names_of_their_own() -> None:
    plans = hospitals()

    for attribute in ("tenant", "prefix", "name"):
        assert len({getattr(plan, attribute) for plan in plans}) == len(plans)
