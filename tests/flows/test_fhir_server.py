"""The FHIR server's interactions, through its ASGI callable. Source: FHIR R4 http.html."""

import asyncio
import json
import multiprocessing
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import fhirkit
import pytest

from hilum_ehr.fhirserver.models import MAX_BODY_BYTES, FhirServerSettings, Problem, Refused
from hilum_ehr.fhirserver.routes import FhirServer
from tests.sim.one_world import in_one_world
from tests.sim.world import FakeClock, SeededIds
from tests.unit.fhirserver.driver import BASE, Fhir

PATIENT = {"resourceType": "Patient", "id": "p1", "name": [{"family": "Łódź"}], "gender": "female"}
OBSERVATION = {"resourceType": "Observation", "id": "o1", "status": "final", "code": {"text": "x"}}


@pytest.fixture
def fhir(tmp_path: Path) -> Iterator[Fhir]:
    driver = Fhir(tmp_path / "fhir.db")
    yield driver
    driver.close()


def test_a_created_resource_is_read_back_where_the_location_says(fhir: Fhir) -> None:
    """FHIR R4 http.html#create: 201, Location, ETag; the server chooses the id."""
    created = fhir.write(
        "POST", "/Patient", {**PATIENT, "meta": {"versionId": "9", "tag": [{"code": "kept"}]}}
    )

    assert created.status == 201
    assert created.json["id"] != "p1"
    assert created.json["meta"] == {
        "tag": [{"code": "kept"}], "versionId": "1", "lastUpdated": "2026-03-02T09:00:00.000Z",
    }  # fmt: skip
    assert created.headers["etag"] == 'W/"1"'
    assert created.headers["location"] == f"{BASE}/Patient/{created.json['id']}/_history/1"
    read = fhir.get(f"/Patient/{created.json['id']}")
    assert (read.status, read.body) == (200, created.body)
    assert read.headers["content-type"] == "application/fhir+json"
    assert read.headers["last-modified"] == "Mon, 02 Mar 2026 09:00:00 GMT"


def test_decimals_stay_as_their_author_wrote_them(fhir: Fhir) -> None:
    """FHIR R4 datatypes.html#decimal: precision is kept."""
    body = b'{"resourceType":"Observation","id":"o1","status":"final","code":{"text":"x"},"valueQuantity":{"value":72.50}}'

    assert b'"value":72.50}' in fhir.write("PUT", "/Observation/o1", body).body
    assert b'"value":72.50}' in fhir.get("/Observation", "value-quantity=72.5").body
    assert b'"value": 72.50' in fhir.get("/Observation/o1", "_pretty=true").body
    assert b'"value":72.50}' in fhir.get("/Observation/o1", "_elements=value").body


@pytest.mark.parametrize("value", [b"123456789012345678901234567890", b"1.50E-3", b"-0.0"])
def test_a_number_of_any_length_is_kept(fhir: Fhir, value: bytes) -> None:
    """FHIR R4 datatypes.html#decimal: a decimal may have more digits than a machine's number."""
    body = b'{"resourceType":"Observation","id":"o1","status":"final","code":{"text":"x"},"valueQuantity":{"value":%b}}'

    assert fhir.write("PUT", "/Observation/o1", body % value).status == 201
    assert b'"value":' + value + b"}" in fhir.get("/Observation/o1").body


def test_an_update_makes_a_version_and_keeps_the_old_one(fhir: Fhir) -> None:
    """FHIR R4 http.html#update, #vread, #history."""
    assert fhir.write("PUT", "/Patient/p1", PATIENT).status == 201
    fhir.clock.advance(timedelta(seconds=5))
    second = fhir.write("PUT", "/Patient/p1", {**PATIENT, "gender": "male"})

    assert (second.status, second.headers["etag"]) == (200, 'W/"2"')
    assert fhir.get("/Patient/p1").json["gender"] == "male"
    assert fhir.get("/Patient/p1/_history/1").json["gender"] == "female"
    assert fhir.get("/Patient/p1/_history/2").body == second.body
    history = fhir.get("/Patient/p1/_history").json
    assert history["type"] == "history"
    assert [e["response"]["etag"] for e in history["entry"]] == ['W/"2"', 'W/"1"']
    assert [e["request"]["method"] for e in history["entry"]] == ["PUT", "PUT"]
    assert fhir.search("Patient", "gender=female") == []
    assert fhir.search("Patient", "gender=male") == ["p1"]


