"""No app makes a chart unreadable for others: what is written has a bound, and what is too much for one page comes in smaller ones."""

import asyncio
import base64
from typing import Any

import pytest

from hilum.gateway.enforcement.models import RESOURCE_BOUND
from hilum.gateway.upstream.models import RESPONSE_BOUND
from tests.attack.pointing_ground import document
from tests.flows.gateway_ground import Answer, Ground, Play, patient
from tests.sim.fhir_upstream import OtherServer
from tests.unit.gateway.enforcement.facts import RESTRICTED, observation


def heavy(id_: str, size: int, patient_id: str = "p2", **more: Any) -> dict[str, Any]:
    return observation(id_, patient_id, code={"text": "x"}, note=[{"text": "n" * size}], **more)


async def pages(made: Ground, target: str | None, token: str) -> list[Answer]:
    """Follow a search to its end."""
    found: list[Answer] = []
    while target is not None:
        answer = await made.get(target, token)
        assert answer.status == 200, answer.body[:500]
        found.append(answer)
        target = answer.link("next")
        assert len(found) < 50
    return found


def seen_in(answers: list[Answer]) -> list[str]:
    return [name for answer in answers for name in answer.ids if not name.startswith("OperationOutcome")]


def test_a_resource_past_its_bound_is_refused_with_the_limit_and_not_stored(play: Play) -> None:
    """C202: 413 with a reason; what has no attachment is small."""

    async def story(made: Ground) -> None:
        token = made.token("patient/*.cruds")
        just = heavy("o1", RESOURCE_BOUND - 400, "p1")

        for method, target in (("POST", "Observation"), ("PUT", "Observation/o1")):
            answer = await made.send(method, target, token, body=heavy("o1", RESOURCE_BOUND, "p1"))
            issue = answer.json["issue"][0]
            assert (answer.status, issue["code"]) == (413, "too-long")
            assert "at most 256 KiB" in issue["details"]["text"]
        assert len((await made.get("Observation/o1", token)).body) < 1_000
        assert (await made.send("PUT", "Observation/o1", token, body=just)).status == 200

    play(story)


def test_an_ordinary_document_is_stored(play: Play) -> None:
    """C202: a scan of more than a megabyte is one."""

    async def story(made: Ground) -> None:
        body = document("new", "p1")
        scan = {"contentType": "text/plain", "data": base64.b64encode(b"x" * 1_200_000).decode()}
        body["content"] = [{"attachment": scan}]

        answer = await made.send(
            "POST", "DocumentReference", made.token("patient/DocumentReference.c"), body=body
        )

        assert answer.status == 201

    play(story)


@pytest.mark.parametrize("count", ["_count=200", "_count=3"])
def test_a_chart_of_heavy_records_stays_readable(play: Play, count: str) -> None:
    """C202: ten of two megabytes are more than one answer of the server; every record comes once, in smaller pages."""

    async def story(made: Ground) -> None:
        made.load(*(heavy(f"h{n}", 2_000_000) for n in range(10)))
        token = made.token("patient/*.rs", patient="p2")

        answers = await pages(made, f"Observation?{count}", token)

        assert sorted(seen_in(answers)) == sorted(
            ["Observation/x1", *(f"Observation/h{n}" for n in range(10))]
        )
        assert max(len(answer.body) for answer in answers) < 2 * RESPONSE_BOUND

    play(story)


def test_pages_of_another_server_are_made_smaller_too(play: Play) -> None:
    """C202."""
    server = OtherServer()
    server.load(patient("p1"), *(heavy(f"h{n:02}", 2_000_000, "p1") for n in range(12)))

    async def story(made: Ground) -> None:
        answers = await pages(made, "Observation?_count=50", made.token("patient/Observation.rs"))

        assert seen_in(answers) == [f"Observation/h{n:02}" for n in range(12)]

    play(story, embedded=lambda _: server)


def test_one_record_past_every_bound_hides_no_other(play: Play) -> None:
    """C202, C75: it is said that something visible was left out; of what is withheld nothing is said."""

    async def story(made: Ground) -> None:
        made.load(*(observation(f"s{n}", "p2", code={"text": "x"}) for n in range(3)))
        made.load(
            heavy("huge", RESPONSE_BOUND + 1), heavy("secret", RESPONSE_BOUND + 1, "p1", meta=RESTRICTED)
        )

        theirs = await pages(made, "Observation", made.token("patient/*.rs", patient="p2"))
        own = await pages(made, "Observation", made.token("patient/*.rs"))

        assert sorted(seen_in(theirs)) == [
            "Observation/s0",
            "Observation/s1",
            "Observation/s2",
            "Observation/x1",
        ]
        assert sorted(seen_in(own)) == ["Observation/o1", "Observation/o2"]
        said = [
            [name for answer in answers for name in answer.ids if "Outcome" in name]
            for answers in (theirs, own)
        ]
        assert (len(said[0]), len(said[1])) == (1, 0)
        assert all("total" not in answer.json for answer in theirs)

    play(story)


@pytest.mark.parametrize("target", ["Observation?_count=200", "Observation/o1"])
def test_a_heavy_answer_holds_up_nobody_else(play: Play, target: str) -> None:
    """C132: one hospital's FHIR server answers what takes a worker seconds to read, and the others' requests go on meanwhile."""
    other = OtherServer()
    other.load(patient("p1"), observation("o1", code={"text": "http://x.example/a?sig=1 " * 300_000}))

    async def story(made: Ground) -> None:
        token = made.token("patient/*.rs")
        reading = asyncio.ensure_future(made.get(target, token))
        turns = 0
        while not reading.done():
            turns += 1
            await asyncio.sleep(0.001)

        assert reading.result().status == 200
        assert turns > 30, "nobody else had a turn while it was read"

    play(story, embedded=lambda _: other)
