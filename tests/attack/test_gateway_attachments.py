"""A Binary opens only through a record that may be seen, within its own security context, whoever asks and whatever the server.

The hospital's own references are the only way in: scope, consent, label and switch of the record that refers count for what is attached.
"""

import json
from typing import Any

import pytest

from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Target, TargetKind
from tests.attack.pointing_ground import binary, document
from tests.flows.gateway_ground import Answer, Ground, Play, patient
from tests.sim.fhir_upstream import OtherServer
from tests.unit.gateway.enforcement.facts import RESTRICTED, observation

CANARY = "WHAT-THE-PATHOLOGIST-SAW"
REFERRERS: dict[str, dict[str, Any]] = {
    "DiagnosticReport": {
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": "Patient/p1"},
        "presentedForm": [{"url": "Binary/held"}],
    },
    "Media": {
        "status": "completed",
        "subject": {"reference": "Patient/p1"},
        "content": {"url": "Binary/held"},
    },
    "Consent": {
        "status": "active",
        "scope": {"text": "x"},
        "category": [{"text": "x"}],
        "patient": {"reference": "Patient/p1"},
        "policyRule": {"text": "x"},
        "sourceAttachment": {"url": "Binary/held"},
    },
    "Communication": {
        "status": "completed",
        "subject": {"reference": "Patient/p1"},
        "payload": [{"contentAttachment": {"url": "Binary/held"}}],
    },
    "QuestionnaireResponse": {
        "status": "completed",
        "subject": {"reference": "Patient/p1"},
        "item": [
            {
                "linkId": "1",
                "item": [{"linkId": "2", "answer": [{"valueAttachment": {"url": "Binary/held"}}]}],
            }
        ],
    },
    "Patient": {"photo": [{"url": "Binary/held"}]},
}
"""One referrer of each kind, at every depth at which R4 has attachments."""


def guarded(id_: str, context: str, **more: Any) -> dict[str, Any]:
    return binary(id_, CANARY) | {"securityContext": {"reference": context}} | more


def anonymous(answer: Answer) -> bytes:
    """Return an answer's body without the id of its decision."""
    return answer.body.replace(answer.headers["x-request-id"].encode(), b"")


def referrer(type_: str) -> dict[str, Any]:
    id_ = "p1" if type_ == "Patient" else "ref"
    return {"resourceType": type_, "id": id_, **REFERRERS[type_]}


def test_an_attachment_needs_the_scope_of_what_refers_to_it(play: Play) -> None:
    """C75, security decision 22: a security context in reach opens nothing by itself."""
    short_of_it = (
        ("patient/Patient.r",),
        ("patient/Patient.rs", "patient/Observation.rs"),
        ("patient/DiagnosticReport.rs", "patient/Patient.r"),
        ("patient/DocumentReference.cud", "patient/Patient.r"),
        ("user/Patient.rs",),
    )

    async def story(made: Ground) -> None:
        made.load(guarded("held", "Patient/p1"), binary("bare", CANARY))
        made.load(document("d1", "p1", "Binary/held", "Binary/bare"))

        for scopes in short_of_it:
            token = made.token(*scopes)
            for id_ in ("held", "bare"):
                answer = await made.get(f"Binary/{id_}", token)
                assert answer.status == 404, (scopes, id_)
                assert CANARY.encode() not in answer.body
        assert (await made.get("Binary/held", made.token("patient/DocumentReference.r"))).status == 200

    play(story)


def test_a_service_needs_the_scope_of_what_refers_too(play: Play) -> None:
    """Security decision 22: a backend service reads nobody's notes with Patient and Immunization."""

    async def story(made: Ground) -> None:
        made.load(guarded("held", "Patient/p1"), document("d1", "p1", "Binary/held"))
        short = made.token("system/Immunization.rs", "system/Patient.rs", client="backend")
        enough = made.token("system/DocumentReference.rs", client="backend")

        assert (await made.get("Binary/held", short)).status == 404
        assert (await made.get("Binary/held", enough)).status == 200

    play(story)


def test_a_label_on_the_document_withholds_what_is_attached(play: Play) -> None:
    """C75, C82, security decision 22: under every kind of grant, and as if there were nothing."""

    async def story(made: Ground) -> None:
        made.load(guarded("of", "Patient/p1"), guarded("doc", "DocumentReference/d1"), binary("bare", CANARY))
        labelled = document("d1", "p1", "Binary/of", "Binary/doc", "Binary/bare") | {"meta": RESTRICTED}
        made.load(labelled)

        for scope, client in (("patient/*.rs", "app"), ("user/*.rs", "app"), ("system/*.rs", "backend")):
            token = made.token(scope, client=client)
            absent = await made.get("Binary/none", token)
            for id_ in ("of", "doc", "bare"):
                withheld = await made.get(f"Binary/{id_}", token)
                assert (withheld.status, withheld.headers.keys()) == (404, absent.headers.keys())
                assert anonymous(withheld) == anonymous(absent)

    play(story)


