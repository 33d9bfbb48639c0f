"""The same gateway in front of a second, deliberately different FHIR server, over HTTP and in process."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import pytest

from hilum.identity.people import service as identity
from hilum.identity.people.models import Quirks, TenantChange, UpstreamKind, UpstreamRef
from hilum.identity.people.policy import quirks_of
from tests.flows.gateway_ground import GENERAL, PLATFORM, Answer, Ground, Play, patient
from tests.sim.fhir_upstream import OtherServer, over_http
from tests.sim.upstream_secrets import sealed_header
from tests.unit.gateway.enforcement.facts import observation

BASE = f"{PLATFORM}/t/general/fhir"


@pytest.fixture
def other() -> Iterator[OtherServer]:
    server = OtherServer()
    with over_http(server):
        server.load(
            patient("p1"),
            patient("p2"),
            *(observation(f"a{n:02}", "p1", code={"text": f"a{n}"}) for n in range(14)),
            *(observation(f"b{n:02}", "p2", code={"text": f"b{n}"}) for n in range(14)),
            {"resourceType": "Organization", "id": "org", "name": "General"},
        )
        yield server


def assert_ours(answer: Answer, server: OtherServer) -> None:
    """C78: every address in an answer carries the gateway's base; nothing of the server shows."""
    assert server.base.encode() not in answer.body
    assert b"\\/" not in answer.body
    assert "x-powered-by" not in answer.headers
    assert all(server.base not in value for value in answer.headers.values())


def test_reads_speak_with_our_addresses(play: Play, other: OtherServer) -> None:
    """C78, C84."""

    async def story(made: Ground) -> None:
        answer = await made.get("Observation/a00", made.token("patient/Observation.rs"))

        assert answer.status == 200
        assert answer.json["subject"]["reference"] == f"{BASE}/Patient/p1"
        assert answer.headers["content-type"] == "application/fhir+json"
        assert_ours(answer, other)

    play(story, http_upstream=other.base)


def test_a_record_that_is_read_again_is_asked_for_and_judged_again(play: Play, other: OtherServer) -> None:
    """C71, C75: how the same bytes are read is kept, and for each permit what it answered to them."""
    twice = b'{"resourceType":"Observation","id":"a00","subject":{"reference":"Patient/p2"},"subject":{"reference":"Patient/p1"}}'

    async def story(made: Ground) -> None:
        scope = "patient/Observation.rs"
        mine, theirs = made.token(scope), made.token(scope, patient="p2")

        async def statuses() -> list[int]:
            return [(await made.get("Observation/a00", token)).status for token in (mine, theirs) * 4]

        assert await statuses() == [200, 404] * 4
        other.load(observation("a00", "p2", code={"text": "a00"}))
        assert await statuses() == [404, 200] * 4
        other.raw = twice
        assert await statuses() == [502, 404] * 4
        other.raw = None
        assert await statuses() == [404, 200] * 4
        assert sum(target.endswith("Observation/a00") for _, target, _ in other.seen) == 32

    play(story, http_upstream=other.base)


def test_the_same_bytes_of_another_version_are_another_answer(play: Play, other: OtherServer) -> None:
    """C71: what an answer follows from is the version too, not only what is stored."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rs")
        for other.etag in ('W/"1"', 'W/"2"', 'W/"1"'):
            for _ in range(4):
                answer = await made.get("Observation/a00", token)
                assert (answer.status, answer.headers["etag"]) == (200, other.etag)
        other.status = 404
        assert (await made.get("Observation/a00", token)).status == 404

    play(story, http_upstream=other.base)


@pytest.mark.parametrize("more", ["", ',"note":"http://upstream.internal/"'])
def test_a_record_that_is_nested_too_deep_to_be_written_is_refused(
    play: Play, other: OtherServer, more: str
) -> None:
    """C71: read it can be; it was an error of the platform."""
    deep = '{"a":' * 300 + "1" + "}" * 300
    other.raw = f'{{"resourceType":"Observation","id":"a00","subject":{{"reference":"Patient/p1"}},"x":{deep}{more}}}'.encode()

    async def story(made: Ground) -> None:
        assert (await made.get("Observation/a00", made.token("patient/Observation.rs"))).status == 502

    play(story, http_upstream=other.base)


def test_pages_are_followed_though_the_server_keeps_them_elsewhere(play: Play, other: OtherServer) -> None:
    """C78, C84: paging at the server's root, absolute links, a total that says too much."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rs")
        seen: list[str] = []
        target: str | None = "Observation?_count=5"
        pages = 0
        while target is not None:
            answer = await made.get(target, token)
            assert answer.status == 200
            assert_ours(answer, other)
            assert answer.json.get("total") in {None, 14}
            seen += answer.ids
            target = answer.link("next")
            pages += 1

        assert seen == [f"Observation/a{n:02}" for n in range(14)]
        assert pages == 3
        assert all(
            "patient=Patient/p1" in target or "_getpages" in target
            for method, target, _ in other.seen
            if target.startswith(("Observation?", "?"))
        )

    play(story, http_upstream=other.base)


