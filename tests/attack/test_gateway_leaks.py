"""A patient's grant cannot reach another patient, by any door.

Each form is tried against our own server and against one that ignores every narrowing and brings along what nobody asked for:
what the narrowing does not keep away, the judging of the answer must.
"""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.flows.gateway_ground import Answer, Ground, Play, patient
from tests.sim.fhir_upstream import OtherServer
from tests.unit.gateway.enforcement.facts import category, observation

CANARY = "SECRET-OF-P2"
SCOPES = ("patient/*.cruds", "patient/Medication.rs", "patient/Organization.rs")

SECRETS: tuple[dict[str, Any], ...] = (
    patient("p2", photo=[{"title": CANARY}]),
    observation("x1", "p2", code={"text": CANARY}, category=category("laboratory")),
    observation("mine", "p1", code={"text": "mine"}),
    observation(
        "holds",
        "p1",
        code={"text": "has somebody else inside"},
        contained=[observation("inner", "p2", code={"text": CANARY})],
    ),
    observation(
        "with-patient",
        "p1",
        code={"text": "x"},
        contained=[patient("in", gender="other", name=[{"text": CANARY}])],
    ),
    observation(
        "with-device",
        "p1",
        code={"text": "x"},
        contained=[
            {
                "resourceType": "Device",
                "id": "in",
                "patient": {"reference": "Patient/p2"},
                "lotNumber": CANARY,
            }
        ],
    ),
    observation(
        "with-binary",
        "p1",
        code={"text": "x"},
        contained=[
            {
                "resourceType": "Binary",
                "id": "in",
                "contentType": CANARY,
                "securityContext": {"reference": "Patient/p2"},
            }
        ],
    ),
    {
        "resourceType": "Condition",
        "id": "c2",
        "subject": {"reference": "Patient/p2"},
        "code": {"text": CANARY},
    },
    {
        "resourceType": "List",
        "id": "l2",
        "status": "current",
        "mode": "working",
        "subject": {"reference": "Patient/p2"},
        "title": CANARY,
        "entry": [{"item": {"reference": "Observation/mine"}}],
    },
    {
        "resourceType": "Group",
        "id": "g",
        "type": "person",
        "actual": True,
        "name": CANARY,
        "member": [{"entity": {"reference": "Patient/p1"}}, {"entity": {"reference": "Patient/p2"}}],
    },
    {
        "resourceType": "Appointment",
        "id": "together",
        "status": "booked",
        "comment": CANARY,
        "participant": [
            {"actor": {"reference": "Patient/p1"}, "status": "accepted"},
            {"actor": {"reference": "Patient/p2"}, "status": "accepted"},
        ],
    },
    {
        "resourceType": "DocumentReference",
        "id": "d2",
        "status": "current",
        "subject": {"reference": "Patient/p2"},
        "description": CANARY,
        "content": [{"attachment": {"url": "Binary/b2"}}],
    },
    {
        "resourceType": "DocumentReference",
        "id": "d1",
        "status": "current",
        "subject": {"reference": "Patient/p1"},
        "content": [{"attachment": {"url": "Binary/b1"}}],
    },
    {
        "resourceType": "Binary",
        "id": "b1",
        "contentType": "text/plain",
        "data": base64.b64encode(b"mine").decode(),
    },
    {
        "resourceType": "Binary",
        "id": "b2",
        "contentType": "text/plain",
        "data": base64.b64encode(CANARY.encode()).decode(),
    },
    {
        "resourceType": "Binary",
        "id": "b3",
        "contentType": "text/plain",
        "securityContext": {"reference": "Observation/x1"},
        "data": base64.b64encode(CANARY.encode()).decode(),
    },
    {
        "resourceType": "Provenance",
        "id": "v2",
        "target": [{"reference": "Observation/mine"}, {"reference": "Observation/x1"}],
        "recorded": "2026-01-01T00:00:00Z",
        "reason": [{"text": CANARY}],
        "agent": [{"who": {"reference": "Practitioner/dr"}}],
    },
    {
        "resourceType": "Device",
        "id": "dev2",
        "patient": {"reference": "Patient/p2"},
        "lotNumber": CANARY,
    },
    {
        "resourceType": "Basic",
        "id": "basic",
        "code": {"text": CANARY},
        "subject": {"reference": "Patient/p2"},
    },
    {
        "resourceType": "RelatedPerson",
        "id": "rp2",
        "patient": {"reference": "Patient/p2"},
        "name": [{"text": CANARY}],
    },
)

