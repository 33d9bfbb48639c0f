"""Processes that end with the one that started them, whatever state they are in when it dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from hilum.server import parent_watch
from tests.effort import FULL, effort

LOOK_EVERY_S = parent_watch.CHECK_EVERY_S if FULL else 0.1
GRACE_S = effort(1, parent_watch.GRACE_S)
ENDS_WITHIN_S = LOOK_EVERY_S + GRACE_S + 15
BEGIN = f"""
import multiprocessing, os, signal, sys, threading, time
from hilum.server import parent_watch
parent_watch.CHECK_EVERY_S, parent_watch.GRACE_S = {LOOK_EVERY_S}, {GRACE_S}
"""
KILLED_WHILE_IT_STARTS = """
def work():
    signal.signal(signal.SIGTERM, lambda *_: None)
    mine = os.getppid()
    os.kill(mine, signal.SIGKILL)
    while os.getppid() == mine:
        time.sleep(0.01)
    print("watches", flush=True)
    parent_watch.end_with(parent_watch.started_by())
    print("serves", flush=True)
    time.sleep(600)
multiprocessing.get_context("fork").Process(target=work).start()
time.sleep(600)
"""
KILLED_WHILE_SIGTERM_IS_IGNORED = """
signal.signal(signal.SIGTERM, lambda *_: None)
def work():
    parent_watch.end_with(parent_watch.started_by())
    print("watches", flush=True)
    os.kill(os.getppid(), signal.SIGKILL)
    while True:
        time.sleep(1)
multiprocessing.get_context("fork").Process(target=work).start()
time.sleep(600)
"""
KILLED_WHILE_IT_STOPS_AND_HANGS = """
def work():
    parent_watch.end_with(parent_watch.started_by())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    threading.Thread(target=lambda: time.sleep(600)).start()
    print("watches", flush=True)
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)
multiprocessing.get_context("fork").Process(target=work).start()
time.sleep(600)
"""
STANDS = """
def work():
    parent_watch.end_with(parent_watch.started_by())
    time.sleep(3 * parent_watch.CHECK_EVERY_S)
    print("stands", flush=True)
worker = multiprocessing.get_context("fork").Process(target=work)
worker.start()
worker.join()
print(worker.exitcode, flush=True)
"""


@contextmanager
def _family(story: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a parent and its worker in a group of their own; nothing of it is left afterwards. Its output ends with its last process."""
    with subprocess.Popen(
        [sys.executable, "-c", BEGIN + story], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as started:
        try:
            yield started
        finally:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    "story",
    [
        pytest.param(KILLED_WHILE_IT_STARTS, id="before it looked"),
        pytest.param(KILLED_WHILE_SIGTERM_IS_IGNORED, id="while SIGTERM does nothing"),
        pytest.param(KILLED_WHILE_IT_STOPS_AND_HANGS, id="and its own stop hangs"),
    ],
)
def test_a_worker_ends_within_a_bound_after_its_parent_was_killed(story: str) -> None:
    """Contract, Commands: nothing lives on that no supervisor watches, in whatever state it was."""
    with _family(story) as started:
        begun = time.monotonic()
        told, _ = started.communicate(timeout=ENDS_WITHIN_S)

    assert told == "watches\n"
    assert time.monotonic() - begun < ENDS_WITHIN_S


def test_a_worker_whose_parent_lives_is_left_alone() -> None:
    with _family(STANDS) as started:
        told, _ = started.communicate(timeout=ENDS_WITHIN_S)

    assert told == "stands\n0\n"
