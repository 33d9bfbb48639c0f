"""Bring a database to the newest migration, and say what that would do."""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from hilum.infra import lanes, nodes, schema_gate
from hilum.infra.db import Database
from hilum.infra.lanes import Lane
from hilum.infra.nodes import BEAT, Node
from hilum.infra.schema_gate import Gate, Standing
from hilum.kernel.errors import NotPermitted, Unavailable

HERE = Path(__file__).parent
LOCK = 0x48494C554D
"""The advisory lock under which PostgreSQL is migrated: the letters of HILUM."""
LOCKED_FOR_S = 120.0
"""How long a migration waits for another one that runs."""
SETTLES_S = BEAT.total_seconds() + 1
"""Within this every process of a node has noticed that the gate is closed."""
CLOSES_WITHIN_S = 3 * BEAT.total_seconds() + 1
LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Step:
    """One migration that is still to come. ``compatible_from``: releases older than this do not work once it is applied."""

    revision: str
    title: str
    compatible_from: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What ``migrate`` would do. ``in_the_way``: live nodes of releases that will not work afterwards."""

    gate: Gate
    steps: tuple[Step, ...]
    in_the_way: tuple[Node, ...]

    @property
    def compatible_from(self) -> str:
        return max((step.compatible_from for step in self.steps), default="")


def configuration(*folders: Path) -> Config:
    """Return Alembic's settings without a file of its own; ``folders`` hold further migrations, for tests of the next release."""
    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    if folders:
        every = [HERE / "versions", *folders]
        config.set_main_option("version_locations", "\n".join(str(each).replace("%", "%%") for each in every))
        config.set_main_option("path_separator", "newline")
    return config


@cache
def release() -> str:
    """Return the newest migration that this code knows: what a release is known by."""
    return newest(configuration())


def newest(config: Config) -> str:
    """Return the newest migration of a configuration."""
    return ScriptDirectory.from_config(config).get_current_head() or ""


def declared(config: Config) -> dict[str, str]:
    """Return what each migration declares as the oldest release that works with it; one that does not declare is for itself only."""
    scripts = ScriptDirectory.from_config(config)
    return {
        script.revision: str(getattr(script.module, "compatible_from", script.revision))
        for script in scripts.walk_revisions()
    }


def plan(tx: Connection, config: Config) -> Plan:
    """Work out what ``migrate`` would do to this database."""
    found = schema_gate.read(tx, newest(config))
    if found.standing not in {Standing.EMPTY, Standing.OLDER}:
        return Plan(found, (), ())
    scripts = ScriptDirectory.from_config(config)
    wanted = declared(config)
    steps = [
        Step(script.revision, (script.doc or "").splitlines()[0], wanted[script.revision])
        for script in scripts.walk_revisions()
        if script.revision > found.revision
    ]
    steps.sort(key=lambda step: step.revision)
    demanded = max(step.compatible_from for step in steps)
    there = nodes.list_nodes(tx) if inspect(tx).has_table(nodes.node.name) else []
    in_the_way = tuple(each for each in there if each.live and each.release < demanded)
    return Plan(found, tuple(steps), in_the_way)


def plan_of(url: str, config: Config | None = None) -> Plan:
    """Work out what ``migrate`` would do to the database at ``url``."""
    database = Database(url)
    try:
        return database.read(lambda tx: plan(tx, config or configuration()))
    finally:
        database.dispose()


def migrate(url: str, revision: str = "head", *, config: Config | None = None) -> None:
    """Upgrade the database at ``url``. Safe to repeat and to run on several nodes at once; it is one transaction.

    Nodes of older releases that would not work afterwards are asked to stop serving first. Raises NotPermitted when one does not.
    """
    made = config or configuration()
    database = Database(url)
    try:
        before = database.read(lambda tx: plan(tx, made))
        if before.gate.standing is Standing.CLOSED:
            raise NotPermitted("database_newer", before.gate.fault)
        if before.gate.standing is Standing.NEWER:
            return
        closes = bool(before.in_the_way) and revision == "head"
        if closes:
            _close(database, before)

        def upgrade(tx: Connection) -> None:
            if revision != "head" or schema_gate.read(tx, newest(made)).standing in {
                Standing.EMPTY,
                Standing.OLDER,
            }:
                command.upgrade(_with(made, tx), revision)
            _note(tx, made)

        done = False
        try:
            _locked(database, upgrade)
            done = True
        finally:
            if closes and not done:
                database.write(lambda tx: schema_gate.write(tx, before.gate.compatible_from))
    finally:
        database.dispose()


def migrate_closed(url: str) -> None:
    """Upgrade a restored database that nobody may serve yet; ``reopen`` lets it be served."""
    config = configuration()
    database = Database(url)
    try:
        _locked(database, lambda tx: command.upgrade(_with(config, tx), "head"))
    finally:
        database.dispose()


def reopen(tx: Connection) -> None:
    """Let every release that works on the database as it stands serve it again."""
    _note(tx, configuration())


def downgrade(url: str, revision: str = "base") -> None:
    """Take migrations back, for tests of the way down."""
    config = configuration()
    database = Database(url)

    def down(tx: Connection) -> None:
        command.downgrade(_with(config, tx), revision)
        _note(tx, config)

    try:
        _locked(database, down)
    finally:
        database.dispose()


def is_current(tx: Connection) -> bool:
    """Return whether the database stands at the newest migration."""
    return schema_gate.read(tx, release()).standing is Standing.CURRENT


def _with(config: Config, tx: Connection) -> Config:
    config.attributes["connection"] = tx
    return config


def _note(tx: Connection, config: Config) -> None:
    """Write down which releases work on the database now."""
    if inspect(tx).has_table(schema_gate.schema_gate.name):
        revision = MigrationContext.configure(tx).get_current_revision() or ""
        schema_gate.write(tx, schema_gate.oldest_compatible(declared(config), revision))


def _close(database: Database, before: Plan) -> None:
    """Let nodes that will not work stop serving before anything changes below them."""
    begun = time.monotonic()
    database.write(lambda tx: schema_gate.write(tx, before.compatible_from))
    while True:
        left = [
            each for each in database.read(_live) if each.release < before.compatible_from and not each.closed
        ]
        waited = time.monotonic() - begun
        if not left and waited > SETTLES_S:
            return
        if waited > CLOSES_WITHIN_S:
            database.write(lambda tx: schema_gate.write(tx, before.gate.compatible_from))
            names = ", ".join(each.name for each in left)
            raise NotPermitted(
                "older_nodes_serve",
                f"These nodes run releases that will not work afterwards and did not stop serving: {names}. "
                "Stop them, then run `hilum migrate` again. Nothing was changed.",
            )
        time.sleep(LOOK_EVERY_S)


def _live(tx: Connection) -> list[Node]:
    return [each for each in nodes.list_nodes(tx) if each.live]


def _locked(database: Database, work: Callable[[Connection], Any]) -> None:
    """Run ``work`` in one transaction while nobody else migrates; wait for one who does."""

    def alone(tx: Connection) -> None:
        if tx.dialect.name == "postgresql":
            tx.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        work(tx)

    begun = time.monotonic()
    while True:
        try:
            with lanes.using(Lane.LONG):
                database.write(alone)
            return
        except Unavailable as error:
            if not _is_busy(error) or time.monotonic() - begun > LOCKED_FOR_S:
                raise
            time.sleep(LOOK_EVERY_S)


def _is_busy(error: Unavailable) -> bool:
    """Return whether another process writes SQLite's file just now."""
    cause = getattr(error.__cause__, "orig", error.__cause__)
    return getattr(cause, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
