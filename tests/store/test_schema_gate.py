"""Upgrades of a database that nodes are working on: what is planned, who must stop first, and what an older release says of a newer one."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest
from alembic.config import Config
from click.testing import CliRunner, Result
from sqlalchemy import inspect, text

from hilum.foundation.infra import nodes, schema_gate
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.heartbeat import Heartbeat
from hilum.foundation.infra.migrations import run
from hilum.foundation.infra.migrations.run import configuration, migrate, plan_of, release
from hilum.foundation.infra.nodes import Node
from hilum.foundation.infra.schema_gate import SchemaState
from hilum.foundation.infra.system import SystemClock
from hilum.foundation.kernel.errors import NotPermitted
from hilum.server.commands.main import main
from tests.conftest import SECRET_KEY
from tests.sim.postgres import Cluster

NEXT = f"{int(release()) + 1:04}"
TEMPLATE = '''"""plant a table"""

from alembic import op
import sqlalchemy as sa

revision = "{next}"
down_revision = "{last}"
{declares}


def upgrade() -> None:
    op.create_table("planted", sa.Column("id", sa.Integer(), primary_key=True))


def downgrade() -> None:
    op.drop_table("planted")
'''


def next_release(folder: Path, compatible_from: str) -> Config:
    """The release after this one, with one more migration; ``compatible_from`` empty: it declares nothing."""
    declares = f'compatible_from = "{compatible_from}"' if compatible_from else ""
    text_of = TEMPLATE.format(next=NEXT, last=release(), declares=declares)
    (folder / f"{NEXT}_plant.py").write_text(text_of)
    return configuration(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(
    request: pytest.FixtureRequest, sqlite_url: str, postgres_cluster: Cluster, tmp_path: Path
) -> Iterator[str]:
    """A database of the test's own, at this release."""
    if request.param == "sqlite":
        yield sqlite_url
        return
    yield postgres_cluster.migrated("upgraded")


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    made = Database(url)
    yield made
    made.dispose()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten how long a migration waits for nodes to a moment."""
    monkeypatch.setattr(run, "SETTLES_S", 0.1)
    monkeypatch.setattr(run, "CLOSES_WITHIN_S", 0.5)
    monkeypatch.setattr(run, "POLL_S", 0.02)


@pytest.fixture
def patient(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Extend how long it waits to what a busy machine needs for those that do stop."""
    monkeypatch.setattr(run, "CLOSES_WITHIN_S", 60.0)


def state(database: Database, of: str = "") -> SchemaState:
    return database.read(lambda tx: schema_gate.read(tx, of or release())).state


def hilum(url: str, tmp_path: Path, *words: str) -> Result:
    clear: dict[str, str | None] = {name: None for name in os.environ if name.startswith("HILUM_")}
    settings = {"HILUM_SECRET_KEY": SECRET_KEY, "HILUM_DATABASE_URL": url, "HILUM_DATA_DIR": str(tmp_path)}
    done = CliRunner().invoke(main, words, env=clear | settings)
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    assert "Traceback" not in done.output
    return done


def test_an_expanding_migration_leaves_nodes_of_this_release_serving(
    url: str, database: Database, tmp_path: Path
) -> None:
    """The order of a rolling upgrade: migrate with the new release, then restart node after node."""
    old = Heartbeat(database, SystemClock(), Node("a", 1, release(), "boot"), leads=True)
    old.beat()
    made = next_release(tmp_path, release())
    planned = plan_of(url, made)
    assert [step.revision for step in planned.steps] == [NEXT]
    assert planned.blocking_nodes == ()

    migrate(url, config=made)

    assert old.beat().gate.state is SchemaState.NEWER
    assert old.state.gate.opens
    assert state(database, NEXT) is SchemaState.CURRENT
    migrate(url)
    assert database.read(lambda tx: inspect(tx).has_table("planted")), "the old release takes nothing back"


def test_a_contracting_migration_waits_until_nodes_of_this_release_have_stopped_serving(
    url: str, database: Database, tmp_path: Path, patient: None
) -> None:
    """No node works on a database that it does not understand, not even for a moment."""
    old = Heartbeat(database, SystemClock(), Node("a", 1, release(), "boot"), leads=True)
    old.beat()
    made = next_release(tmp_path, NEXT)
    assert [each.name for each in plan_of(url, made).blocking_nodes] == ["a"]
    order: list[str] = []
    ended = threading.Event()

    def live() -> None:
        while old.beat().gate.opens and not ended.wait(0.01):
            pass
        planted = database.read(lambda tx: inspect(tx).has_table("planted"))
        order.append("closed after" if planted else "closed before")

    beating = threading.Thread(target=live)
    beating.start()
    try:
        migrate(url, config=made)
    finally:
        ended.set()
        beating.join()

    assert order == ["closed before"]
    assert state(database) is SchemaState.CLOSED
    assert state(database, NEXT) is SchemaState.CURRENT


