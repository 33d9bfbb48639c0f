"""A running sandbox with its own ports and data: every process of ``hilum sandbox run``, used over HTTP only."""

import os
import signal
import subprocess
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.sim.command_line import run_hilum
from tests.sim.launcher import Process, launch
from tests.sim.postgres import free_port
from tests.sim.seeded import KEY, copy_seeded

READY_WITHIN_S = 90
STOP_WITHIN_S = 20


@dataclass
class Described:
    """A platform by its card. ``base`` is the origin that apps and browsers use."""

    base: str
    card: dict[str, Any] = field(default_factory=dict, kw_only=True)

    def tenant(self, tenant: str = "general") -> dict[str, Any]:
        return next(each for each in self.card["tenants"] if each["id"] == tenant)

    def client(self, client_id: str) -> dict[str, Any]:
        return next(each for each in self.card["clients"] if each["client_id"] == client_id)

    def person(self, role: str, tenant: str = "general") -> dict[str, Any]:
        return next(each for each in self.card["people"] if each["tenant"] == tenant and each["role"] == role)

    def patient(self, tenant: str = "general") -> dict[str, Any]:
        """Return the first chart with encounters."""
        return next(each for each in self.card["patients"] if each["tenant"] == tenant and each["encounters"])

    def staff(self, role: str) -> dict[str, Any]:
        return next(each for each in self.card["staff"] if each["role"] == role)


@dataclass
class Running(Described):
    """``card`` is the sandbox's card; ``log`` the output of its processes."""

    home: Path
    sandbox: str
    environment: dict[str, str]
    process: Process
    words: tuple[str, ...] = ()
    """The command that started it."""

    @property
    def log(self) -> str:
        return (self.home / "run.log").read_text()

    def hilum(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run the command line on this sandbox's host."""
        return run_hilum(words, self.environment | settings)

    def resume(self) -> None:
        """Start again after ``stop``: at the same addresses, on the same data."""
        self.process = launch(self.words, self.environment, self.home / "run.log")
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return when both sites answer."""
        try:
            _wait_for(self, f"{self.base}/readyz")
            _wait_for(self, f"{self.sandbox}/sandbox/card.json")
        except RuntimeError:
            # A sandbox that does not become ready must not stay behind.
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the sandbox with SIGTERM. No process of it runs afterwards, so that a test may edit its files."""
        # Listed before the signal: children of a process that has ended belong to init.
        family = family_of(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_WITHIN_S)
        if self.process.poll() is None:
            kill_all(family)
            self.process.wait()


def family_of(pid: int) -> list[int]:
    """List a process and its descendants."""
    parents: dict[int, list[int]] = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            with suppress(OSError):
                parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(each.name))
    found = [pid]
    # The list grows while it is walked: children of children.
    for each_pid in found:
        found += parents.get(each_pid, [])
    return found


def kill_all(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def start(
    home: Path,
    *,
    workers: int = 1,
    database_url: str = "",
    seeded: Path | None = None,
    program: bool = False,
    **settings: str,
) -> Running:
    """Start and return when both sites answer. An empty home is filled from ``seeded``, or seeded by the sandbox itself.

    With ``program`` it is started as somebody at the shell would, which takes longer.
    """
    port, sandbox_port = free_port(), free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HILUM_")}
    environment |= {
        "HILUM_MODE": "sandbox",
        "HILUM_DATA_DIR": str(home),
        "HILUM_DATABASE_URL": database_url or f"sqlite:///{home}/hilum.db",
        "HILUM_BASE_URL": f"http://127.0.0.1:{port}",
        "HILUM_SANDBOX_URL": f"http://localhost:{sandbox_port}",
        "HILUM_WORKERS": str(workers),
        **KEY,
        **settings,
    }
    if seeded is not None:
        copy_seeded(seeded, home, environment["HILUM_SANDBOX_URL"], environment["HILUM_DATABASE_URL"])
    words = ("sandbox", "run", "--port", str(port), "--sandbox-port", str(sandbox_port))
    process = launch(words, environment, home / "run.log", program=program)
    running = Running(
        environment["HILUM_BASE_URL"], home, environment["HILUM_SANDBOX_URL"], environment, process, words
    )
    running.wait_until_ready()
    running.card = httpx2.get(f"{running.sandbox}/sandbox/card.json").json()
    return running


def _wait_for(running: Running, url: str) -> None:
    begun = time.monotonic()
    while time.monotonic() - begun < READY_WITHIN_S:
        if running.process.poll() is not None:
            break
        with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{url} did not answer: {running.log[-3000:]}")
