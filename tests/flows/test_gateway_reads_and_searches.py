"""What an app gets through the gateway, over real modules and the embedded FHIR server."""

from collections.abc import MutableMapping
from threading import current_thread
from typing import Any

import pytest

from hilum.foundation.standards.fhir.traits import traits_of
from hilum.gateway.enforcement import response_filter, search, transport
from hilum.gateway.enforcement.models import COUNTED_BOUND, EVIDENCE_BOUND
from hilum.records.audit import live as journals
from tests.flows.gateway_ground import CLINIC, GENERAL, PLATFORM, Answer, Ground, Play, patient
from tests.sim.journals import journal_of
from tests.sim.one_world import in_one_world
from tests.unit.gateway.enforcement.facts import RESTRICTED, category, observation, provenance

BASE = f"{PLATFORM}/t/general/fhir"


def test_an_app_reads_the_patient_in_context_byte_for_byte(play: Play) -> None:
    async def story(made: Ground) -> None:
        answer = await made.get("Patient/p1", made.token("patient/Patient.r"))

        assert answer.status == 200
        assert answer.json["id"] == "p1"
        assert answer.headers["etag"] == 'W/"1"'
        assert answer.headers["content-type"] == "application/fhir+json"
        assert answer.headers["x-request-id"] == "req_000001"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert int(answer.headers["ratelimit-remaining"]) == int(answer.headers["ratelimit-limit"]) - 1

    play(story)


def test_without_a_token_everything_but_metadata_is_401(play: Play) -> None:
    """Contract, Errors; conformance 3.1 g10_unauthorized_access; C145: unknown tenants look the same."""

    async def story(made: Ground) -> None:
        for method, target in (
            ("GET", "Patient/p1"),
            ("GET", "Patient//x"),
            ("POST", "Nothing"),
            ("GET", ""),
            ("GET", "Observation?_page=x"),
            ("TRACE", "Patient"),
        ):
            for tenant in ("general", "nowhere"):
                answer = await made.send(method, target, tenant=tenant)
                assert answer.status == 401, (method, target, tenant)
                assert answer.headers["www-authenticate"] == "Bearer"
                assert answer.json["resourceType"] == "OperationOutcome"
        assert (await made.get("metadata")).status == 200
        assert (await made.get("metadata", tenant="nowhere")).status == 404

    play(story)


def test_absent_and_out_of_reach_look_the_same(play: Play) -> None:
    """C75: status, body and headers equal; the request's own id apart."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Patient.r", "patient/Observation.rs")

        answers = [
            await made.get(target, token)
            for target in (
                "Observation/nothing",
                "Observation/x1",
                "Observation/o3",
                "Patient/p2",
                "Patient/p99",
            )
        ]

        shown = {
            (
                a.status,
                a.body.replace(a.headers["x-request-id"].encode(), b"ID"),
                tuple(
                    (n, v)
                    for n, v in sorted(a.headers.items())
                    if n not in {"x-request-id", "ratelimit-remaining"}
                ),
            )
            for a in answers
        }
        assert len(shown) == 1
        assert answers[0].status == 404

    play(story)


def test_a_type_outside_the_scope_is_403_whether_or_not_the_record_exists(play: Play) -> None:
    """C75; conformance 3.2 g10_restricted_resource_type_access: never an empty Bundle."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Patient.rs")

        for target in (
            "Observation/o1",
            "Observation/nothing",
            "Observation?patient=p1",
            "Condition?patient=p1",
        ):
            assert (await made.get(target, token)).status == 403, target

    play(story)


def test_a_search_is_narrowed_to_the_patient_and_every_address_is_our_own(play: Play) -> None:
    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rs")

        for target in ("Observation", "Observation?patient=p1", "Observation?patient=Patient/p1"):
            answer = await made.get(target, token)
            assert sorted(answer.ids) == ["Observation/o1", "Observation/o2"], target
            assert all(e["fullUrl"].startswith(BASE + "/Observation/") for e in answer.json["entry"])
            assert str(answer.link("self")).startswith(BASE + "/Observation")
            assert answer.json["total"] == 2

    play(story)