def test_a_node_that_does_not_stop_keeps_the_migration_from_changing_anything(
    url: str, database: Database, tmp_path: Path, quick: None
) -> None:
    database.write(lambda tx: nodes.report(tx, Node("deaf", 1, release(), "boot")))

    with pytest.raises(NotPermitted, match="older_nodes_serve") as refused:
        migrate(url, config=next_release(tmp_path, NEXT))

    assert "deaf" in refused.value.detail
    assert state(database) is SchemaState.CURRENT
    assert not database.read(lambda tx: inspect(tx).has_table("planted"))


def test_a_migration_that_is_interrupted_while_it_waits_lets_the_nodes_serve_again(
    url: str, database: Database, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    database.write(lambda tx: nodes.report(tx, Node("deaf", 1, release(), "boot")))
    monkeypatch.setattr("time.sleep", interrupted)

    with pytest.raises(KeyboardInterrupt):
        migrate(url, config=next_release(tmp_path, NEXT))

    assert state(database) is SchemaState.CURRENT


def test_a_migration_that_fails_lets_the_nodes_serve_again(
    url: str, database: Database, tmp_path: Path, quick: None
) -> None:
    made = next_release(tmp_path, NEXT)
    planted = next(tmp_path.glob("*_plant.py"))
    planted.write_text(planted.read_text().replace('op.create_table("planted"', 'op.create_table("lease"'))
    database.write(lambda tx: nodes.report(tx, Node("a", 1, release(), "boot", closed="closed")))

    with pytest.raises(Exception, match="lease"):
        migrate(url, config=made)

    assert state(database) is SchemaState.CURRENT


def test_a_migration_that_declares_nothing_is_for_its_own_release_only(url: str, tmp_path: Path) -> None:
    """Unknown is no."""
    made = next_release(tmp_path, "")

    assert plan_of(url, made).compatible_from == NEXT


def test_a_newer_database_is_refused_in_a_sentence_by_every_command(
    url: str, database: Database, tmp_path: Path
) -> None:
    migrate(url, config=next_release(tmp_path, NEXT))

    for words in (("serve", "--part", "jobs"), ("serve",), ("migrate",), ("migrate", "--plan")):
        done = hilum(url, tmp_path, *words)
        assert done.exit_code == 1, (words, done.output)
        assert f"works with releases from {NEXT} on; this release ends at {release()}" in done.stderr, words
        assert "database_newer" in done.stderr
    found = {each["check"]: each for each in orjson.loads(hilum(url, tmp_path, "doctor", "--json").stdout)}
    assert "Install a newer release" in found["migrations"]["next"]


def test_a_newer_database_that_works_with_this_release_is_served_and_left_alone(
    url: str, database: Database, tmp_path: Path
) -> None:
    migrate(url, config=next_release(tmp_path, release()))

    done = hilum(url, tmp_path, "migrate")

    assert done.exit_code == 0, done.output
    assert "works with it. Nothing to do" in done.stdout
    assert hilum(url, tmp_path, "doctor").exit_code == 0


def test_an_older_database_is_refused_with_what_to_run(url: str, database: Database, tmp_path: Path) -> None:
    database.write(lambda tx: tx.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'"))

    done = hilum(url, tmp_path, "serve", "--part", "jobs")

    assert done.exit_code == 1
    assert f"at migration 0000 and this release needs {release()}. Run `hilum migrate`" in done.stderr
    planned = orjson.loads(hilum(url, tmp_path, "migrate", "--plan", "--json").stdout)
    assert (planned["revision"], planned["eligibility"]) == ("0000", "older")
    assert planned["steps"][0]["revision"] == "0001"
    assert state(database) is SchemaState.OLDER, "a plan changes nothing"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/empty.db"
    return str(request.getfixturevalue("postgres_cluster").empty("upgraded"))


def test_two_nodes_migrate_an_empty_database_at_once(empty_url: str) -> None:
    url = empty_url
    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(migrate, url) for _ in range(2)]:
            each.result(60)

    database = Database(url)
    assert state(database) is SchemaState.CURRENT
    assert database.read(lambda tx: tx.execute(text("SELECT count(*) FROM alembic_version")).scalar()) == 1
    database.dispose()


def test_a_process_that_opens_an_empty_file_waits_for_another_that_sets_it_up(tmp_path: Path) -> None:
    file = tmp_path / "empty.db"
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    database = Database(f"sqlite:///{file}")

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(database.read, lambda tx: tx.execute(text("SELECT 1")).scalar())
        with pytest.raises(TimeoutError):
            answer.result(0.2)
        other.execute("ROLLBACK")
        assert answer.result(60) == 1

    other.close()
    database.dispose()
