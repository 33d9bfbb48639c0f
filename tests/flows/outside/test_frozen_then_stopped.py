"""The database stands still, a stop is engaged as soon as it moves again, and a node that was away longer than the others comes back."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import httpx2
import orjson
import pytest

from tests.effort import FULL
from tests.flows.outside.ground import AT_MOST_S, SWITCH_WITHIN_S, WELL_WITHIN_S, Grant, Outside
from tests.sim.nodes import Node, Nodes

FROZEN_S = (1.5, 2.2, 4.9, 8.0, 12.6, 16.0) if FULL else (12.6,)
"""Shorter than any bound, about the snapshot's and the answer's, and longer than the FHIR server is waited for."""
AWAY_S = 1.0
"""So much longer the first node is away."""
PROBED_WITHIN_S = 4.0
BEGUN_BEFORE = 3
"""Reads at each node that the FHIR server answers only once the stop is engaged."""
READERS = 2
HELD = "Observation/o1"


@dataclass
class Seen:
    """One answer: when it was asked for, when it came, and what it was."""

    node: str
    endpoint: str
    asked: float
    came: float
    status: int


@dataclass
class Story:
    """What the callers of both nodes saw, and when what happened."""

    nodes: Nodes
    grant: Grant
    ways: dict[str, Outside]
    seen: list[Seen] = field(default_factory=list)
    ended: bool = False

    async def ask(self, node: str, endpoint: str, path: str = "") -> Seen:
        asked = time.monotonic()
        outside = self.ways[node]
        if path:
            answer = await outside.http.get(path)
        else:
            answer = await outside.read(self.grant, endpoint)
        seen = Seen(node, endpoint, asked, time.monotonic(), answer.status_code)
        self.seen.append(seen)
        return seen

    async def keep_reading(self, node: str) -> None:
        while not self.ended:
            await self.ask(node, "Patient/p1")
            await asyncio.sleep(0.03)

    async def keep_probing(self, node: Node) -> None:
        """Ask as a service manager and a proxy do: the site's own probes, and those of the operations listener."""
        line = next(each for each in reversed(node.log.splitlines()) if "app.operations.listening" in each)
        operations = orjson.loads(line)["address"]
        async with httpx2.AsyncClient(timeout=30) as straight:
            while not self.ended:
                for endpoint in ("healthz", "readyz"):
                    await self.ask(node.name, endpoint, f"{self.nodes.base}/{endpoint}")
                    asked = time.monotonic()
                    answer = await straight.get(f"http://{operations}/{endpoint}")
                    came = time.monotonic()
                    self.seen.append(Seen(node.name, f"ops {endpoint}", asked, came, answer.status_code))
                await asyncio.sleep(0.1)

    def of(self, endpoint: str, between: tuple[float, float], node: str = "") -> list[Seen]:
        """List the answers of an endpoint that were asked for, and came, within a time."""
        begun, ended = between
        return [
            each
            for each in self.seen
            if endpoint in each.endpoint and node in each.node and begun <= each.asked and each.came <= ended
        ]


@asynccontextmanager
async def callers(story: Story) -> AsyncIterator[None]:
    """Keep readers and probes asking at both nodes without pause."""
    asking = [asyncio.create_task(story.keep_reading(node)) for node in story.ways for _ in range(READERS)]
    asking += [asyncio.create_task(story.keep_probing(node)) for node in story.nodes.both]
    try:
        yield
    finally:
        story.ended = True
        await asyncio.gather(*asking)


async def engaged(outside: Outside, key: str) -> float:
    """Engage a full stop as soon as the database lets it; return when it was known to be in force."""
    order = {"kind": "app_tenant", "key": key, "mode": "full_stop", "reason": "a drill"}
    while True:
        begun = time.monotonic()
        answer = await outside.api("POST", "/switches", order, by="security.ito")
        assert time.monotonic() - begun < AT_MOST_S, "the switch's own endpoint hung"
        if answer.status_code == 201:
            return time.monotonic()
        assert answer.status_code == 503, answer.text


async def until(happened: Callable[[], bool], within_s: float) -> None:
    begun = time.monotonic()
    while not happened():
        assert time.monotonic() - begun < within_s, "it did not happen in time"
        await asyncio.sleep(0.02)


async def release_all(outside: Outside, key: str) -> None:
    """Release the stop, and any that was sent while the path stood still and arrived after its sender had given up."""
    listed = (await outside.api("GET", "/switches")).json()["items"]
    for each in listed:
        if each["key"] == key and each["in_force"]:
            await outside.release(each["id"])


async def granted_again(outside: Outside) -> Grant:
    """Launch until it works: a node hears of the release a moment after its commit."""
    begun = time.monotonic()
    while time.monotonic() - begun < WELL_WITHIN_S:
        with suppress(AssertionError):
            return await outside.grant()
    return await outside.grant()


