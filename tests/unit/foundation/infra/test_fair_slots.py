"""Slots that networks share: their bounds, the turns, and that a slot is never lost (security decision 26)."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from hilum.foundation.infra.fair_slots import FairSlots, Shares
from hilum.foundation.kernel.errors import HilumError, Unavailable
from tests.effort import effort

SHARES = Shares(slots=2, waiting=6, network_slots=1, network_waiting=3)


class Work:
    """Work that ends when it is told to; ``begun`` are the networks that got a slot, in order."""

    def __init__(self) -> None:
        self.slots = FairSlots(SHARES, lambda: Unavailable("full", ""))
        self.begun: list[str] = []
        self.running: dict[asyncio.Task[None], asyncio.Event] = {}

    async def _work(self, network: str, end: asyncio.Event) -> None:
        async with self.slots.held(network):
            self.begun.append(network)
            await end.wait()

    async def begin(self, network: str) -> asyncio.Task[None]:
        end = asyncio.Event()
        task = asyncio.create_task(self._work(network, end))
        self.running[task] = end
        await settled()
        return task

    async def end(self, task: asyncio.Task[None]) -> None:
        self.running.pop(task).set()
        await settled()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def run(play: Callable[[Work], Awaitable[None]]) -> Work:
    async def with_work() -> Work:
        work = Work()
        await play(work)
        return work

    return asyncio.run(with_work())


def test_a_network_holds_its_own_slots_only_and_waits_behind_itself() -> None:
    async def play(work: Work) -> None:
        first = await work.begin("a")
        await work.begin("a")
        await work.begin("b")
        assert work.begun == ["a", "b"]
        await work.end(first)

    assert run(play).begun == ["a", "b", "a"]


def test_slots_go_to_the_networks_in_turn() -> None:
    async def play(work: Work) -> None:
        tasks = [await work.begin(network) for network in ("a", "b", "a", "a", "b", "c")]
        for task in tasks:
            await work.end(task)

    assert run(play).begun == ["a", "b", "a", "b", "c", "a"], "the last to come does not wait behind all of a"


@pytest.mark.parametrize("who", [["a"] * 5, ["a"] * 4 + ["b"] * 4 + ["c"]])
def test_who_finds_no_place_is_refused_at_once(who: list[str]) -> None:
    async def play(work: Work) -> None:
        tasks = [await work.begin(network) for network in who]
        assert [task.done() for task in tasks] == [False] * (len(who) - 1) + [True]
        assert isinstance(tasks[-1].exception(), HilumError)

    run(play)


def test_no_slot_is_lost_whoever_leaves_when() -> None:
    """Whoever gives up while waiting or working leaves the slots to the others."""

    async def play(work: Work) -> None:
        chance = Random(1)
        for _ in range(effort(300, 3_000)):
            task = await work.begin(chance.choice("abc"))
            for each in chance.sample([*work.running], min(len(work.running), chance.randint(0, 2))):
                if chance.random() < 0.5:
                    each.cancel()
                await work.end(each)
            if task.done() and not task.cancelled():
                task.exception()
        for each in [*work.running]:
            await work.end(each)
        first, second = await work.begin("a"), await work.begin("b")
        assert work.begun[-2:] == ["a", "b"]
        await work.end(first)
        await work.end(second)

    run(play)