def test_what_it_brings_along_unasked_does_not_pass(play: Play, other: OtherServer) -> None:
    """C74."""

    async def story(made: Ground) -> None:
        answer = await made.get("Observation?_count=3", made.token("patient/*.rs"))

        assert {each.partition("/")[0] for each in answer.ids} == {"Observation"}

    play(story, http_upstream=other.base)


@pytest.mark.parametrize(
    ("query", "name"),
    [("code=x", "code"), ("category=laboratory", "category"), ("value-quantity=gt5", "value-quantity")],
)
def test_a_parameter_that_it_would_ignore_is_refused_by_name(
    play: Play, other: OtherServer, query: str, name: str
) -> None:
    """C77: never dropped in a way that widens the result."""

    async def story(made: Ground) -> None:
        answer = await made.get(f"Observation?{query}", made.token("patient/Observation.rs"))

        assert answer.status == 400
        assert f"parameter {name} " in answer.json["issue"][0]["details"]["text"]

    play(story, http_upstream=other.base)


def test_writes_go_out_with_its_addresses_and_come_back_with_ours(play: Play, other: OtherServer) -> None:
    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.cruds")
        body = observation("n", code={"text": "x"}) | {"subject": {"reference": f"{BASE}/Patient/p1"}}
        del body["id"]

        created = await made.send("POST", "Observation", token, body=body)
        updated = await made.send(
            "PUT", "Observation/a01", token, body=observation("a01", code={"text": "y"})
        )
        taken = await made.send("PUT", "Observation/b01", token, body=observation("b01", code={"text": "y"}))
        gone = await made.send("DELETE", "Observation/a02", token)

        assert created.status == 201
        assert created.headers["location"].startswith(f"{BASE}/Observation/")
        assert_ours(created, other)
        stored = other.resources["Observation/" + created.json["id"]]
        assert stored["subject"]["reference"] == f"{other.base}/Patient/p1"
        assert (updated.status, taken.status, gone.status) == (200, 404, 204)

    play(story, http_upstream=other.base)


def test_only_the_version_that_was_judged_is_written_over(play: Play, other: OtherServer) -> None:
    """Security decision 12: of a record that has changed since, the server refuses the write."""
    version: dict[str, Any] = {"meta": {"versionId": "7"}, "code": {"text": "x"}}
    other.load(observation("v1", **version), observation("v2", **version))

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.cruds")
        assert (
            await made.send("PUT", "Observation/v1", token, body=observation("v1", **version))
        ).status == 200
        assert (await made.send("DELETE", "Observation/v2", token)).status == 204

        sent = {method: headers.get("if-match") for method, _, headers in other.seen if method != "GET"}
        assert sent == {"PUT": 'W/"7"', "DELETE": 'W/"7"'}

    play(story, http_upstream=other.base)


def test_credentials_go_to_the_server_and_to_nobody_else(play: Play, other: OtherServer) -> None:
    """C70: the app's token and headers do not reach the server, the server's credentials do not reach the app."""

    async def story(made: Ground) -> None:
        sealed = sealed_header("Bearer backend-secret", url=other.base, ids=made.ids)
        there = UpstreamRef(UpstreamKind.HTTP, other.base, sealed)
        made.run(lambda ctx: identity.update_tenant(ctx, GENERAL, TenantChange(upstream=there)))
        token = made.token("patient/Observation.rs")

        answer = await made.get(
            "Observation/a00",
            token,
            headers={
                "Cookie": "a=b",
                "X-Forwarded-For": "1.2.3.4",
                "X-Secret": "s",
                "Origin": "https://app.example",
            },
        )

        assert answer.status == 200
        _, _, headers = other.seen[-1]
        assert headers["authorization"] == "Bearer backend-secret"
        assert token not in repr(headers)
        assert not {"cookie", "x-forwarded-for", "x-secret", "origin"} & set(headers)
        assert b"backend-secret" not in answer.body

    play(story, http_upstream=other.base)


