"""Runs pg_dump, pg_restore and psql. Credentials go into the environment, since any local user can read the arguments."""

import os
import shutil
import subprocess
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from hilum.foundation.kernel.errors import Invalid, Unavailable

VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslrootcert": "PGSSLROOTCERT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "options": "PGOPTIONS",
    "application_name": "PGAPPNAME",
}
DETAIL_BOUND = 500


def dump(url: str, target: Path) -> None:
    """Write a consistent dump of the whole database. Raises Unavailable."""
    _run("pg_dump", url, "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")


def restore(url: str, source: Path, script: Path, *, then: str) -> None:
    """Replace the database by a dump and run the SQL in ``then``, all in one transaction. Raises Unavailable.

    ``script`` is the path of the intermediate SQL script.
    """
    _run(
        "pg_restore",
        url,
        "--clean",
        "--if-exists",
        "--no-owner",
        "--no-privileges",
        f"--file={script}",
        str(source),
    )
    # pg_restore cannot run SQL of ours in its transaction. Through a script, no node ever sees
    # restored tokens before ``then`` has ended them.
    with script.open("a", encoding="utf-8") as file:
        file.write(f"\n{then}\n")
    _run(
        "psql",
        url,
        "--no-psqlrc",
        "--quiet",
        "--single-transaction",
        "--set=ON_ERROR_STOP=1",
        f"--file={script}",
    )


def find(program: str) -> str:
    """Find one of PostgreSQL's programs: on PATH, else the newest that Debian installed. Raises Unavailable."""
    found = shutil.which(program)
    if found:
        return found
    installed = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda each: each.parts[4].zfill(4)
    )
    if not installed:
        raise Unavailable(
            "postgresql_tools_missing",
            f"{program} is not installed. Install PostgreSQL's client programs (Debian: postgresql-client).",
        )
    return str(installed[-1])


def _run(program: str, url: str, *arguments: str) -> None:
    # PG* variables of the operator's shell would add to the URL or override it; HILUM_* hold the
    # key-encryption key.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "HILUM_"))}
    for name, value in conninfo_to_dict(url).items():
        if name not in VARIABLES:
            raise Invalid(
                "database_url_unusable",
                f"{program} does not support the parameter {name} of HILUM_DATABASE_URL.",
            )
        environment[VARIABLES[name]] = str(value)
    done = subprocess.run(
        [find(program), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        message = " ".join(done.stderr.split())[:DETAIL_BOUND]
        raise Unavailable("postgresql_tool_failed", f"{program} failed: {message}")