def test_get_and_post_searches_are_equal(play: Play) -> None:
    """Conformance 5.3, 8.11."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rs")
        form = {"content-type": "application/x-www-form-urlencoded"}

        by_get = await made.get("Observation?patient=p1&category=laboratory", token)
        by_post = await made.send(
            "POST", "Observation/_search", token, body=b"patient=p1&category=laboratory", headers=form
        )

        assert by_get.ids == by_post.ids == ["Observation/o1"]

    play(story)


def test_granular_scopes_filter_search_and_read(play: Play) -> None:
    """C60; conformance 9.23, 8.14."""
    system = "http://terminology.hl7.org/CodeSystem/observation-category"

    async def story(made: Ground) -> None:
        token = made.token(f"patient/Observation.rs?category={system}|laboratory")

        assert (await made.get("Observation?patient=p1", token)).ids == ["Observation/o1"]
        assert (await made.get(f"Observation?patient=p1&category={system}%7Clab", token)).ids == []
        assert (await made.get("Observation/o1", token)).status == 200
        assert (await made.get("Observation/o2", token)).status == 404

    play(story)


def test_two_granular_scopes_of_a_type_are_alternatives(play: Play) -> None:
    system = "http://terminology.hl7.org/CodeSystem/observation-category"

    async def story(made: Ground) -> None:
        token = made.token(
            f"patient/Observation.rs?category={system}|laboratory",
            f"patient/Observation.rs?category={system}|vital-signs",
        )

        assert sorted((await made.get("Observation?patient=p1", token)).ids) == [
            "Observation/o1",
            "Observation/o2",
        ]

    play(story)


def test_pages_follow_opaque_links_that_no_other_grant_can_use(play: Play) -> None:
    """C78."""

    async def story(made: Ground) -> None:
        made.load(*(observation(f"n{n}", code={"text": "n"}) for n in range(7)))
        token = made.token("patient/Observation.rs")
        seen: list[str] = []
        answer = await made.get("Observation?_count=3&_sort=_id", token)
        first = answer.link("next")
        while True:
            seen += answer.ids
            following = answer.link("next")
            if following is None:
                break
            assert following.startswith(BASE + "/Observation?_page=")
            assert "p1" not in following
            answer = await made.get(following, token)

        assert seen == sorted(seen)
        assert len(seen) == len(set(seen)) == 9
        assert first is not None
        others = [
            made.token("patient/Observation.rs", client="second"),
            made.token("patient/Observation.rs", person="nurse"),
            made.token("patient/Observation.rs", patient="p2"),
        ]
        for other in others:
            assert (await made.get(first, other)).status == 400
        assert (await made.get(first + "x", token)).status == 400
        both = made.token("patient/*.rs")
        link = str((await made.get("Observation?_count=3", both)).link("next"))
        assert (await made.get(link, both)).status == 200
        assert (await made.get(link.replace("Observation?", "Condition?"), both)).status == 400
        assert (await made.get(first, token)).status == 200

    play(story)


def test_a_page_link_takes_the_result_parameters_that_some_clients_add_and_no_other(play: Play) -> None:
    """C78; contract, errors: ``_count`` is always accepted. The page goes on in its own size."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rs")
        answer = await made.get("Observation?_count=1&_sort=_id", token)
        link = str(answer.link("next"))

        assert (await made.get(link + "&_count=1000", token)).ids == ["Observation/o2"]
        for more in ("&patient=p1", "&code=x", "&" + link.partition("?")[2]):
            refused = await made.get(link + more, token)
            assert (refused.status, refused.json["resourceType"]) == (400, "OperationOutcome"), more

    play(story)