@pytest.mark.parametrize("frozen_s", FROZEN_S)
def test_no_data_leaves_after_a_stop_that_was_engaged_as_the_database_came_back(
    nodes: Nodes, frozen_s: float
) -> None:
    """C139, C184, security decision 23: not even of reads that were begun before, nor at the node that was away for longer.

    While the database stands still, both nodes refuse within the promised bound, and no probe waits for it.
    """
    release = threading.Event()
    nodes.upstream.held[HELD] = release

    async def told(a: Outside, b: Outside, _either: Outside) -> None:
        story = Story(nodes, await a.grant(), {"a": a, "b": b})
        key = f"{(await a.app_of('bench-symmetric'))['app']}/general"
        assert {(await each.read(story.grant)).status_code for each in (a, b)} == {200}
        async with callers(story):
            before = len(nodes.upstream.seen)
            begun = [asyncio.create_task(story.ask(node, HELD)) for node in "ab" for _ in range(BEGUN_BEFORE)]
            asked = 2 * BEGUN_BEFORE
            await until(lambda: _count(nodes, HELD, before) == asked, WELL_WITHIN_S)
            for node in nodes.both:
                node.path.freeze()
            frozen = time.monotonic()
            stopping = asyncio.create_task(engaged(b, key))
            await asyncio.sleep(frozen_s)
            thawed = time.monotonic()
            nodes.b.path.thaw()
            stopped = await stopping
            await asyncio.sleep(AWAY_S)
            release.set()
            back = time.monotonic()
            nodes.a.path.thaw()
            held = await asyncio.gather(*begun)
            assert not [each for each in held if each.status == 200], "a read begun before left with data"
            since = max(back, stopped)
            for name in "ab":
                await until(partial(_refused, story, name, since), WELL_WITHIN_S)
            await asyncio.sleep(0.5)
        try:
            _judge(story, frozen=frozen, thawed=thawed, stopped=stopped, back=back)
        finally:
            await release_all(b, key)
        fresh = await granted_again(b)
        assert (await a.read(fresh)).status_code == (await b.read(fresh)).status_code == 200

    try:
        nodes.tell(told)
    finally:
        release.set()
        nodes.upstream.held.clear()


def _count(nodes: Nodes, path: str, since: int) -> int:
    return sum(target == path for _, target, _ in nodes.upstream.seen[since:])


def _refused(story: Story, node: str, since: float) -> bool:
    """Return whether a node refuses because of the stop, no longer because of the database."""
    found = story.of("Patient", (since, time.monotonic()), node)
    return bool(found) and found[-1].status in {401, 403}


def _judge(story: Story, *, frozen: float, thawed: float, stopped: float, back: float) -> None:
    end = time.monotonic()
    # Probes that ask for nothing but a sign of life wait for no database: so slow is the machine.
    pace = max(each.came - each.asked for each in story.seen if "healthz" in each.endpoint)
    at_most = AT_MOST_S + pace
    slow = [each for each in story.seen if each.came - each.asked > at_most and each.endpoint != HELD]
    assert not slow, slow
    hung = [
        each for each in story.seen if "healthz" in each.endpoint and each.came - each.asked > PROBED_WITHIN_S
    ]
    assert not hung, hung
    assert {each.status for each in story.seen if "healthz" in each.endpoint} == {200}

    late = frozen + at_most
    for node in "ab":
        during = story.of("Patient", (frozen, thawed), node)
        # A shorter freeze may end before the first answer is due, and then nobody was answered within it.
        assert during or thawed < late, f"node {node} answered nobody while the database stood still"
        assert {each.status for each in during} <= {503}, (node, during)
    for node in "ab":
        if late < thawed:
            assert {each.status for each in story.of("readyz", (late, thawed), node)} == {503}

    away = [
        each for each in story.seen if each.node == "a" and each.came > thawed and "Patient" in each.endpoint
    ]
    assert not [each for each in away if each.status == 200], (
        "the node that was away gave data after the stop"
    )
    assert len([each for each in away if each.came > back]) > READERS
    there = [each for each in story.of("Patient", (thawed, end), "b") if each.asked > stopped]
    refused = [each for each in there if each.status in {401, 403}]
    assert refused, "node b never refused because of the stop"
    # Whoever cannot confirm what holds refuses too, with 503; what held before decides nothing after the bound.
    assert not [each for each in there if each.status == 200 and each.asked - stopped >= SWITCH_WITHIN_S]
    # An answer may still be on its way to its caller while another caller is refused.
    known = min(each.came for each in refused)
    assert not [each for each in there if each.status == 200 and each.asked > known]
