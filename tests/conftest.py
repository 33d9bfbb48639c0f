"""Shared fixtures: a clock to move, and the control plane's database on every backend that we support."""

import gc
import itertools
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from hilum.foundation.infra.migrations.run import migrate
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.records.audit import service as audit
from hilum.records.keys import live as keys
from hilum.records.keys import service as keys_service
from tests.effort import FULL, effort
from tests.grounds import SANDBOX, TWO_NODES
from tests.sim import (
    authorities,
    cheap_passwords,
    described,
    opened_keys,
    outsiders,
    plain_logs,
    read_books,
    scratch,
    shares,
    statements,
    verbs_in_loop,
)
from tests.sim.backends import close_kept, opened, repeated_on_postgres, with_small_pages
from tests.sim.furnished import close_connections
from tests.sim.made_once import made_once
from tests.sim.nodes import Nodes, two_nodes
from tests.sim.postgres import Cluster, migrated_cluster
from tests.sim.running import Running, start
from tests.sim.seeded import seeded_home
from tests.sim.shared_places import prepare, shared
from tests.sim.tls_host import Authority
from tests.sim.world import FakeClock, SeededIds

pytest_plugins = ["tests.pace"]
# How long an example takes tells of the machine and what else it does, not of the code.
settings.register_profile(
    "hilum", max_examples=effort(50, 500), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("hilum")
# What tests import and share stays: the collector walked it again and again, a tenth of a run.
gc.disable()
gc.set_threshold(100_000, 20, 50)
scratch.use_memory()
scratch.keep_compiled()
statements.share_compiled()
described.share_described()
opened_keys.share_opened()
plain_logs.use_plain()
read_books.share_read()
verbs_in_loop.let_stories_choose()
cheap_passwords.use_cheap()
authorities.share_authorities()
SECRET_KEY = "test-key-encryption-key-0123456789abcdef"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "every_case_on_both: each case of the table is tried over both databases"
    )
    config.addinivalue_line("markers", "in_threads: verbs run in the threads of their lanes, at one moment")


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    # Last: Hypothesis takes no constants before its plugin has started.
    shares.derive_share(session.config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [] if FULL else repeated_on_postgres(items)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [each for each in items if each not in gone]


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_sessionfinish() -> None:
    # What nobody awaited or closed is seen now. pytest looks five times more, over everything that is left.
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    in_process = item.nodeid.startswith(("tests/flows/", "tests/attack/"))
    verbs_in_loop.choose(in_loop=in_process and item.get_closest_marker("in_threads") is None)
    if isinstance(item, pytest.Function):
        prepare(item)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ids() -> SeededIds:
    return SeededIds()


_make_pair = keys_service._rsa_pair
OF_KEYS = re.compile(r"/(test_)?keys[_./]")
"""Files that test the keys themselves."""


@cache
def _pairs() -> Iterator[dict[str, str]]:
    """A few RSA keys made once: making one takes a tenth of a second, and most tests only need that there is one."""
    return itertools.cycle([_make_pair() for _ in range(4)])


def _ready_made_pair() -> dict[str, str]:
    return dict(next(_pairs()))


@pytest.fixture(autouse=True)
def vault(request: pytest.FixtureRequest) -> None:
    """Install a vault of the test's own, which gets ready-made signing keys, but in the tests of the keys themselves."""
    keys.install(keys.Vault(SECRET_KEY))
    vars(keys_service)["_rsa_pair"] = _make_pair if OF_KEYS.search(request.node.nodeid) else _ready_made_pair


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "migrated-sqlite", _migrated_sqlite) / "hilum.db"


def _migrated_sqlite(folder: Path) -> None:
    migrate(f"sqlite:///{folder}/hilum.db")
    with_small_pages(folder / "hilum.db")


@pytest.fixture
def sqlite_url(empty_sqlite: Path, tmp_path: Path) -> str:
    path = tmp_path / "hilum.db"
    # Copied for each test: migrating takes a hundred times as long.
    shutil.copy(empty_sqlite, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def migrated_postgres(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a PostgreSQL that nobody serves, to make others from: making one takes seconds of work, and copying it a tenth of one."""
    return made_once(tmp_path_factory, "migrated-postgres", migrated_cluster) / "data"


@pytest.fixture(scope="session")
def postgres_cluster(migrated_postgres: Path) -> Iterator[Cluster]:
    cluster = Cluster(migrated_postgres)
    yield cluster
    close_kept()
    close_connections()
    cluster.stop()


@pytest.fixture
def postgres_url(postgres_cluster: Cluster) -> str:
    # One cluster for the run, cleared for each test: creating a database takes seconds.
    postgres_cluster.clear()
    return postgres_cluster.url


@pytest.fixture(params=["sqlite", "postgresql"])
def uow(request: pytest.FixtureRequest, clock: FakeClock, ids: SeededIds) -> Iterator[UnitOfWork]:
    """The unit of work over each backend in turn; ``uow.write_now(verb, actor=.., trace=..)`` runs a verb."""
    url = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    made = UnitOfWork.create(opened(url), clock, ids, "test-writer", append=audit.record)
    yield made
    made.close()


@pytest.fixture
def one_uow(request: pytest.FixtureRequest, clock: FakeClock, ids: SeededIds) -> Iterator[UnitOfWork]:
    """The unit of work over SQLite; in a test that is marked ``both_backends``, over each in turn."""
    on_postgres = getattr(request, "param", "sqlite") == "postgresql"
    url = request.getfixturevalue("postgres_url" if on_postgres else "sqlite_url")
    made = UnitOfWork.create(opened(url), clock, ids, "test-writer", append=audit.record)
    yield made
    made.close()


@pytest.fixture
def sqlite_uow(sqlite_url: str, clock: FakeClock, ids: SeededIds) -> Iterator[UnitOfWork]:
    """The unit of work over SQLite only, for stories where the backend does not matter."""
    made = UnitOfWork.create(opened(sqlite_url), clock, ids, "test-writer", append=audit.record)
    yield made
    made.close()


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of three hospitals that nobody serves, made once a run."""
    return seeded_home(tmp_path_factory)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority of the hosts that vendors have in stories."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def running(
    seeded: Path, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """One sandbox for every story told from outside. Stories use their own launches and leave switches released."""
    outside: dict[str, Any] = {**outsiders.known(str(authority.file), outsiders.VENDORS_HOST)}
    started = start(tmp_path_factory.mktemp("running"), seeded=seeded, **outside)
    with shared("running", SANDBOX, started.stop, started.resume):
        yield started
    started.stop()


@pytest.fixture(scope="session")
def served_by_two(postgres_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with (
        two_nodes(postgres_cluster, tmp_path_factory.mktemp("nodes")) as started,
        shared("served_by_two", TWO_NODES, started.stop, started.heal),
    ):
        yield started


@pytest.fixture
def nodes(served_by_two: Nodes) -> Iterator[Nodes]:
    """Two nodes on one PostgreSQL, shared by every story about several nodes. What a story breaks is fixed after it."""
    yield served_by_two
    served_by_two.heal()
