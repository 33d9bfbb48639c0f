"""Worlds that are furnished once: a test that wants the same world gets a copy of its database, and of what the world remembers."""

import copy
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from hilum.infra.edge import Edge
from tests.sim.world import SeededIds

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"


@dataclass(frozen=True)
class Template:
    """A furnished database: SQLite's file, or PostgreSQL's rows by table. ``memory`` is what the world knows of it."""

    rows: bytes | dict[str, bytes]
    memory: dict[str, Any]
    ids: int


_templates: dict[tuple[object, ...], Template] = {}


def furnish(
    name: str, edge: Edge, world: Any, remembers: tuple[str, ...], build: Callable[[], object]
) -> None:
    """Furnish an empty database as ``build`` does, and set the attributes of ``world`` that it ``remembers``.

    Where the same was built before, from the same time and ids, its result is copied instead.
    """
    ids = edge.ids
    if not isinstance(ids, SeededIds):
        build()
        return
    key = name, edge.db.is_sqlite, ids.seed, ids.count, edge.clock.now()
    held = _templates.get(key)
    if held is None:
        build()
        memory = {each: copy.copy(getattr(world, each)) for each in remembers}
        _templates[key] = Template(_rows_of(edge), memory, ids.count)
        return
    _fill(edge, held.rows)
    for each, value in held.memory.items():
        setattr(world, each, copy.copy(value))
    ids.count = held.ids


def _rows_of(edge: Edge) -> bytes | dict[str, bytes]:
    if edge.db.is_sqlite:
        database = sqlite3.connect(edge.db.url.removeprefix("sqlite:///"))
        try:
            return database.serialize()
        finally:
            database.close()
    found = {}
    with psycopg.connect(edge.db.url) as db, db.cursor() as cursor:
        for (table,) in cursor.execute(TABLES).fetchall():
            with cursor.copy(SQL("COPY {} TO STDOUT (FORMAT BINARY)").format(Identifier(table))) as out:
                found[table] = b"".join(bytes(each) for each in out)
    empty = min(map(len, found.values()))
    return {table: rows for table, rows in found.items() if len(rows) > empty}


def _fill(edge: Edge, rows: bytes | dict[str, bytes]) -> None:
    edge.db.dispose()
    if isinstance(rows, bytes):
        path = Path(edge.db.url.removeprefix("sqlite:///"))
        assert not Path(f"{path}-shm").exists(), "somebody has the database open: furnish it first"
        path.write_bytes(rows)
        return
    with psycopg.connect(edge.db.url) as db, db.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # tables are filled in any order
        for table, held in rows.items():
            with cursor.copy(SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(Identifier(table))) as into:
                into.write(held)
