"""Who gets a slot at a FHIR server: the lowest traffic class is refused first, and what is kept from it is free for the others (C133)."""

import asyncio
from collections.abc import Sequence
from itertools import product

import pytest

from hilum.foundation.kernel.errors import Unavailable
from hilum.gateway.upstream.models import (
    CONNECTIONS_PER_TENANT,
    UNSTATED,
    WAITING_AT_LEAST,
    WAITING_PER_TENANT,
    Entry,
    SlotRequest,
)
from hilum.gateway.upstream.policy import bounds, entry
from hilum.gateway.upstream.slots import Slots
from hilum.policy.matrix.models import ALL_PLACES, TrafficClass
from hilum.policy.matrix.shipped import shipped_book

CLINICAL, USER, PATIENT, BACKEND, BULK = range(5)
SHARES = (100, 90, 75, 50, 25)
NOBODY = (0, 0, 0, 0, 0)
ALL, QUEUE = CONNECTIONS_PER_TENANT, WAITING_PER_TENANT
SLOTS, QUEUES = bounds(SHARES)


def of(rank: int, count: int) -> tuple[int, ...]:
    return tuple(count if each == rank else 0 for each in range(5))


def test_the_shares_of_the_shipped_book_as_places_and_queues() -> None:
    assert shipped_book().shares == SHARES
    assert SLOTS == (64, 57, 48, 32, 16)
    assert QUEUES == (128, 115, 96, 64, 32)
    assert [each.rank for each in TrafficClass] == [CLINICAL, USER, PATIENT, BACKEND, BULK]


@pytest.mark.parametrize(
    ("rank", "held", "waiting", "becomes"),
    [
        (CLINICAL, NOBODY, NOBODY, Entry.ENTER),
        (BULK, NOBODY, NOBODY, Entry.ENTER),
        # Its own share.
        (BULK, of(BULK, 15), NOBODY, Entry.ENTER),
        (BULK, of(BULK, 16), NOBODY, Entry.WAIT),
        (BULK, of(BULK, 16), of(BULK, 31), Entry.WAIT),
        (BULK, of(BULK, 16), of(BULK, 32), Entry.SHED),
        (BACKEND, of(BACKEND, 32), of(BACKEND, 64), Entry.SHED),
        (PATIENT, of(PATIENT, 48), of(PATIENT, 96), Entry.SHED),
        (USER, of(USER, 57), of(USER, 115), Entry.SHED),
        # Full for the lower one, and open to those above.
        (BACKEND, of(BULK, 16), of(BULK, 32), Entry.ENTER),
        (CLINICAL, of(USER, 57), of(USER, 115), Entry.ENTER),
        # Together with those below it.
        (BACKEND, (0, 0, 0, 16, 16), NOBODY, Entry.WAIT),
        (BACKEND, (0, 0, 0, 16, 16), (0, 0, 0, 32, 32), Entry.SHED),
        (PATIENT, (0, 0, 16, 16, 16), NOBODY, Entry.WAIT),
        (USER, (0, 0, 16, 16, 16), NOBODY, Entry.ENTER),
        # What higher ones hold leaves a lower one its share, as long as any slot is free.
        (BULK, (48, 0, 0, 0, 15), NOBODY, Entry.ENTER),
        (BULK, (49, 0, 0, 0, 15), NOBODY, Entry.WAIT),
        # No class could have more: that is not this class being shed.
        (CLINICAL, of(CLINICAL, 64), NOBODY, Entry.WAIT),
        (CLINICAL, of(CLINICAL, 64), of(CLINICAL, 128), Entry.BUSY),
        (BULK, of(CLINICAL, 64), of(CLINICAL, 128), Entry.BUSY),
        # Nobody is refused while there is room in a queue, nor let in because a queue is empty.
        (BULK, of(CLINICAL, 64), NOBODY, Entry.WAIT),
        (CLINICAL, of(CLINICAL, 64), (0, 115, 0, 0, 0), Entry.WAIT),
    ],
)
def test_what_becomes_of_a_request(
    rank: int, held: Sequence[int], waiting: Sequence[int], becomes: Entry
) -> None:
    assert entry(held, waiting, SlotRequest(rank, SHARES)) is becomes


