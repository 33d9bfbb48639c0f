"""Verbs of stories in one process run in the thread of the event loop that waits for them.

A lane hands each verb to a thread, and the thread hands back its result: that took as long as most verbs, and longer on a busy machine.
Queues, groups and deadlines of the lanes stay as they are. Stories about verbs at one moment are marked ``in_threads``.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from hilum.foundation.infra import worker_pools

_in_loop = False


class LoopExecutor(Executor):
    """Runs what is submitted in the running loop, once the caller waits."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        assert not kwargs, "a lane submits its work without arguments"
        asyncio.get_running_loop().call_soon(fn, *args)
        return Future()  # nobody looks at it: results go to the tasks


def let_stories_choose() -> None:
    """Let ``choose`` decide what the lanes run their verbs in; threads, until it is called."""
    vars(worker_pools)["ThreadPoolExecutor"] = _executor


def choose(*, in_loop: bool) -> None:
    global _in_loop
    _in_loop = in_loop


def _executor(threads: int, **named: Any) -> Executor:
    return LoopExecutor() if _in_loop else ThreadPoolExecutor(threads, **named)