def test_credentials_sealed_for_another_host_are_not_sent(play: Play, other: OtherServer) -> None:
    """Security decision 15: credentials are bound to their host."""

    async def story(made: Ground) -> None:
        sealed = sealed_header("Bearer other", url="https://elsewhere.example/fhir", ids=made.ids)
        there = UpstreamRef(UpstreamKind.HTTP, other.base, sealed)
        made.run(lambda ctx: identity.update_tenant(ctx, GENERAL, TenantChange(upstream=there)))

        answer = await made.get("Observation/a00", made.token("patient/Observation.rs"))

        assert answer.status == 503
        assert not other.seen

    play(story, http_upstream=other.base)


def test_metadata_of_the_other_server_is_cut_to_what_can_pass(play: Play, other: OtherServer) -> None:
    async def story(made: Ground) -> None:
        answer = await made.get("metadata")
        types = {each["type"]: each for each in answer.json["rest"][0]["resource"]}

        assert "Subscription" not in types
        assert {i["code"] for i in types["Observation"]["interaction"]} == {"read", "search-type"}
        assert_ours(answer, other)

    play(story, http_upstream=other.base)


def test_a_server_that_is_away_is_said_to_be_away(play: Play) -> None:
    """C85: 503 with Retry-After and no data."""

    async def story(made: Ground) -> None:
        answer = await made.get("Observation/a00", made.token("patient/Observation.rs"))

        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        assert (await made.get("metadata")).status == 503

    play(story, http_upstream="http://127.0.0.1:9/fhir")


PUBLIC = "https://fhir.hospital.example/r4"


def know_as(made: Ground, server_url: str, public_url: str) -> None:
    """Set by which base the server calls itself."""
    there = UpstreamRef(UpstreamKind.HTTP, server_url, public_url=public_url)
    made.run(lambda ctx: identity.update_tenant(ctx, GENERAL, TenantChange(upstream=there)))


def test_a_server_behind_a_proxy_is_spoken_to_by_the_base_it_writes(play: Play, other: OtherServer) -> None:
    """C84: links, references and locations carry its public base; ours stand in their place, and nothing of either shows."""
    reached, other.base = other.base, PUBLIC
    other.resources.clear()
    other.load(patient("p1"), *(observation(f"a{n:02}", "p1", code={"text": f"a{n}"}) for n in range(7)))

    async def story(made: Ground) -> None:
        know_as(made, reached, PUBLIC)
        token = made.token("patient/Observation.crus")
        seen: list[str] = []
        target: str | None = "Observation?_count=3"
        while target is not None:
            answer = await made.get(target, token)
            assert answer.status == 200
            assert b"hospital.example" not in answer.body
            assert b"127.0.0.1:8000" in answer.body
            seen += answer.ids
            target = answer.link("next")
        body = observation("n", code={"text": "x"}) | {"subject": {"reference": f"{BASE}/Patient/p1"}}
        created = await made.send("POST", "Observation", token, body=body)

        assert seen == [f"Observation/a{n:02}" for n in range(7)]
        assert created.status == 201
        assert created.headers["location"].startswith(f"{BASE}/Observation/")
        stored = other.resources["Observation/" + created.json["id"]]
        assert stored["subject"]["reference"] == f"{PUBLIC}/Patient/p1"

    play(story, http_upstream=reached)


SPELLINGS = (
    "https://127.0.0.1:{}/fhir",
    "HTTP://LOCALHOST:{}/fhir",
    "//127.0.0.1:{}/fhir",
    "/fhir",
    "http://user@127.0.0.1:{}/fhir",
)


def test_a_next_link_is_followed_in_whatever_spelling(play: Play, other: OtherServer) -> None:
    """C78, C84: page 1 of every longer search was 502."""
    port = other.base.rpartition(":")[2].removesuffix("/fhir")

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rs")
        for spelling in SPELLINGS:
            other.links = spelling.format(port)
            first = await made.get("Observation?_count=10", token)
            second = await made.get(str(first.link("next")), token)

            assert (first.status, second.status) == (200, 200), other.links
            assert len({*first.ids, *second.ids}) == 14

    play(story, http_upstream=other.base)


def test_a_link_that_leads_elsewhere_is_no_page(play: Play, other: OtherServer) -> None:
    """C78."""
    links = (
        "https://fhir.hospital.example/fhir?_getpages=x",
        "http://127.0.0.1:9/fhir?_getpages=x",
        "javascript:alert(1)",
        "http://[",
        "../admin",
        "ftp://x/fhir",
    )

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rs")
        for other.link in links:
            assert (await made.get("Observation?_count=10", token)).status == 502, other.link

    play(story, http_upstream=other.base)