@pytest.mark.parametrize("rank", range(5))
def test_without_shares_all_classes_have_every_place(rank: int) -> None:
    """A policy of before says nothing of shares, and nobody is shed by it."""
    slot = SlotRequest(rank, ALL_PLACES)

    assert entry(of(BULK, ALL - 1), NOBODY, slot) is Entry.ENTER
    assert entry(of(BULK, ALL), of(BULK, QUEUE - 1), slot) is Entry.WAIT
    assert entry(of(BULK, ALL), of(BULK, QUEUE), slot) is Entry.BUSY


def test_a_higher_class_is_never_worse_off_and_the_bounds_hold() -> None:
    order = [Entry.ENTER, Entry.WAIT, Entry.SHED, Entry.BUSY]
    for held in product((0, 8, 16, 32), repeat=5):
        if sum(held) > ALL:
            continue
        for waiting in (NOBODY, of(BULK, 32), of(BACKEND, 64), of(CLINICAL, 128)):
            outcomes = [entry(held, waiting, SlotRequest(rank, SHARES)) for rank in range(5)]
            ranks = [min(order.index(each), 2) for each in outcomes]
            assert ranks == sorted(ranks)
            for rank in (each for each, found in enumerate(outcomes) if found is Entry.ENTER):
                assert all(sum(held[above:]) < SLOTS[above] for above in range(rank + 1))


@pytest.mark.parametrize("share", [10, 1])
def test_the_smallest_share_still_has_a_place_and_room_for_one_search(share: int) -> None:
    slots, queues = bounds((100, 100, 100, 100, share))

    assert slots[BULK] >= 1
    assert queues[BULK] == WAITING_AT_LEAST > 20  # records that a search may fetch at once


class Crowd:
    """Requests that hold their slots until they are sent home."""

    def __init__(self, wait_s: float = 60.0) -> None:
        self.slots = Slots(wait_s)
        self.served: list[str] = []

    def ask(
        self, name: str, rank: int, shares: tuple[int, ...] = SHARES, app: str = ""
    ) -> "asyncio.Task[None]":
        async def enter() -> None:
            slot = SlotRequest(rank, shares, app)
            if not self.slots.take(slot):
                await self.slots.wait(slot)
            self.served.append(name)

        return asyncio.ensure_future(enter())

    async def fill(self, rank: int, count: int, shares: tuple[int, ...] = SHARES) -> None:
        await asyncio.gather(*(self.ask("", rank, shares) for _ in range(count)))
        self.served.clear()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_who_waits_is_served_by_class_and_then_by_arrival() -> None:
    async def main() -> None:
        crowd = Crowd()
        await crowd.fill(CLINICAL, ALL)
        order = (("bulk", BULK), ("user", USER), ("second user", USER), ("clinical", CLINICAL))
        for name, rank in order:
            crowd.ask(name, rank)
        await settle()
        assert crowd.served == []
        for _ in order:
            crowd.slots.leave(SlotRequest(CLINICAL, SHARES))
            await settle()

        assert crowd.served == ["clinical", "user", "second user", "bulk"]
        assert crowd.slots.waiting == [0] * 5
        assert sum(crowd.slots.held) == ALL

    asyncio.run(main())


def test_a_place_that_a_class_may_not_have_stays_free() -> None:
    """The rest of the slots is not given to who waits below, so the next urgent request need not wait for them."""

    async def main() -> None:
        crowd = Crowd()
        await crowd.fill(BULK, 16)
        waiting = crowd.ask("bulk", BULK)
        crowd.ask("clinical", CLINICAL)
        await settle()
        assert crowd.served == ["clinical"]
        crowd.slots.leave(SlotRequest(CLINICAL, SHARES))
        await settle()
        assert not waiting.done()
        crowd.slots.leave(SlotRequest(BULK, SHARES))
        await waiting

    asyncio.run(main())


def test_who_hangs_up_leaves_queue_and_place() -> None:
    async def main() -> None:
        crowd = Crowd()
        await crowd.fill(BULK, 16)
        gone, next_, in_time = (crowd.ask(name, BULK) for name in ("gone", "next", "in time"))
        await settle()
        gone.cancel()
        await settle()
        assert crowd.slots.waiting == of_list(BULK, 2)
        # In the very moment in which its turn comes: it must not keep the slot.
        crowd.slots.leave(SlotRequest(BULK, SHARES))
        next_.cancel()
        await settle()
        assert (crowd.served, in_time.done()) == (["in time"], True)
        assert (crowd.slots.held, crowd.slots.waiting) == (of_list(BULK, 16), [0] * 5)

    asyncio.run(main())


