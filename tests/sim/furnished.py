"""Test worlds that are built once: a test that needs the same world gets a copy of its database and of its attributes."""

import copy
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from hilum.infra.unit_of_work import UnitOfWork
from tests.sim.world import SeededIds

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"


@dataclass(frozen=True)
class Template:
    """A built database: SQLite's file, or PostgreSQL's rows by table. ``memory``: the attributes of the world."""

    rows: bytes | dict[str, bytes]
    memory: dict[str, Any]
    ids: int


_templates: dict[tuple[object, ...], Template] = {}


def furnish(
    name: str, uow: UnitOfWork, world: Any, remembers: tuple[str, ...], build: Callable[[], object]
) -> None:
    """Fill an empty database as ``build`` does, and set the attributes of ``world`` listed in ``remembers``.

    If the same was built before, from the same time and ids, its result is copied instead.
    """
    ids = uow.ids
    # With random ids two worlds are never the same.
    if not isinstance(ids, SeededIds):
        build()
        return
    # Everything that the rows depend on: the same name, seed and time produce the same rows.
    key = name, uow.db.is_sqlite, ids.seed, ids.count, uow.clock.now()
    held = _templates.get(key)
    if held is None:
        build()
        memory = {each: copy.copy(getattr(world, each)) for each in remembers}
        _templates[key] = Template(_rows_of(uow), memory, ids.count)
        return
    _fill(uow, held.rows)
    for each, value in held.memory.items():
        setattr(world, each, copy.copy(value))
    # Ids go on where the build ended, as if it had run.
    ids.count = held.ids


def _rows_of(uow: UnitOfWork) -> bytes | dict[str, bytes]:
    if uow.db.is_sqlite:
        database = sqlite3.connect(uow.db.url.removeprefix("sqlite:///"))
        try:
            # A consistent copy without the write-ahead log.
            return database.serialize()
        finally:
            database.close()
    found = {}
    with psycopg.connect(uow.db.url) as db, db.cursor() as cursor:
        for (table,) in cursor.execute(TABLES).fetchall():
            with cursor.copy(SQL("COPY {} TO STDOUT (FORMAT BINARY)").format(Identifier(table))) as out:
                found[table] = b"".join(bytes(each) for each in out)
    empty = min(map(len, found.values()))
    # An empty table is a header of fixed length.
    return {table: rows for table, rows in found.items() if len(rows) > empty}


def _fill(uow: UnitOfWork, rows: bytes | dict[str, bytes]) -> None:
    uow.db.dispose()
    if isinstance(rows, bytes):
        path = Path(uow.db.url.removeprefix("sqlite:///"))
        assert not Path(f"{path}-shm").exists(), (
            "the database is open already: fill it before anything opens it"
        )
        path.write_bytes(rows)
        return
    with psycopg.connect(uow.db.url) as db, db.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # tables are filled in any order
        for table, held in rows.items():
            with cursor.copy(SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(Identifier(table))) as into:
                into.write(held)