def test_history_is_paged(fhir: Fhir) -> None:
    for _ in range(5):
        fhir.write("PUT", "/Patient/p1", PATIENT)

    seen, query = [], "_count=2"
    while query:
        page = fhir.get("/Patient/p1/_history", query)
        seen += [e["resource"]["meta"]["versionId"] for e in page.json["entry"]]
        query = (page.link("next") or "").partition("?")[2]

    assert seen == ["5", "4", "3", "2", "1"]


def test_a_deleted_resource_is_gone_but_its_versions_stay(fhir: Fhir) -> None:
    """FHIR R4 http.html#delete: 410 afterwards; a later update brings it back."""
    fhir.write("PUT", "/Patient/p1", PATIENT)

    deleted = fhir.request("DELETE", "/Patient/p1")

    assert (deleted.status, deleted.body) == (204, b"")
    gone = fhir.get("/Patient/p1")
    assert (gone.status, gone.issue["code"]) == (410, "deleted")
    assert fhir.get("/Patient/p1/_history/1").status == 200
    assert fhir.get("/Patient/p1/_history/2").status == 410
    assert fhir.search("Patient", "") == []
    assert fhir.search("Patient", "_id=p1") == []
    assert fhir.search("Patient", {"name": "łódź"}) == []
    assert fhir.request("DELETE", "/Patient/p1").status == 204
    assert fhir.request("DELETE", "/Patient/never").status == 204
    back = fhir.write("PUT", "/Patient/p1", PATIENT)
    assert (back.status, back.headers["etag"]) == (201, 'W/"3"')
    assert fhir.search("Patient", {"name": "łódź"}) == ["p1"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If_Match": 'W/"1"'}, 200),
        ({"If_Match": '"1"'}, 200),
        ({"If_Match": "*"}, 200),
        ({"If_Match": 'W/"2"'}, 412),
        ({"If_Match": 'W/"0"'}, 412),
        ({"If_Match": 'W/"x"'}, 412),
        ({"If_Match": 'W/"99999999999999999999"'}, 412),
        ({"If_Match": "1"}, 400),
        ({"If_Match": ""}, 400),
        ({"If_Match": 'W/"1", W/"2"'}, 400),
        ({"If_None_Match": "*"}, 412),
        ({"If_None_Match": 'W/"1"'}, 400),
    ],
)
def test_a_write_depends_on_the_version_it_names(fhir: Fhir, headers: dict[str, str], status: int) -> None:
    """FHIR R4 http.html#concurrency."""
    fhir.write("PUT", "/Patient/p1", PATIENT)

    answer = fhir.write("PUT", "/Patient/p1", {**PATIENT, "gender": "male"}, **headers)

    assert answer.status == status
    assert fhir.get("/Patient/p1").json["gender"] == ("male" if status == 200 else "female")


@pytest.mark.parametrize("header", ['W/"1"', "*"])
def test_a_write_to_a_version_of_nothing_is_refused(fhir: Fhir, header: str) -> None:
    assert fhir.write("PUT", "/Patient/p1", PATIENT, If_Match=header).status == 412
    assert fhir.get("/Patient/p1").status == 404


def test_a_deletion_may_depend_on_a_version_too(fhir: Fhir) -> None:
    fhir.write("PUT", "/Patient/p1", PATIENT)

    assert fhir.request("DELETE", "/Patient/p1", headers={"If-Match": 'W/"7"'}).status == 412
    assert fhir.request("DELETE", "/Patient/p1", headers={"If-Match": 'W/"1"'}).status == 204


@pytest.mark.parametrize(
    ("tags", "status"),
    [('W/"1"', 304), ('"1"', 304), ('W/"7", W/"1"', 304), ("*", 304), ('W/"2"', 200), ("1", 200), ("", 200)],
)
def test_a_read_of_what_is_already_held_sends_nothing(fhir: Fhir, tags: str, status: int) -> None:
    """FHIR R4 http.html#cread."""
    fhir.write("PUT", "/Patient/p1", PATIENT)

    answer = fhir.get("/Patient/p1", If_None_Match=tags)

    assert answer.status == status
    assert bool(answer.body) is (status == 200)
    assert answer.headers["etag"] == 'W/"1"'


