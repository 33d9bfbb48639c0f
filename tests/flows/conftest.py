"""What stories of several files share."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from hilum.infra.unit_of_work import UnitOfWork
from tests.flows.test_review_checks import World
from tests.sim.tls_host import Authority
from tests.sim.world import FakeClock


@pytest.fixture
def world(sqlite_uow: UnitOfWork, clock: FakeClock, authority: Authority) -> Iterator[World]:
    """Return the hosts on which a vendor's pages, keys and documents are, with the platform that looks at them."""
    with ExitStack() as stack:
        yield World(stack, authority, sqlite_uow, clock)
