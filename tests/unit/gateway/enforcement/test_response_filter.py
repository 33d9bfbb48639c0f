"""Judging what comes back, one resource and one Bundle at a time."""

from typing import Any

import orjson
import pytest

from hilum.authorization.tokens.models import AccessToken
from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.standards.fhir.traits import traits_of
from hilum.foundation.standards.smart.scopes import READ, SEARCH
from hilum.gateway.enforcement.access_scope import grant_rules
from hilum.gateway.enforcement.models import Permit
from hilum.gateway.enforcement.resource_access import judge_resource
from hilum.gateway.enforcement.response_filter import (
    evidence_within,
    filter_response,
    judge_change,
    judge_read,
    wanted_evidence,
)
from tests.unit.gateway.enforcement.facts import (
    BASES,
    PATIENT_USER,
    RESTRICTED,
    TOKEN,
    ask,
    category,
    observation,
    permit,
    token,
)

LAB = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"
ALL = token("patient/*.cruds", "patient/Medication.rs", "patient/Practitioner.rs")
OWN = token("patient/*.cruds", **PATIENT_USER)
STAFF = token("user/*.cruds")
NARROW = token("patient/Observation.rs")
STAFF_NARROW = token("user/Observation.rs")
GRANULAR = token(f"patient/Observation.rs?category={LAB}")
OUT, WITHHELD = Reason.OUTSIDE_LAUNCH_CONTEXT, Reason.LABEL_WITHHELD

MEDICATION = {"resourceType": "Medication"}
PROVENANCE: dict[str, Any] = {
    "resourceType": "Provenance",
    "id": "v",
    "target": [{"reference": "Observation/o1"}],
}
SEEN = {
    "Observation/o1": traits_of(observation()),
    "Observation/o2": traits_of(observation("o2")),
    "Observation/x1": traits_of(observation("x1", "p2")),
}


def containing(*parts: Any, **more: Any) -> dict[str, Any]:
    return observation(contained=list(parts), **more)


def judged(held: AccessToken, resource: dict[str, Any], evidence: Any = SEEN) -> Reason | None:
    access = permit(ask("Observation"), held).access
    grants = grant_rules(access, str(resource.get("resourceType")), READ | SEARCH)
    return judge_resource(access, traits_of(resource, BASES), grants, evidence)