def test_a_conditional_create_finds_what_is_there(fhir: Fhir) -> None:
    """FHIR R4 http.html#ccreate: none creates, one is given, many are refused."""
    resource = {"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": "7"}]}
    first = fhir.write("POST", "/Patient", resource, If_None_Exist="identifier=urn:mrn|7")
    second = fhir.write("POST", "/Patient", resource, If_None_Exist="?identifier=urn:mrn|7")
    fhir.write("POST", "/Patient", resource)

    assert (first.status, second.status) == (201, 200)
    assert second.body == first.body
    many = fhir.write("POST", "/Patient", resource, If_None_Exist="identifier=urn:mrn|7")
    assert (many.status, many.issue["code"]) == (412, "multiple-matches")
    assert fhir.write("POST", "/Patient", resource, If_None_Exist="").status == 400
    assert fhir.write("POST", "/Patient", resource, If_None_Exist="nonsense=1").status == 400
    assert len(fhir.search("Patient", "")) == 2


def test_prefer_says_what_a_write_answers(fhir: Fhir) -> None:
    """FHIR R4 http.html#return."""
    assert fhir.write("PUT", "/Patient/p1", PATIENT, Prefer="return=minimal").body == b""
    assert fhir.write("PUT", "/Patient/p1", PATIENT, Prefer="return=representation").json["id"] == "p1"
    outcome = fhir.write("PUT", "/Patient/p1", PATIENT, Prefer="return=OperationOutcome").json
    assert outcome["issue"][0]["severity"] == "information"


@in_one_world("body", [
    b"", b"{", b"[]", b"null", b'"Patient"', b"{}", b'{"resourceType":3}', b'{"resourceType":"Nonsense"}',
    b'{"resourceType":"Parameters"}', b'{"resourceType":"Group"}', b'{"resourceType":"Patient","active":NaN}',
    b'{"resourceType":"Patient","name":"x"}', b'{"resourceType":"Patient","unknown":1}', b"\xff\xfe\x00",
    b'{"resourceType":"Patient","name":[{"family":"\\ud800"}]}', b'{"resourceType":"Patient","id":"a","id":"b"}',
    b'{"resourceType":"Patient","id":"a_b"}', b'{"resourceType":"Patient","active":' + b"9" * 5000 + b"}",
    b'{"resourceType":"Patient","multipleBirthInteger":' + b"9" * 30 + b"}", b"[" * 100_000,
    b'{"resourceType":"Patient","extension":[' + b'{"url":"u","extension":[' * 2000,
    b'{"resourceType":"Patient","extension":[' + b'{"url":"u","extension":[' * 400 + b'{"url":"v","valueString":"x"}' + b"]}" * 400 + b"]}",
    b'{"resourceType":"Patient","contained":[{"resourceType":"Foo"}]}', b'{"resourceType":"Patient","meta":{"tag":[null]}}',
    b'{"resourceType":"Patient","birthDate":"19-1"}', b'{"resourceType":"Patient"} trailing', b'{"resourceType":"Patient","x":1e400}',
])  # fmt: skip
def test_what_is_no_resource_is_refused_and_stored_nowhere(fhir: Fhir, body: bytes) -> None:
    """FHIR R4 http.html#create: 400, with an OperationOutcome; never a 500."""
    answer = fhir.write("POST", "/Patient", body)

    assert answer.status == 400
    assert answer.issue["severity"] == "error"
    assert fhir.get("/Patient", "_total=accurate").json["total"] == 0