def test_a_label_on_the_patient_of_its_context_withholds_what_is_attached(play: Play) -> None:
    """Security decision 22: the context is one more condition, and is itself within reach only where no label withholds it."""

    async def story(made: Ground) -> None:
        made.load(guarded("held", "Patient/p1"), binary("bare", CANARY))
        made.load(document("d1", "p1", "Binary/held", "Binary/bare"))
        token = made.token("patient/*.rs")
        assert (await made.get("Binary/held", token)).status == 200

        made.load({"resourceType": "Patient", "id": "p1", "meta": RESTRICTED})

        assert (await made.get("Binary/held", token)).status == 404
        assert (await made.get("Binary/bare", token)).status == 200

    play(story)


LATER = (
    ("consent", "Communication"),
    ("label", "Communication"),
    ("label", "DocumentReference"),
    ("switch", "QuestionnaireResponse"),
    ("switch", "DocumentReference"),
    ("narrower launch", "Communication"),
)
"""What withholds the hospital's referrer, and the type of the record that the app would keep the attachment by."""


@pytest.mark.parametrize(("later", "type_"), LATER)
def test_an_app_keeps_no_attachment_by_a_record_of_its_own(play: Play, later: str, type_: str) -> None:
    """Security decision 22: what withholds the hospital's referrer later withholds the attachment, whatever the app wrote before."""
    kept = document("own", "p1", "Binary/held") if type_ == "DocumentReference" else referrer(type_)
    stopped = "Communication" if type_ == "DocumentReference" else "DocumentReference"
    wide = ("patient/*.crus",)

    async def story(made: Ground) -> None:
        made.load(guarded("held", "Patient/p1"))
        first = referrer(stopped) if stopped == "Communication" else document("d1", "p1", "Binary/held")
        made.load(first)
        _, token = made.authorized(*wide, person="patient" if later == "consent" else "doctor")
        assert (await made.get("Binary/held", token)).status == 200
        own = kept | {"id": "own"}
        bare = json.loads(json.dumps(own).replace('"url": "Binary/held"', '"data": "bWluZQ=="'))

        planted = await made.send("POST", type_, token, body=own)
        inline = await made.send("POST", type_, token, body=bare)
        where = inline.headers["location"].partition("/fhir/")[2].partition("/_history/")[0]
        changed = await made.send("PUT", where, token, body=own | {"id": where.partition("/")[2]})

        if later == "label":
            made.load(first | {"meta": RESTRICTED})
            token = made.token(*wide)
        elif later == "switch":
            target = Target(TargetKind.RESOURCE_TYPE, stopped)
            made.run(lambda ctx: controls.engage(ctx, EngageOrder(target, Mode.FULL_STOP, "x")))
        elif later == "consent":
            _, token = made.authorized(f"patient/{type_}.rs", person="patient")
        else:
            token = made.token(f"patient/{type_}.rs")

        may_not_update = later == "consent"  # A patient may add records, and changes none.
        assert (planted.status, inline.status) == (400, 201)
        assert changed.status == (403 if may_not_update else 400)
        assert (await made.get(where, token)).status == 200
        assert (await made.get("Binary/held", token)).status == 404

    play(story)


def test_a_switch_on_the_type_that_refers_closes_what_is_attached(play: Play) -> None:
    """Security decision 22: a stop on DocumentReference stops its attachments."""

    async def story(made: Ground) -> None:
        made.load(guarded("held", "Patient/p1"), document("d1", "p1", "Binary/held"))
        token = made.token("patient/*.rs")
        assert (await made.get("Binary/held", token)).status == 200

        target = Target(TargetKind.RESOURCE_TYPE, "DocumentReference")
        made.run(lambda ctx: controls.engage(ctx, EngageOrder(target, Mode.FULL_STOP, "x")))
        answer = await made.get("Binary/held", token)

        assert answer.status == 404
        assert CANARY.encode() not in answer.body

    play(story)


CLOSED = (
    "Patient/p2",
    "Patient/none",
    "Observation/o3",
    "Observation/x1",
    "DocumentReference/d2",
    "https://elsewhere.example/Patient/p1",
    "Basic/b",
    "Binary/held0",
    "Provenance/pr1",
)


def test_a_context_out_of_reach_closes_what_a_visible_document_shows(play: Play) -> None:
    """Security decision 22: the security context is one more condition, not another way in."""

    async def story(made: Ground) -> None:
        made.load(document("d2", "p2"))
        for n, context in enumerate(CLOSED):
            made.load(guarded(f"held{n}", context), document(f"doc{n}", "p1", f"Binary/held{n}"))
        token = made.token("patient/*.rs")

        statuses = [(await made.get(f"Binary/held{n}", token)).status for n in range(len(CLOSED))]

        assert statuses == [404] * len(CLOSED)

    play(story)