UNTELLABLE: tuple[dict[str, object], ...] = (
    {"reference": "https://elsewhere.example/fhir/Patient/p1"},
    {"reference": "urn:uuid:7f0d3f3e-0000-4000-8000-000000000001"},
    {"identifier": {"system": "http://hospital.example/mrn", "value": "p1"}},
    {"display": "Pat"},
)


def test_whose_a_record_is_must_be_said_plainly_and_nothing_else_is_counted(
    play: Play, other: OtherServer
) -> None:
    """C76: what is withheld because nobody can tell whose it is does not stand in ``total``."""
    other.careless = True
    other.resources.clear()
    other.load(patient("p1"), *(observation(id_, "p1", code={"text": "x"}) for id_ in "ab"))
    searches = ("", "?_count=1", "?_summary=count", "?_total=accurate")

    async def story(made: Ground) -> None:
        own = made.token("patient/Observation.rs", person="patient")
        for other.resources["Observation/b"]["subject"] in UNTELLABLE:
            for search in searches:
                answer = await made.get(f"Observation{search}", own)
                assert answer.status == 200
                assert answer.json.get("total", 1) == 1, search
                assert answer.ids in ([], ["Observation/a"])

    play(story, http_upstream=other.base)


def test_a_search_by_id_shows_no_other_records_where_the_server_ignores_it(
    play: Play, other: OtherServer
) -> None:
    """FHIR R4 search.html#id: one patient was asked for; fhirstarter 4.2.0 answers with all of them."""
    other.ignores = frozenset({"_id"})
    other.resources.clear()
    other.load(patient("p1"), patient("p2"), patient("p3"))

    async def story(made: Ground) -> None:
        doctor = made.token("user/Patient.rs")
        answer = await made.get("Patient?_id=p2,p3", doctor)
        assert answer.ids == ["Patient/p2", "Patient/p3"]
        assert answer.json.get("total", 2) == 2
        assert (await made.get("Patient?_id=p9", doctor)).ids == []

    play(story, http_upstream=other.base)


def reason_of(refused: Answer) -> str:
    return str(refused.json["issue"][0]["details"]["coding"][0]["code"])


def with_quirks(made: Ground, other: OtherServer, *words: str) -> None:
    """Let the server have quirks, and the hospital's settings name them."""
    other.quirks = quirks_of(words) or Quirks()
    upstream = UpstreamRef(UpstreamKind.HTTP, other.base, quirks=words)
    made.run(lambda ctx: identity.update_tenant(ctx, GENERAL, TenantChange(upstream=upstream)))


def test_a_server_that_takes_small_pages_only_fills_larger_ones(play: Play, other: OtherServer) -> None:
    """C77, C84: Oracle Health refuses a ``_count`` above 100."""

    async def story(made: Ground) -> None:
        with_quirks(made, other, "page=5")
        answer = await made.get("Observation?_count=12", made.token("patient/Observation.rs"))
        assert len(answer.ids) == 12
        sizes = {dict(parse_qsl(target.partition("?")[2])).get("_count") for _, target, _ in other.seen}
        assert sizes <= {"5", None}

    play(story, http_upstream=other.base)


def test_a_server_that_takes_ids_alone_is_asked_by_id_alone_and_judged(
    play: Play, other: OtherServer
) -> None:
    """C76, C77: the search leaves without the patient, and the answer shows no other's record."""

    async def story(made: Ground) -> None:
        with_quirks(made, other, "id-alone")
        own = made.token("patient/Observation.rs")
        answer = await made.get("Observation?_id=a01,b01", own)
        assert answer.ids == ["Observation/a01"]
        assert answer.json["total"] == 1
        refused = await made.get("Observation?_id=a01&patient=p1", own)
        assert (refused.status, reason_of(refused)) == (400, "request_unsupported")
        assert [target for _, target, _ in other.seen if "_id" in target] == ["Observation?_id=a01,b01"]

    play(story, http_upstream=other.base)