def test_a_large_page_is_judged_beside_the_event_loop(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """C132: each of its records takes some ten microseconds, and a page may have a hundred thousand."""
    threads = set[str]()

    def noted(*given: Any) -> Any:
        threads.add(current_thread().name.partition("_")[0])
        return traits_of(*given)

    async def story(made: Ground) -> None:
        made.load(observation("n1", code={"text": "n"}), provenance("v1", "Observation/n1"))
        monkeypatch.setattr(transport, "INLINE_BOUND", -1)
        for module in (search, response_filter):
            monkeypatch.setattr(module, "traits_of", noted)
        answer = await made.get(
            "Observation?_id=n1&_revinclude=Provenance:target", made.token("system/*.rs", client="backend")
        )

        assert answer.ids == ["Observation/n1", "Provenance/v1"]
        assert threads == {"answers"}

    play(story)


def test_what_is_judged_by_its_targets_is_never_left_out_in_silence(play: Play) -> None:
    """C74: however many there are and whatever page is asked for, all that may be seen is found by following the links."""

    async def story(made: Ground) -> None:
        made.load(*(observation(f"n{n:03}", code={"text": "n"}) for n in range(90)))
        made.load(
            *(provenance(f"t{n:02}", *(f"Observation/n{m:03}" for m in range(n, n + 45))) for n in range(45))
        )
        service = made.token("system/*.rs", client="backend")
        seen: list[str] = []
        answer = await made.get("Provenance?_count=200&_sort=_id", service)
        while True:
            seen += answer.ids
            if (following := answer.link("next")) is None:
                break
            answer = await made.get(following, service)

        assert [name for name in seen if "/t" in name] == [f"Provenance/t{n:02}" for n in range(45)]
        assert (await made.get("Provenance/t07", service)).status == 200
        brought = await made.get("Observation?_id=n044&_revinclude=Provenance:target", service)
        assert {f"Provenance/t{n:02}" for n in range(45)} <= set(brought.ids)

    play(story)


def test_a_page_of_what_is_judged_by_its_targets_is_as_long_as_can_be_judged(play: Play) -> None:
    """C74: a large ``_count`` is not refused for what its page would be about."""

    async def story(made: Ground) -> None:
        made.load(*(observation(f"n{n:03}", code={"text": "n"}) for n in range(450)))
        made.load(
            *(
                provenance(f"t{n:02}", *(f"Observation/n{m:03}" for m in range(10 * n, 10 * n + 10)))
                for n in range(45)
            )
        )
        service = made.token("system/*.rs", client="backend")

        answer = await made.get("Provenance?_count=200&_sort=-_id", service)

        assert answer.status == 200
        assert answer.ids == [f"Provenance/t{n:02}" for n in range(44, 24, -1)]
        assert answer.link("next")

    play(story)


def test_more_than_can_be_judged_is_refused_in_words(play: Play) -> None:
    """Security decision 10: unknown means no, and the app is told what to ask for instead."""

    async def story(made: Ground) -> None:
        made.load(*(observation(f"n{n:03}", code={"text": "n"}) for n in range(EVIDENCE_BOUND + 2)))
        made.load(
            *(
                provenance(f"t{n}", "Observation/n000", *(f"Observation/n{m:03}" for m in part))
                for n, part in enumerate((range(1, 140), range(140, 280), range(280, EVIDENCE_BOUND + 2)))
            )
        )
        service = made.token("system/*.rs", client="backend")

        refused = await made.get("Observation?_id=n000&_revinclude=Provenance:target", service)

        assert refused.status == 403
        assert refused.json["issue"][0]["code"] == "too-costly"
        assert "_count" in refused.json["issue"][0]["details"]["text"]
        assert (await made.get("Provenance/t1", service)).status == 200

    play(story)


def test_a_page_is_whole_even_where_something_was_withheld(play: Play) -> None:
    """C74, C76: the length of a page tells nothing of what was removed."""

    async def story(made: Ground) -> None:
        made.load(*(observation(f"r{n}", code={"text": "n"}, meta=RESTRICTED) for n in range(6)))
        token = made.token("patient/Observation.rs")

        first = await made.get("Observation?_count=1&_sort=-_id", token)
        second = await made.get(str(first.link("next")), token)

        assert first.ids == ["Observation/o2"]
        assert second.ids == ["Observation/o1"]
        assert second.link("next") is None
        assert "total" not in first.json

    play(story)


def test_includes_bring_what_the_scopes_cover_and_nothing_else(play: Play) -> None:
    """C60, C73; conformance 5.3.3 and 5.3.4."""

    async def story(made: Ground) -> None:
        token = made.token(
            "patient/MedicationRequest.rs",
            "patient/Medication.rs",
            "patient/Observation.rs",
            "patient/Provenance.rs",
        )

        forward = await made.get("MedicationRequest?patient=p1&_include=MedicationRequest:medication", token)
        reverse = await made.get("Observation?patient=p1&_revinclude=Provenance:target", token)

        assert forward.ids == ["MedicationRequest/mr1", "Medication/m1"]
        assert [e["search"]["mode"] for e in forward.json["entry"]] == ["match", "include"]
        assert "Provenance/pr1" in reverse.ids
        assert "Provenance/pr2" not in reverse.ids

    play(story)


def test_provenance_is_read_only_when_all_its_targets_are_visible(play: Play) -> None:
    """Security decision 10."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Provenance.rs", "patient/Observation.rs")

        assert (await made.get("Provenance/pr1", token)).status == 200
        assert (await made.get("Provenance/pr2", token)).status == 404
        assert (await made.get("Provenance/pr1", made.token("patient/Provenance.rs"))).status == 404

    play(story)


def test_a_patient_sees_own_restricted_records_and_a_proxy_does_not(play: Play) -> None:
    """C82: labels are withheld from apps unless the person is the patient themself."""

    async def story(made: Ground) -> None:
        own = made.token("patient/Observation.rs", person="patient")
        proxy = made.token("patient/Observation.rs", person="parent")

        assert (await made.get("Observation/o3", own)).status == 200
        assert (await made.get("Observation/o3", proxy)).status == 404
        assert len((await made.get("Observation?_total=accurate", own)).ids) == 3

    play(story)


def test_another_tenants_token_is_refused_and_its_records_are_not_there(play: Play) -> None:
    """C145."""

    async def story(made: Ground) -> None:
        made.load(patient("p1"), tenant=CLINIC)
        token = made.token("patient/Patient.rs")

        answer = await made.get("Patient/p1", token, tenant=CLINIC)

        assert answer.status == 401
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'

    play(story)


def test_metadata_lists_what_can_pass_with_our_own_addresses(play: Play) -> None:
    """Contract, Addresses; conformance 5.1; PyPI fhirclient reads oauth-uris."""

    async def story(made: Ground) -> None:
        answer = await made.get("metadata")
        rest = answer.json["rest"][0]
        types = {each["type"]: each for each in rest["resource"]}

        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.json["implementation"]["url"] == BASE
        assert answer.json["fhirVersion"] == "4.0.1"
        assert "Subscription" not in types
        assert {i["code"] for i in types["Observation"]["interaction"]} == {
            "read",
            "vread",
            "search-type",
            "create",
            "update",
            "delete",
        }
        uris = {u["url"]: u["valueUri"] for u in rest["security"]["extension"][0]["extension"]}
        assert uris["authorize"] == f"{PLATFORM}/t/general/oauth/authorize"
        assert uris["token"] == f"{PLATFORM}/t/general/oauth/token"
        assert "register" not in uris, "dynamic registration is closed here (C25)"
        assert {p["name"] for p in types["Observation"]["searchParam"]} >= {"patient", "category", "code"}

    play(story)


def test_conditional_reads_are_judged_before_their_condition(play: Play) -> None:
    """Security decision 12."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rs")

        known = await made.get("Observation/o1", token, headers={"If-None-Match": 'W/"1"'})
        other = await made.get("Observation/x1", token, headers={"If-None-Match": 'W/"1"'})

        assert (known.status, known.body) == (304, b"")
        assert other.status == 404

    play(story)


