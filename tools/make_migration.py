"""Write the next migration from the difference between the tables that rooms declare and a freshly migrated database.

Usage: python -m tools.make_migration "add something"
"""

import importlib
import pkgutil
import sys
import tempfile

from alembic import command

import hilum
from hilum.infra.db import Database, metadata
from hilum.infra.migrations.run import configuration, migrate

OTHERS = (
    *("audit.access_index", "audit.decision_counts", "audit.decision_slots", "audit.service_counts"),
    *("infra.epoch", "infra.nodes", "infra.schema_gate"),
)
"""The modules that declare tables and whose names do not end in "store"."""


def declare() -> None:
    """Import every module that declares tables."""
    for other in OTHERS:
        importlib.import_module(f"hilum.{other}")
    for module in pkgutil.walk_packages(hilum.__path__, "hilum."):
        # A room may have more than one.
        if module.name.endswith("store"):
            importlib.import_module(module.name)


def main() -> None:
    declare()
    # Compared with a fresh database: the state of one in use is unknown.
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/hilum.db"
        migrate(url)
        database = Database(url)
        config = configuration()
        with database.engine.connect() as tx:
            config.attributes["connection"] = tx
            command.revision(
                config,
                message=sys.argv[1],
                autogenerate=True,
                rev_id=sys.argv[2] if len(sys.argv) > 2 else None,
            )
        database.dispose()
    print(f"{len(metadata.tables)} tables declared")


if __name__ == "__main__":
    main()
