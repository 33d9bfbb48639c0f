"""Runs the web server of one site: its workers, their bounds on connections and headers, and restarts of workers that die."""

import asyncio
import os
import resource
import signal
import socket
import threading
import time
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from granian import _signals
from granian._granian import WorkerSignal
from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer, WorkerProcess

from hilum.foundation.infra import logs
from hilum.foundation.infra.settings import Settings
from hilum.foundation.kernel.errors import Unavailable

STOP_TIMEOUT_S = 10
"""How long a worker may take to stop; then its server kills it."""
HEADERS_WITHIN_MS = 15_000
"""A connection that has not sent the headers of its next request within this time is closed, also when idle."""
HEADERS_BOUND = 32 * 1024
"""Bytes of a request's line and headers; the server itself accepts at most 100 headers (431 beyond)."""
BACKLOG = 2_048
FILES_KEPT = 256
"""File descriptors reserved for what a worker opens besides connections."""
PAUSE_S, PAUSE_BOUND_S = 0.25, 8.0
"""The pause before what died is started again: after the first death, and the longest."""
QUIET_S = 30.0
"""The death of a worker this long after the last one is treated as the first again."""
_log = logs.get("app")


class _Worker(WorkerProcess):
    """A worker whose process one thread waits for, and everybody else waits for that thread.

    With two that wait for the process, the one that comes second takes it for alive until the other has noted its end: on a busy machine
    Granian said that it killed what had stopped in order, and sent the signal to a number that might have been another process's.
    """

    def _watch(self) -> None:
        self._watching = threading.Thread(target=self._watcher)
        self._watching.start()

    def join(self, timeout: float | None = None) -> None:
        self._watching.join(timeout)


class _Server(MPServer):
    """Granian's server, except that it restarts dead workers however often they die, with growing pauses.

    Granian itself stops when a worker dies twice within seconds: then two requests that kill a worker would end the service.
    """

    _deaths, _died_at = 0, float("-inf")

    def _spawn_worker(self, *given: Any, **named: Any) -> WorkerProcess:
        spawned = super()._spawn_worker(*given, **named)
        # Granian offers no way to choose the class.
        spawned.__class__ = _Worker
        return spawned

    def _respawn_workers(self, workers: Any, spawn_target: Any, target_loader: Any, delay: float = 0) -> None:
        now = time.monotonic()
        self._deaths = self._deaths + 1 if now - self._died_at < QUIET_S else 1
        self._died_at = now
        pause = pause_after(self._deaths)
        _log.error("app.worker.died", workers=[each + 1 for each in workers], again_in_s=pause)
        while time.monotonic() < now + pause and not self.interrupt_signal:
            time.sleep(0.05)
        if self.interrupt_signal:
            self.main_loop_interrupt.set()
            return
        super()._respawn_workers(workers, spawn_target, target_loader, delay)
        # Granian ends the service when a worker that is listed here dies again within seconds.
        self.respawned_wrks.clear()


def pause_after(deaths: int) -> float:
    """Return the pause before a worker or part is started again after so many deaths in a row, in seconds."""
    return min(PAUSE_BOUND_S, PAUSE_S * 2.0 ** min(deaths - 1, 10)) if deaths > 0 else 0.0


def address_of(listen: str) -> tuple[str, int]:
    """Split ``host:port``."""
    parts = urlsplit(f"//{listen}")
    host = parts.hostname or "127.0.0.1"
    return ("127.0.0.1" if host == "localhost" else host), 8000 if parts.port is None else parts.port


def require_free(listen: str) -> None:
    """Raise Unavailable if the address cannot be used. The server itself would share the port with another process (SO_REUSEPORT)."""
    try:
        family, kind, _, _, where = socket.getaddrinfo(*address_of(listen), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            # SO_REUSEADDR allows a port whose old connections are in TIME_WAIT, but none on which
            # another process listens.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            probe.listen()
    except OSError as error:
        detail = f"Cannot listen at {listen}: {error.strerror}. Stop the program that uses it, or set another address."
        raise Unavailable("address_unavailable", detail) from error


def run_web(settings: Settings, target: str, listen: str, *, workers: int | None = None) -> None:
    """Serve the ASGI factory ``target`` on ``listen`` with this process's workers, until a signal. Raises Unavailable.

    HTTP/1.1 only: HTTP/2 is left to the proxy in front, which bounds headers and streams itself (security decision 26).
    """
    require_free(listen)
    address, port = address_of(listen)
    # Imported before the server forks, so that the workers share the modules instead of loading them once each.
    import_module(target.partition(":")[0])
    os.register_at_fork(
        before=_hold_sigterm, after_in_parent=_release_sigterm, after_in_child=_end_at_sigterm
    )
    # Looked up by each worker as it starts.
    _signals.set_loop_signals = _set_loop_signals
    _Server(
        target,
        address=address,
        port=port,
        interface=Interfaces.ASGI,
        workers=settings.workers if workers is None else workers,
        loop=Loops.uvloop,
        # One thread of the server for each worker: a second one only hands requests from thread to thread.
        runtime_mode=RuntimeModes.st,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADERS_WITHIN_MS, max_buffer_size=HEADERS_BOUND),
        # No module speaks WebSocket; a second protocol would be one more to bound.
        websockets=False,
        backlog=BACKLOG,
        backpressure=connections_of(settings),
        log_level=LogLevels.warning,
        factory=True,
        workers_kill_timeout=STOP_TIMEOUT_S,
        respawn_failed_workers=True,
    ).serve()


def _hold_sigterm() -> None:
    """Keep SIGTERM for later, also for a child that is forked now: it would forget what came before it had reset its handlers."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _release_sigterm() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _end_at_sigterm() -> None:
    """Let SIGTERM end a worker until it has a handler of its own, before which it has nothing to stop in order.

    It is forked with its server's handler, which only notes the signal for the server's loop: a worker that was loading would keep running.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _release_sigterm()


def _set_loop_signals(loop: asyncio.AbstractEventLoop) -> WorkerSignal:
    """Let SIGTERM and SIGINT stop a worker in order; return what they set. In place of Granian's function of this name.

    Granian leaves both to the loop, which forgets a signal that arrives while it does not run: before the lifespan begins, and between its
    start and the first request. The worker would then serve until its server kills it.
    """
    stop, is_asked = WorkerSignal(), False

    def ask() -> None:
        nonlocal is_asked
        # Once: the server takes one, has room for another, and whoever sets a third waits for ever.
        if not is_asked:
            is_asked = True
            stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        # Called in whichever run of the loop comes next.
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(ask))
    return stop


def connections_of(settings: Settings) -> int:
    """Raise the process's limit of open files as far as permitted, and return how many connections a worker may hold.

    The server counts connections, not requests: a silent one holds its slot until the timeout for headers.
    """
    configured = settings.connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > soft:
        needed = 2 * configured + FILES_KEPT
        soft = max(soft, needed if hard == resource.RLIM_INFINITY else min(hard, needed))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    # Half of the files: a request can open as many again, to the database and to FHIR servers.
    return max(1, min(configured, soft // 2))
