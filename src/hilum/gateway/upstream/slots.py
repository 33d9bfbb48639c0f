"""Limit the requests that are at one tenant's FHIR server at a time, by traffic class, with bounded queues."""

import asyncio
from collections import deque

from hilum.foundation.kernel.errors import Unavailable
from hilum.gateway.upstream import policy
from hilum.gateway.upstream.models import BUSY, SHED, WAIT_BOUND, Entry, SlotRequest
from hilum.policy.matrix.models import TrafficClass

_Waiter = tuple["asyncio.Future[None]", SlotRequest]


class Slots:
    """The slots of one tenant by traffic class, and the queues for them. For one event loop.

    INVARIANT: no request waits for a slot that is free for it, so requests of one class get slots in the order of their arrival.
    """

    __slots__ = ("_queues", "_wait_s", "held", "waiting")

    def __init__(self, wait_s: float = WAIT_BOUND.total_seconds()) -> None:
        self.held = [0] * len(TrafficClass)
        self.waiting = [0] * len(TrafficClass)
        self._queues: tuple[deque[_Waiter], ...] = tuple(deque() for _ in TrafficClass)
        self._wait_s = wait_s

    def take(self, slot: SlotRequest) -> bool:
        """Take a slot if one is free for the request; if not, ``wait`` for it."""
        if not policy.has_room(self.held, slot):
            return False
        self.held[slot.rank] += 1
        return True

    async def wait(self, slot: SlotRequest) -> None:
        """Take a slot once one is free for the request. Raises Unavailable."""
        match policy.entry(self.held, self.waiting, slot):
            case Entry.ENTER:
                self.held[slot.rank] += 1
            case Entry.WAIT:
                await self._turn(slot)
            case refused:
                raise _refusal(refused)

    def leave(self, slot: SlotRequest) -> None:
        """Release a slot, and admit waiting requests."""
        self.held[slot.rank] -= 1
        if any(self.waiting):
            self._admit()

    async def _turn(self, slot: SlotRequest) -> None:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        waiter = (turn, slot)
        self._queues[slot.rank].append(waiter)
        self.waiting[slot.rank] += 1
        over = loop.call_later(self._wait_s, self._give_up, waiter)
        try:
            await turn
        except asyncio.CancelledError:
            # The client disconnected, before its turn or just as it came.
            if turn.cancelled():
                self._remove(waiter)
            elif turn.exception() is None:
                self.leave(slot)
            raise
        finally:
            over.cancel()

    def _admit(self) -> None:
        """Admit waiting requests for which there is room: the highest class first, within a class in the order of arrival."""
        for queue in self._queues:
            while queue and policy.has_room(self.held, queue[0][1]):
                turn, slot = queue.popleft()
                self.waiting[slot.rank] -= 1
                if not turn.done():
                    self.held[slot.rank] += 1
                    turn.set_result(None)

    def _give_up(self, waiter: _Waiter) -> None:
        turn, slot = waiter
        if not turn.done():
            self._remove(waiter)
            turn.set_exception(_refusal(Entry.SHED if slot.rank else Entry.BUSY))

    def _remove(self, waiter: _Waiter) -> None:
        queue = self._queues[waiter[1].rank]
        if waiter in queue:
            queue.remove(waiter)
            self.waiting[waiter[1].rank] -= 1


def _refusal(entry: Entry) -> Unavailable:
    if entry is Entry.SHED:
        return Unavailable(
            SHED,
            "This traffic class has reached its limit of concurrent requests at this FHIR server; the other slots are kept for more urgent work. Wait for as long as Retry-After says, and send fewer at a time.",
        )
    return Unavailable(BUSY, "Too many requests to this FHIR server are in progress. Try again in a moment.")