FORMS: dict[str, list[str]] = {
    "id": [
        "Patient/p2",
        "Observation/x1",
        "Condition/c2",
        "List/l2",
        "Device/dev2",
        "RelatedPerson/rp2",
        "Basic/basic",
    ],
    "search": [
        "Patient",
        "Patient?_id=p2",
        "Patient?name=Family",
        "Observation",
        "Observation?patient=p2",
        "Observation?patient=Patient/p1,Patient/p2",
        "Observation?subject=Patient/p2",
        "Observation?subject:Patient=p2",
        "Observation?_id=x1",
        "Observation?_lastUpdated=gt2000-01-01",
        "Observation?subject:missing=false",
        "Observation?patient=p1&patient=p2",
        "Observation?subject=Patient/p1&patient=p2",
        "Condition?_count=200",
        "Device?_count=200",
        "Appointment?patient=p1",
        "RelatedPerson?_count=200",
    ],
    "include": [
        "Observation?_include=Observation:subject",
        "Observation?_include=Observation:patient:Patient",
        "Observation?_include=*",
        "Provenance?target=Observation/mine&_include=Provenance:target",
    ],
    "reverse include": [
        "Patient?_revinclude=Observation:subject",
        "Observation?_revinclude=Provenance:target",
        "Observation?_revinclude=List:item",
        "Patient?_revinclude=Group:member",
        "Organization?_revinclude=Patient:organization",
        "Patient?_revinclude:iterate=Observation:subject",
    ],
    "chain": [
        "Observation?subject.name=Family",
        "Observation?patient.identifier=x",
        "Observation?subject:Patient.name=Family",
        "Observation?subject.name:contains=F",
    ],
    "_has": ["Patient?_has:Observation:patient:code=x", "Patient?_has:Group:member:_id=g"],
    "_list": ["Observation?_list=l2", "Patient?_list=l2"],
    "_filter": ["Observation?_filter=subject eq Patient/p2".replace(" ", "%20")],
    "history": [
        "Observation/x1/_history",
        "Observation/_history",
        "_history",
        "Observation/x1/_history/1",
        "Patient/p2/_history/1",
    ],
    "$everything": [
        "Patient/p2/$everything",
        "Patient/$everything",
        "Patient/p1/$everything",
        "Group/g/$export",
    ],
    "contained": [
        "Observation/holds",
        "Observation/with-patient",
        "Observation?_id=holds",
        "Observation?_contained=true",
    ],
    "page link": [
        "?_getpages=pg0",
        "Observation?_getpages=pg0",
        "Observation?_page=abc",
        "Observation?_offset=0",
    ],
    "Binary": ["Binary/b2", "Binary/b3", "Binary?_id=b2", "Binary/b2/_history/1", "Binary"],
    "attachment": [
        "DocumentReference/d2",
        "DocumentReference?patient=p2",
        "DocumentReference?location=Binary/b2",
    ],
    "compartment": ["Patient/p2/Observation", "Patient/p2/*", "Patient/p1/Observation"],
    "group": ["Group/g", "Group", "Group?member=Patient/p1"],
    "targets": ["Provenance/v2", "Provenance?target=Observation/x1", "Provenance?_id=v2"],
    "several patients": ["Appointment/together", "Appointment?_id=together"],
    "system": ["", "?_type=Observation", "?_id=x1"],
}
CASES = [(form, target) for form, targets in FORMS.items() for target in targets]


def is_clean(answer: Answer) -> bool:
    encoded = base64.b64encode(CANARY.encode())
    return CANARY.encode() not in answer.body and encoded not in answer.body


def assert_no_leak(answer: Answer, case: object) -> None:
    assert answer.status < 500 or answer.status in {502, 503}, case
    assert is_clean(answer), case
    assert b"Patient/p2" not in answer.body, case
    assert b"upstream.internal" not in answer.body, case
    assert b"upstream.internal" not in json.dumps(answer.headers).encode(), case


def hostile() -> tuple[OtherServer, Callable[[Any], OtherServer]]:
    server = OtherServer(careless=True)
    server.load(patient("p1"), *SECRETS)
    return server, lambda _tenant: server


@pytest.mark.parametrize("person", ["doctor", "patient"])
def test_no_form_of_request_reaches_another_patient_at_our_own_server(play: Play, person: str) -> None:
    """C73: one leak test each; C26 of the traps: fix for one search form, others leak."""

    async def story(made: Ground) -> None:
        made.load(*SECRETS)
        token = made.token(*SCOPES, person=person)
        for case in CASES:
            assert_no_leak(await made.get(case[1], token), case)

    play(story)


def test_no_form_of_request_reaches_another_patient_at_a_careless_server(play: Play) -> None:
    """C73, C74: every resource of an answer is judged again, whatever the server was asked."""
    _, find = hostile()

    async def story(made: Ground) -> None:
        token = made.token(*SCOPES)
        for case in CASES:
            assert_no_leak(await made.get(case[1], token), case)
        own = await made.get("Observation", token)
        assert "Observation/mine" in own.ids

    play(story, embedded=find)


def test_searches_by_post_leak_no_more_than_by_get(play: Play) -> None:
    """C73."""
    _, find = hostile()

    async def story(made: Ground) -> None:
        token = made.token(*SCOPES)
        form = {"content-type": "application/x-www-form-urlencoded"}
        for case in CASES:
            path, _, query = case[1].partition("?")
            if path.isalpha():
                answer = await made.send("POST", f"{path}/_search", token, body=query.encode(), headers=form)
                assert_no_leak(answer, case)

    play(story, embedded=find)


