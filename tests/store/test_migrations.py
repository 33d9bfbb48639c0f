"""The migrations and the tables that modules declare are the same thing, on each backend."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from tools.make_migration import declare

from hilum.foundation.infra.db import Database, metadata
from hilum.foundation.infra.migrations.run import downgrade, is_current, migrate


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))


# SQLite's indexes over expressions cannot be reflected: that lists are sorted by them is in tests/flows/test_api_lists.py.
@pytest.mark.filterwarnings(
    "ignore:Skipped unsupported reflection of expression-based index",
    "ignore:autogenerate skipping metadata-specified expression-based index",
)
def test_a_migrated_database_has_exactly_the_tables_that_rooms_declare(url: str) -> None:
    declare()
    database = Database(url)

    differences = database.read(lambda tx: compare_metadata(MigrationContext.configure(tx), metadata))
    current = database.read(is_current)
    database.dispose()

    assert differences == []
    assert current


def test_migrations_go_down_to_nothing_and_up_again(url: str) -> None:
    downgrade(url)
    migrate(url)

    database = Database(url)
    assert database.read(is_current)
    database.dispose()
