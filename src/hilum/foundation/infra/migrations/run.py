"""Upgrade a database to the newest migration, or show what an upgrade would do."""

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

from hilum.foundation.infra import lanes, nodes, schema_gate
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.infra.nodes import BEAT, Node
from hilum.foundation.infra.schema_gate import Gate, SchemaState
from hilum.foundation.kernel.errors import NotPermitted, Unavailable

HERE = Path(__file__).parent
LOCK = 0x48494C554D
"""The advisory lock under which PostgreSQL is migrated: the letters of HILUM."""
LOCKED_FOR_S = 120.0
"""How long a migration waits for another one that is running."""
SETTLES_S = BEAT.total_seconds() + 1
"""Within this time every process of a node has read that the gate is closed."""
CLOSES_WITHIN_S = 3 * BEAT.total_seconds() + 1
POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Step:
    """One migration that is to be applied. ``compatible_from``: releases older than this do not work afterwards."""

    revision: str
    title: str
    compatible_from: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What ``migrate`` would do. ``blocking_nodes``: live nodes whose releases do not work afterwards."""

    gate: Gate
    steps: tuple[Step, ...]
    blocking_nodes: tuple[Node, ...]

    @property
    def compatible_from(self) -> str:
        return max((step.compatible_from for step in self.steps), default="")


def configuration(*folders: Path) -> Config:
    """Build Alembic's configuration without an ini file. ``folders`` hold further migrations, for tests of the next release."""
    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    if folders:
        locations = [HERE / "versions", *folders]
        config.set_main_option(
            "version_locations", "\n".join(str(each).replace("%", "%%") for each in locations)
        )
        config.set_main_option("path_separator", "newline")
    return config


@cache
def release() -> str:
    """Return the newest migration of this code, which identifies the release."""
    return newest(configuration())


def newest(config: Config) -> str:
    """Return the newest migration of a configuration."""
    return ScriptDirectory.from_config(config).get_current_head() or ""


def declared(config: Config) -> dict[str, str]:
    """Return the oldest release that each migration declares to work with it; by default, only the release that has it."""
    scripts = ScriptDirectory.from_config(config)
    return {
        script.revision: str(getattr(script.module, "compatible_from", script.revision))
        for script in scripts.walk_revisions()
    }


def plan(tx: Connection, config: Config) -> Plan:
    """Return what ``migrate`` would do to this database."""
    gate = schema_gate.read(tx, newest(config))
    if gate.state not in {SchemaState.EMPTY, SchemaState.OLDER}:
        return Plan(gate, (), ())
    scripts = ScriptDirectory.from_config(config)
    compatible_from = declared(config)
    steps = [
        Step(script.revision, (script.doc or "").splitlines()[0], compatible_from[script.revision])
        for script in scripts.walk_revisions()
        if script.revision > gate.revision
    ]
    steps.sort(key=lambda step: step.revision)
    oldest = max(step.compatible_from for step in steps)
    listed = nodes.list_nodes(tx) if inspect(tx).has_table(nodes.node.name) else []
    blocking_nodes = tuple(each for each in listed if each.live and each.release < oldest)
    return Plan(gate, tuple(steps), blocking_nodes)


def plan_of(url: str, config: Config | None = None) -> Plan:
    """Return what ``migrate`` would do to the database at ``url``."""
    database = Database(url)
    try:
        return database.read(lambda tx: plan(tx, config or configuration()))
    finally:
        database.dispose()