@pytest.mark.parametrize(
    ("resource", "where"),
    [
        ({"resourceType": "Patient", "gender": "femal"}, "Patient.gender"),
        ({"resourceType": "Patient", "birthDate": "2026-02-30"}, "Patient.birthDate"),
        ({"resourceType": "Patient", "link": [{"type": "seealso", "other": {"reference": "Group/1"}}]}, "Patient.link[0].other"),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_refused_with_its_place(
    fhir: Fhir, resource: dict[str, Any], where: str
) -> None:
    """FHIR R4 http.html: 422 where the content breaks rules."""
    answer = fhir.write("POST", "/Patient", resource)

    assert (answer.status, answer.issue["expression"]) == (422, [where])


def test_structure_issues_name_their_place(fhir: Fhir) -> None:
    answer = fhir.write("POST", "/Patient", {"resourceType": "Patient", "name": [{"family": 3}]})

    assert answer.issue["expression"] == ["Patient.name[0].family"]


@in_one_world(("method", "path"), [("POST", "/Patient"), ("PUT", "/Patient/p1")])
@in_one_world(("query", "status"), [("_format=xml", 406), ("_pretty=perhaps", 400), ("gender=male", 400)])
def test_a_write_that_is_refused_for_how_it_is_asked_is_not_done(
    fhir: Fhir, method: str, path: str, query: str, status: int
) -> None:
    """FHIR R4 http.html: a refusal means that nothing was done."""
    headers = {"Content-Type": "application/fhir+json"}

    answer = fhir.request(method, path, query, body=json.dumps(PATIENT).encode(), headers=headers)

    assert answer.status == status
    assert fhir.search("Patient", "") == []


@pytest.mark.parametrize(
    ("path", "resource", "status"),
    [
        ("/Patient/p1", {**PATIENT, "id": "p2"}, 400),
        ("/Patient/p1", {"resourceType": "Patient"}, 400),
        ("/Patient/o1", OBSERVATION, 400),
        ("/Patient/a_b", {**PATIENT, "id": "a_b"}, 400),
        ("/Patient/" + "x" * 65, {**PATIENT, "id": "x" * 65}, 400),
        ("/Nonsense/p1", PATIENT, 404),
        ("/Parameters/p1", {"resourceType": "Parameters", "id": "p1"}, 404),
        ("/Patient", PATIENT, 501),
    ],
)
def test_an_update_must_agree_with_its_address(
    fhir: Fhir, path: str, resource: dict[str, Any], status: int
) -> None:
    assert fhir.write("PUT", path, resource).status == status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/Patient/none", 404), ("GET", "/Patient/a_b", 404), ("GET", "/Patient/%00", 404), ("GET", "/Nonsense/1", 404),
        ("GET", "/Nonsense", 404), ("GET", "/patient/1", 404), ("GET", "/Patient/p1/_history/7", 404),
        ("GET", "/Patient/p1/_history/x", 404), ("GET", "/Patient/p1/_history/0", 404), ("GET", "/Patient/none/_history", 404),
        ("GET", "/Patient/p1/_history/1/x", 404), ("GET", "/Patient/p1/_history/99999999999999999999", 404),
        ("GET", "/Patient/p1/Observation", 501), ("GET", "/Patient/p1/$everything", 501), ("GET", "/Patient/$everything", 501),
        ("GET", "/$export", 501), ("POST", "/", 501), ("POST", "", 501), ("GET", "/", 501), ("GET", "/_history", 501),
        ("GET", "/Patient/_history", 501), ("POST", "/_search", 501), ("PATCH", "/Patient/p1", 501), ("PATCH", "/Patient", 501),
        ("DELETE", "/Patient", 501), ("POST", "/Patient/p1", 405), ("TRACE", "/Patient/p1", 405), ("GET", "/Patient/_search", 405),
        ("DELETE", "/metadata", 405), ("PUT", "/Patient/p1/_history/1", 405), ("OPTIONS", "/Patient", 405), ("BREW", "/Patient", 405),
    ],
)  # fmt: skip
def test_what_is_not_offered_is_refused_clearly(fhir: Fhir, method: str, path: str, status: int) -> None:
    fhir.write("PUT", "/Patient/p1", PATIENT)

    answer = fhir.request(method, path, headers={"Content-Type": "application/fhir+json"})

    assert answer.status == status
    assert answer.issue["details"]["text"]
    assert ("allow" in answer.headers) is (status == 405)


@in_one_world(("accept", "status"), [
    ("application/fhir+json", 200), ("application/json", 200), ("*/*", 200), ("text/html, */*;q=0.1", 200), ("application/*", 200),
    ("application/fhir+xml, application/fhir+json;q=0.5", 200), ("APPLICATION/JSON", 200), ("application/fhir+json; fhirVersion=4.0", 200),
    ("application/fhir+xml", 406), ("text/html", 406), ("application/json;q=0", 406), ("", 406), ("*/*; q=0.0", 406), (",;,=", 406),
])  # fmt: skip
def test_only_json_is_spoken(fhir: Fhir, accept: str, status: int) -> None:
    fhir.write("PUT", "/Patient/p1", PATIENT)

    assert fhir.get("/Patient/p1", Accept=accept).status == status
    assert fhir.get("/Patient", "name=x", Accept=accept).status == status


