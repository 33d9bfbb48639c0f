"""Supervises the processes of ``hilum serve``: N web workers, one jobs process, and in a sandbox the sandbox site on its own origin.

A part that dies is restarted, with growing pauses. The service ends only at a signal, or when a part has not been able to run for
``GIVE_UP_AFTER_S``: then the system's own supervisor must see that it failed.
"""

import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hilum.foundation.infra import logs
from hilum.foundation.infra.settings import OFF, Settings
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.kernel.errors import Unavailable
from hilum.server.bootstrap import BOOT_VARIABLE
from hilum.server.operations import Operations, ProcessReports
from hilum.server.parts import PARTS, Child, fork, load, spawn
from hilum.server.reports import SOCKET_VARIABLE
from hilum.server.serve import STOP_TIMEOUT_S, address_of, pause_after, require_free

STABLE_AFTER_S = 10.0
"""A part that has run for this time is stable: its next death is treated as its first."""
GIVE_UP_AFTER_S = 120.0
"""A part that has not been stable for this time ends the service."""
PART_STOP_TIMEOUT_S = STOP_TIMEOUT_S + 2
"""How long a part may take to stop. Longer than its workers: a server that is killed first leaves them behind, at the address that its successor needs."""
CHECK_EVERY_S = 0.1
OPS_PORTS_APART = 1_000
"""How far the default port of operations is above the platform's."""
_log = logs.get("app")


@dataclass(slots=True)
class Part:
    """One part and its history. All times are monotonic."""

    name: str
    start: Callable[[str], Child]
    child: Child | None = None
    started_at: float = 0.0
    again_at: float = 0.0
    deaths: int = 0
    failing_since: float | None = None
    restarts: int = 0

    def check(self, now: float) -> bool:
        """Start or restart the part when that is due; return False once it has failed for too long."""
        if self.child is None:
            if now >= self.again_at:
                self.child, self.started_at = self.start(self.name), now
            return True
        code = self.child.poll()
        # Running. Once it has run long enough, its earlier deaths no longer count.
        if code is None:
            if now - self.started_at >= STABLE_AFTER_S:
                self.deaths, self.failing_since = 0, None
            return True
        self.deaths += 1
        self.failing_since = now if self.failing_since is None else self.failing_since
        self.restarts += 1
        pause = pause_after(self.deaths)
        self.child, self.again_at = None, now + pause
        if now - self.failing_since > GIVE_UP_AFTER_S:
            _log.error(
                "app.part.given_up", part=self.name, code=code, failing_s=round(now - self.failing_since)
            )
            return False
        _log.error("app.part.ended", part=self.name, code=code, again_in_s=pause)
        return True


@dataclass
class Supervisor:
    """Starts the parts, restarts those that die, and ends them together."""

    settings: Settings
    names: tuple[str, ...] = PARTS
    """The parts to run; the sandbox's own only in a sandbox."""
    parts: dict[str, Part] = field(default_factory=dict)
    stopping: bool = False

    def run(self, on_ready: Callable[[], None] = lambda: None) -> int:
        """Run until a signal, and return the exit code. ``on_ready`` is called once, when every site listens.

        Raises Unavailable if a site's address cannot be used.
        """
        names = [name for name in self.names if name != "sandbox" or self.settings.is_sandbox]
        sites = {"platform": self.settings.listen, "sandbox": self.settings.sandbox_listen}
        waited_for = [sites[name] for name in names if name in sites]
        for each in waited_for:
            # The server binds with SO_REUSEPORT: two installations on one address would each get
            # half of the requests.
            require_free(each)
        board = ProcessReports(SystemClock(), self.settings.workers, jobs="jobs" in names)
        operations = Operations(board, _addresses(self.settings), self._restarts)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        passed = {SOCKET_VARIABLE: operations.socket_path, BOOT_VARIABLE: SystemIds().new("boot")}
        try:
            self._start(names, passed)
            # Operations have a thread, and no process with threads is forked. Children repeat their reports, so none is lost.
            start_operations(operations)
            runs = self._watch(waited_for, on_ready)
        finally:
            # A child left running would keep this process from exiting.
            self._stop()
            operations.stop()
        return 0 if runs else 1

    def _start(self, names: list[str], passed: dict[str, str]) -> None:
        load(tuple(names))
        now = SystemClock().monotonic()
        self.parts = {name: Part(name, lambda part: spawn(part, passed)) for name in names}
        for each in self.parts.values():
            each.child, each.started_at = fork(each.name, self.settings, passed), now

    def _watch(self, waited_for: list[str], on_ready: Callable[[], None]) -> bool:
        """Restart parts until a signal; return False if one of them was given up."""
        clock, runs = SystemClock(), True
        while not self.stopping and runs:
            runs = all(each.check(clock.monotonic()) for each in self.parts.values())
            if waited_for and all(_listens(each) for each in waited_for):
                waited_for.clear()
                on_ready()
            time.sleep(CHECK_EVERY_S)
        return runs

    def _restarts(self) -> dict[str, int]:
        return {each.name: each.restarts for each in self.parts.values()}

    def _on_signal(self, _number: int, _frame: object) -> None:
        # Nothing but a flag: the handler interrupts the loop at any point, also within Popen.
        self.stopping = True

    def _stop(self) -> None:
        children = [each.child for each in self.parts.values() if each.child is not None]
        # All are signalled before any is waited for, so that they stop at the same time.
        for child in children:
            if child.poll() is None:
                child.terminate()
        for child in children:
            try:
                child.wait(PART_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                # A part that hangs while stopping would occupy the address that its successor needs.
                child.kill()


def _addresses(settings: Settings) -> list[tuple[str, int] | None]:
    """List the addresses to try for operations. Without a configured one, a free port is used if the default is taken."""
    if settings.ops_listen:
        return [None if settings.ops_listen == OFF else address_of(settings.ops_listen)]
    _, port = address_of(settings.listen)
    return [("127.0.0.1", port + OPS_PORTS_APART), ("127.0.0.1", 0)]


def start_operations(operations: Operations) -> None:
    """Serve operations from this process. Raises Unavailable if the configured address cannot be used."""
    try:
        operations.start()
    except (OSError, OverflowError) as error:
        host, port = operations.listen[0] or ("", 0)
        raise Unavailable(
            "address_unavailable",
            f"Operations cannot listen at {host}:{port}. Set HILUM_OPS_LISTEN to another address, or to `{OFF}`.",
        ) from error
    _log.info("app.operations.listening", address=operations.address)


def _listens(listen: str) -> bool:
    try:
        socket.create_connection(address_of(listen), timeout=1).close()
    except OSError:
        return False
    return True
