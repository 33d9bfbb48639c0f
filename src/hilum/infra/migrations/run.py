"""Bring a database to the newest migration, or say whether it is there."""

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from hilum.infra.db import Database

HERE = Path(__file__).parent


def configuration() -> Config:
    """Make Alembic's settings without a file of its own."""
    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    return config


def migrate(url: str, revision: str = "head") -> None:
    """Upgrade the database at ``url``. Safe to repeat; the whole step is one transaction where the database allows it."""

    def upgrade(config: Config) -> None:
        command.upgrade(config, revision)

    _run(url, upgrade)


def downgrade(url: str, revision: str = "base") -> None:
    """Take migrations back, for tests of the way down."""

    def down(config: Config) -> None:
        command.downgrade(config, revision)

    _run(url, down)


def is_current(tx: Connection) -> bool:
    """Tell whether the database stands at the newest migration."""
    wanted = ScriptDirectory.from_config(configuration()).get_current_head()
    return MigrationContext.configure(tx).get_current_revision() == wanted


def _run(url: str, step: Callable[[Config], None]) -> None:
    database = Database(url)
    config = configuration()

    def work(tx: Connection) -> None:
        config.attributes["connection"] = tx
        step(config)

    try:
        database.write(work)
    finally:
        database.dispose()