@pytest.mark.parametrize(("query", "status"), [
    ("_format=json", 200), ("_format=application/fhir%2Bjson", 200), ("_format=application/fhir+json", 200), ("_pretty=true", 200),
    ("_summary=true", 200), ("_summary=text", 200), ("_summary=data", 200), ("_elements=name", 200),
    ("_format=xml", 406), ("_pretty=yes", 400), ("_summary=count", 400), ("_summary=x", 400), ("_elements=", 400), ("_elements=a.b", 400),
    ("_summary=true&_elements=name", 400), ("foo=1", 400), ("_count=1", 400), ("_format=json&_format=json", 400), ("_pretty=%zz", 400),
])  # fmt: skip
def test_a_read_takes_only_what_shapes_its_answer(fhir: Fhir, query: str, status: int) -> None:
    fhir.write("PUT", "/Patient/p1", PATIENT)

    assert fhir.get("/Patient/p1", query).status == status


def test_a_cut_resource_says_so_and_keeps_what_is_mandatory(fhir: Fhir) -> None:
    """FHIR R4 search.html#summary: SUBSETTED."""
    text = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'}
    fhir.write(
        "PUT",
        "/Observation/o1",
        {**OBSERVATION, "text": text, "note": [{"text": "n"}], "issued": "2026-03-02T09:00:00Z"},
    )

    cut = {
        q: set(fhir.get("/Observation/o1", q).json)
        for q in ("_elements=issued", "_summary=text", "_summary=data", "_summary=true")
    }

    always = {"resourceType", "id", "meta", "status", "code"}
    assert cut["_elements=issued"] == always | {"issued"}
    assert cut["_summary=text"] == always | {"text"}
    assert cut["_summary=data"] == always | {"note", "issued"}
    assert cut["_summary=true"] == always | {"issued"}
    assert fhir.get("/Observation/o1", "_elements=issued").json["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert "tag" not in fhir.get("/Observation/o1").json["meta"]


@in_one_world(
    "content_type",
    [
        "text/plain",
        "application/xml",
        "",
        "application/fhir+xml",
        "application/json; charset=latin-1",
        "application/jsonx",
        "multipart/form-data",
    ],
)
def test_a_body_of_another_kind_is_refused(fhir: Fhir, content_type: str) -> None:
    """FHIR R4 http.html#mime-type: 415."""
    assert fhir.write("POST", "/Patient", PATIENT, Content_Type=content_type).status == 415


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/fhir+json; charset=UTF-8", 'Application/FHIR+JSON;charset="utf-8"'],
)
def test_json_by_either_name_is_read(fhir: Fhir, content_type: str) -> None:
    assert fhir.write("POST", "/Patient", PATIENT, Content_Type=content_type).status == 201


