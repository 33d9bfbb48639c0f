"""Shared ground: a clock to move, and the control plane's database on every backend we support."""

import importlib
import importlib.util
import pkgutil
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import hilum
from hilum.infra.db import Database, metadata
from hilum.infra.edge import Edge
from hilum.infra.migrations.run import migrate
from tests.sim.postgres import Cluster
from tests.sim.running import Running, start
from tests.sim.world import FakeClock, SeededIds

SECRET_KEY = "test-key-encryption-key-0123456789abcdef"


def migrated(url: str) -> None:
    """Interim, until the first migration is written: also make the tables that rooms declare."""
    for room in pkgutil.iter_modules(hilum.__path__):
        if importlib.util.find_spec(f"hilum.{room.name}.store"):
            importlib.import_module(f"hilum.{room.name}.store")
    migrate(url)
    database = Database(url)
    database.write(metadata.create_all)
    database.dispose()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ids() -> SeededIds:
    return SeededIds()


@pytest.fixture(autouse=True)
def vault() -> None:
    if importlib.util.find_spec("hilum.keys.live") is None:
        return
    keys = importlib.import_module("hilum.keys.live")
    keys.install(keys.Vault(SECRET_KEY))


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "hilum.db"
    migrated(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(empty_sqlite: Path, tmp_path: Path) -> str:
    path = tmp_path / "hilum.db"
    shutil.copy(empty_sqlite, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    migrated(cluster.url)
    yield cluster
    cluster.stop()


@pytest.fixture
def postgres_url(postgres_cluster: Cluster) -> str:
    database = Database(postgres_cluster.url)
    tables = ", ".join(f'"{table.name}"' for table in metadata.sorted_tables)
    if tables:
        database.write(lambda tx: tx.exec_driver_sql(f"TRUNCATE {tables} CASCADE"))
    database.dispose()
    return postgres_cluster.url


@pytest.fixture(params=["sqlite", "postgresql"])
def edge(request: pytest.FixtureRequest, clock: FakeClock, ids: SeededIds) -> Iterator[Edge]:
    """The edge over each backend in turn; ``edge.write_now(verb, actor=.., trace=..)`` runs a verb."""
    url = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    made = Edge.create(Database(url), clock, ids, "test-writer")
    yield made
    made.close()


@pytest.fixture
def sqlite_edge(sqlite_url: str, clock: FakeClock, ids: SeededIds) -> Iterator[Edge]:
    """The edge over SQLite only, for stories where the backend does not matter."""
    made = Edge.create(Database(sqlite_url), clock, ids, "test-writer")
    yield made
    made.close()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One sandbox for every story told from outside. Stories use their own launches and leave switches released."""
    started = start(tmp_path_factory.mktemp("running"))
    yield started
    started.stop()
