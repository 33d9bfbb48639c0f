"""A seeded sandbox that is not served. Seeding takes long, so it is done once a run, and each test starts from a copy."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Placeholder

from hilum.foundation.infra.migrations.run import migrate
from tests.sim.furnished import TABLES
from tests.sim.launcher import launch
from tests.sim.made_once import made_once

KEY = {"HILUM_SECRET_KEY": "outside-key-encryption-key-0123456789abcdef"}
SANDBOX_URL = "http://localhost:8001"
"""Where seeding says that the sandbox's own apps are."""
WRITTEN_IN = {
    "identity_tenant": ("ehr_origins",),
    "registry_client": ("redirect_uris", "launch_uri", "origins"),
}
"""The tables and columns in which that address stands."""
SEEDED_WITHIN_S = 600


def seeded_home(factory: pytest.TempPathFactory) -> Path:
    """Return the home of three hospitals."""
    return made_once(factory, "seeded", _seed)


def _seed(home: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HILUM_")}
    environment |= KEY | {
        "HILUM_DATA_DIR": str(home),
        "HILUM_DATABASE_URL": f"sqlite:///{home}/hilum.db",
        "HILUM_SANDBOX_URL": SANDBOX_URL,
    }
    # Outside the home, which is copied as it is.
    log = home.with_name(f"{home.name}.log")
    code = launch(("sandbox", "seed"), environment, log).wait(SEEDED_WITHIN_S)
    assert code == 0, log.read_text()


def copy_seeded(seeded: Path, home: Path, sandbox_url: str, database_url: str) -> None:
    """Copy a seeded home, as if it had been seeded at this address, and into this database."""
    shutil.copytree(seeded, home, dirs_exist_ok=True)
    control = home / "hilum.db"
    with closing(sqlite3.connect(control)) as db, db:
        for table, columns in WRITTEN_IN.items():
            for column in columns:
                changed = db.execute(
                    f"UPDATE {table} SET {column} = replace({column}, ?, ?) WHERE instr({column}, ?)",  # noqa: S608 - names from above
                    (SANDBOX_URL, sandbox_url, SANDBOX_URL),
                )
                assert changed.rowcount, f"{table}.{column} holds no address of the sandbox"
    if database_url.startswith("postgresql"):
        _move_rows(control, database_url)
        control.unlink()


def _move_rows(control: Path, url: str) -> None:
    """Fill a PostgreSQL database with the rows of a SQLite one."""
    migrate(url)
    with closing(sqlite3.connect(control)) as source, psycopg.connect(url) as db:
        db.execute("SET session_replication_role = replica")  # tables are filled in any order
        for (table,) in db.execute(TABLES).fetchall():
            columns = db.execute(
                "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s",
                (table,),
            ).fetchall()
            names = [name for name, _ in columns]
            flags = [kind == "boolean" for _, kind in columns]
            listed = ", ".join(f'"{name}"' for name in names)
            rows = source.execute(f'SELECT {listed} FROM "{table}"').fetchall()  # noqa: S608 - names from the schema
            db.execute(SQL("DELETE FROM {}").format(Identifier(table)))
            into = SQL("INSERT INTO {} ({}) VALUES ({})").format(
                Identifier(table),
                SQL(", ").join(map(Identifier, names)),
                SQL(", ").join([Placeholder()] * len(names)),
            )
            for row in rows:
                values = [
                    bool(value) if flag and value is not None else value
                    for value, flag in zip(row, flags, strict=True)
                ]
                db.execute(into, values)
