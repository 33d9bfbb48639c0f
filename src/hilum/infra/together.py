"""Group commit: writing verbs that wait at the same moment share one transaction, and so one fsync.

Each keeps what a transaction of its own would give it: it succeeds or fails alone, nobody writes beside it, and its caller is
answered after the commit. While one group commits the next gathers; nobody is made to wait for a group to fill.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from time import sleep
from typing import Any, TypeVar

from sqlalchemy import Connection

from hilum.infra.db import Database, Outcome
from hilum.kernel.errors import Unavailable

T = TypeVar("T")
GROUP_BOUND = 32
WAITING_BOUND = 5_000
BREATH_S = 0.001
"""Between two groups the file's lock is free for so long, or another process, which only looks now and then, might never find it so."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    work: Callable[[Connection], Any]
    loop: asyncio.AbstractEventLoop
    heard: "asyncio.Future[Any]"


class Together:
    """Takes works from event loops and runs them, group by group, in one thread of the pool at a time."""

    def __init__(self, database: Database, pool: Executor, on_loss: Callable[[], None]) -> None:
        self._database, self._pool, self._on_loss = database, pool, on_loss
        self._waiting: deque[_Waiting] = deque()
        self._serving = False
        self._lock = Lock()

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a writing transaction. Errors pass through; Unavailable when too many wait already."""
        loop = asyncio.get_running_loop()
        mine = _Waiting(work, loop, loop.create_future())
        with self._lock:
            if len(self._waiting) >= WAITING_BOUND:
                raise Unavailable("database_busy", "Too many requests wait for the database.")
            if not self._serving:
                self._pool.submit(self._serve)
                self._serving = True
            self._waiting.append(mine)
        result: T = await mine.heard
        return result

    def _serve(self) -> None:
        while group := self._take():
            try:
                ended = self._database.write_together([each.work for each in group], self._on_loss)
            except Exception as error:  # noqa: BLE001 - the thread's edge: whoever waits must hear
                ended = [Outcome(error=error)] * len(group)
            _answer(group, ended)
            if self._waiting:
                sleep(BREATH_S)

    def _take(self) -> list[_Waiting]:
        with self._lock:
            group = [self._waiting.popleft() for _ in range(min(GROUP_BOUND, len(self._waiting)))]
            self._serving = bool(group)
            return group


def _answer(group: list[_Waiting], ended: list[Outcome]) -> None:
    """Tell everyone, with one call into each loop."""
    told: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Outcome]]] = {}
    for each, outcome in zip(group, ended, strict=True):
        told.setdefault(each.loop, []).append((each.heard, outcome))
    for loop, pairs in told.items():
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(_settle, pairs)


def _settle(pairs: list[tuple["asyncio.Future[Any]", Outcome]]) -> None:
    for heard, outcome in pairs:
        if heard.done():
            continue
        if outcome.error is None:
            heard.set_result(outcome.value)
        else:
            heard.set_exception(outcome.error)