def migrate(url: str, revision: str = "head", *, config: Config | None = None) -> None:
    """Upgrade the database at ``url`` in one transaction. Safe to repeat and to run on several nodes at once.

    Nodes whose releases would not work afterwards are made to stop serving first. Raises NotPermitted when one does not stop.
    """
    alembic = config or configuration()
    database = Database(url)
    try:
        before = database.read(lambda tx: plan(tx, alembic))
        if before.gate.state is SchemaState.CLOSED:
            raise NotPermitted("database_newer", before.gate.fault)
        if before.gate.state is SchemaState.NEWER:
            return
        closes = bool(before.blocking_nodes) and revision == "head"

        def upgrade(tx: Connection) -> None:
            # Checked again under the lock: another node may have upgraded meanwhile.
            if revision != "head" or schema_gate.read(tx, newest(alembic)).state in {
                SchemaState.EMPTY,
                SchemaState.OLDER,
            }:
                command.upgrade(_with(alembic, tx), revision)
            _record_compatibility(tx, alembic)

        done = False
        try:
            if closes:
                _close(database, before)
            _locked(database, upgrade)
            done = True
        finally:
            # Reopen the gate, or the older nodes would stay stopped although nothing changed.
            if closes and not done:
                database.write(lambda tx: schema_gate.write(tx, before.gate.compatible_from))
    finally:
        database.dispose()


def migrate_closed(url: str) -> None:
    """Upgrade a restored database and leave its gate closed; ``reopen`` opens it."""
    config = configuration()
    database = Database(url)
    try:
        _locked(database, lambda tx: command.upgrade(_with(config, tx), "head"))
    finally:
        database.dispose()


def reopen(tx: Connection) -> None:
    """Open the gate for every release that works on the present schema."""
    _record_compatibility(tx, configuration())


def downgrade(url: str, revision: str = "base") -> None:
    """Revert migrations, for tests of the downgrades."""
    config = configuration()
    database = Database(url)

    def down(tx: Connection) -> None:
        command.downgrade(_with(config, tx), revision)
        _record_compatibility(tx, config)

    try:
        _locked(database, down)
    finally:
        database.dispose()


def is_current(tx: Connection) -> bool:
    """Check whether the database is at the newest migration."""
    return schema_gate.read(tx, release()).state is SchemaState.CURRENT


def _with(config: Config, tx: Connection) -> Config:
    config.attributes["connection"] = tx
    return config


def _record_compatibility(tx: Connection, config: Config) -> None:
    """Store the oldest release that works on the present schema."""
    if inspect(tx).has_table(schema_gate.schema_gate.name):
        revision = MigrationContext.configure(tx).get_current_revision() or ""
        schema_gate.write(tx, schema_gate.oldest_compatible(declared(config), revision))


def _close(database: Database, before: Plan) -> None:
    """Close the gate and wait until the blocking nodes have stopped serving. Raises NotPermitted when one does not."""
    begun = time.monotonic()
    database.write(lambda tx: schema_gate.write(tx, before.compatible_from))
    while True:
        still_serving = [
            each for each in database.read(_live) if each.release < before.compatible_from and not each.closed
        ]
        waited = time.monotonic() - begun
        if not still_serving and waited > SETTLES_S:
            return
        if waited > CLOSES_WITHIN_S:
            names = ", ".join(each.name for each in still_serving)
            raise NotPermitted(
                "older_nodes_serve",
                f"These nodes run releases that do not work with the new schema and did not stop serving: {names}. "
                "Stop them, then run `hilum migrate` again. Nothing was changed.",
            )
        time.sleep(POLL_S)


def _live(tx: Connection) -> list[Node]:
    return [each for each in nodes.list_nodes(tx) if each.live]


def _locked(database: Database, task: Callable[[Connection], Any]) -> None:
    """Run ``task`` in one transaction under the migration lock; wait at most LOCKED_FOR_S for another migration."""

    def exclusively(tx: Connection) -> None:
        if tx.dialect.name == "postgresql":
            tx.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        task(tx)

    begun = time.monotonic()
    while True:
        try:
            with lanes.using(Lane.LONG):
                database.write(exclusively)
            return
        except Unavailable as error:
            if not _is_busy(error) or time.monotonic() - begun > LOCKED_FOR_S:
                raise
            time.sleep(POLL_S)


def _is_busy(error: Unavailable) -> bool:
    """Check whether the error is another process's lock on SQLite's file."""
    cause = getattr(error.__cause__, "orig", error.__cause__)
    return getattr(cause, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
