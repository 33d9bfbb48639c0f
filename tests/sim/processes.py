"""Finds the processes of a running sandbox, so that a test can end one of them."""

import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from tests.sim.running import Running

T = TypeVar("T")
WITHIN_S = 30.0


def children(parent: int) -> list[int]:
    """List the processes that a process started, directly."""
    found = []
    for each in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            # The command in parentheses may contain spaces, so the fields are counted from its end.
            if int((each / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(each.name))
    return sorted(found)


def name_of(pid: int) -> str:
    """Return a process's name; empty when it has gone, or only waits to be collected."""
    try:
        lives = Path(f"/proc/{pid}/cmdline").read_bytes()
        return Path(f"/proc/{pid}/comm").read_text().strip() if lives else ""
    except OSError:
        return ""


def part(running: Running, name: str) -> int:
    """Find the process of a part; 0 when there is none just now."""
    return next((pid for pid in children(running.process.pid) if name_of(pid) == f"hilum-{name}"), 0)


def workers(running: Running) -> list[int]:
    """List the platform's web workers."""
    main = part(running, "platform")
    return [pid for pid in children(main) if name_of(pid) == "hilum-platform"] if main else []


def kill(pid: int) -> None:
    # 0 and -1 would mean a whole group, or every process.
    assert pid > 1
    os.kill(pid, signal.SIGKILL)


def operations(running: Running) -> str:
    """Return the address of the operations listener, which the supervisor logs."""
    line = next(each for each in reversed(running.log.splitlines()) if "app.operations.listening" in each)
    return "http://" + re.findall(r'"address":"([^"]+)"', line)[0]


def until(found: Callable[[], T], within_s: float = WITHIN_S) -> T:
    """Return the first true value of ``found``. Fails if that takes too long."""
    end = time.monotonic() + within_s
    while not (value := found()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
    return value
