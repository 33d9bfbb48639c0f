"""PostgreSQL's own programs for dumping and restoring, with the credentials in their environment and not in their arguments."""

import os
import shutil
import subprocess
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from hilum.kernel.errors import Invalid, Unavailable

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
    """Write the whole database as it is at one moment. Raises Unavailable."""
    _run("pg_dump", url, "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")


def restore(url: str, source: Path, script: Path, *, then: str) -> None:
    """Replace the database by a dump, and run the statements of ``then``, all in one transaction. Raises Unavailable.

    ``script`` is where the dump is spelled out in between.
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
            f"{program} is not installed: install the client programs of PostgreSQL (Debian: postgresql-client).",
        )
    return str(installed[-1])


def _run(program: str, url: str, *words: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "HILUM_"))}
    for name, value in conninfo_to_dict(url).items():
        if name not in VARIABLES:
            raise Invalid("database_url_unusable", f"{program} cannot be given {name} of HILUM_DATABASE_URL.")
        environment[VARIABLES[name]] = str(value)
    done = subprocess.run(
        [find(program), *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        told = " ".join(done.stderr.split())[:DETAIL_BOUND]
        raise Unavailable("postgresql_tool_failed", f"{program} failed: {told}")
