"""What an app may write, and what a write cannot do: move a record, tell what exists, or slip past a change."""

from typing import Any

from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Target, TargetKind
from hilum.foundation.kernel.ids import TenantId
from hilum.records.audit import live as journals
from tests.flows.gateway_ground import PLATFORM, Answer, Ground, Play, patient
from tests.sim.journals import journal_of
from tests.sim.one_world import in_one_world
from tests.unit.gateway.enforcement.facts import RESTRICTED, category, observation, provenance

BASE = f"{PLATFORM}/t/general/fhir"


def fresh(patient_id: str = "p1", **more: Any) -> dict[str, Any]:
    made = observation("", patient_id, code={"text": "new"}, **more)
    del made["id"]
    return made


def test_a_create_answers_with_our_own_location(play: Play) -> None:
    """FHIR R4 http.html#create."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.crs")

        answer = await made.send("POST", "Observation", token, body=fresh())

        assert answer.status == 201
        assert answer.headers["location"].startswith(f"{BASE}/Observation/")
        assert answer.headers["location"].endswith("/_history/1")
        assert answer.headers["etag"] == 'W/"1"'
        assert answer.headers["last-modified"] == "Mon, 02 Mar 2026 09:00:00 GMT"
        assert answer.json["subject"]["reference"] == "Patient/p1"
        again = await made.get(f"Observation/{answer.json['id']}", token)
        assert again.status == 200

    play(story)


@in_one_world(
    ("prefer", "shown"),
    [
        ("return=representation", "Observation"),
        ("return=OperationOutcome", "OperationOutcome"),
        ("return=minimal", None),
        ("respond-async", "Observation"),
    ],
)
@in_one_world(("method", "id_"), [("POST", ""), ("PUT", "o1")])
def test_prefer_says_what_a_write_answers(
    play: Play, method: str, id_: str, prefer: str, shown: str | None
) -> None:
    """FHIR R4 http.html#return."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.cruds")
        body = fresh() | ({"id": id_} if id_ else {})

        answer = await made.send(
            method, f"Observation/{id_}".rstrip("/"), token, body=body, headers={"prefer": prefer}
        )

        assert answer.status in {200, 201}
        assert (answer.json["resourceType"] if answer.body else None) == shown
        assert answer.headers["location"].startswith(f"{BASE}/Observation/")

    play(story)


def test_a_create_without_the_right_to_read_shows_nothing_back(play: Play) -> None:
    async def story(made: Ground) -> None:
        answer = await made.send("POST", "Observation", made.token("patient/Observation.c"), body=fresh())

        assert (answer.status, answer.body) == (201, b"")

    play(story)


@in_one_world(
    ("body", "status"),
    [
        (fresh("p2"), 404),
        (fresh() | {"subject": {"reference": f"{BASE}/Patient/p2"}}, 404),
        (fresh() | {"subject": {"reference": "http://elsewhere.example/fhir/Patient/p1"}}, 404),
        (fresh() | {"subject": {"identifier": {"value": "p1"}}}, 404),
        (fresh() | {"subject": {"reference": "#p"}}, 404),
        (fresh() | {"subject": {}}, 404),
        ({k: v for k, v in fresh().items() if k != "subject"}, 404),
        (fresh(meta=RESTRICTED), 404),
        (fresh(contained=[patient("c")]), 404),
        (patient("p9"), 400),
        (fresh() | {"status": 5}, 400),
        (fresh() | {"nonsense": True}, 400),
    ],
)
def test_a_create_that_is_not_about_the_patient_in_context_is_refused(
    play: Play, body: dict[str, Any], status: int
) -> None:
    """C79; security decision 12."""

    async def story(made: Ground) -> None:
        answer = await made.send("POST", "Observation", made.token("patient/*.cruds"), body=body)

        assert answer.status == status
        assert answer.json["resourceType"] == "OperationOutcome"

    play(story)


def test_a_refused_element_is_named(play: Play) -> None:
    """FHIR R4 operationoutcome.html: also one that R4 does not have, at the place where the app wrote it."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.cruds")
        for more, place in (
            ({"nonsense": True}, "Observation.nonsense"),
            ({"component": [{"code": {"text": "x"}, "odd": 1}]}, "Observation.component[0].odd"),
            ({"status": 5}, "Observation.status"),
        ):
            answer = await made.send("POST", "Observation", token, body=fresh() | more)
            assert (answer.status, answer.json["issue"][0]["expression"]) == (400, [place])

    play(story)


def test_an_update_changes_the_record_and_keeps_its_patient(play: Play) -> None:
    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rus")
        body = observation("o1", code={"text": "changed"})

        answer = await made.send("PUT", "Observation/o1", token, body=body)

        assert answer.status == 200
        assert answer.headers["etag"] == 'W/"2"'
        assert (await made.get("Observation/o1", token)).json["code"]["text"] == "changed"

    play(story)


def test_an_update_cannot_take_or_give_away_a_record(play: Play) -> None:
    """C79: judged before and after; nothing changed."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rus")
        both = made.token("user/Observation.rus")
        attempts = [
            (token, "o1", observation("o1", "p2")),
            (token, "x1", observation("x1", "p1")),
            (token, "x1", observation("x1", "p2")),
            (token, "o3", observation("o3", "p1")),
            (both, "o1", observation("o1", "p2")),
            (token, "absent", observation("absent")),
        ]
        for bearer, id_, body in attempts:
            answer = await made.send("PUT", f"Observation/{id_}", bearer, body=body)
            assert answer.status == 404, (id_, body)

        for id_ in ("o1", "o3", "x1"):
            server = await made.get(f"Observation/{id_}/_history/1", made.token("user/Observation.r"))
            assert server.status in {200, 404}
            assert (await made.servers[TenantId("general")].answer(_read(id_))).headers[2][1] == b'W/"1"'

    play(story)