def test_the_shape_of_an_answer_is_cut_after_it_was_judged(play: Play) -> None:
    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rs")

        elements = await made.get("Observation?_elements=code&_pretty=true", token)
        summary = await made.get("Observation/o1?_summary=text", token)

        assert sorted(elements.ids) == ["Observation/o1", "Observation/o2"]
        assert "subject" not in elements.json["entry"][0]["resource"]
        assert elements.json["entry"][0]["resource"]["status"] == "final"
        assert "category" not in summary.json
        assert summary.json["meta"]["tag"][0]["code"] == "SUBSETTED"

    play(story)


@in_one_world("value", [b"5.40", b"1.500000000000000000001", b"1E-7", b"37.0", b"0.00000001"])
def test_decimals_pass_with_the_digits_their_author_wrote(play: Play, value: bytes) -> None:
    """FHIR R4 datatypes.html#decimal: 0.010 is not 0.01; precision is kept, whatever the answer's shape."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.cruds")
        body = b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/p1"},'

        stored = await made.send(
            "POST", "Observation", token, body=body + b'"valueQuantity":{"value":' + value + b"}}"
        )
        name, id_ = f"Observation/{stored.json['id']}", stored.json["id"]

        for answer in (
            stored,
            await made.get(name, token),
            await made.get(f"{name}?_elements=value", token),
            await made.get(f"Observation?_id={id_}", token),
            await made.get(f"Observation?_id={id_}", token),  # the server has kept its answer
            await made.get(f"Observation?_id={id_}&_summary=data", token),
        ):
            assert b'"value":' + value + b"}" in answer.body
        assert b'"value": ' + value + b"\n" in (await made.get(f"{name}?_pretty=true", token)).body

    play(story)


@pytest.mark.parametrize("person", ["doctor", "patient", "parent"])
def test_a_search_that_repeats_shows_and_records_the_same(play: Play, person: str) -> None:
    """C71, C75: each search is judged by what is stored and permitted now."""
    targets = (
        "Observation",
        "Observation?patient=p1&_count=1",
        "Observation?patient=p2",
        "MedicationRequest?patient=p1&_include=MedicationRequest:medication",
        "Patient?_revinclude=Observation:subject",
        "Provenance?target=Observation/o1",
        "Observation?_summary=count",
        "Observation?_elements=code",
    )

    async def story(made: Ground) -> None:
        scopes = ("user/*.rs", "patient/*.rs") if person != "doctor" else ("user/*.rs",)
        token = made.token(*scopes, person=person)
        for target in targets:
            first, again = await made.get(target, token), await made.get(target, token)
            assert (first.status, shown(first)) == (again.status, shown(again)), target
        made.load(observation("o4", category=category("laboratory"), code={"text": "e"}))
        assert "Observation/o4" in (await made.get("Observation?patient=p1", token)).ids

    play(story)


def test_an_answer_over_several_patients_is_recorded_with_each_of_them(play: Play) -> None:
    """C94: whatever service or person searched; a search in one record names that one, as before."""

    async def story(made: Ground) -> None:
        reader = journals.open_reader(journal_of(made.uow), made.uow.db.url)

        def recorded(answer: Answer) -> tuple[str, int, str]:
            (only,) = reader.find(answer.headers["x-request-id"])
            return only.patient, only.returned, " ".join(sorted(only.found.split()))

        everybody = made.token("system/*.rs", client="backend")
        members = [{"entity": {"reference": f"Patient/{each}"}} for each in ("p1", "p2")]
        both = [{"actor": {"reference": f"Patient/{each}"}, "status": "accepted"} for each in ("p1", "p2")]
        made.load(
            {"resourceType": "Group", "id": "g1", "type": "person", "actual": True, "member": members},
            {"resourceType": "Appointment", "id": "a1", "status": "booked", "participant": both},
        )
        targets = {
            "Patient?_id=p1,p2": ("", 2, "p1:1 p2:1"),
            "Patient?_id=p1": ("p1", 1, ""),
            "Appointment?patient=p1": ("p1", 1, "p1:1 p2:1"),
            "Appointment/a1": ("", 1, "p1:1 p2:1"),
            "Group/g1": ("", 1, "p1:1 p2:1"),
            "Patient?_id=nobody": ("nobody", 0, ""),
            "Organization": ("", 1, ""),
        }
        for target, expected in targets.items():
            answer = await made.get(target, everybody)
            assert answer.status == 200, (target, answer.body)
            assert recorded(answer) == expected, target
        narrow = made.token("patient/Observation.rs")
        assert recorded(await made.get("Observation?_count=2", narrow)) == ("p1", 2, "")

    play(story)


def shown(answer: Answer) -> Any:
    """Return what an answer shows, without its links, which are sealed anew each time, and without its request's id."""
    body = answer.json
    return {key: value for key, value in body.items() if key not in {"link", "issue"}}