def test_a_body_past_its_bound_is_refused_before_it_is_read(fhir: Fhir) -> None:
    headers = {"Content-Type": "application/fhir+json"}
    chunk = b" " * (MAX_BODY_BYTES // 2)

    assert fhir.chunks("POST", "/Patient", [chunk, chunk, b"x"], headers).status == 413
    assert (
        fhir.chunks(
            "POST", "/Patient", [b"{}"], {**headers, "Content-Length": str(MAX_BODY_BYTES + 1)}
        ).status
        == 413
    )
    assert fhir.chunks("POST", "/Patient", [b"{}"], {**headers, "Content-Length": "9" * 500}).status == 413


def test_a_head_request_has_the_headers_of_a_get_and_no_body(fhir: Fhir) -> None:
    fhir.write("PUT", "/Patient/p1", PATIENT)

    head, get = fhir.request("HEAD", "/Patient/p1"), fhir.get("/Patient/p1")

    assert (head.status, head.body, head.headers) == (200, b"", get.headers)


def test_the_capability_statement_is_valid_and_says_what_is_there(tmp_path: Path) -> None:
    """FHIR R4 capabilitystatement.html; US Core 6.1.0: instantiates, supportedProfile, Provenance:target."""
    core = "http://hl7.org/fhir/us/core/CapabilityStatement/us-core-server"
    fhir = Fhir(
        tmp_path / "fhir.db",
        resource_types=frozenset({"Patient", "Observation", "Provenance"}),
        supported_profiles={"Patient": ("http://p",)},
        instantiates=(core,),
    )

    answer = fhir.get("/metadata")

    statement = answer.json
    assert fhirkit.validate(answer.body) == []
    assert (statement["fhirVersion"], statement["instantiates"], statement["format"][0]) == (
        "4.0.1",
        [core],
        "json",
    )
    types = {r["type"]: r for r in statement["rest"][0]["resource"]}
    assert set(types) == {"Patient", "Observation", "Provenance"}
    assert types["Patient"]["supportedProfile"] == ["http://p"]
    assert {"name": "birthdate", "type": "date"} in types["Patient"]["searchParam"]
    assert all("Provenance:target" in r["searchRevInclude"] for r in types.values())
    assert {i["code"] for i in types["Patient"]["interaction"]} >= {
        "read",
        "vread",
        "search-type",
        "create",
        "update",
        "delete",
    }
    assert fhir.get("/metadata", "mode=terminology").status == 400
    assert fhir.get("/metadata", "_format=xml").status == 406
    assert fhir.get("/Encounter", "").status == 404
    assert fhir.write("POST", "/Encounter", {"resourceType": "Encounter"}).status == 404
    fhir.close()


def test_a_load_is_judged_and_stored_a_batch_at_a_time(fhir: Fhir) -> None:
    """Performance P12: validated, indexed, durable."""
    resources = [{**PATIENT, "id": f"p{i}"} for i in range(600)]

    assert fhir.server.load([*resources, json.dumps(OBSERVATION).encode()]) == 601

    assert fhir.get("/Patient", "_summary=count").json["total"] == 600
    assert fhir.search("Observation", "status=final") == ["o1"]
    with pytest.raises(Refused) as refused:
        fhir.server.load([{**PATIENT, "id": "q1"}, {**PATIENT, "id": "q2", "gender": "x"}])
    assert refused.value.problem is Problem.RULE
    assert "number 1" in refused.value.issues[0].detail
    assert fhir.get("/Patient/q1").status == 404


def test_what_was_stored_is_there_after_a_restart(tmp_path: Path) -> None:
    first = Fhir(tmp_path / "fhir.db")
    stored = first.write("PUT", "/Patient/p1", PATIENT)
    first.close()

    second = Fhir(tmp_path / "fhir.db")

    assert second.get("/Patient/p1").body == stored.body
    assert second.search("Patient", {"family": "łódź"}) == ["p1"]
    second.close()


def _write_many(path: Path, worker: int, count: int) -> None:
    server = FhirServer(FhirServerSettings(path, BASE), FakeClock(), SeededIds(str(worker)))
    for index in range(count):
        server.load([{**PATIENT, "id": f"w{worker}-{index}"}, {**PATIENT, "id": "shared"}])
    server.close()


def test_several_processes_write_one_file_and_lose_nothing(tmp_path: Path) -> None:
    path, count = tmp_path / "fhir.db", 15
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_write_many, args=(path, n, count)) for n in range(3)]

    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    assert [w.exitcode for w in workers] == [0, 0, 0]
    fhir = Fhir(path)
    assert fhir.get("/Patient", "_summary=count").json["total"] == 3 * count + 1
    assert fhir.get("/Patient/shared").headers["etag"] == f'W/"{3 * count}"'
    versions = fhir.get("/Patient/shared/_history", "_count=500").json["entry"]
    assert [e["resource"]["meta"]["versionId"] for e in versions] == [str(n) for n in range(3 * count, 0, -1)]
    fhir.close()


def test_concurrent_updates_with_one_version_have_one_winner(fhir: Fhir) -> None:
    """FHIR R4 http.html#concurrency: no lost update."""
    fhir.write("PUT", "/Patient/p1", PATIENT)

    async def race() -> list[int]:
        from hilum_ehr.fhirserver.routes import Request

        body = json.dumps(PATIENT).encode()
        headers = {b"content-type": b"application/fhir+json", b"if-match": b'W/"1"'}
        request = Request("PUT", "/Patient/p1", b"", headers, body)
        return [r.status for r in await asyncio.gather(*(fhir.server.answer(request) for _ in range(8)))]

    assert sorted(asyncio.run(race())) == [200] + [412] * 7


def test_a_lifespan_is_answered() -> None:
    sent: list[str] = []
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> dict[str, str]:
        return events.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    from hilum_ehr.fhirserver.routes import _live

    asyncio.run(_live(receive, send))

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
