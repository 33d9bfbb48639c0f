"""A crew: the threads of one lane, and the works that wait for them, each with a deadline.

On SQLite, where there is one writer at a time in any case, works that wait at the same moment are run as one group that shares a
transaction, and so one fsync. Each keeps what a transaction of its own would give it: it succeeds or fails alone, and its caller is
answered after the commit. While one group commits the next gathers; nobody is made to wait for a group to fill.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Any, TypeVar

from sqlalchemy import Connection

from hilum.infra import database_faults as faults
from hilum.infra import lanes, metrics
from hilum.infra.database_faults import DatabaseAway
from hilum.infra.db import Outcome
from hilum.infra.lanes import ANSWER_WITHIN_S, Lane
from hilum.kernel.errors import Unavailable

T = TypeVar("T")
Work = Callable[[Connection], Any]
RunGroup = Callable[[Sequence[Any], float | None], list[Outcome]]
"""Runs a group of works until a deadline; returns in their order how each ended."""
GROUP_BOUND = 32


@dataclass(slots=True, eq=False)
class _Waiting:
    work: Any
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[Any]"
    until: float | None
    begun: bool = False


class Crew:
    """Takes works from event loops and runs them in ``threads`` threads, ``group`` at a time."""

    def __init__(self, lane: Lane, run_group: RunGroup, *, threads: int, group: int = 1) -> None:
        self._lane, self._run_group, self._group = lane, run_group, group
        self._bounds = lanes.BOUNDS[lane]
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"db-{lane}")
        self._waiting: deque[_Waiting] = deque()
        self._serving = 0
        self._lock = Lock()
        pool = f"{lane}-writers" if group > 1 else str(lane)
        metrics.DATABASE_WAITING.follow(lambda: len(self._waiting), pool)
        metrics.DATABASE_BUSY.follow(lambda: self._serving, pool)

    async def run(self, work: Any) -> Any:
        """Run ``work`` and return what it returns. Errors pass through.

        Raises Unavailable when too many wait, or when it was not begun or not answered in time.
        """
        loop = asyncio.get_running_loop()
        within_s = self._bounds.within_s
        until = None if within_s is None else monotonic() + within_s
        mine = _Waiting(work, loop, loop.create_future(), until)
        with self._lock:
            if len(self._waiting) >= self._bounds.waiting:
                raise _busy()
            self._waiting.append(mine)
            if self._serving < self._threads:
                self._serving += 1
                self._pool.submit(self._serve)
        if within_s is None:
            return await mine.answer
        timer = loop.call_later(within_s, self._expire, mine)
        try:
            return await mine.answer
        except asyncio.CancelledError:
            self._withdraw(mine)
            raise
        finally:
            timer.cancel()

    def _withdraw(self, mine: _Waiting) -> bool:
        """Take a work back; False when it has begun."""
        with self._lock:
            if not mine.begun:
                with suppress(ValueError):
                    self._waiting.remove(mine)
            return not mine.begun

    def _expire(self, mine: _Waiting) -> None:
        if mine.answer.done():
            return
        if self._withdraw(mine):
            mine.answer.set_exception(_busy())
            return
        # The thread has the same deadline, and ends by itself but for a wait that no deadline reaches, such as a look-up of a name.
        assert self._bounds.within_s is not None
        mine.loop.call_later(ANSWER_WITHIN_S - self._bounds.within_s, _give_up, mine)

    def _serve(self) -> None:
        while group := self._take():
            try:
                with lanes.using(self._lane):
                    ended = self._run_group([each.work for each in group], group[0].until)
            except Exception as error:  # noqa: BLE001 - the thread's edge: whoever waits must hear
                ended = [Outcome(error=error)] * len(group)
            _answer(group, ended)

    def _take(self) -> list[_Waiting]:
        with self._lock:
            group = [self._waiting.popleft() for _ in range(min(self._group, len(self._waiting)))]
            for each in group:
                each.begun = True
            if not group:
                self._serving -= 1
            return group

    def close(self) -> None:
        """Let running work end and stop the threads."""
        self._pool.shutdown(wait=True)


def _busy() -> Unavailable:
    return Unavailable("database_busy", "The database is overloaded. Retry in a few seconds.")


def _give_up(mine: _Waiting) -> None:
    if not mine.answer.done():
        mine.answer.set_exception(DatabaseAway(faults.SILENT, in_doubt=True))


def _answer(group: list[_Waiting], ended: list[Outcome]) -> None:
    """Answer everyone, with one call into each loop."""
    answers: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Outcome]]] = {}
    for each, outcome in zip(group, ended, strict=True):
        answers.setdefault(each.loop, []).append((each.answer, outcome))
    for loop, pairs in answers.items():
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(_settle, pairs)


def _settle(pairs: list[tuple["asyncio.Future[Any]", Outcome]]) -> None:
    for answer, outcome in pairs:
        if answer.done():
            continue
        if outcome.error is None:
            answer.set_result(outcome.value)
        else:
            answer.set_exception(outcome.error)