def of_list(rank: int, count: int) -> list[int]:
    return list(of(rank, count))


@pytest.mark.parametrize(("rank", "code"), [(BULK, "upstream_shed"), (CLINICAL, "upstream_busy")])
def test_nobody_waits_for_ever(rank: int, code: str) -> None:
    async def main() -> None:
        crowd = Crowd(wait_s=0.001)
        await crowd.fill(CLINICAL, ALL)
        with pytest.raises(Unavailable) as caught:
            await crowd.ask("late", rank)

        assert caught.value.code == code
        assert crowd.slots.waiting == [0] * 5
        crowd.slots.leave(SlotRequest(CLINICAL, SHARES))
        assert sum(crowd.slots.held) == ALL - 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("held", "waiting", "own", "becomes"),
    [
        (of(USER, 42), NOBODY, (42, 0), Entry.ENTER),
        (of(USER, 43), NOBODY, (43, 0), Entry.WAIT),
        (of(USER, 43), NOBODY, (0, 0), Entry.ENTER),
        # The more others have, the less it may have.
        (of(USER, 50), NOBODY, (20, 0), Entry.ENTER),
        (of(USER, 50), NOBODY, (21, 0), Entry.WAIT),
        (of(CLINICAL, 60), NOBODY, (11, 0), Entry.ENTER),
        (of(CLINICAL, 60), NOBODY, (12, 0), Entry.WAIT),
        # What waits is judged alike.
        (of(USER, 57), of(USER, 86), (57, 86), Entry.WAIT),
        (of(USER, 57), of(USER, 87), (57, 87), Entry.CROWDED),
        (of(USER, 57), of(USER, 87), (0, 0), Entry.WAIT),
        (of(USER, 57), of(USER, 115), (0, 0), Entry.SHED),
    ],
)
def test_an_app_leaves_places_for_the_next_one(
    held: Sequence[int], waiting: Sequence[int], own: tuple[int, int], becomes: Entry
) -> None:
    """C132, ADR 177: alone it has three quarters of its class's places, of slots and of queues."""
    assert entry(held, waiting, SlotRequest(USER, SHARES, "app_1"), *own) is becomes


def test_what_the_platform_asks_itself_is_held_up_by_no_app() -> None:
    assert entry(of(USER, 56), NOBODY, SlotRequest(USER, SHARES), 56) is Entry.ENTER


@pytest.mark.parametrize("apps", [1, 2, 5, 20])
def test_however_many_apps_flood_a_class_the_next_one_finds_a_slot_and_a_place(apps: int) -> None:
    """C132."""

    async def main() -> None:
        crowd = Crowd()
        flood = [crowd.ask(f"flood {n}", USER, app=f"app_{n % apps}") for n in range(400)]
        await settle()
        assert 0 < sum(crowd.slots.held) <= SLOTS[USER]
        crowd.served.clear()
        newcomer = crowd.ask("newcomer", USER, app="app_new")
        await settle()
        is_served = "newcomer" in crowd.served
        assert is_served or crowd.slots.waiting[USER] <= QUEUES[USER]
        assert not newcomer.done() or newcomer.exception() is None
        for each in (*flood, newcomer):
            each.cancel()
        await asyncio.gather(*flood, newcomer, return_exceptions=True)

    asyncio.run(main())


def test_apps_take_turns_so_that_a_long_queue_of_one_does_not_delay_another() -> None:
    """C132: of one app in the order of arrival."""

    async def main() -> None:
        crowd = Crowd()
        await crowd.fill(CLINICAL, ALL)
        for n in range(20):
            crowd.ask(f"flood {n}", USER, app="app_flood")
        for n in range(2):
            crowd.ask(f"ward {n}", USER, app="app_ward")
        await settle()
        for _ in range(5):
            crowd.slots.leave(SlotRequest(CLINICAL, SHARES))
            await settle()

        assert crowd.served == ["flood 0", "ward 0", "flood 1", "ward 1", "flood 2"]

    asyncio.run(main())


def test_who_states_no_class_is_behind_everybody_and_shed_by_nothing() -> None:
    assert (UNSTATED.rank, UNSTATED.shares) == (TrafficClass.BULK.rank, ALL_PLACES)