def test_counting_discloses_no_number_that_reaches_beyond_the_grant(play: Play) -> None:
    """C76."""

    async def story(made: Ground) -> None:
        own = made.token("patient/Observation.rs", person="patient")
        staff = made.token("patient/Observation.rs")

        assert (await made.get("Observation?_summary=count", own)).json["total"] == 3
        assert (await made.get("Observation?_count=0", own)).json["total"] == 3
        assert (await made.get("Observation?_summary=count", staff)).json["total"] == 2
        assert (await made.get("Observation?_total=accurate", staff)).json["total"] == 2

    play(story)


def test_a_count_above_one_page_is_a_number_or_too_costly(play: Play) -> None:
    """FHIR R4 search.html#total, #summary: judged one by one, for there may be withheld ones among them (C76)."""

    async def story(made: Ground) -> None:
        staff = made.token("patient/Observation.rs", "patient/Patient.rs")
        made.load(*(observation(f"n{n}", code={"text": "many"}) for n in range(448)))
        made.load(*(observation(f"w{n}", code={"text": "many"}, meta=RESTRICTED) for n in range(5)))
        asked = ("_summary=count", "_count=0", "_count=0&_sort=-date&_include=Observation:subject",
                 "_total=accurate", "_count=5&_total=accurate")  # fmt: skip

        for query in asked:
            answer = await made.get(f"Observation?{query}", staff)
            assert (answer.status, answer.json.get("total")) == (200, 450), query

        made.load(*(observation(f"m{n}", code={"text": "more"}) for n in range(COUNTED_BOUND)))
        for query in asked:
            answer = await made.get(f"Observation?{query}", staff)
            assert (answer.status, answer.json["issue"][0]["code"]) == (403, "too-costly"), query
            assert "narrow the search" in str(answer.json)
        assert "total" not in (await made.get("Observation", staff)).json

    play(story)