@pytest.mark.parametrize(
    ("held", "resource", "expected"),
    [
        (ALL, observation(), None),
        (ALL, observation(patient="p2"), OUT),
        (ALL, {"resourceType": "Observation", "id": "o1"}, OUT),
        (ALL, observation() | {"subject": {"reference": "Group/g"}}, OUT),
        (ALL, observation() | {"subject": {"reference": "http://x.example/Patient/p1"}}, OUT),
        (ALL, observation() | {"subject": {"reference": f"{BASES[0]}Patient/p1"}}, None),
        (STAFF, observation(patient="p2"), None),
        (STAFF, {"resourceType": "Observation", "id": "o1"}, None),
        (ALL, {"resourceType": "Patient", "id": "p1"}, None),
        (ALL, {"resourceType": "Patient", "id": "p2"}, OUT),
        (ALL, {"resourceType": "Patient"}, OUT),
        (ALL, {"resourceType": "Basic", "id": "b"}, OUT),
        (STAFF, {"resourceType": "Basic", "id": "b"}, OUT),
        (STAFF, {"resourceType": "Nonsense"}, OUT),
        (STAFF, {"resourceType": ["Observation"]}, OUT),
        (STAFF, {}, OUT),
        (STAFF, {"resourceType": "Binary", "id": "b"}, OUT),
        (ALL, {"resourceType": "Group", "id": "g"}, OUT),
        (STAFF, {"resourceType": "Group", "id": "g"}, None),
        (ALL, {"resourceType": "Medication", "id": "m"}, None),
        (NARROW, {"resourceType": "Medication", "id": "m"}, OUT),
        (GRANULAR, observation(category=category("laboratory")), None),
        (GRANULAR, observation(category=category("vital-signs")), OUT),
        (GRANULAR, observation(category=category("laboratory", "http://other.example")), OUT),
        (GRANULAR, observation(category=category("LABORATORY")), OUT),
        (GRANULAR, observation(category=[{"text": "laboratory"}]), OUT),
        (GRANULAR, observation(category="laboratory"), OUT),
        (GRANULAR, observation(category=[5, None, {"coding": 5}, {"coding": [5]}]), OUT),
        (GRANULAR, observation(), OUT),
        (GRANULAR, observation(patient="p2", category=category("laboratory")), OUT),
        (ALL, observation(meta=RESTRICTED), WITHHELD),
        (STAFF, observation(meta=RESTRICTED), WITHHELD),
        (OWN, observation(meta=RESTRICTED), None),
        (OWN, observation(patient="p2", meta=RESTRICTED), OUT),
        (
            token("patient/*.rs", **{**PATIENT_USER, "fhir_user": "RelatedPerson/r"}),
            observation(meta=RESTRICTED),
            WITHHELD,
        ),
        (ALL, observation(meta={"security": "odd"}), WITHHELD),
        (ALL, containing(MEDICATION), None),
        (ALL, containing(MEDICATION | {"meta": RESTRICTED}), WITHHELD),
        (OWN, containing(MEDICATION | {"meta": RESTRICTED}), WITHHELD),
        (ALL, containing({"resourceType": "Observation"}), None),
        (ALL, containing(observation(patient="p2")), OUT),
        (ALL, containing(observation(patient="p1")), None),
        (ALL, containing(observation() | {"subject": {"reference": "#p"}}), OUT),
        (ALL, containing({"resourceType": "Patient", "id": "p1"}), OUT),
        (STAFF, containing({"resourceType": "Patient", "id": "p"}), None),
        # No scope of their own: they are a part of the record, and whose it is counts (ADR 12).
        (NARROW, containing({"resourceType": "Condition"}), None),
        (NARROW, containing({"resourceType": "Device", "patient": {"reference": "Patient/p1"}}), None),
        (NARROW, containing({"resourceType": "Device", "patient": {"reference": "Patient/p2"}}), OUT),
        (NARROW, containing({"resourceType": "Device", "patient": {"display": "Somebody"}}), OUT),
        (NARROW, containing({"resourceType": "Device", "meta": RESTRICTED}), WITHHELD),
        (
            NARROW,
            containing(
                {"resourceType": "Device", "meta": RESTRICTED, "patient": {"reference": "Patient/p2"}}
            ),
            OUT,
        ),
        (NARROW, containing({"resourceType": "Device"}, patient="p2"), OUT),
        (NARROW, containing({"resourceType": "Patient", "id": "p1"}), OUT),
        (NARROW, containing(MEDICATION), None),
        (
            STAFF_NARROW,
            containing({"resourceType": "Condition", "subject": {"reference": "Patient/p2"}}),
            None,
        ),
        (STAFF_NARROW, containing({"resourceType": "Patient", "id": "p"}), None),
        (STAFF_NARROW, containing({"resourceType": "Condition", "meta": RESTRICTED}), WITHHELD),
        (ALL, MEDICATION | {"contained": [{"resourceType": "Practitioner"}]}, None),
        (ALL, MEDICATION | {"contained": [observation()]}, OUT),
        (ALL, MEDICATION | {"contained": [{"resourceType": "Device"}]}, OUT),
        (ALL, containing({"resourceType": "Provenance"}), OUT),
        (STAFF, containing({"resourceType": "Group"}), OUT),
        (ALL, containing({"resourceType": "Binary"}), None),
        (ALL, containing({"resourceType": "Binary", "meta": RESTRICTED}), WITHHELD),
        (ALL, containing({"resourceType": "Binary", "securityContext": {"reference": "Patient/p2"}}), OUT),
        (ALL, containing({"resourceType": "Basic"}), OUT),
        (ALL, containing({}), OUT),
        (ALL, containing("x"), OUT),
        (ALL, containing(MEDICATION | {"contained": []}), OUT),
        (ALL, observation() | {"contained": MEDICATION}, OUT),
        (ALL, observation() | {"contained": {}}, OUT),
        (ALL, observation() | {"contained": ""}, OUT),
        (GRANULAR, containing({"resourceType": "Observation"}, category=category("laboratory")), None),
        (GRANULAR, containing({"resourceType": "Observation", "category": category("laboratory")}), OUT),
        (
            GRANULAR,
            containing(
                {"resourceType": "Observation", "category": category("laboratory")},
                category=category("laboratory"),
            ),
            None,
        ),
        (ALL, PROVENANCE, None),
        (
            ALL,
            PROVENANCE | {"target": [{"reference": "Observation/o1"}, {"reference": "Observation/x1"}]},
            OUT,
        ),
        (ALL, PROVENANCE | {"target": [{"reference": "Observation/absent"}]}, OUT),
        (ALL, PROVENANCE | {"target": []}, OUT),
        (ALL, PROVENANCE | {"target": [{"reference": "#x"}]}, OUT),
        (ALL, PROVENANCE | {"meta": RESTRICTED}, WITHHELD),
        (ALL, PROVENANCE | {"contained": [observation(patient="p2")]}, OUT),
        (ALL, PROVENANCE | {"contained": [MEDICATION]}, None),
        (ALL, PROVENANCE | {"contained": [{"resourceType": "Device"}]}, None),
        (NARROW, PROVENANCE, OUT),
        (token("patient/Provenance.rs", "patient/Patient.rs"), PROVENANCE, OUT),
    ],
)
def test_a_resource_is_seen_only_by_whom_it_reaches(
    held: AccessToken, resource: dict[str, Any], expected: Reason | None
) -> None:
    """C73, C74, C82; security decision 10."""
    if held.scopes == ("patient/Provenance.rs", "patient/Patient.rs"):
        access = permit(ask("Patient/p1"), held).access
        grants = grant_rules(access, "Provenance", READ)
        assert judge_resource(access, traits_of(resource, BASES), grants, SEEN) is expected
    else:
        assert judged(held, resource) is expected


