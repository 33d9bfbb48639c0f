"""Sandboxes that really run. Seeding takes longest, so it is done once and every sandbox begins as a copy."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.flows.outside.ground import WORKERS, Outside, tell
from tests.sim.running import Running, start

KEY = {"HILUM_SECRET_KEY": "outside-key-encryption-key-0123456789abcdef"}
Starter = Callable[..., Running]


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of three hospitals that nobody serves."""
    home = tmp_path_factory.mktemp("seeded")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HILUM_")}
    environment |= KEY | {"HILUM_DATA_DIR": str(home), "HILUM_DATABASE_URL": f"sqlite:///{home}/hilum.db"}
    command = [sys.executable, "-m", "hilum.cli.main", "sandbox", "seed"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
    return home


@pytest.fixture(scope="session")
def from_seed(seeded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """Start a sandbox on a copy of the seeded home; all are stopped in the end."""
    started: list[Running] = []

    def begin(*, workers: int = 1, **settings: str) -> Running:
        home = tmp_path_factory.mktemp("outside") / "home"
        shutil.copytree(seeded, home)
        started.append(start(home, workers=workers, **KEY, **settings))
        return started[-1]

    yield begin
    for each in started:
        each.stop()


@pytest.fixture(scope="session")
def hospital(from_seed: Starter) -> Running:
    """Four workers over SQLite, shared by every story that leaves it as it was. Its quotas leave room for asking every worker."""
    running = from_seed(workers=WORKERS)
    tell(running, widen)
    return running


async def widen(outside: Outside) -> None:
    """Raise the quota of every app that is installed."""
    for each in (await outside.api("GET", "/installations")).json()["items"]:
        path = f"/quotas/{each['app']}/{each['tenant']}"
        raised = await outside.api("PUT", path, {"rate_per_s": 10_000, "burst": 10_000})
        assert raised.status_code == 204, raised.text
