"""For files whose promises mostly do not depend on the database: their tests run over SQLite, and those that do depend on it over both."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from hilum.infra.db import Database
from hilum.infra.lanes import BOUNDS, Lane

BACKENDS = ("uow", "one_uow")
"""Fixtures that are a unit of work over each database in turn."""

both_backends = pytest.mark.parametrize("one_uow", ["sqlite", "postgresql"], indirect=True)
"""For a test whose world stands on ``one_uow``: races, and what is written or read past the rooms' own verbs."""
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


def opened(url: str) -> Database:
    """Open a test's database. On SQLite its lanes share the connections that they read with: opening one reads the whole schema, for
    milliseconds, and most tests need one at a time.
    """
    made = Database(url)
    if made.is_sqlite:
        engine = made._open(Lane.OWN, sum(each.connections for each in BOUNDS.values()))
        made._engines |= dict.fromkeys(Lane, engine)
    return made


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