def test_a_binary_is_reached_only_through_a_record_within_reach(play: Play) -> None:
    """C73, Binary: as an attachment, in its own media type."""

    async def story(made: Ground) -> None:
        made.load(*SECRETS)
        token = made.token("patient/DocumentReference.rs")

        own = await made.get("Binary/b1", token)
        as_fhir = await made.get("Binary/b1", token, headers={"Accept": "application/fhir+json"})

        assert (own.status, own.body) == (200, b"mine")
        assert own.headers["content-type"] == "text/plain"
        assert own.headers["content-disposition"] == "attachment"
        assert as_fhir.json["resourceType"] == "Binary"
        assert (await made.get("Binary/b2", token)).status == 404
        assert (await made.get("Binary/absent", token)).status == 404

    play(story)


def test_a_drug_does_not_come_along_for_a_prescription_that_is_withheld(play: Play) -> None:
    """C73, include: what was included for a match that was removed goes with it."""
    label = {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV"}]}
    request = {
        "resourceType": "MedicationRequest",
        "id": "withheld",
        "status": "active",
        "intent": "order",
        "meta": label,
        "subject": {"reference": "Patient/p1"},
        "medicationReference": {"reference": "Medication/telling"},
    }

    async def story(made: Ground) -> None:
        made.load({"resourceType": "Medication", "id": "telling", "code": {"text": CANARY}}, request)
        token = made.token("patient/MedicationRequest.rs", "patient/Medication.rs")

        answer = await made.get("MedicationRequest?_include=MedicationRequest:medication", token)

        assert answer.ids == ["MedicationRequest/mr1", "Medication/m1"]
        assert is_clean(answer)

    play(story)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b'{"resourceType":"Bundle"}',
        b'{"resourceType":"Bundle","type":"searchset","entry":{}}',
        b'{"resourceType":"Bundle","type":"searchset","entry":[5]}',
        b'{"resourceType":"Bundle","type":"searchset","entry":[{"resource":{"id":"a"}}]}',
        b'{"resourceType":"Bundle","type":"searchset","entry":[{"resource":{"resourceType":5}}]}',
        b'{"resourceType":"Bundle","type":"searchset","entry":[{"resource":{"resourceType":"Patient","id":"p1"},"search":{"mode":"match"}}]}',
        b'{"resourceType":"Bundle","type":"history","entry":[]}',
        b'{"resourceType":"Bundle","type":"searchset","link":[{"relation":"next","url":"http://evil.example/fhir?x"}]}',
        b'{"resourceType":"Bundle","type":"searchset","link":[{"relation":"next","url":5}]}',
        b'{"resourceType":"Observation","id":"other","subject":{"reference":"Patient/p1"}}',
        b'{"resourceType":"Patient","id":"o1"}',
        b'{"resourceType":["Observation"],"id":"o1"}',
        b"\xff\xfe",
    ],
)
def test_an_answer_that_cannot_be_judged_is_not_given(play: Play, raw: bytes) -> None:
    """C74: another type, no type, no Bundle, a page elsewhere: 502 and nothing of it."""
    server = OtherServer(raw=raw)

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rs", "patient/Patient.rs")

        for target in ("Observation?code=x" if b"Bundle" in raw or not raw else "Observation/o1",):
            answer = await made.get(target.replace("?code=x", ""), token)
            assert answer.status == 502, answer.body
            assert answer.json["issue"][0]["details"]["coding"][0]["code"] == "response_unjudgeable"

    play(story, embedded=lambda _tenant: server)


@pytest.mark.parametrize("search", [None, [], "match", 5, {}, {"mode": None}, {"mode": ["include"]}])
def test_an_entry_with_an_unclear_search_mode_is_described_by_its_type(play: Play, search: Any) -> None:
    """C74: whatever stands there, the answer is judged, and its giving recorded."""
    found = [observation("o1"), patient("p2"), observation("x1", "p2", code={"text": CANARY})]
    entries = [{"resource": each, "search": search} for each in found]
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
    server = OtherServer(raw=json.dumps(bundle).encode())

    async def story(made: Ground) -> None:
        answer = await made.get("Observation", made.token("patient/Observation.rs"))

        assert answer.status == 200
        assert [each["search"] for each in answer.json["entry"]] == [{"mode": "match"}]
        assert_no_leak(answer, search)

    play(story, embedded=lambda _tenant: server)


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 418, 429, 500, 502, 503, 504])
def test_what_a_failing_server_says_stays_inside(play: Play, status: int) -> None:
    """C70, C85: 503 or 502, never the server's own words or credentials."""
    server = OtherServer(status=status)

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rs")

        answer = await made.get("Observation/o1", token)

        assert answer.status in {502, 503}
        assert answer.json["issue"][0]["details"]["text"]
        if answer.status == 503:
            assert int(answer.headers["retry-after"]) >= 1

    play(story, embedded=lambda _tenant: server)
