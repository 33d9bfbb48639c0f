"""Write a migration from the tables that modules declare.

Usage: python -m tools.make_migration "add something"   the difference from a freshly migrated database
       python -m tools.make_migration --baseline        the baseline again, until the first release
"""

import importlib
import pkgutil
import subprocess
import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.autogenerate import render_python_code
from alembic.operations.ops import CreateIndexOp, CreateTableOp, MigrateOperation, UpgradeOps
from mako.template import Template  # type: ignore[import-untyped]

import hilum
from hilum.foundation.infra.db import Database, metadata
from hilum.foundation.infra.migrations.run import configuration, migrate, release

VERSIONS = Path(__file__).parents[1] / "src" / "hilum" / "foundation" / "infra" / "migrations" / "versions"
OTHERS = (
    *(
        "records.audit.access_index",
        "records.audit.decision_counts",
        "records.audit.decision_slots",
        "records.audit.service_counts",
    ),
    *("foundation.infra.epoch", "foundation.infra.nodes", "foundation.infra.schema_gate"),
)
"""The modules that declare tables and whose names do not end in "store"."""


def declare() -> None:
    """Import every module that declares tables."""
    for other in OTHERS:
        importlib.import_module(f"hilum.{other}")
    for module in pkgutil.walk_packages(hilum.__path__, "hilum."):
        # A module may have more than one.
        if module.name.endswith("store"):
            importlib.import_module(module.name)


def main() -> None:
    declare()
    if sys.argv[1] == "--baseline":
        write_baseline()
    else:
        write_next(sys.argv[1])
    print(f"{len(metadata.tables)} tables declared")


def write_next(message: str) -> None:
    """Write the next migration."""
    # Compared with a fresh database: the state of one in use is unknown.
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/hilum.db"
        migrate(url)
        database = Database(url)
        config = configuration()
        with database.engine.connect() as tx:
            config.attributes["connection"] = tx
            command.revision(config, message=message, autogenerate=True, rev_id=f"{int(release()) + 1:04}")
        database.dispose()


def write_baseline() -> None:
    """Write the baseline, in place of every migration there is."""
    operations: list[MigrateOperation] = []
    for table in metadata.sorted_tables:
        operations.append(CreateTableOp.from_table(table))
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        operations.extend(CreateIndexOp.from_index(index) for index in indexes)
    created = render_python_code(UpgradeOps(operations), user_module_prefix="")
    template = Template(filename=str(VERSIONS.parent / "script.py.mako"))  # noqa: S702 - source code, not a page
    text = template.render(
        message="baseline", up_revision="0001", down_revision=None, upgrades=created, downgrades=_DROPPED
    )
    for path in VERSIONS.glob("[0-9]*.py"):
        path.unlink()
    path = VERSIONS / "0001_baseline.py"
    path.write_text(text)
    subprocess.run([Path(sys.executable).parent / "ruff", "format", "-q", path], check=True)


_DROPPED = """inspector = sa.inspect(op.get_bind())
    for table in set(inspector.get_table_names()) - {"alembic_version"}:
        op.drop_table(table)"""


if __name__ == "__main__":
    main()
