"""Limit the requests that are at one tenant's FHIR server at a time, by traffic class and app, with bounded queues.

In a class the apps take turns, so that one with many waiting requests does not delay another's few (fair queuing, as in the Priority and
Fairness of Kubernetes' API server).
"""

import asyncio
from collections import Counter, deque

from hilum.foundation.kernel.errors import Unavailable
from hilum.gateway.upstream import policy
from hilum.gateway.upstream.models import BUSY, CROWDED, SHED, WAIT_BOUND, Entry, SlotRequest
from hilum.policy.matrix.models import TrafficClass

_Waiter = tuple["asyncio.Future[None]", SlotRequest]


class Slots:
    """The slots of one tenant by traffic class, and the queues for them. For one event loop.

    INVARIANT: no request waits for a slot that is free for it, so requests of one app get slots in the order of their arrival.
    """

    __slots__ = ("_held_of", "_queues", "_wait_s", "_waiting_of", "held", "waiting")

    def __init__(self, wait_s: float = WAIT_BOUND.total_seconds()) -> None:
        self.held = [0] * len(TrafficClass)
        self.waiting = [0] * len(TrafficClass)
        self._held_of: Counter[str] = Counter()
        self._waiting_of: Counter[str] = Counter()
        # The waiting requests of each class by app; the app whose turn it is comes first.
        self._queues: tuple[dict[str, deque[_Waiter]], ...] = tuple({} for _ in TrafficClass)
        self._wait_s = wait_s

    def take(self, slot: SlotRequest) -> bool:
        """Take a slot if one is free for the request; if not, ``wait`` for it."""
        if not policy.has_room(self.held, slot, self._held_of[slot.app]):
            return False
        self._hold(slot)
        return True

    async def wait(self, slot: SlotRequest) -> None:
        """Take a slot once one is free for the request. Raises Unavailable."""
        own = self._held_of[slot.app], self._waiting_of[slot.app]
        match policy.entry(self.held, self.waiting, slot, *own):
            case Entry.ENTER:
                self._hold(slot)
            case Entry.WAIT:
                await self._turn(slot)
            case refused:
                raise _refusal(refused)

    def leave(self, slot: SlotRequest) -> None:
        """Release a slot, and admit waiting requests."""
        self.held[slot.rank] -= 1
        _take_one(self._held_of, slot.app)
        if any(self.waiting):
            self._admit()

    def _hold(self, slot: SlotRequest) -> None:
        self.held[slot.rank] += 1
        self._held_of[slot.app] += 1

    async def _turn(self, slot: SlotRequest) -> None:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        waiter = (turn, slot)
        self._queues[slot.rank].setdefault(slot.app, deque()).append(waiter)
        self.waiting[slot.rank] += 1
        self._waiting_of[slot.app] += 1
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
        """Admit waiting requests for which there is room: the highest class first, within a class one of each app in turn."""
        for queue in self._queues:
            while waiter := self._next(queue):
                turn, slot = waiter
                self._remove(waiter)
                if waiters := queue.pop(slot.app, None):
                    queue[slot.app] = waiters  # behind the other apps
                if not turn.done():
                    self._hold(slot)
                    turn.set_result(None)

    def _next(self, queue: dict[str, deque[_Waiter]]) -> _Waiter | None:
        """Return the first request for which there is room, of the app whose turn comes first."""
        firsts = (waiters[0] for waiters in queue.values())
        return next(
            (each for each in firsts if policy.has_room(self.held, each[1], self._held_of[each[1].app])), None
        )

    def _give_up(self, waiter: _Waiter) -> None:
        turn, slot = waiter
        if not turn.done():
            self._remove(waiter)
            turn.set_exception(_refusal(Entry.SHED if slot.rank else Entry.BUSY))

    def _remove(self, waiter: _Waiter) -> None:
        slot = waiter[1]
        queue = self._queues[slot.rank]
        waiters = queue.get(slot.app)
        if waiters is None or waiter not in waiters:
            return
        waiters.remove(waiter)
        self.waiting[slot.rank] -= 1
        _take_one(self._waiting_of, slot.app)
        if not waiters:
            del queue[slot.app]


def _take_one(counts: Counter[str], app: str) -> None:
    counts[app] -= 1
    if not counts[app]:
        del counts[app]  # apps come and go


def _refusal(entry: Entry) -> Unavailable:
    if entry is Entry.CROWDED:
        return Unavailable(
            CROWDED,
            "So many requests of this app wait for this FHIR server that the other places are kept for other apps. Wait for as long as Retry-After says, and send fewer at a time.",
        )
    if entry is Entry.SHED:
        return Unavailable(
            SHED,
            "This traffic class has reached its limit of concurrent requests at this FHIR server; the other slots are kept for more urgent work. Wait for as long as Retry-After says, and send fewer at a time.",
        )
    return Unavailable(BUSY, "Too many requests to this FHIR server are in progress. Try again in a moment.")
