"""Apps store scans, and reach nobody else's by it (C73, C74, ADR 27)."""

import base64
from typing import Any

import pytest

from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Target, TargetKind
from hilum.foundation.standards.fhir.requests import BINARY_BODY_BOUND, BODY_BOUND
from tests.attack.pointing_ground import CANARY, binary, document, recorded
from tests.flows.gateway_ground import Ground, Play, patient
from tests.sim.one_world import in_one_world
from tests.unit.gateway.enforcement.facts import RESTRICTED

SCAN = bytes(range(256)) * 20_000
"""5 MiB, so more than any other body may have."""
WRITES = "patient/DocumentReference.crus"


def scan(patient_id: str = "p1", content: bytes = b"scan", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Binary",
        "contentType": "application/pdf",
        "securityContext": {"reference": f"Patient/{patient_id}"},
        "data": base64.b64encode(content).decode(),
        **more,
    }


async def stored(made: Ground, token: str, **more: Any) -> str:
    """Store a scan; return its address."""
    answer = await made.send("POST", "Binary", token, body=scan(**more))
    assert answer.status == 201, answer.body
    return answer.headers["location"].partition("/fhir/")[2]


def test_a_scan_of_five_mebibytes_is_stored_pointed_at_and_read(play: Play) -> None:
    """C74."""

    async def story(made: Ground) -> None:
        token = made.token(WRITES)
        where = await stored(made, token, content=SCAN)
        assert recorded(made).resource == where
        assert recorded(made).patient == "p1"
        assert (await made.get(where, token)).status == 404  # nothing refers to it yet

        made_new = await made.send("POST", "DocumentReference", token, body=document("n", "p1", where))

        assert made_new.status == 201, made_new.body
        found = await made.get(where, token)
        assert (found.status, found.body == SCAN) == (200, True)
        assert found.headers["content-disposition"] == "attachment"

    play(story)


def test_another_app_and_another_patients_record_point_at_it_in_vain(play: Play) -> None:
    """C73: whose it is stands in its id, which only the gateway can make."""

    async def story(made: Ground) -> None:
        made.load(patient("p2"))
        everybodys = made.token("user/DocumentReference.crus", "user/Patient.c")
        where = await stored(made, everybodys)
        absent = f"{where[:-1]}{'0' if where[-1] != '0' else '1'}"

        for body in (
            document("n", "p2", where),
            document("n", "p1", absent),
            document("n", "p1", "Binary/own-x"),
            # One of its own covers for no other.
            document("n", "p1", where, "Binary/b2"),
            # A new chart is nobody's yet, whatever id its body has.
            patient("p1", photo=[{"url": where}]),
        ):
            assert (await made.send("POST", body["resourceType"], everybodys, body=body)).status == 400, body
        second = made.token(WRITES, client="second")
        assert (
            await made.send("POST", "DocumentReference", second, body=document("n", "p1", where))
        ).status == 400
        own = await made.send("POST", "DocumentReference", everybodys, body=document("n", "p1", where))
        kept = own.headers["location"].partition("/fhir/")[2].partition("/_history/")[0]
        # What the record names already may stay, whoever writes it (ADR 27).
        same = document(kept.partition("/")[2], "p1", where)
        assert (await made.send("PUT", kept, second, body=same)).status == 200

    play(story)


@in_one_world(
    ("changed", "status"),
    [
        ({"securityContext": None}, 400),
        ({"securityContext": {"reference": "Practitioner/pr1"}}, 400),
        ({"securityContext": {"reference": "https://other.example/Patient/p1"}}, 400),
        ({"securityContext": {"reference": "Patient/p2"}}, 404),
        ({"securityContext": {"reference": "Patient/nobody"}}, 404),
        ({"meta": RESTRICTED}, 400),
        ({"extension": [{"url": "urn:x", "valueUrl": "Binary/b2"}]}, 400),
        ({"data": "%%%"}, 400),
        ({"contentType": "text/html\r\nx: y"}, 400),
        ({"resourceType": "DocumentReference"}, 400),
    ],
)
def test_what_is_no_scan_of_a_patient_within_reach_is_not_stored(
    play: Play, changed: dict[str, Any], status: int
) -> None:
    async def story(made: Ground) -> None:
        made.load(patient("p2"))
        body = {name: value for name, value in (scan() | changed).items() if value is not None}

        assert (await made.send("POST", "Binary", made.token(WRITES), body=body)).status == status

    play(story)


@in_one_world(
    ("scope", "status"),
    [
        ("patient/DocumentReference.crus", 201),
        ("patient/DocumentReference.u", 201),
        ("patient/*.cruds", 201),
        ("user/DocumentReference.c", 201),
        ("patient/DocumentReference.rs", 403),
        ("patient/Observation.crus", 403),
        ("patient/Binary.crus", 403),
        ("patient/Practitioner.crus", 403),
    ],
)
def test_it_takes_the_right_to_write_a_record_that_could_refer_to_it(
    play: Play, scope: str, status: int
) -> None:

    async def story(made: Ground) -> None:
        answer = await made.send("POST", "Binary", made.token(scope), body=scan())

        assert answer.status == status, answer.body

    play(story)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_what_is_stored_is_neither_changed_nor_deleted_by_apps(play: Play, method: str) -> None:
    async def story(made: Ground) -> None:
        made.load(binary("b2", CANARY))
        token = made.token("patient/*.cruds")
        for where in (await stored(made, token), "Binary/b2", "Binary/mine"):
            body = scan() | {"id": where.partition("/")[2]}
            answer = await made.send(method, where, token, body=body if method == "PUT" else None)
            assert answer.status in {400, 405}

    play(story)


def test_only_a_scan_may_be_so_large(play: Play) -> None:
    async def story(made: Ground) -> None:
        token = made.token(WRITES)
        large = {"attachment": {"contentType": "text/plain", "data": "A" * BODY_BOUND}}
        inline = document("n", "p1") | {"content": [large]}

        assert (await made.send("POST", "DocumentReference", token, body=inline)).status == 413
        assert (
            await made.send("POST", "Binary", token, body=scan(data="A" * BINARY_BODY_BOUND))
        ).status == 413

    play(story)


def test_a_document_that_is_withheld_withholds_the_scan(play: Play) -> None:
    """C82: a label that the hospital puts on the record counts for what is attached."""

    async def story(made: Ground) -> None:
        token = made.token(WRITES)
        where = await stored(made, token)
        made.load(document("d9", "p1", where) | {"meta": RESTRICTED})

        assert (await made.get(where, token)).status == 404

    play(story)


@pytest.mark.parametrize(
    ("kind", "key"), [(TargetKind.RESOURCE_TYPE, "Binary"), (TargetKind.RESOURCE_TYPE, "DocumentReference")]
)
def test_a_stop_on_either_type_stops_storing(play: Play, kind: TargetKind, key: str) -> None:
    """C139."""

    async def story(made: Ground) -> None:
        token = made.token(WRITES)
        order = EngageOrder(Target(kind, key), Mode.READ_ONLY, "x")
        made.run(lambda ctx: controls.engage(ctx, order))

        assert (await made.send("POST", "Binary", token, body=scan())).status == 403

    play(story)
