"""For files whose promises mostly do not depend on the database: their tests run over SQLite, and those that do depend on it over both."""

from collections.abc import Iterable

import pytest

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
