"""Starts the parts of ``hilum serve`` as processes.

At its start the supervisor forks them from one process that has loaded everything, which saves each of them up to two seconds. A part
that is restarted is a new program, since by then the supervisor has threads.
"""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Protocol

from hilum.foundation.infra.settings import Settings
from hilum.foundation.kernel.errors import Unavailable
from hilum.server.parent_watch import end_with

PARTS = ("platform", "sandbox", "jobs")
SITES = {"platform": "hilum.server.factories:platform", "sandbox": "hilum.server.sandbox_factory:sandbox"}
_JOBS = "hilum.server.jobs"
_STOPPING = (signal.SIGTERM, signal.SIGINT)


class Child(Protocol):
    """A process of a part, in the terms of ``subprocess.Popen``."""

    def poll(self) -> int | None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...
    def wait(self, timeout: float) -> int: ...


@dataclass(slots=True)
class Forked:
    """A part that was forked from the supervisor."""

    process: ForkProcess

    def poll(self) -> int | None:
        return self.process.exitcode

    def terminate(self) -> None:
        self.process.terminate()

    def kill(self) -> None:
        self.process.kill()

    def wait(self, timeout: float) -> int:
        """Return the exit code. Raises TimeoutExpired like ``Popen.wait``."""
        self.process.join(timeout)
        if (code := self.process.exitcode) is None:
            raise subprocess.TimeoutExpired(self.process.name, timeout)
        return code


def run(part: str, settings: Settings) -> None:
    """Run one part in this process until a signal. Raises Unavailable if its address cannot be used."""
    set_process_name(part)
    # Imported here, so that a process loads only what it runs.
    if part == "jobs":
        from hilum.server import jobs

        jobs.run(settings)
        return
    from hilum.server.serve import run_web

    listen = settings.listen if part == "platform" else settings.sandbox_listen
    run_web(settings, SITES[part], listen, workers=None if part == "platform" else 1)


def set_process_name(part: str) -> None:
    """Set the name that `ps` and `top` show for this process, where the system has one; a forked part has the supervisor's command line."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(f"hilum-{part}", encoding="ascii")


def load(parts: tuple[str, ...]) -> None:
    """Import what these parts run."""
    for part in parts:
        import_module(SITES[part].partition(":")[0] if part in SITES else _JOBS)
    import_module("hilum.server.serve")


def fork(part: str, settings: Settings, passed: dict[str, str]) -> Forked | None:
    """Fork a part from this process; None if it has threads: a lock that one of them holds would never be released in the child."""
    if _threads() != 1:
        return None
    gc.collect()
    # Collections in a child would write to every page that it shares with the others.
    gc.freeze()
    process = multiprocessing.get_context("fork").Process(
        target=_begin, args=(part, settings, passed, os.getpid()), name=part
    )
    # Until the child has reset its handlers it would forget a signal; what is blocked comes to it afterwards.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return Forked(process)


def spawn(part: str, passed: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Start a part as a new program."""
    command = [
        sys.executable,
        "-m",
        "hilum.server.commands.main",
        "serve",
        "--part",
        part,
        "--under",
        str(os.getpid()),
    ]
    return subprocess.Popen(command, env=os.environ | {"PYTHONUNBUFFERED": "1"} | passed)


def _threads() -> int:
    """Count the threads of this process, those of libraries too; 0 where the system does not say."""
    try:
        return sum(1 for _ in Path("/proc/self/task").iterdir())
    except OSError:
        return 0


def _begin(part: str, settings: Settings, passed: dict[str, str], supervisor: int) -> None:
    for number in _STOPPING:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
    os.environ.update(passed)
    end_with(supervisor)
    try:
        run(part, settings)
    except Unavailable as error:
        raise SystemExit(f"refused: {error.detail} ({error.code})") from error