@pytest.mark.parametrize("type_", sorted(REFERRERS))
def test_each_kind_of_record_opens_what_it_holds_and_no_other_scope_does(play: Play, type_: str) -> None:
    """Security decision 22: presentedForm, Media, photo, payload, source and answers count like a document."""

    async def story(made: Ground) -> None:
        held = binary("held", "mine") if type_ in {"Media", "Patient"} else guarded("held", "Patient/p1")
        made.load(held, referrer(type_))

        opened = await made.get("Binary/held", made.token(f"patient/{type_}.rs"))
        another = await made.get("Binary/held", made.token("patient/DocumentReference.rs"))
        of_another = await made.get("Binary/held", made.token("patient/*.rs", person="parent", patient="p3"))

        assert (opened.status, another.status, of_another.status) == (200, 404, 404)

    play(story)


def test_only_an_attachment_of_the_record_itself_refers(play: Play) -> None:
    """C73: what merely mentions a Binary does not open it."""
    mentions: tuple[dict[str, Any], ...] = (
        {"extension": [{"url": "http://x.example/e", "valueAttachment": {"url": "Binary/held"}}]},
        {
            "contained": [{**document("in", "p1", "Binary/held"), "id": "in"}],
            "derivedFrom": [{"reference": "#in"}],
        },
        {"derivedFrom": [{"reference": "DocumentReference/d2"}]},
        {"note": [{"text": "Binary/held"}]},
    )

    async def story(made: Ground) -> None:
        made.load(binary("held", CANARY), document("d2", "p2", "Binary/held"))
        made.load(
            *(observation(f"m{n}", "p1", code={"text": "x"}, **each) for n, each in enumerate(mentions))
        )

        assert (await made.get("Binary/held", made.token("patient/*.rs"))).status == 404

    play(story)


def test_the_context_alone_never_stands_for_the_referrer(play: Play) -> None:
    """Security decision 22: a Binary that names a visible record refers to it; nothing refers to the Binary."""

    async def story(made: Ground) -> None:
        made.load(patient("p2"), document("d1", "p1"), guarded("held", "DocumentReference/d1"))

        for scopes, client in ((("patient/*.rs",), "app"), (("system/*.rs",), "backend")):
            assert (await made.get("Binary/held", made.token(*scopes, client=client))).status == 404

    play(story)


@pytest.mark.parametrize("careless", [False, True])
def test_a_server_that_knows_no_location_and_narrows_nothing_opens_no_more_and_no_less(
    play: Play, careless: bool
) -> None:
    """C75, security decision 22: each candidate is judged, page after page, whatever the server was asked."""
    server = OtherServer(careless=careless)
    server.load(patient("p1"), patient("p2"), binary("mine", "mine"), binary("theirs", CANARY))
    server.load(guarded("lured", "Patient/p1"), binary("labelled", CANARY))
    server.load(
        *(document(f"a{n:02}", "p2", f"{server.base}/Binary/theirs", "Binary/lured") for n in range(25))
    )
    server.load(*(document(f"b{n:02}", "p1") for n in range(60)))
    server.load(document("c", "p1", "Binary/labelled") | {"meta": RESTRICTED})
    server.load(document("d", "p1", f"{server.base}/Binary/mine"))

    async def story(made: Ground) -> None:
        for scope in ("patient/*.rs", "patient/DocumentReference.r"):
            token = made.token(scope)
            opened = await made.get("Binary/mine", token)
            closed = [
                (await made.get(f"Binary/{id_}", token)) for id_ in ("theirs", "lured", "labelled", "none")
            ]

            assert (opened.status, opened.body) == (200, b"mine")
            assert {answer.status for answer in closed} == {404}
            assert len({anonymous(answer) for answer in closed}) == 1

    play(story, embedded=lambda _: server)


def test_a_refused_attachment_is_not_even_fetched(play: Play) -> None:
    """C75: so that neither its size nor its absence takes time, at a server of any speed."""
    server = OtherServer()
    server.load(patient("p1"), guarded("theirs", "Patient/p2"), document("d", "p2", "Binary/theirs"))

    async def story(made: Ground) -> None:
        token = made.token("patient/*.rs")
        asked: list[list[str]] = []
        for id_ in ("theirs", "none"):
            before = len(server.seen)
            assert (await made.get(f"Binary/{id_}", token)).status == 404
            asked.append(
                [target.replace(id_, "") for _, target, _ in server.seen[before:] if target != "metadata"]
            )

        assert asked[0] == asked[1]
        assert asked[0]
        assert not [target for target in asked[0] if target.startswith("Binary")]

    play(story, embedded=lambda _: server)