def test_a_search_without_what_was_ignored_says_so_in_its_links(play: Play) -> None:
    """ADR 12, FHIR R4 search.html#errors: and its pages follow without the preference."""

    async def story(made: Ground) -> None:
        staff = made.token("patient/Observation.rs")
        lenient = {"Prefer": "handling=lenient"}
        whole = await made.get("Observation?_count=1", staff)

        for query, headers in (("_totalMethod=count", {}), ("nonsense=1&_has:Patient:link:name=x", lenient)):
            answer = await made.send("GET", f"Observation?{query}&_count=1", staff, headers=headers)
            assert (
                answer.link("self") == whole.link("self") == f"{BASE}/Observation?patient=Patient/p1&_count=1"
            )
            following = await made.get(answer.link("next") or "", staff)
            assert (answer.ids, len(following.ids)) == (whole.ids, 1)
        refused = await made.get("Observation?nonsense=1", staff)
        assert refused.status == 400
        assert "nonsense" in str(refused.json)

    play(story)


def test_docref_finds_what_a_search_for_the_documents_of_the_patient_finds(play: Play) -> None:
    """US Core 6.1.0, OperationDefinition-docref; C73."""

    async def story(made: Ground) -> None:
        document = {
            "resourceType": "DocumentReference",
            "status": "current",
            "content": [{"attachment": {"title": "x"}}],
        }
        for id_, whose, more in (("d1", "p1", {"context": {"period": {"start": "2020-01-01", "end": "2020-02-01"}}}),
                                 ("d2", "p1", {"meta": RESTRICTED}), ("d3", "p2", {})):  # fmt: skip
            made.load({**document, "id": id_, "subject": {"reference": f"Patient/{whose}"}, **more})
        staff = made.token("patient/DocumentReference.rs")
        parameters = {"resourceType": "Parameters", "parameter": [{"name": "patient", "valueId": "p1"}]}

        async def asked(query: str) -> Answer:
            return await made.get(f"DocumentReference/$docref?{query}", staff)

        by_get = await asked("patient=p1")
        by_post = await made.send("POST", "DocumentReference/$docref", staff, body=parameters)
        assert by_get.ids == by_post.ids == (await made.get("DocumentReference?patient=p1", staff)).ids
        assert "DocumentReference/d1" in by_get.ids
        assert not {"DocumentReference/d2", "DocumentReference/d3"} & {*by_get.ids}
        assert (await asked("patient=p1&start=2020-01-15&end=2020-03-01")).ids == ["DocumentReference/d1"]
        assert (await asked("patient=p1&start=2020-03-01")).ids == []
        assert (await asked("patient=p2")).status == 404
        unscoped = made.token("patient/Observation.rs")
        assert (await made.get("DocumentReference/$docref?patient=p1", unscoped)).status == 403
        (rest,) = (await made.get("metadata")).json["rest"]
        declared = {each["type"]: each.get("operation") for each in rest["resource"]}
        assert declared["DocumentReference"][0]["name"] == "docref"
        assert declared["Patient"] is None

    play(story)


