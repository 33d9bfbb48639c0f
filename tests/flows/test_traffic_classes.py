"""What floods a hospital's FHIR server is refused by its traffic class, and the policy in force says by which (C133, C179)."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Quota
from hilum.foundation.infra import metrics
from hilum.foundation.kernel.errors import NotPermitted
from hilum.gateway.upstream.policy import bounds
from hilum.policy.matrix.models import TrafficClass
from hilum.records.audit import live as journals
from hilum.records.audit.models import AccessQuery
from hilum.server import explaining
from tests.flows.gateway_ground import GENERAL, Answer, Ground, Play, patient
from tests.flows.policy_ground import everywhere, narrow_policy
from tests.sim.fhir_upstream import OtherServer, over_http
from tests.sim.journals import journal_of
from tests.unit.gateway.enforcement.facts import observation
from tests.unit.policy.matrix.books import book

SLOW = "Observation/slow"
BACKEND = TrafficClass.BACKEND.rank
PLACES, QUEUES = (each[BACKEND] * 3 // 4 for each in bounds(book().shares))
"""What one app may have of its class (ADR 177)."""


LEAST = {"traffic.backend": 10, "traffic.bulk": 10}


@pytest.fixture
def slow() -> Iterator[OtherServer]:
    """A FHIR server over HTTP that does not answer for one record until it is let."""
    server = OtherServer(held={SLOW: threading.Event()})
    with over_http(server):
        server.load(patient("p1"), observation("slow"), observation("o1"))
        try:
            yield server
        finally:
            server.held[SLOW].set()


async def flood(made: Ground, count: int) -> list["asyncio.Task[Answer]"]:
    """Send reads of a backend service that stay at the FHIR server, or wait to be sent there."""
    made.run(lambda ctx: controls.set_quota(ctx, made.clients["backend"].app, GENERAL, Quota(1000.0, 1000)))
    bearer = made.token("system/Observation.rs", client="backend")
    sent = [asyncio.ensure_future(made.get(SLOW, bearer)) for _ in range(count)]
    async with asyncio.timeout(20):
        while made.upstreams.held(BACKEND) + made.upstreams.waiting(BACKEND) < count:
            await asyncio.sleep(0.001)
    return sent


def shed(answer: Answer) -> bool:
    return answer.status == 429 and "traffic_shed" in answer.body.decode()


def test_a_flood_of_a_backend_service_is_refused_and_who_treats_a_patient_is_served(
    play: Play, slow: OtherServer
) -> None:
    """C133, C69: over real HTTP; recorded, counted by class and explained."""

    async def story(made: Ground) -> None:
        narrow_policy(made.run, everywhere("quota", {"burst": 199}), GENERAL)
        bearer = made.token("system/Observation.rs", client="backend")
        sent = await flood(made, PLACES + QUEUES)

        over = await made.get("Observation/o1", bearer)
        read = await made.get("Observation/o1", made.token("patient/Observation.rs"))
        searched = await made.get("Observation?patient=p1", made.token("patient/Observation.rs"))

        assert (over.status, b"app_concurrency_exceeded" in over.body) == (429, True)
        (issue,) = over.json["issue"]
        assert (over.json["resourceType"], issue["code"]) == ("OperationOutcome", "throttled")
        assert "send fewer" in issue["details"]["text"]
        assert int(over.headers["retry-after"]) > 1
        assert "ratelimit-remaining" in over.headers
        assert (read.status, searched.status) == (200, 200)
        slow.held[SLOW].set()
        assert {each.status for each in await asyncio.gather(*sent)} == {200}
        assert (await made.get("Observation/o1", bearer)).status == 200

    play(story, http_upstream=slow.base)


def test_changing_the_entry_changes_who_is_refused(play: Play, slow: OtherServer) -> None:
    """C133, C179: at the next snapshot, also for tokens that are out; and back again."""

    async def story(made: Ground) -> None:
        app = made.token("patient/Observation.rs")
        sent = await flood(made, PLACES + QUEUES)
        narrow_policy(made.run, LEAST, GENERAL)
        assert (await made.get("Observation/o1", app)).status == 200

        narrow_policy(made.run, LEAST | everywhere("traffic_class", "bulk"), GENERAL)

        assert shed(await made.get("Observation/o1", app))
        slow.held[SLOW].set()
        await asyncio.gather(*sent)
        assert (await made.get("Observation/o1", app)).status == 200

    play(story, http_upstream=slow.base)


def test_the_share_of_the_policy_says_how_much_is_refused(play: Play, slow: OtherServer) -> None:
    """C133, C179: what is within its share today is not within a smaller one. A larger one takes two people."""

    async def story(made: Ground) -> None:
        # All of them are taken: they are at the server or wait.
        sent = await flood(made, PLACES + bounds(book(LEAST).shares)[1][BACKEND])
        bearer = made.token("system/Observation.rs", client="backend")

        before = {tuple(each): number for each, number in metrics.TRAFFIC_SHED.read()}
        narrow_policy(made.run, LEAST, GENERAL)

        assert shed(await made.get("Observation/o1", bearer))
        after = {tuple(each): number for each, number in metrics.TRAFFIC_SHED.read()}
        assert after[("backend",)] - before.get(("backend",), 0) == 1
        assert (await made.get("Observation/o1", made.token("patient/Observation.rs"))).status == 200
        slow.held[SLOW].set()
        await asyncio.gather(*sent)
        with pytest.raises(NotPermitted, match="two people"):
            narrow_policy(made.run, {"traffic.bulk": 26}, GENERAL)
        reader = journals.open_reader(journal_of(made.uow), made.uow.db.url)
        (record,) = (each for each in reader.newest(AccessQuery()) if each.reason == "traffic_shed")
        assert (record.status, record.app) == (429, made.clients["backend"].app)
        said = made.run(lambda ctx: explaining.explain(ctx, record.request_id, [record], ()).sentences)
        assert said[-1] == (
            "Traffic class backend, with the classes below it, may hold 10 % of the places at the FHIR server."
        )

    play(story, http_upstream=slow.base)
