"""Parts of ``hilum serve`` as processes: forked while there is one thread only, and with the terms of ``Popen`` (ADR 33)."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hilum.foundation.infra.settings import read
from hilum.server import parts
from tests.conftest import SECRET_KEY

SETTINGS = read({"HILUM_SECRET_KEY": SECRET_KEY, "HILUM_MODE": "sandbox"})
# Run in a process of its own: the one of the tests has threads.
FAMILY = """
import os, subprocess, sys, time
from hilum.server import parts
from hilum.foundation.infra.settings import read
settings = read({"HILUM_SECRET_KEY": "k" * 48, "HILUM_MODE": "sandbox"})
def run(part, settings):
    print(os.environ["passed"], open("/proc/self/comm").read().strip(), flush=True)
    BODY
parts.run, named = run, parts.set_process_name
child = parts.fork("jobs", settings, {"passed": "on"})
"""
WAITS = (
    "parts.set_process_name(part); print(open('/proc/self/comm').read().strip(), flush=True); time.sleep(600)"
)


@contextmanager
def family(body: str, then: str) -> Iterator["subprocess.Popen[str]"]:
    script = FAMILY.replace("BODY", body) + then
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def told(body: str, then: str) -> tuple[str, str]:
    with family(body, then) as started:
        return started.communicate(timeout=60)


def test_a_forked_part_is_waited_for_and_ended_like_popens() -> None:
    """It is passed its variables, and has a name of its own."""
    then = """
try:
    child.wait(0.5)
except subprocess.TimeoutExpired:
    print("goes on", child.poll())
child.terminate()
print(child.wait(30), child.poll())
"""
    out, _ = told(WAITS, then)

    assert out.startswith("on ")
    assert "hilum-jobs\n" in out
    assert "goes on None\n" in out
    assert out.endswith(f"{-signal.SIGTERM} {-signal.SIGTERM}\n")


def test_what_a_part_is_refused_for_is_printed_and_its_exit_code_says_so() -> None:
    refuses = "from hilum.foundation.kernel.errors import Unavailable; raise Unavailable('address_unavailable', 'Taken.')"
    out, error = told(refuses, "print(child.wait(30))")

    assert out.endswith("1\n")
    assert "refused: Taken. (address_unavailable)" in error
    assert "Traceback" not in error


def test_a_forked_part_ends_with_its_supervisor_even_if_that_is_killed() -> None:
    with family(WAITS, "time.sleep(600)") as started:
        assert started.stdout is not None
        started.stdout.readline()
        started.kill()
        # Its output ends with its last process.
        assert "hilum-jobs" in started.stdout.read()


def test_a_part_forgets_no_signal_that_comes_as_it_is_forked() -> None:
    """It begins with its supervisor's handlers, which only note a signal for the supervisor."""
    then = """
import signal
child.kill()
signal.signal(signal.SIGTERM, lambda *_: None)
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))
print("ended", parts.fork("jobs", settings, {"passed": "again"}).wait(30))
"""

    said, complaints = told("time.sleep(600)", then)

    assert (said.splitlines()[-1], complaints) == (f"ended {-signal.SIGTERM}", "")
    assert "again" not in said


def test_a_process_with_threads_is_not_forked() -> None:
    """A lock that another thread holds at that moment would never be released in the child."""
    held = threading.Event()
    thread = threading.Thread(target=held.wait)
    thread.start()
    try:
        assert parts.fork("jobs", SETTINGS, {}) is None
    finally:
        held.set()
        thread.join()


def test_a_system_that_does_not_say_how_many_threads_there_are_forks_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parts, "_threads", lambda: 0)

    assert parts.fork("jobs", SETTINGS, {}) is None
