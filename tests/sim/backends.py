"""For files whose promises mostly do not depend on the database: their tests run over SQLite, and those that do depend on it over both."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from sqlalchemy import Engine, event

from hilum.foundation.infra import postgres
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.lanes import BOUNDS, Lane

BACKENDS = ("uow", "one_uow")
"""Fixtures that are a unit of work over each database in turn."""

both_backends = pytest.mark.parametrize("one_uow", ["sqlite", "postgresql"], indirect=True)
"""For a test whose world stands on ``one_uow``: races, and what is written or read past the modules' own verbs."""
every_case_on_both = pytest.mark.every_case_on_both
"""For a table whose cases differ in what they ask of the database."""


def repeated_on_postgres(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """List the cases of tables that PostgreSQL need not judge too, where SQLite judges every one: all but the first of each table."""
    seen: set[str] = set()
    found = []
    for item in items:
        given = getattr(getattr(item, "callspec", None), "params", {})
        if "postgresql" not in [given.get(each) for each in BACKENDS]:
            continue
        table = item.nodeid.partition("[")[0]
        if table in seen and item.get_closest_marker("every_case_on_both") is None:
            found.append(item)
        seen.add(table)
    return found


class SharedConnections(Database):
    """A SQLite database whose lanes and writers share their connections: opening one reads the whole schema, for milliseconds, and most
    tests need one at a time.
    """

    _shared: Engine | None = None

    def _open(self, lane: Lane, connections: int) -> Engine:
        if self._shared is None:
            self._shared = super()._open(lane, sum(each.connections for each in BOUNDS.values()))
        return self._shared

    def dispose(self) -> None:
        """Close every idle connection."""
        if self._shared is not None:
            self._shared.dispose()


class KeptConnections(Database):
    """A PostgreSQL database whose idle connections are kept for the next one at the same address: a new one costs the server a process,
    which reads the catalogue of every table that it meets, and most tests open three.
    """

    def _open(self, lane: Lane, connections: int) -> Engine:
        key = self.url, lane
        # A test with other deadlines has connections of its own.
        if BOUNDS[lane] != _SHIPPED_BOUNDS[lane] or postgres.LOCK_S != _SHIPPED_LOCK_S:
            return super()._open(lane, connections)
        if key not in _kept:
            _kept[key] = super()._open(lane, connections)
            event.listen(_kept[key], "checkout", self._assign_number_again)
        return _kept[key]

    def _assign_number(self, _connection: object, record: Any) -> None:
        with _numbering:
            record.info["number"] = next(n for n in count() if n not in _numbers)
            _numbers.add(record.info["number"])

    def _release_number(self, _connection: object, record: Any) -> None:
        _numbers.discard(record.info.get("number"))

    def _assign_number_again(self, connection: object, record: Any, _proxy: object) -> None:
        if "number" not in record.info:
            self._assign_number(connection, record)

    def dispose(self) -> None:
        """Forget what idle connections remember, as new ones would know nothing: the ends of audit chains, and their numbers."""
        kept = list(_kept.values())
        for engine in self._engines.values():
            if engine not in kept:
                engine.dispose()
                continue
            for record in list(engine.pool._pool.queue):  # type: ignore[attr-defined]
                self._release_number(None, record)
                record.info.clear()
                record.info["is_new"] = False  # the server may have closed it since


_kept: dict[tuple[str, Lane], Engine] = {}
_numbers: set[int] = set()
_numbering = Lock()
_SHIPPED_BOUNDS, _SHIPPED_LOCK_S = dict(BOUNDS), postgres.LOCK_S


def close_kept() -> None:
    """Close the connections that are kept."""
    for engine in _kept.values():
        engine.dispose()
    _kept.clear()
    _numbers.clear()


def opened(url: str) -> Database:
    """Open a test's database."""
    return SharedConnections(url) if url.startswith("sqlite") else KeptConnections(url)


def with_small_pages(path: Path) -> None:
    """Write a SQLite database again with small pages: a nearly empty one, which each test copies, is then a third as large."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        # Pages of a database in WAL mode keep their size.
        for each in (
            "PRAGMA journal_mode=DELETE",
            "PRAGMA page_size=1024",
            "VACUUM",
            "PRAGMA journal_mode=WAL",
        ):
            db.execute(each)