@pytest.mark.parametrize("resource", [{"resourceType": "Basic", "id": "b"}, {}, None])
def test_what_belongs_to_no_listed_type_is_out_of_reach_of_every_rule(resource: Any) -> None:
    access = permit(ask("Observation"), STAFF).access

    assert judge_resource(access, traits_of(resource), grant_rules(access, "Observation", READ)) is OUT


def test_a_provenance_of_a_provenance_is_not_followed() -> None:
    about = PROVENANCE | {"target": [{"reference": "Provenance/w"}]}
    evidence = {**SEEN, "Provenance/w": traits_of(PROVENANCE | {"id": "w"})}

    assert judged(ALL, about, evidence) is OUT


def test_evidence_of_another_type_than_named_proves_nothing() -> None:
    other = traits_of(observation() | {"resourceType": "Condition"})

    assert judged(ALL, PROVENANCE, {"Observation/o1": other}) is OUT


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (observation("o1"), None),
        (observation("o2"), Reason.RESPONSE_UNJUDGEABLE),
        ({"resourceType": "Patient", "id": "o1"}, Reason.RESPONSE_UNJUDGEABLE),
        ({"id": "o1"}, Reason.RESPONSE_UNJUDGEABLE),
        ([], Reason.RESPONSE_UNJUDGEABLE),
        (None, Reason.RESPONSE_UNJUDGEABLE),
        (observation("o1", "p2"), OUT),
        (observation("o1", meta=RESTRICTED), WITHHELD),
    ],
)
def test_what_was_read_must_be_what_was_asked_for(resource: Any, expected: Reason | None) -> None:
    found = judge_read(permit(ask("Observation/o1")), traits_of(resource))

    assert (found.reason if found else None) is expected


def test_the_one_resource_of_fhir_user_is_judged_by_its_name_alone() -> None:
    """Security decision 11."""
    held = token("openid", "fhirUser")
    permitted = permit(ask("Practitioner/dr"), held)

    assert judge_read(permitted, traits_of({"resourceType": "Practitioner", "id": "dr"})) is None
    assert judge_read(permitted, traits_of({"resourceType": "Practitioner", "id": "other"})) is not None


