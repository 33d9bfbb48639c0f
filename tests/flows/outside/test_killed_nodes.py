"""Nodes on one PostgreSQL are killed in full flight: no answer left unrecorded, no order is carried out twice, every write is settled."""

import asyncio
import itertools
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx2
import orjson
import psycopg

from hilum.foundation.infra import settings
from hilum.foundation.infra.system import SystemClock
from hilum.records.audit.models import SETTLE_AFTER
from hilum.server.schedule import JobLease
from hilum.server.settling import settle
from tests.effort import FULL, effort
from tests.flows.outside.ground import SCOPE, Grant, Outside
from tests.sim.nodes import Node, Nodes, unguessable

KILLS = effort(2, 20)
WRITERS, READERS = 4, 3
ORDERS_BETWEEN = effort(10, 25)
WRITE_S = 0.3
"""How long the FHIR server takes for a write, so that some are there when a node is killed."""
ROUND_WITHIN_S = 90
SETTLED_WITHIN_S = SETTLE_AFTER.total_seconds() + 60
"""How long the nodes may take to settle by themselves."""
SCOPES = SCOPE.replace("patient/Observation.rs", "patient/Observation.cruds")


@dataclass
class Flight:
    """What the callers were answered."""

    grant: Grant
    ways: tuple[Outside, ...]
    """Through each node."""
    asking: dict[str, Outside] = field(default_factory=dict)
    """The orders that are under way, and through which node."""
    stored: list[str] = field(default_factory=list)
    """Orders that were answered 201."""
    answered: dict[str, int] = field(default_factory=dict)
    """Request ids of what was answered with data or 201."""
    ended: bool = False

    async def keep_ordering(self, number: int) -> None:
        """Order one thing after another, each again and again at either node until its retention is known."""
        ways = itertools.cycle(self.ways[number % 2 :] + self.ways[: number % 2])
        while not self.ended:
            await self._order(f"order {number} {unguessable()}", ways)

    async def _order(self, name: str, ways: Any) -> None:
        body = {
            "resourceType": "Observation",
            "status": "final",
            "subject": {"reference": f"Patient/{self.grant.patient}"},
            "code": {"text": name},
        }
        while True:
            way = self.asking[name] = next(ways)
            answer = await self._asked(way.http.post, "Observation", json=body)
            del self.asking[name]
            if answer is not None and answer.status_code == 201:
                self.stored.append(name)
                return
            if answer is not None and answer.status_code == 409:
                return
            if self.ended:
                return
            await asyncio.sleep(0.05)

    async def keep_reading(self, number: int) -> None:
        way = self.ways[number % 2]
        while not self.ended:
            answer = await self._asked(way.http.get, f"Patient/{self.grant.patient}")
            # Three that read as fast as they can take the machine from the node that starts again.
            await asyncio.sleep(0.05 if answer is None else 0.01)

    async def _asked(self, verb: Any, path: str, **more: Any) -> httpx2.Response | None:
        try:
            answer: httpx2.Response = await verb(
                f"{self.grant.client.fhir}/{path}", headers=self.grant.bearer, **more
            )
        except httpx2.TransportError:
            return None
        assert answer.status_code in {200, 201, 409, 503}, (path, answer.status_code, answer.text)
        if answer.status_code < 300:
            self.answered[answer.headers["x-request-id"]] = answer.status_code
        return answer


async def until_more(flight: Flight, orders: int) -> None:
    """Wait until so many more orders were answered."""
    begun, before = time.monotonic(), len(flight.stored)
    while len(flight.stored) < before + orders:
        assert time.monotonic() - begun < ROUND_WITHIN_S, len(flight.stored)
        await asyncio.sleep(0.01)


async def until_under_way(flight: Flight, nodes: Nodes, way: Outside) -> None:
    """Wait until the FHIR server is carrying out an order that came through a node."""
    begun = time.monotonic()
    while not any(
        name.encode() in body
        for name, asked in flight.asking.items()
        for body in nodes.upstream.writing
        if asked is way
    ):
        assert time.monotonic() - begun < ROUND_WITHIN_S, "no order reached the FHIR server"
        await asyncio.sleep(0.005)


def orders_at(nodes: Nodes) -> Counter[str]:
    """Count what the FHIR server was made to store, by order."""
    texts = (str(each.get("code", {}).get("text", "")) for each in nodes.upstream.resources.values())
    return Counter(text for text in texts if text.startswith("order "))


def verified(node: Node) -> dict[str, Any]:
    done = node.hilum("audit", "verify", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(orjson.loads(done.stdout))


class Later(SystemClock):
    """A clock by which every write is old enough to be settled."""

    def now(self) -> datetime:
        return super().now() + SETTLE_AFTER


def settle_now(nodes: Nodes) -> None:
    """Settle what is open as the nodes' own job does later, under a lease of its own."""
    uow = nodes.uow(Later())
    try:
        lease = JobLease(uow, "settle_now", "nodes-test", threading.Event())
        assert lease.take()
        settle(lease, settings.read(nodes.a.environment))
        uow.db.write(lambda tx: tx.exec_driver_sql("DELETE FROM lease WHERE name = 'settle_now'"))
    finally:
        uow.close()


def test_nodes_that_are_killed_lose_no_record_and_double_no_order(nodes: Nodes) -> None:
    """C154, C184, security decision 20: one after the other dies in full flight while the other serves, and comes back."""
    nodes.upstream.write_s, nodes.upstream.searches_tags = WRITE_S, True

    async def story(a: Outside, b: Outside, either: Outside) -> Flight:
        flight = Flight(await either.grant(scope=SCOPES), (a, b))
        calling = [asyncio.create_task(flight.keep_ordering(number)) for number in range(WRITERS)]
        calling += [asyncio.create_task(flight.keep_reading(number)) for number in range(READERS)]
        try:
            for kill in range(KILLS):
                await until_more(flight, ORDERS_BETWEEN)
                await until_under_way(flight, nodes, flight.ways[kill % 2])
                nodes.both[kill % 2].kill()
                await until_more(flight, ORDERS_BETWEEN)
                await asyncio.to_thread(nodes.heal)
            await until_more(flight, ORDERS_BETWEEN)
        finally:
            flight.ended = True
            ended = await asyncio.gather(*calling, return_exceptions=True)
        assert not [each for each in ended if each is not None], ended
        return flight

    try:
        flight = nodes.tell(story)
        found = verified(nodes.a)
        if FULL:
            begun = time.monotonic()
            while found["unsettled"]:
                assert time.monotonic() - begun < SETTLED_WITHIN_S, found["unsettled"]
                time.sleep(1)
                found = verified(nodes.a)
        else:
            settle_now(nodes)
            found = verified(nodes.a)
            assert not found["unsettled"]
        carried_out = orders_at(nodes)
    finally:
        nodes.upstream.write_s, nodes.upstream.searches_tags = 0.0, False
        for name in [name for name in nodes.upstream.resources if name.startswith("Observation/made")]:
            del nodes.upstream.resources[name]

    assert found["intact"], found
    assert {name for name, times in carried_out.items() if times > 1} == set(), "carried out twice"
    assert set(flight.stored) <= set(carried_out), "answered 201 and not there"
    with psycopg.connect(nodes.url) as db:
        recorded = {request for (request,) in db.execute("SELECT request_id FROM access_record")}
    unrecorded = flight.answered.keys() - recorded
    assert not unrecorded, f"{len(unrecorded)} of {len(flight.answered)} answers are on no record"