def test_a_server_that_knows_one_patient_at_a_time_is_not_asked_for_two(
    play: Play, other: OtherServer
) -> None:
    """C77: refused with what to ask for, before anything is sent."""

    async def story(made: Ground) -> None:
        with_quirks(made, other, "one-patient", "no-form")
        doctor = made.token("user/Observation.rs", "user/Patient.rs")
        sent = len(other.seen)
        refused = await made.get("Observation?patient=p1,p2", doctor)
        assert (refused.status, reason_of(refused)) == (400, "request_unsupported")
        assert b"patient=ID" in refused.body
        assert not any(target.startswith("Observation") for _, target, _ in other.seen[sent:])
        assert len((await made.get("Observation?patient=p1&_count=3", doctor)).ids) == 3
        long = "Observation?patient=p1&_id=" + ",".join(f"a{n:02}" for n in range(50)) * 12
        assert (await made.get(long, doctor)).status in {200, 400}
        assert not any(method == "POST" for method, _, _ in other.seen)

    play(story, http_upstream=other.base)


def test_a_parameter_that_a_server_ignores_is_refused_though_it_lists_it(
    play: Play, other: OtherServer
) -> None:
    """C77."""
    other.ignores = frozenset({"subject"})

    async def story(made: Ground) -> None:
        with_quirks(made, other, "ignores=subject")
        doctor = made.token("user/Observation.rs")
        refused = await made.get("Observation?subject=Patient/p1", doctor)
        assert (refused.status, reason_of(refused)) == (400, "request_unsupported")
        told = (await made.get("metadata", doctor)).json["rest"][0]["resource"]
        names = {p["name"] for each in told if each["type"] == "Observation" for p in each["searchParam"]}
        assert "patient" in names
        assert "subject" not in names

    play(story, http_upstream=other.base)


LOCATIONS = (
    "@/Observation/{}",
    "Observation/{}/_history/7",
    "/fhir/Observation/{}",
    "https://proxy.example/fhir/Observation/{}/_history/7",
    "",
)


@pytest.mark.parametrize("silent", [True, False])
def test_a_create_says_where_and_what_was_stored(play: Play, other: OtherServer, silent: bool) -> None:
    """FHIR R4 http.html#create: also where the server leaves it out or spells it in its own way."""
    other.silent = silent

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.crus")
        body = observation("n", code={"text": "x"})
        for location in LOCATIONS:
            other.location = location
            created = await made.send("POST", "Observation", token, body=body)
            minimal = await made.send(
                "POST", "Observation", token, body=body, headers={"prefer": "return=minimal"}
            )

            assert (created.status, minimal.status, minimal.body) == (201, 201, b"")
            if location or not silent:
                name = created.json["id"]
                assert created.headers["location"].startswith(f"{BASE}/Observation/{name}")
            if "_history" in location:
                assert created.headers["etag"] == 'W/"7"'
            assert_ours(created, other)

    play(story, http_upstream=other.base)


def test_a_write_is_answered_by_no_other_record(play: Play, other: OtherServer) -> None:
    """C79: a server that names or sends another record has said nothing of the one that was written."""

    async def story(made: Ground) -> None:
        token = made.token("user/*.cruds")
        body = observation("n", code={"text": "x"})

        other.location = "@/Patient/{}"
        named = await made.send("POST", "Observation", token, body=body)
        other.refuses = 201, patient("p2")
        sent = await made.send("POST", "Observation", token, body=body)
        other.refuses = 200, patient("p2")
        body = observation("a01", code={"text": "y"})
        changed = await made.send("PUT", "Observation/a01", token, body=body)

        assert named.headers["location"] == f"{BASE}/Observation/{named.json['id']}"
        assert (sent.status, sent.body, "location" in sent.headers) == (201, b"", False)
        assert changed.headers["location"] == f"{BASE}/Observation/a01"
        assert (changed.json["resourceType"], changed.json["id"]) == ("Observation", "a01")

    play(story, http_upstream=other.base)


REFUSED = (
    (400, 400, "invalid"),
    (422, 422, "invalid"),
    (404, 404, "not-found"),
    (410, 404, "not-found"),
    (409, 409, "conflict"),
    (412, 412, "conflict"),
    (405, 502, "exception"),
    (413, 502, "exception"),
    # It may have stored it, so the app is not asked to try again.
    (202, 403, "suppressed"),
)
"""How the server answers a write, how the gateway does, and the kind of its issue."""


def test_a_write_that_the_server_does_not_accept_is_answered_by_what_is_known_of_it(
    play: Play, other: OtherServer
) -> None:
    """C70, C79: the mistake and the conflict are the app's, anything else is not judged."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.cruds")
        body = observation("a01", code={"text": "y"})
        for theirs, ours, code in REFUSED:
            other.refuses = theirs, {"resourceType": "OperationOutcome", "issue": []}
            answer = await made.send("PUT", "Observation/a01", token, body=body)
            assert (answer.status, answer.json["issue"][0]["code"]) == (ours, code), theirs

    play(story, http_upstream=other.base)
