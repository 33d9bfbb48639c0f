"""A PostgreSQL cluster for one test run, on a loopback port, deleted when the run ends."""

import os
import random
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

from hilum.foundation.infra.migrations.run import migrate

MISSING = (
    "PostgreSQL is needed by the tests: run `make test`, which installs it, or put initdb and pg_ctl on PATH."
)

PORTS = (12_000, 31_000)
# No test asks what a power cut leaves in PostgreSQL, and fsync is most of a commit's time.
QUICK = "-c fsync=off -c full_page_writes=off -c synchronous_commit=off -c max_connections=200"
CLEAR = """
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version' LOOP
        IF pg_relation_size(name::regclass) > 500000 THEN
            EXECUTE format('TRUNCATE %I CASCADE', name);
        ELSIF pg_relation_size(name::regclass) > 0 THEN
            EXECUTE format('DELETE FROM %I', name);
        END IF;
    END LOOP;
END $$
"""
"""Deleting from a table that is nearly empty is much quicker than truncating it."""


def find_binaries() -> Path:
    """Find the folder of initdb and pg_ctl, newest version first. Raises RuntimeError that says what to install."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    found = shutil.which("initdb")
    if found is None:
        raise RuntimeError(MISSING)
    return Path(found).resolve().parent


def free_port() -> int:
    """Return a port on which nobody listens, and which no other process of tests is given while this one lives: who stops listens there again.

    It is below those that the system takes for outgoing connections, which would take it meanwhile.
    """
    while True:
        port = random.randrange(*PORTS)
        with socket.socket(socket.AF_UNIX) as given, socket.socket() as probe, suppress(OSError):
            # A name that one process of the machine has at a time, until it ends.
            given.bind(f"\0hilum-test-port-{port}")
            probe.bind(("127.0.0.1", port))
            given.detach()
            return port


class Cluster:
    """``url`` reaches a database named ``hilum`` as its owner: an empty one, or with ``data``, that of the cluster whose data it copies."""

    _clearing: psycopg.Connection | None = None

    def __init__(self, data: Path | None = None) -> None:
        self.bin = find_binaries()
        self.home = Path(tempfile.mkdtemp(prefix="hilum-pg-"))
        self.port = free_port()
        self.data = self.home / "data"
        self.url = f"postgresql://hilum@127.0.0.1:{self.port}/hilum"
        # initdb refuses to run as root, as tests in a container often do.
        if os.geteuid() == 0:
            shutil.chown(self.home, "postgres", "postgres")
        if data is not None:
            subprocess.run(["cp", "-a", str(data), str(self.data)], check=True)
            self._start()
            return
        self._run(
            "initdb",
            "-D",
            str(self.data),
            "-U",
            "hilum",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
        )
        self._start()
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "hilum", "hilum")

    def _run(self, program: str, *args: str) -> None:
        command = [str(self.bin / program), *args]
        if os.geteuid() == 0:  # initdb refuses root
            command = ["runuser", "-u", "postgres", "--", *command]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=self.home, timeout=120, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr or done.stdout}")

    def _start(self) -> None:
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.home} {QUICK}"
        )
        self._run(
            "pg_ctl",
            "-D",
            str(self.data),
            "-w",
            "-t",
            "60",
            "-l",
            str(self.home / "log"),
            "-o",
            options,
            "start",
        )

    def twin(self) -> "Cluster":
        """Return another server on a copy of the data as it is now, as a standby that was promoted would be. Both run."""
        self.end()
        other = Cluster(self.data)
        self._start()
        return other

    def end(self) -> None:
        """Stop the server with all its data written: a copy of a running server's files is not consistent."""
        self._run("pg_ctl", "-D", str(self.data), "-m", "fast", "-w", "stop")

    def migrated(self, name: str) -> str:
        """Return the URL of a new database at this release. It is a copy of one that was migrated once: migrating takes ten times as long."""
        with psycopg.connect(self.url, autocommit=True) as db:
            if not db.execute("SELECT FROM pg_database WHERE datname = 'migrated'").fetchall():
                db.execute("CREATE DATABASE migrated TEMPLATE template0")
                migrate(self._url_of("migrated"))
            db.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))
            db.execute(
                SQL("CREATE DATABASE {} TEMPLATE migrated STRATEGY file_copy").format(Identifier(name))
            )
        return self._url_of(name)

    def empty(self, name: str) -> str:
        """Return the URL of a new database without tables."""
        with psycopg.connect(self.url, autocommit=True) as db:
            # FORCE: connections of a killed process may still be listed.
            db.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))
            db.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        return self._url_of(name)

    def _url_of(self, database: str) -> str:
        return f"{self.url.rpartition('/')[0]}/{database}"

    def clear(self) -> None:
        """Delete every row but the number of the newest migration."""
        # Over a connection that stays: a new one reads the catalogue of a hundred tables first, which took nine tenths of the time.
        if self._clearing is not None:
            with suppress(psycopg.OperationalError):  # a test ended the server, or this connection
                self._clearing.execute(CLEAR)
                return
            self._clearing.close()
        self._clearing = psycopg.connect(self.url, autocommit=True)
        self._clearing.execute("SET session_replication_role = replica")  # no foreign key holds anything back
        self._clearing.execute(CLEAR)

    def stop(self) -> None:
        """Stop the server and delete its data."""
        if self._clearing is not None:
            self._clearing.close()
        if (self.data / "postmaster.pid").exists():
            self._run("pg_ctl", "-D", str(self.data), "-m", "immediate", "stop")
        shutil.rmtree(self.home, ignore_errors=True)


def migrated_cluster(folder: Path) -> None:
    """Leave in ``folder`` the data of a stopped cluster with two databases at this release: ``hilum``, and ``migrated`` to make others from."""
    made = Cluster()
    try:
        migrate(made.url)
        with psycopg.connect(made._url_of("postgres"), autocommit=True) as db:
            db.execute("CREATE DATABASE migrated TEMPLATE hilum")
        made.end()
        subprocess.run(["cp", "-a", str(made.data), str(folder / "data")], check=True)
    finally:
        made.stop()
