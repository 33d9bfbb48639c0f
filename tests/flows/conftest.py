"""What stories of several files share."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hilum.foundation.infra.unit_of_work import UnitOfWork
from tests.flows.control_site import ControlSite, build
from tests.flows.gateway_ground import Play, player
from tests.flows.review_world import World
from tests.sim.tls_host import Authority
from tests.sim.world import FakeClock, SeededIds


@pytest.fixture
def world(sqlite_uow: UnitOfWork, clock: FakeClock, authority: Authority) -> Iterator[World]:
    """Return the hosts on which a vendor's pages, keys and documents are, with the platform that looks at them."""
    with ExitStack() as stack:
        yield World(stack, authority, sqlite_uow, clock)


@pytest.fixture
def site(sqlite_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    """Return the site of the control plane with its people; a file that needs more in it has a fixture of its own."""
    return build(sqlite_uow, clock)


@pytest.fixture
def play(sqlite_uow: UnitOfWork, clock: FakeClock, ids: SeededIds, tmp_path: Path) -> Play:
    """Return what plays a story before the gateway."""
    return player(sqlite_uow, clock, ids, tmp_path)
