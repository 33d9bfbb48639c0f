"""Reports from each process to the supervisor, which serves operations: whether the process can answer, and its metrics.

Reports go over a Unix socket in a directory of the supervisor's, which works while the disk is full, the database is unavailable and all
of the site's connections are taken. A process whose reports are not received continues without them.
"""

import os
import socket
import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import orjson

from hilum.foundation.infra import metrics
from hilum.foundation.kernel.ports import Clock

SOCKET_VARIABLE = "_HILUM_REPORTS"
"""The environment variable by which the supervisor passes the path of that socket to its children."""
REPORT_EVERY_S = 0.5
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
Faults = dict[str, str]
"""Why a process cannot answer, as stable code -> sentence; empty when it can."""


class Reporter:
    """Reports from a thread of its own, which calls ``faults`` and ``notices`` before each report."""

    def __init__(
        self,
        part: str,
        clock: Clock,
        *,
        faults: Callable[[], Faults],
        notices: Callable[[], Faults] = dict,
    ) -> None:
        self._part, self._clock, self._faults, self._notices = part, clock, faults, notices
        self._path = os.environ.get(SOCKET_VARIABLE, "")
        self._socket: socket.socket | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: AbstractEventLoop | None = None
        self._asked_at, self._turned, self._lag = 0.0, True, 0.0
        self._began = clock.monotonic()
        metrics.MEMORY.follow(_resident)
        metrics.FILES.follow(_open_files)

    def start(self, loop: AbstractEventLoop | None = None) -> None:
        """Start reporting; ``loop`` is the event loop whose lag is measured."""
        self._loop = loop
        if loop is not None:
            metrics.LOOP_LAG.follow(self._late)
        self._thread = threading.Thread(target=self._run, name="reports", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop reporting."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(REPORT_EVERY_S)
        self._hang_up()

    def _run(self) -> None:
        while not self._stopping.is_set():
            # Checked even if nobody receives reports: the site's own ``/readyz`` answers from them.
            faults, notices = self._faults(), self._notices()
            if self._path:
                self._report(faults, notices)
            self._stopping.wait(REPORT_EVERY_S)

    def _report(self, faults: Faults, notices: Faults) -> None:
        if self._loop is not None and self._turned:
            # The lag is the time until the loop calls back. The next callback is scheduled only after
            # that, so that a stalled loop does not accumulate them.
            self._turned, self._asked_at = False, self._clock.monotonic()
            with suppress(RuntimeError):  # the loop has ended; so does this process
                self._loop.call_soon_threadsafe(self._turn)
        report = {
            "part": self._part,
            "pid": os.getpid(),
            "began": self._began,
            "faults": faults,
            "notices": notices,
            "metrics": metrics.read(),
        }
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._socket.settimeout(REPORT_EVERY_S)
                self._socket.connect(self._path)
            self._socket.sendall(orjson.dumps(report) + b"\n")
        except OSError:
            self._hang_up()

    def _turn(self) -> None:
        self._lag, self._turned = self._clock.monotonic() - self._asked_at, True

    def _late(self) -> float:
        return self._lag if self._turned else max(self._lag, self._clock.monotonic() - self._asked_at)

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _resident() -> float:
    with suppress(OSError, ValueError, IndexError):
        return float(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES
    return 0.0


def _open_files() -> float:
    with suppress(OSError):
        return float(sum(1 for _ in Path("/proc/self/fd").iterdir()))
    return 0.0
