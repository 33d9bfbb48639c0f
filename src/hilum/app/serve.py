"""The processes of ``hilum serve``: N web workers, one jobs process, and in a sandbox the sandbox site on its own origin."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings

from hilum.infra import logs
from hilum.infra.settings import Settings
from hilum.kernel.errors import Unavailable

STOP_TIMEOUT_S = 10
HEADERS_WITHIN_MS = 15_000
"""Within this time a connection sends the headers of its next request, or is closed: idle ones too."""
HEADERS_BOUND = 32 * 1024
"""Bytes of a request's line and headers; the server itself takes at most 100 headers (431 beyond)."""
BACKLOG = 2_048
FILES_KEPT = 256
"""Files that a worker opens beside its connections, at least."""
PARTS = ("platform", "sandbox", "jobs")
_log = logs.get("app")


@dataclass
class Supervisor:
    """Starts the parts, ends them together, and fails when one of them ends by itself."""

    settings: Settings
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    stopping: bool = False

    def run(self, on_ready: Callable[[], None] = lambda: None) -> int:
        """Run until a signal or until a part ends; ``on_ready`` is called once when every site listens. Returns the exit code.

        Raises Unavailable when a site cannot listen where it should.
        """
        waited_for = [self.settings.listen]
        if self.settings.is_sandbox:
            waited_for.append(self.settings.sandbox_listen)
        for each in waited_for:
            require_free(each)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        parts = [part for part in PARTS if part != "sandbox" or self.settings.is_sandbox]
        for part in parts:
            command = [sys.executable, "-m", "hilum.cli.main", "serve", "--part", part]
            command += ["--under", str(os.getpid())]
            self.children[part] = subprocess.Popen(command, env=os.environ | {"PYTHONUNBUFFERED": "1"})
        failed = ""
        while not self.stopping and not failed:
            failed = next((part for part, child in self.children.items() if child.poll() is not None), "")
            if waited_for and all(_listens(each) for each in waited_for):
                waited_for.clear()
                on_ready()
            time.sleep(0.1)
        if failed:
            _log.error("app.part.ended", part=failed, code=self.children[failed].returncode)
        self._stop()
        return 1 if failed else 0

    def _on_signal(self, _number: int, _frame: object) -> None:
        self.stopping = True

    def _stop(self) -> None:
        for child in self.children.values():
            if child.poll() is None:
                child.terminate()
        for child in self.children.values():
            try:
                child.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                child.kill()


def _listens(listen: str) -> bool:
    try:
        socket.create_connection(_address(listen), timeout=1).close()
    except OSError:
        return False
    return True


def _address(listen: str) -> tuple[str, int]:
    parts = urlsplit(f"//{listen}")
    host = parts.hostname or "127.0.0.1"
    return ("127.0.0.1" if host == "localhost" else host), parts.port or 8000


def require_free(listen: str) -> None:
    """Raise Unavailable when nobody can listen there. The server itself would share the port with whoever does already."""
    try:
        family, kind, _, _, where = socket.getaddrinfo(*_address(listen), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(where)
            tried.listen()
    except OSError as error:
        told = f"Nothing can listen at {listen}: {error.strerror}."
        raise Unavailable("address_unavailable", told) from error


def run_web(settings: Settings, target: str, listen: str, *, workers: int | None = None) -> None:
    """Serve the ASGI factory ``target`` on ``listen`` in this process's workers, until told to stop. Raises Unavailable.

    HTTP/1.1 only: HTTP/2 is left to the proxy in front, whose bounds on headers and streams are its own (security decision 26).
    """
    require_free(listen)
    address, port = _address(listen)
    Granian(
        target,
        address=address,
        port=port,
        interface=Interfaces.ASGI,
        workers=settings.workers if workers is None else workers,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADERS_WITHIN_MS, max_buffer_size=HEADERS_BOUND),
        websockets=False,
        backlog=BACKLOG,
        backpressure=_connections(settings.connections),
        log_level="warning",  # type: ignore[arg-type]
        factory=True,
        workers_kill_timeout=STOP_TIMEOUT_S,
        respawn_failed_workers=True,
    ).serve()


def _connections(asked: int) -> int:
    """Raise the process's bound on open files as far as it goes, and return how many connections a worker may hold.

    The server counts connections, not requests: one that sends nothing holds its place until its time for headers is over.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > soft:
        wanted = 2 * asked + FILES_KEPT
        soft = max(soft, wanted if hard == resource.RLIM_INFINITY else min(hard, wanted))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(asked, soft // 2))
