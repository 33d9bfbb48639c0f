"""Test worlds that are built once: a test that needs the same world gets a copy of its database and of its attributes.

Worlds stand on each other: what is furnished upon a world to which nothing was written since is copied, too.
"""

import copy
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from cachetools import LRUCache
from psycopg.sql import SQL, Identifier

from hilum.foundation.infra.db import Database
from hilum.foundation.infra.unit_of_work import UnitOfWork
from tests.sim.postgres import CLEAR
from tests.sim.world import FakeClock, SeededIds

T = TypeVar("T")
Key = tuple[object, ...]
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
NEXT_NUMBER = "SELECT pg_snapshot_xmax(pg_current_snapshot())"
TEMPLATES_KEPT = 64
"""Each is a megabyte. A file has a few, and files that follow each other share some."""


@dataclass(frozen=True)
class Template:
    """A built database: SQLite's file, or PostgreSQL's rows by table.

    ``memory``: the attributes of the world; ``result``: what was returned; ``lasted``: how far the clock was moved meanwhile.
    """

    rows: bytes | dict[str, bytes]
    memory: dict[str, Any]
    result: Any
    ids: int
    lasted: timedelta


_templates: LRUCache[Key, Template] = LRUCache(TEMPLATES_KEPT)
_furnished: WeakKeyDictionary[Database, tuple[Key, object]] = WeakKeyDictionary()
"""What each database was last furnished with, and its state then."""
_being_built: set[int] = set()
_connections: dict[str, psycopg.Connection] = {}


def furnish(name: str, uow: UnitOfWork, world: Any, remembers: tuple[str, ...], build: Callable[[], T]) -> T:
    """Fill a database as ``build`` does, set the attributes of ``world`` listed in ``remembers``, and return what ``build`` returns.

    If the same was built before, from the same time and ids, its result is copied instead. The first ``furnish`` of a database needs an
    empty one; a later one copies only if nothing was written since the one before. ``name`` must say all that ``build`` depends on.
    """
    ids, clock, db = uow.ids, uow.clock, uow.db
    # With random ids two worlds are never the same. What is furnished within a build is a part of it.
    if not isinstance(ids, SeededIds) or not isinstance(clock, FakeClock) or id(db) in _being_built:
        return build()
    begun, state = _furnished.get(db, ((db.is_sqlite, ids.seed, ids.count, clock.now()), None))
    if state is not None and state != _state_of(uow, clock):
        return build()
    # Everything that the rows depend on: the same names, seed and time produce the same rows.
    key = (*begun, name)
    held = _templates.get(key)
    if held is not None and _fill(uow, held.rows):
        for each, value in held.memory.items():
            setattr(world, each, copy.copy(value))
        # Ids go on where the build ended, as if it had run.
        ids.count = held.ids
        clock.advance(held.lasted)
        result: T = copy.copy(held.result)
    else:
        result = _build(key, uow, clock, world, remembers, build)
    _furnished[db] = key, _state_of(uow, clock)
    return result


def _build(
    key: Key,
    uow: UnitOfWork,
    clock: FakeClock,
    world: Any,
    remembers: tuple[str, ...],
    build: Callable[[], T],
) -> T:
    began = clock.now()
    _being_built.add(id(uow.db))
    try:
        result = build()
    finally:
        _being_built.remove(id(uow.db))
    assert isinstance(uow.ids, SeededIds)
    memory = {each: copy.copy(getattr(world, each)) for each in remembers}
    _templates[key] = Template(_rows_of(uow), memory, copy.copy(result), uow.ids.count, clock.now() - began)
    # Closing the last connection empties the write-ahead log, by which the next one sees that nothing was written since.
    uow.db.dispose()
    return result


def _state_of(uow: UnitOfWork, clock: FakeClock) -> object:
    """Return what changes with each write to the database; what equals nothing else, if it cannot be seen."""
    assert isinstance(uow.ids, SeededIds)
    if not uow.db.is_sqlite:
        # The number that the next transaction gets: one that only reads gets none.
        (next_number,) = _connection(uow.db.url).execute(NEXT_NUMBER).fetchone() or (object(),)
        return next_number, uow.ids.count, clock.now()
    path = Path(uow.db.url.removeprefix("sqlite:///"))
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size:
        return object()
    return path.stat().st_mtime_ns, path.stat().st_size, uow.ids.count, clock.now()


def _connection(url: str) -> psycopg.Connection:
    """Return a connection that stays: a new one reads the catalogue of a hundred tables first."""
    found = _connections.get(url)
    if found is not None:
        with suppress(psycopg.OperationalError):  # a test ended the server, or this connection
            found.execute("SELECT 1")
            return found
    found = _connections[url] = psycopg.connect(url, autocommit=True)
    found.execute("SET session_replication_role = replica")  # tables are filled in any order
    return found


def close_connections() -> None:
    """Close the connections that stay."""
    for each in _connections.values():
        each.close()
    _connections.clear()


def _rows_of(uow: UnitOfWork) -> bytes | dict[str, bytes]:
    if uow.db.is_sqlite:
        database = sqlite3.connect(uow.db.url.removeprefix("sqlite:///"))
        try:
            # A consistent copy without the write-ahead log.
            return database.serialize()
        finally:
            database.close()
    found = {}
    with _connection(uow.db.url).cursor() as cursor:
        for (table,) in cursor.execute(TABLES).fetchall():
            with cursor.copy(SQL("COPY {} TO STDOUT (FORMAT BINARY)").format(Identifier(table))) as out:
                found[table] = b"".join(bytes(each) for each in out)
    empty = min(map(len, found.values()))
    # An empty table is a header of fixed length.
    return {table: rows for table, rows in found.items() if len(rows) > empty}


def _fill(uow: UnitOfWork, rows: bytes | dict[str, bytes]) -> bool:
    """Fill a database; False if something has it open, which would read it as it was."""
    uow.db.dispose()
    if isinstance(rows, bytes):
        path = Path(uow.db.url.removeprefix("sqlite:///"))
        if Path(f"{path}-shm").exists():
            return False
        path.write_bytes(rows)
        return True
    db = _connection(uow.db.url)
    with db.transaction(), db.cursor() as cursor:
        if uow.db in _furnished:
            cursor.execute(CLEAR)
        for table, held in rows.items():
            with cursor.copy(SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(Identifier(table))) as into:
                into.write(held)
    return True
