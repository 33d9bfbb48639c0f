"""Worker pools: the threads of one lane, and a bounded queue of tasks, each with a deadline.

SQLite has one writer at a time, so write tasks that wait at the same moment run as one group, which shares a transaction and thereby
one fsync. Each task keeps the guarantees of a transaction of its own: it succeeds or fails alone, and its caller gets the result after
the commit. The next group gathers while one commits; a group never waits to fill.
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

from hilum.foundation.infra import database_faults as faults
from hilum.foundation.infra import lanes, metrics
from hilum.foundation.infra.database_faults import DatabaseUnavailable
from hilum.foundation.infra.db import TaskResult
from hilum.foundation.infra.lanes import ANSWER_WITHIN_S, Lane
from hilum.foundation.kernel.errors import Unavailable

T = TypeVar("T")
Task = Callable[[Connection], Any]
RunGroup = Callable[[Sequence[Any], float | None], list[TaskResult]]
"""Runs a group of tasks until a deadline (monotonic time); returns their results in the same order."""
GROUP_BOUND = 32


@dataclass(slots=True, eq=False)
class _QueuedTask:
    task: Any
    loop: asyncio.AbstractEventLoop
    result: "asyncio.Future[Any]"
    until: float | None
    has_begun: bool = False


class WorkerPool:
    """Accepts tasks from event loops and runs them in ``threads`` threads, ``group`` at a time."""

    def __init__(self, lane: Lane, run_group: RunGroup, *, threads: int, group: int = 1) -> None:
        self._lane, self._run_group, self._group = lane, run_group, group
        self._bounds = lanes.BOUNDS[lane]
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"db-{lane}")
        self._queue: deque[_QueuedTask] = deque()
        self._busy_threads = 0
        self._lock = Lock()
        label = f"{lane}-writers" if group > 1 else str(lane)
        metrics.DATABASE_WAITING.follow(lambda: len(self._queue), label)
        metrics.DATABASE_BUSY.follow(lambda: self._busy_threads, label)

    async def run(self, task: Any) -> Any:
        """Run ``task`` and return its result. Errors pass through.

        Raises Unavailable when the queue is full, or when the task did not begin or end in time.
        """
        loop = asyncio.get_running_loop()
        within_s = self._bounds.within_s
        until = None if within_s is None else monotonic() + within_s
        queued = _QueuedTask(task, loop, loop.create_future(), until)
        with self._lock:
            # Refused now rather than after its deadline: waiting would end the same way and hold memory until then.
            if len(self._queue) >= self._bounds.waiting:
                raise _busy()
            self._queue.append(queued)
            if self._busy_threads < self._threads:
                self._busy_threads += 1
                self._executor.submit(self._work)
        if within_s is None:
            return await queued.result
        timer = loop.call_later(within_s, self._expire, queued)
        try:
            return await queued.result
        # The caller is gone. A task that has not begun is dropped; one that has begun runs to its end.
        except asyncio.CancelledError:
            self._withdraw(queued)
            raise
        finally:
            timer.cancel()

    def _withdraw(self, queued: _QueuedTask) -> bool:
        """Remove a task from the queue; return False when it has begun."""
        with self._lock:
            if not queued.has_begun:
                with suppress(ValueError):
                    self._queue.remove(queued)
            return not queued.has_begun

    def _expire(self, queued: _QueuedTask) -> None:
        """Fail a task whose deadline passed: at once when it has not begun, else after a short grace."""
        if queued.result.done():
            return
        if self._withdraw(queued):
            queued.result.set_exception(_busy())
            return
        # The thread has the same deadline and normally ends by itself. The grace bounds waits that no deadline of ours reaches, such
        # as name resolution.
        assert self._bounds.within_s is not None
        queued.loop.call_later(ANSWER_WITHIN_S - self._bounds.within_s, _abandon, queued)

    def _work(self) -> None:
        """Run groups in this thread until the queue is empty."""
        while group := self._next_group():
            try:
                with lanes.using(self._lane):
                    # The oldest task's deadline is the earliest: all tasks of a lane have the same time.
                    results = self._run_group([each.task for each in group], group[0].until)
            except Exception as error:  # noqa: BLE001 - the thread's edge: every caller needs a result
                results = [TaskResult(error=error)] * len(group)
            _deliver(group, results)

    def _next_group(self) -> list[_QueuedTask]:
        with self._lock:
            group = [self._queue.popleft() for _ in range(min(self._group, len(self._queue)))]
            for each in group:
                each.has_begun = True
            if not group:
                # Under the lock that ``run`` appends under, so no task is queued while the last thread stops.
                self._busy_threads -= 1
            return group

    def close(self) -> None:
        """Wait for running tasks and stop the threads."""
        self._executor.shutdown(wait=True)


def _busy() -> Unavailable:
    return Unavailable("database_busy", "The database is overloaded. Retry in a few seconds.")


def _abandon(queued: _QueuedTask) -> None:
    if not queued.result.done():
        queued.result.set_exception(DatabaseUnavailable(faults.SILENT, in_doubt=True))


def _deliver(group: list[_QueuedTask], results: list[TaskResult]) -> None:
    """Return the results to their callers, with one call into each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], TaskResult]]] = {}
    for each, result in zip(group, results, strict=True):
        by_loop.setdefault(each.loop, []).append((each.result, result))
    for loop, pairs in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed: no caller is left
            loop.call_soon_threadsafe(_settle, pairs)


def _settle(pairs: list[tuple["asyncio.Future[Any]", TaskResult]]) -> None:
    for future, result in pairs:
        if future.done():
            continue
        if result.error is None:
            future.set_result(result.value)
        else:
            future.set_exception(result.error)