def _read(id_: str) -> Any:
    from hilum_ehr.fhirserver.routes import Request

    return Request("GET", f"/Observation/{id_}")


def test_granular_scopes_hold_for_writes(play: Play) -> None:
    """C60."""
    system = "http://terminology.hl7.org/CodeSystem/observation-category"

    async def story(made: Ground) -> None:
        token = made.token(f"patient/Observation.crus?category={system}|laboratory")
        lab, vital = category("laboratory"), category("vital-signs")
        cases = [
            ("POST", "Observation", fresh(category=lab), 201),
            ("POST", "Observation", fresh(category=vital), 404),
            ("POST", "Observation", fresh(), 404),
            ("PUT", "Observation/o1", observation("o1", category=lab, code={"text": "x"}), 200),
            ("PUT", "Observation/o1", observation("o1", category=vital), 404),
            ("PUT", "Observation/o2", observation("o2", category=lab), 404),
        ]
        for method, target, body, status in cases:
            assert (await made.send(method, target, token, body=body)).status == status, (target, body)

    play(story)


def test_a_delete_needs_the_record_within_reach(play: Play) -> None:
    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rd")

        assert (await made.send("DELETE", "Observation/x1", token)).status == 404
        assert (await made.send("DELETE", "Observation/o3", token)).status == 404
        assert (await made.send("DELETE", "Observation/absent", token)).status == 404
        assert (await made.send("DELETE", "Observation/o1", token)).status == 204
        assert (await made.get("Observation/o1", token)).status == 404

    play(story)


def test_what_is_out_of_reach_is_judged_before_any_precondition(play: Play) -> None:
    """Security decision 12: If-Match is no oracle."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rud")
        for method in ("PUT", "DELETE"):
            for id_ in ("x1", "absent"):
                for version in ('W/"1"', 'W/"99"'):
                    answer = await made.send(
                        method,
                        f"Observation/{id_}",
                        token,
                        body=observation(id_) if method == "PUT" else None,
                        headers={"If-Match": version},
                    )
                    assert answer.status == 404, (method, id_, version)
        body = observation("o1", code={"text": "x"})
        stale = await made.send("PUT", "Observation/o1", token, body=body, headers={"If-Match": 'W/"9"'})
        current = await made.send("PUT", "Observation/o1", token, body=body, headers={"If-Match": 'W/"1"'})
        assert (stale.status, current.status) == (412, 200)

    play(story)


def test_only_a_service_creates_a_record_under_an_id_of_its_own_choice(play: Play) -> None:
    """Security decision 12."""

    async def story(made: Ground) -> None:
        person = made.token("user/Observation.cruds")
        service = made.token("system/Observation.cruds", client="backend")
        body = observation("chosen", code={"text": "x"})

        assert (await made.send("PUT", "Observation/chosen", person, body=body)).status == 404
        assert (await made.send("PUT", "Observation/chosen", service, body=body)).status == 201

    play(story)


def pointing(id_: str, **attachment: str) -> dict[str, Any]:
    return {
        "resourceType": "DocumentReference",
        "id": id_,
        "status": "current",
        "subject": {"reference": "Patient/p1"},
        "content": [{"attachment": {"contentType": "text/plain", **attachment}}],
    }


@in_one_world(
    ("body", "headers", "status"),
    [
        (provenance("seen", "Observation/o1"), {}, 201),
        (provenance("withheld", "Observation/o3"), {}, 404),
        (provenance("both", "Observation/o1", "Observation/o3"), {}, 404),
        (provenance("nothing", "Observation/absent"), {}, 404),
        (pointing("inline", data="bWluZQ=="), {}, 201),
        (pointing("elsewhere", url="Binary/b2"), {}, 400),
        (observation("matched", code={"text": "x"}), {"If-Match": 'W/"1"'}, 412),
    ],
)
def test_a_record_under_a_chosen_id_is_judged_as_every_new_one(
    play: Play, body: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    """C73, C79, security decision 10: what it is about and points at; FHIR R4 http.html#concurrency: there is no version to match."""

    async def story(made: Ground) -> None:
        service = made.token("system/*.cruds", client="backend")
        name = f"{body['resourceType']}/{body['id']}"

        answer = await made.send("PUT", name, service, body=body, headers=headers)

        assert answer.status == status
        assert (await made.get(name, service)).status == (200 if status == 201 else 404)

    play(story)


