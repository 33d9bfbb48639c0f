"""Sandboxes that really run, each on a copy of one seeded home."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.flows.outside.ground import WORKERS, Outside, tell
from tests.grounds import FOUR_WORKERS
from tests.sim.running import Running, start
from tests.sim.shared_places import shared

Starter = Callable[..., Running]


class Sandboxes:
    """Sandboxes that begin as copies of the seeded home, and end together."""

    def __init__(self, seeded: Path, factory: pytest.TempPathFactory) -> None:
        self._seeded, self._factory = seeded, factory
        self._started: list[Running] = []

    def begin(self, *, workers: int = 1) -> Running:
        home = self._factory.mktemp("outside")
        self._started.append(start(home, workers=workers, seeded=self._seeded))
        return self._started[-1]

    def end(self) -> None:
        for each in self._started:
            each.stop()


@pytest.fixture(scope="module")
def from_seed(seeded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """Start a sandbox on a copy of the seeded home; all are stopped when the module ends."""
    made = Sandboxes(seeded, tmp_path_factory)
    yield made.begin
    made.end()


@pytest.fixture(scope="package")
def hospital(seeded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Four workers over SQLite, shared by every story that leaves it as it was. Its quotas leave room for asking every worker."""
    made = Sandboxes(seeded, tmp_path_factory)
    running = made.begin(workers=WORKERS)
    tell(running, widen)
    with shared("hospital", FOUR_WORKERS, running.stop, running.resume):
        yield running
    made.end()


async def widen(outside: Outside) -> None:
    """Raise the quota of every app that is installed."""
    for each in (await outside.api("GET", "/installations")).json()["items"]:
        path = f"/quotas/{each['app']}/{each['tenant']}"
        raised = await outside.api("PUT", path, {"rate_per_s": 10_000, "burst": 10_000})
        assert raised.status_code == 204, raised.text
