"""No write points where its app could not read, and no answer carries an address of the FHIR server or its storage.

Some servers sign links: they turn a url that names a Binary into a link that opens it for an hour, for whoever holds it.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from hilum.infra.edge import Edge
from tests.attack.test_gateway_by_pointing import binary, document
from tests.flows.gateway_ground import PLATFORM, Ground, Play, patient, player
from tests.sim.fhir_upstream import OtherServer
from tests.sim.world import FakeClock, SeededIds
from tests.unit.gateway.facts import observation

CANARY = "SECRET-OF-P2"
BASE = f"{PLATFORM}/t/general/fhir"


@pytest.fixture
def play(sqlite_edge: Edge, clock: FakeClock, ids: SeededIds, tmp_path: Path) -> Play:
    return player(sqlite_edge, clock, ids, tmp_path)


def signing(**more: Any) -> OtherServer:
    server = OtherServer(signs=True, **more)
    server.load(patient("p1"), patient("p2"), binary("mine", "mine"), binary("theirs", CANARY))
    server.load(document("d1", "p1", "Binary/mine"), document("d2", "p2", "Binary/theirs"))
    server.load(observation("o1", "p1", code={"text": "x"}))
    return server


SPELLINGS = (
    "Binary/theirs",
    "./Binary/theirs",
    "/fhir/Binary/theirs",
    "Binary/theirs/_history/1",
    "Binary%2Ftheirs",
    "BINARY/theirs?x=1#y",
    f"{BASE}/Binary/theirs",
    "http://upstream.internal/fhir/Binary/theirs",
    "HTTP://user:pw@UPSTREAM.internal:80/storage/theirs",
    "Binary/none",
)
PLACES: tuple[dict[str, Any], ...] = (
    {"extension": [{"url": "@", "valueString": "x"}]},
    {"extension": [{"url": "http://x.example/e", "valueUrl": "@"}]},
    {"extension": [{"url": "http://x.example/e", "extension": [{"url": "a", "valueUri": "@"}]}]},
    {"extension": [{"url": "http://x.example/e", "valueReference": {"reference": "@"}}]},
    {"extension": [{"url": "http://x.example/e", "valueAttachment": {"url": "@"}}]},
    {"note": [{"text": "@"}]},
    {"note": [{"text": "x", "extension": [{"url": "@", "valueString": "x"}]}]},
    {"_status": {"extension": [{"url": "http://x.example/e", "valueCanonical": "@"}]}},
    {"derivedFrom": [{"reference": "@"}]},
    {"derivedFrom": [{"type": "DocumentReference", "identifier": {"system": "@", "value": "1"}}]},
    {
        "contained": [{"resourceType": "Organization", "id": "o", "endpoint": [{"reference": "@"}]}],
        "performer": [{"reference": "#o"}],
    },
    {"meta": {"source": "@"}},
    {"valueString": "see @ there"},
    {
        "text": {
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml"><a href="@">x</a></div>',
        }
    },
)


@pytest.mark.parametrize("http", [True, False])
def test_no_write_points_at_what_its_app_may_not_read(play: Play, http: bool) -> None:
    """C79, security decision 22: wherever it stands, however it is spelled, there or not, at any server."""
    server = signing()

    async def story(made: Ground) -> None:
        if not http:
            made.load(patient("p2"), binary("theirs", CANARY), document("d2", "p2", "Binary/theirs"))
        token = made.token("patient/Observation.crus", "patient/DocumentReference.rs")
        stored = dict(server.resources)
        through: list[tuple[int, str]] = []
        for n, place in enumerate(PLACES):
            for spelling in SPELLINGS[n % 3 :: 3] if n else SPELLINGS:
                if not http and "/storage/" in spelling:
                    continue
                more = json.loads(json.dumps(place).replace("@", spelling))
                body = observation("o1", "p1", code={"text": "x"}, **more)
                for method, target in (("POST", "Observation"), ("PUT", "Observation/o1")):
                    answer = await made.send(method, target, token, body=body)
                    if answer.status != 400 or b"Binary/<id>" not in answer.body:
                        through.append((n, spelling))

        assert through == []
        assert server.resources == stored

    play(story, **({"embedded": lambda _: server} if http else {}))


def test_an_app_points_at_what_it_may_read(play: Play) -> None:
    """Security decision 22: the rule is about reach; a Binary of a record in reach may be named in another."""
    server = signing()
    server.signs = False

    async def story(made: Ground) -> None:
        token = made.token("patient/DocumentReference.crus", "patient/Observation.c")
        named = {"extension": [{"url": "http://x.example/e", "valueUri": "Binary/mine"}]}

        second = await made.send(
            "POST", "DocumentReference", token, body=document("x", "p1", f"{BASE}/Binary/mine")
        )
        beside = await made.send(
            "POST", "Observation", token, body=observation("x", code={"text": "x"}, **named)
        )
        short = await made.send(
            "POST",
            "Observation",
            made.token("patient/Observation.c"),
            body=observation("x", code={"text": "x"}, **named),
        )

        assert (second.status, beside.status, short.status) == (201, 201, 400)

    play(story, embedded=lambda _: server)


def test_a_record_keeps_what_it_said_and_gains_nothing_by_it(play: Play) -> None:
    """C79: what only mentions a Binary does not become an attachment by being written back in another place."""

    async def story(made: Ground) -> None:
        made.load(patient("p2"), binary("theirs", CANARY))
        mentioned = {"extension": [{"url": "http://x.example/e", "valueUri": "Binary/theirs"}]}
        made.load(document("d1", "p1") | mentioned)
        token = made.token("patient/DocumentReference.crus")
        same = document("d1", "p1") | mentioned | {"description": "again"}
        moved = document("d1", "p1", "Binary/theirs") | mentioned

        assert (await made.send("PUT", "DocumentReference/d1", token, body=same)).status == 200
        assert (await made.send("PUT", "DocumentReference/d1", token, body=moved)).status == 400
        assert (await made.get("Binary/theirs", token)).status == 404

    play(story)
