"""What attacks of several files share."""

from pathlib import Path

import pytest

from hilum.foundation.infra.unit_of_work import UnitOfWork
from tests.flows.gateway_ground import Play, player
from tests.sim.world import FakeClock, SeededIds


@pytest.fixture
def play(sqlite_uow: UnitOfWork, clock: FakeClock, ids: SeededIds, tmp_path: Path) -> Play:
    """Return what plays a story before the gateway."""
    return player(sqlite_uow, clock, ids, tmp_path)