def test_a_version_is_shown_if_it_and_the_record_of_today_are_within_reach(play: Play) -> None:
    """C73, history. Of a record that was deleted since there is none of today."""

    async def story(made: Ground) -> None:
        made.load(observation("x1", "p1", code={"text": "moved here"}))
        made.load(observation("o2", "p2", code={"text": "moved away"}))
        token = made.token("patient/Observation.rs")

        assert (await made.get("Observation/o1/_history/1", token)).status == 200
        assert (await made.get("Observation/x1/_history/2", token)).status == 200
        assert (await made.get("Observation/x1/_history/1", token)).status == 404
        assert (await made.get("Observation/o2/_history/1", token)).status == 404
        deleted = await made.send("DELETE", "Observation/o1", made.token("patient/Observation.rd"))
        assert deleted.status == 204
        assert (await made.get("Observation/o1/_history/1", token)).status == 404

    play(story)


def test_cors_answers_for_the_clients_own_origins_and_preflights_for_all(play: Play) -> None:
    """C26; contract, CORS."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Patient.r")

        async def allowed(method: str, origin: str, bearer: str | None) -> str | None:
            answer = await made.send(method, "Patient/p1", bearer, headers={"Origin": origin})
            return answer.headers.get("access-control-allow-origin")

        assert await allowed("GET", "https://app.example", token) == "https://app.example"
        assert await allowed("GET", "https://second.example", token) is None
        assert await allowed("GET", "https://second.example", None) == "https://second.example"
        assert await allowed("OPTIONS", "https://second.example", None) == "https://second.example"
        assert await allowed("OPTIONS", "https://evil.example", None) is None
        preflight = await made.send("OPTIONS", "Patient/p1", headers={"Origin": "https://app.example"})
        assert preflight.status == 204
        taken = preflight.headers["access-control-allow-headers"].split(", ")
        assert {"Authorization", "Cache-Control", "If-Match", "If-None-Exist", "X-Correlation-Id"} <= set(
            taken
        )
        assert "access-control-allow-credentials" not in preflight.headers
        assert GENERAL == "general"

    play(story)


def test_head_is_get_without_a_body(play: Play) -> None:
    """FHIR R4 http.html#read: HEAD where a client only wants the headers."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rs")
        full = await made.get("Observation/o1", token)
        head = await made.send("HEAD", "Observation/o1", token)
        beyond = await made.send("HEAD", "Observation/x1", token)

        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == str(len(full.body))
        assert head.headers["etag"] == full.headers["etag"]
        assert (beyond.status, beyond.body) == (404, b"")

    play(story)


def test_whoever_goes_away_early_leaves_a_record_and_no_error(play: Play) -> None:
    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rs")
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/t/general/fhir/Observation/o1",
            "raw_path": b"/t/general/fhir/Observation/o1",
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {token}".encode())],
            "state": {"request_id": "req_gone"},
        }

        async def receive() -> dict[str, str]:
            return {"type": "http.disconnect"}

        async def gone(_message: object) -> None:
            raise OSError("gone")

        await made.gateway(scope, receive, gone)
        await made.gateway({**scope, "method": "PUT"}, receive, gone)

    play(story)


def test_records_of_a_request_that_came_half_are_refused(play: Play) -> None:
    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.cruds")
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/t/general/fhir/Observation",
            "headers": [(b"authorization", f"Bearer {token}".encode())],
        }
        await made.gateway(scope, receive, send)

        assert sent[0]["status"] == 400

    play(story)