def update(body: bytes, held: AccessToken = TOKEN, target: str = "Observation/o1") -> Permit:
    return permit(ask(target, method="PUT", body=body), held)


BODY = b'{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/p1"}}'
STAFF_BODY = BODY.replace(b"p1", b"p2")
VISIT: dict[str, Any] = {
    "resourceType": "Appointment",
    "id": "v",
    "participant": [{"actor": {"reference": "Patient/p1"}}],
}
OWN_VISIT = update(orjson.dumps(VISIT), OWN, "Appointment/v")


@pytest.mark.parametrize(
    ("permitted", "current", "expected"),
    [
        (update(BODY), observation("o1"), None),
        (update(BODY), observation("o1", "p2"), OUT),
        (update(BODY), observation("o1", meta=RESTRICTED), WITHHELD),
        (OWN_VISIT, VISIT, None),
        (OWN_VISIT, VISIT | {"meta": RESTRICTED}, WITHHELD),
        (update(BODY, STAFF), observation("o1"), None),
        (update(STAFF_BODY, STAFF), observation("o1"), OUT),
        (update(BODY, STAFF), {"resourceType": "Observation", "id": "o1"}, OUT),
        (update(BODY), observation("other"), Reason.RESPONSE_UNJUDGEABLE),
        (permit(ask("Observation/o1", method="DELETE")), observation("o1"), None),
        (permit(ask("Observation/o1", method="DELETE")), observation("o1", "p2"), OUT),
    ],
)
def test_a_write_may_not_take_a_record_or_give_it_away(
    permitted: Permit, current: dict[str, Any], expected: Reason | None
) -> None:
    """C79."""
    found = judge_change(permitted, traits_of(current))

    assert (found.reason if found else None) is expected


def test_a_provenance_keeps_its_targets() -> None:
    body = b'{"resourceType":"Provenance","id":"v","target":[{"reference":"Observation/o1"}]}'
    service = token("system/*.cruds", person="", role="", fhir_user="", patient="")
    from tests.unit.gateway.enforcement.facts import BACKEND_SNAPSHOT

    permitted = permit(ask("Provenance/v", method="PUT", body=body), service, BACKEND_SNAPSHOT)

    elsewhere = PROVENANCE | {"target": [{"reference": "Observation/o2"}]}

    assert judge_change(permitted, traits_of(PROVENANCE), SEEN) is None
    moved = judge_change(permitted, traits_of(elsewhere), SEEN)
    assert moved is not None
    assert moved.reason is OUT


def entry(resource: Any, mode: str | None = None) -> dict[str, Any]:
    return {"resource": resource, **({"search": {"mode": mode}} if mode else {})}


def bundle(*entries: Any, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "searchset", "entry": list(entries), **more}


def filtered(query: str, answer: Any, held: AccessToken = ALL, evidence: Any = SEEN) -> Any:
    return filter_response(permit(ask(query), held), answer, evidence)


REQUEST = {
    "resourceType": "MedicationRequest",
    "id": "r",
    "subject": {"reference": "Patient/p1"},
    "medicationReference": {"reference": "Medication/m"},
}
DRUG = {"resourceType": "Medication", "id": "m"}
WITH_DRUG = "MedicationRequest?_include=MedicationRequest:medication"
WITH_PROVENANCE = "Observation?_revinclude=Provenance:target"