def test_a_read_only_switch_stops_writes_and_lets_reads_pass(play: Play) -> None:
    """C142."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.cruds")
        order = EngageOrder(
            Target(TargetKind.APP, made.clients["app"].app), Mode.READ_ONLY, "under investigation"
        )
        made.run(lambda ctx: controls.engage(ctx, order))

        assert (await made.send("POST", "Observation", token, body=fresh())).status == 403
        assert (await made.send("DELETE", "Observation/o1", token)).status == 403
        assert (await made.get("Observation/o1", token)).status == 200

    play(story)


@in_one_world(
    ("method", "target", "body", "headers"),
    [
        ("POST", "", {"resourceType": "Bundle", "type": "batch", "entry": []}, {}),
        ("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": []}, {}),
        ("PATCH", "Observation/o1", [{"op": "remove", "path": "/subject"}], {}),
        ("PUT", "Observation?code=x", observation("o1"), {}),
        ("DELETE", "Observation?code=x", None, {}),
        ("PATCH", "Observation?code=x", [], {}),
        ("POST", "Observation", fresh(), {"If-None-Exist": "code=x"}),
        ("PUT", "Observation/o1", observation("o1"), {"If-None-Match": "*"}),
        ("GET", "Observation/o1/_history", None, {}),
        ("GET", "Observation/_history", None, {}),
        ("GET", "_history", None, {}),
        ("GET", "Patient/p1/$everything", None, {}),
        ("POST", "Patient/$match", {"resourceType": "Parameters"}, {}),
        ("GET", "$export", None, {}),
        ("GET", "Patient/p1/Observation", None, {}),
        ("GET", "?_type=Observation", None, {}),
        ("POST", "_search", None, {}),
    ],
)
def test_what_cannot_be_judged_entry_by_entry_yet_is_refused_whole(
    play: Play, method: str, target: str, body: Any, headers: dict[str, str]
) -> None:
    """C67, C80 (first form), C72: refused with a sentence, nothing done."""

    async def story(made: Ground) -> None:
        for token in (made.token("patient/*.cruds"), made.token("system/*.cruds", client="backend")):
            answer = await made.send(method, target, token, body=body, headers=headers)

            assert answer.status == 400
            assert answer.json["issue"][0]["details"]["coding"][0]["code"] == "request_unsupported"
            assert answer.json["issue"][0]["details"]["text"]

    play(story)


def test_a_provenance_is_written_only_about_what_is_visible(play: Play) -> None:
    async def story(made: Ground) -> None:
        token = made.token("user/Provenance.crs", "user/Observation.rs")
        about = {
            "resourceType": "Provenance",
            "recorded": "2026-01-01T00:00:00Z",
            "agent": [{"who": {"reference": "Practitioner/dr"}}],
        }

        seen = await made.send(
            "POST", "Provenance", token, body=about | {"target": [{"reference": "Observation/o1"}]}
        )
        withheld = await made.send(
            "POST", "Provenance", token, body=about | {"target": [{"reference": "Observation/o3"}]}
        )

        assert (seen.status, withheld.status) == (201, 404)

    play(story)


def test_a_write_to_a_record_of_several_patients_names_each_of_them(play: Play) -> None:
    """C94: it is in the history of whoever takes part; a record of one patient names that one, as before."""

    async def story(made: Ground) -> None:
        folder = journal_of(made.uow)
        reader = journals.open_reader(folder, made.uow.db.url)

        def recorded(answer: Answer) -> tuple[str, str, str]:
            done = [each for each in reader.find(answer.headers["x-request-id"]) if each.outcome == "done"]
            (only,) = done
            return only.patient, " ".join(sorted(only.found.split())), only.resource.partition("/_history")[0]

        def together(*patients: str) -> dict[str, Any]:
            taking = [{"actor": {"reference": f"Patient/{each}"}, "status": "accepted"} for each in patients]
            return {"resourceType": "Appointment", "status": "booked", "participant": taking}

        made.load(together("p1", "p2") | {"id": "a1"})
        everybody = made.token("system/*.cruds", client="backend")

        created = await made.send("POST", "Appointment", everybody, body=together("p1", "p2"))
        assert created.status == 201, created.body
        assert recorded(created)[:2] == ("", "p1:1 p2:1")
        changed = await made.send(
            "PUT", "Appointment/a1", everybody, body=together("p2", "p1") | {"id": "a1"}
        )
        assert changed.status == 200
        assert recorded(changed) == ("", "p1:1 p2:1", "Appointment/a1")
        left = await made.send("DELETE", "Appointment/a1", everybody)
        assert left.status == 204
        assert recorded(left) == ("", "p1:1 p2:1", "Appointment/a1")
        own = await made.send("POST", "Observation", everybody, body=fresh())
        assert recorded(own)[:2] == ("p1", "")

    play(story)
