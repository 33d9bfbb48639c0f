"""Slots for slow work that strangers can cause, shared by network: a slot that becomes free goes to the networks in turn."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from threading import Lock

from hilum.foundation.kernel.errors import HilumError


@dataclass(frozen=True, slots=True)
class Shares:
    """How many run at a time, and how many wait: in all, and of one network."""

    slots: int
    waiting: int
    network_slots: int
    network_waiting: int


class FairSlots:
    """The slots. ``full`` builds the refusal of whoever finds no place to wait. Usable from several event loops."""

    def __init__(self, shares: Shares, full: Callable[[], HilumError]) -> None:
        self._shares, self._full = shares, full
        self._running: Counter[str] = Counter()
        self._waiting: list[tuple[str, Future[None]]] = []
        self._lock = Lock()

    @asynccontextmanager
    async def held(self, network: str) -> AsyncIterator[None]:
        """Wait for a slot and hold it inside the ``async with`` block. Raises the refusal if too many wait."""
        turn: Future[None] = Future()
        with self._lock:
            self._waiting.append((network, turn))
            self._give()
            of_network = sum(each == network for each, _ in self._waiting)
            full = of_network > self._shares.network_waiting or len(self._waiting) > self._shares.waiting
            if full and not turn.done():
                self._waiting.pop()
                raise self._full()
        try:
            if not turn.done():
                await asyncio.wrap_future(turn)
            yield
        finally:
            with self._lock:
                # Whoever was cancelled while waiting has no slot to give back.
                self._waiting = [each for each in self._waiting if each[1] is not turn]
                if turn.done() and not turn.cancelled():
                    self._running = self._running - Counter([network])
                    self._give()

    def _give(self) -> None:
        while self._running.total() < self._shares.slots:
            bound = self._shares.network_slots
            found = next((each for each in self._waiting if self._running[each[0]] < bound), None)
            if found is None:
                return
            self._waiting.remove(found)
            network, turn = found
            # Everybody else comes before the others of this network.
            self._waiting.sort(key=lambda each: each[0] == network)
            if turn.set_running_or_notify_cancel():
                self._running[network] += 1
                turn.set_result(None)