@pytest.mark.parametrize(
    ("query", "answer", "kept"),
    [
        ("Observation", bundle(entry(observation())), ["o1"]),
        (
            "Observation",
            bundle(entry(observation(), "match"), entry(observation("x", "p2"), "match")),
            ["o1"],
        ),
        (
            "Observation?_id=o2",
            bundle(entry(observation(), "match"), entry(observation("o2"), "match")),
            ["o2"],
        ),
        ("Observation", bundle(entry({"resourceType": "Patient", "id": "p1"}, "include")), []),
        ("Observation", bundle(entry({"resourceType": "OperationOutcome"}, "outcome")), []),
        ("Observation", bundle(entry({"resourceType": "Medication", "id": "m"})), []),
        ("Observation", bundle(entry(observation(), "include")), []),
        ("Observation", bundle(entry(observation(), "surprise")), []),
        (WITH_DRUG, bundle(entry(REQUEST, "match"), entry(DRUG, "include")), ["r", "m"]),
        (WITH_DRUG, bundle(entry(REQUEST, "match"), entry(DRUG)), ["r", "m"]),
        (WITH_DRUG, bundle(entry(REQUEST | {"meta": RESTRICTED}, "match"), entry(DRUG, "include")), []),
        (WITH_DRUG, bundle(entry(REQUEST, "match"), entry(DRUG | {"id": "n"}, "include")), ["r"]),
        (WITH_DRUG, bundle(entry(REQUEST, "match"), entry(observation(), "include")), ["r"]),
        (WITH_PROVENANCE, bundle(entry(observation(), "match"), entry(PROVENANCE, "include")), ["o1", "v"]),
        (WITH_PROVENANCE, bundle(entry(observation("o2"), "match"), entry(PROVENANCE, "include")), ["o2"]),
        ("Observation", bundle(), []),
        ("Observation", {"resourceType": "Bundle", "type": "searchset"}, []),
    ],
)
def test_a_searchset_keeps_what_was_asked_for_and_is_reached(
    query: str, answer: dict[str, Any], kept: list[str]
) -> None:
    """C60, C74."""
    found, removed = filtered(query, answer)

    assert [e["resource"]["id"] for e in found.get("entry", [])] == kept
    assert removed == len(answer.get("entry", [])) - len(kept)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {"resourceType": "Observation"},
        {"resourceType": "Bundle"},
        {"resourceType": "Bundle", "type": "history"},
        {"resourceType": "Bundle", "type": "searchset", "entry": {}},
        bundle(5),
        bundle({}),
        bundle({"resource": None}),
        bundle(entry({"id": "o1"})),
        bundle(entry({"resourceType": 5})),
        bundle(entry({"resourceType": "Observation", "id": 5})),
        bundle(entry({"resourceType": "Patient", "id": "p1"}, "match")),
    ],
)
def test_an_answer_of_another_kind_cannot_be_judged(answer: Any) -> None:
    found = filtered("Observation", answer)

    assert isinstance(found, Deny)
    assert found.reason is Reason.RESPONSE_UNJUDGEABLE


def test_a_read_is_not_answered_with_a_searchset() -> None:
    assert isinstance(filter_response(permit(ask("Observation/o1")), bundle()), Deny)


@pytest.mark.parametrize(
    ("held", "entries", "total", "expected"),
    [
        (OWN, [entry(observation())], 1, 1),
        (OWN, [entry(observation()), entry(observation("x", "p2"))], 2, None),
        (OWN, [entry(observation()), entry({"resourceType": "Patient", "id": "p2"}, "include")], 1, 1),
        (OWN, [entry(observation())], True, None),
        (OWN, [entry(observation())], "1", None),
        (ALL, [entry(observation())], 1, None),
    ],
)
def test_a_total_is_returned_only_where_it_discloses_nothing_more(
    held: AccessToken, entries: list[Any], total: Any, expected: int | None
) -> None:
    """C74."""
    found, _ = filtered("Observation", bundle(*entries, total=total), held)

    assert found.get("total") == expected


def test_links_and_everything_else_of_the_servers_is_dropped() -> None:
    found, _ = filtered(
        "Observation",
        bundle(
            entry(observation()) | {"link": [], "response": {}}, link=[{"url": "x"}], signature={}, id="b"
        ),
    )

    assert set(found) == {"resourceType", "type", "id", "entry"}
    assert found["entry"] == [{"resource": observation(), "search": {"mode": "match"}}]


def test_evidence_is_asked_for_once_and_only_of_what_others_are_judged_by() -> None:
    several = [PROVENANCE, PROVENANCE, {"resourceType": "Provenance", "target": [{"reference": "Basic/b"}]}]

    assert wanted_evidence(map(traits_of, several)) == ("Observation/o1",)
    assert wanted_evidence([traits_of(observation())]) == ()
    assert list(evidence_within([traits_of(observation())])) == ["Observation/o1"]
