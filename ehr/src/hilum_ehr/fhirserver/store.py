"""Resources, their versions and their index, in one SQLite file. Statements take values as ``?`` only."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hilum_ehr.fhirserver import search_store
from hilum_ehr.fhirserver.indexing import index_keys
from hilum_ehr.fhirserver.models import IndexRows, Page, Problem, Refused, SearchPlan, Version

# Kept in SQLite's own user_version, which is read without knowing any table.
SCHEMA_VERSION = 1
CACHE_KIB = 16_384
# Memory-mapped, since reads by id would otherwise copy each page through the cache.
MAPPED_BYTES = 2**31
# Often enough to stop within milliseconds of the deadline, rarely enough not to slow a search down.
OPERATIONS_BETWEEN_CHECKS = 50_000
_NUMBERS = "SELECT key, number FROM parameter"
_SCHEMA = """
CREATE TABLE parameter (number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE);
CREATE TABLE resource (
    rid INTEGER PRIMARY KEY, type TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, updated INTEGER NOT NULL,
    deleted INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE (type, id)
);
CREATE INDEX resource_type ON resource (type) WHERE deleted = 0;
CREATE INDEX resource_updated ON resource (type, updated) WHERE deleted = 0;
CREATE TABLE history (
    type TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, updated INTEGER NOT NULL, deleted INTEGER NOT NULL,
    body BLOB NOT NULL, UNIQUE (type, id, version)
);
CREATE TABLE ix_token (
    rid INTEGER NOT NULL, param INTEGER NOT NULL, grp INTEGER NOT NULL, code TEXT NOT NULL, system TEXT NOT NULL,
    PRIMARY KEY (rid, param, grp, code, system)
) WITHOUT ROWID;
CREATE INDEX ix_token_value ON ix_token (param, code, system);
CREATE TABLE ix_string (
    rid INTEGER NOT NULL, param INTEGER NOT NULL, grp INTEGER NOT NULL, norm TEXT NOT NULL, raw TEXT NOT NULL,
    PRIMARY KEY (rid, param, grp, norm, raw)
) WITHOUT ROWID;
CREATE INDEX ix_string_value ON ix_string (param, norm);
CREATE TABLE ix_reference (
    rid INTEGER NOT NULL, param INTEGER NOT NULL, grp INTEGER NOT NULL, tid TEXT NOT NULL, ttype TEXT NOT NULL,
    PRIMARY KEY (rid, param, grp, tid, ttype)
) WITHOUT ROWID;
CREATE INDEX ix_reference_value ON ix_reference (param, tid, ttype);
CREATE TABLE ix_date (
    rid INTEGER NOT NULL, param INTEGER NOT NULL, grp INTEGER NOT NULL, lo INTEGER NOT NULL, hi INTEGER NOT NULL,
    PRIMARY KEY (rid, param, grp, lo, hi)
) WITHOUT ROWID;
CREATE INDEX ix_date_value ON ix_date (param, lo, hi);
CREATE TABLE ix_quantity (
    rid INTEGER NOT NULL, param INTEGER NOT NULL, grp INTEGER NOT NULL, lo REAL NOT NULL, hi REAL NOT NULL,
    code TEXT NOT NULL, system TEXT NOT NULL, unit TEXT NOT NULL,
    PRIMARY KEY (rid, param, grp, lo, hi, code, system, unit)
) WITHOUT ROWID;
CREATE INDEX ix_quantity_value ON ix_quantity (param, lo, hi);
CREATE TABLE ix_uri (
    rid INTEGER NOT NULL, param INTEGER NOT NULL, grp INTEGER NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (rid, param, grp, value)
) WITHOUT ROWID;
CREATE INDEX ix_uri_value ON ix_uri (param, value);
"""
# Primary keys begin with rid: a condition is probed for one resource, and one resource's rows are deleted
# together. The second index of each table finds rows by value.
_INDEX = (
    "INSERT INTO ix_token VALUES (?, ?, ?, ?, ?)",
    "INSERT INTO ix_string VALUES (?, ?, ?, ?, ?)",
    "INSERT INTO ix_reference VALUES (?, ?, ?, ?, ?)",
    "INSERT INTO ix_date VALUES (?, ?, ?, ?, ?)",
    "INSERT INTO ix_quantity VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    "INSERT INTO ix_uri VALUES (?, ?, ?, ?)",
)
"""In the order of IndexRows."""
_DELETE_INDEX = (
    "DELETE FROM ix_token WHERE rid = ?",
    "DELETE FROM ix_string WHERE rid = ?",
    "DELETE FROM ix_reference WHERE rid = ?",
    "DELETE FROM ix_date WHERE rid = ?",
    "DELETE FROM ix_quantity WHERE rid = ?",
    "DELETE FROM ix_uri WHERE rid = ?",
)


class Tx:
    """The operations inside one write transaction."""

    def __init__(self, connection: sqlite3.Connection, numbers: MappingProxyType[str, int]) -> None:
        self._connection = connection
        self._numbers = numbers
        self._pending: dict[str, list[tuple[Any, ...]]] = {statement: [] for statement in _INDEX}

    def find(self, resource_type: str, resource_id: str) -> Version | None:
        return _find(self._connection, resource_type, resource_id)

    def find_two(self, plan: SearchPlan) -> list[Version]:
        """Find up to two matches, which is enough to distinguish none, one and several."""
        return search_store.find_matches(self._connection, plan, self._numbers, limit=2)

    def put(self, version: Version, rows: IndexRows) -> None:
        """Store the current version, and move the previous one into history."""
        connection = self._connection
        head = (version.type, version.id)
        # A resource keeps its row number through all versions, so that pages, which continue after a row
        # number, stay stable.
        old = connection.execute("SELECT rid FROM resource WHERE type = ? AND id = ?", head).fetchone()
        state = (version.number, version.updated, int(version.deleted), version.body)
        if old is None:
            rid = connection.execute(
                "INSERT INTO resource (type, id, version, updated, deleted, body) VALUES (?, ?, ?, ?, ?, ?)",
                (*head, *state),
            ).lastrowid
        else:
            rid = old[0]
            connection.execute(
                "INSERT INTO history (type, id, version, updated, deleted, body) "
                "SELECT type, id, version, updated, deleted, body FROM resource WHERE rid = ?",
                old,
            )
            connection.execute(
                "UPDATE resource SET version = ?, updated = ?, deleted = ?, body = ? WHERE rid = ?",
                (*state, rid),
            )
            # Pending rows may belong to an earlier version of this very resource, so they are written before
            # its rows are deleted.
            self.flush()
            for statement in _DELETE_INDEX:
                connection.execute(statement, old)
        assert rid is not None
        for table, new_rows in zip(self._pending.values(), rows, strict=True):
            table.extend([(rid, *row) for row in new_rows])

    def flush(self) -> None:
        """Write the collected index rows, with one statement for each table."""
        for statement, rows in self._pending.items():
            if rows:
                self._connection.executemany(statement, rows)
                rows.clear()


class Store:
    """One file. Each thread has its own connection; readers never wait for the writer (WAL)."""

    def __init__(
        self, path: Path, *, busy_timeout_s: float, bound_s: float, monotonic: Callable[[], float]
    ) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._bound_s = bound_s
        self._monotonic = monotonic
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections: list[sqlite3.Connection] = []
        # Read once: the numbers of parameters never change in a file.
        self.numbers: MappingProxyType[str, int] = MappingProxyType(self._prepare())

    def connection(self) -> sqlite3.Connection:
        """Return this thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._open()
        return connection

    def find(self, resource_type: str, resource_id: str) -> Version | None:
        return _find(self.connection(), resource_type, resource_id)

    def find_version(self, resource_type: str, resource_id: str, number: int) -> Version | None:
        # The current version is in another table than the history, and is the one that is asked for most.
        current = self.find(resource_type, resource_id)
        if current is None or current.number == number:
            return current
        row = (
            self.connection()
            .execute(
                "SELECT version, updated, deleted, body FROM history WHERE type = ? AND id = ? AND version = ?",
                (resource_type, resource_id, number),
            )
            .fetchone()
        )
        return None if row is None else _version(resource_type, resource_id, row)

    def list_versions(
        self, resource_type: str, resource_id: str, *, before: int, limit: int
    ) -> list[Version]:
        """List versions below ``before``, newest first."""
        rows = self.connection().execute(
            "SELECT version, updated, deleted, body FROM resource WHERE type = ? AND id = ? AND version < ? UNION ALL "
            "SELECT version, updated, deleted, body FROM history WHERE type = ? AND id = ? AND version < ? "
            "ORDER BY version DESC LIMIT ?",
            (resource_type, resource_id, before, resource_type, resource_id, before, limit),
        )
        return [_version(resource_type, resource_id, row) for row in rows]

    def list_superseded(self, resource_type: str, text: bytes, since: int) -> list[tuple[str, bytes]]:
        """List id and body of versions that are no longer current, were stored since a moment, and contain ``text``."""
        rows = self.connection().execute(
            "SELECT id, body FROM history WHERE type = ? AND updated >= ? AND instr(body, ?)",
            (resource_type, since, text),
        )
        return [(str(id_), bytes(body)) for id_, body in rows]

    def search(self, plan: SearchPlan) -> Page:
        """Run a search on one state of the file. Raises Refused if it takes longer than its bound."""
        # One read transaction, so that matches, includes and the total are of one state.
        with self._transaction("BEGIN") as connection:
            return search_store.read_page(connection, plan, self.numbers)

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """Open the one write transaction; it commits unless something is raised."""
        # IMMEDIATE, so that a writer waits for the lock at the start; a transaction that has already read
        # cannot wait for it.
        with self._transaction("BEGIN IMMEDIATE") as connection:
            tx = Tx(connection, self.numbers)
            yield tx
            tx.flush()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        connection, deadline = self.connection(), self._monotonic() + self._bound_s
        try:
            connection.execute(begin)
            # After BEGIN: waiting for the lock has a bound of its own.
            connection.set_progress_handler(
                lambda: int(self._monotonic() > deadline), OPERATIONS_BETWEEN_CHECKS
            )
            yield connection
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise _refusal(error) from None
        finally:
            connection.set_progress_handler(None, 0)
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close every connection. Nothing may be running."""
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
        self._local = threading.local()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            timeout=self._busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )
        # A write that was answered survives a power cut; the gateway records it as done.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute(f"PRAGMA mmap_size = {MAPPED_BYTES}")
        with self._lock:
            self._connections.append(connection)
        return connection

    def _prepare(self) -> dict[str, int]:
        """Create the tables, unless they exist, and return the numbers of parameters. Several processes may do so at once."""
        connection = self.connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Under the write lock: of several processes one creates the tables and the others find them.
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version not in {0, SCHEMA_VERSION}:
                raise Refused(
                    Problem.INTERNAL,
                    f"The file has schema version {version}; this release reads version {SCHEMA_VERSION}.",
                )
            if version == 0:
                for statement in _SCHEMA.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            numbers = dict(connection.execute(_NUMBERS).fetchall())
            # A file that was opened before lacks those of a newer release, if any.
            if missing := [(key,) for key in index_keys() if key not in numbers]:
                connection.executemany("INSERT OR IGNORE INTO parameter (key) VALUES (?)", missing)
                numbers = dict(connection.execute(_NUMBERS).fetchall())
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        # Outside the transaction, since SQLite cannot change the journal mode inside one.
        connection.execute("PRAGMA journal_mode = WAL")
        return numbers


def _find(connection: sqlite3.Connection, resource_type: str, resource_id: str) -> Version | None:
    try:
        row = connection.execute(
            "SELECT version, updated, deleted, body FROM resource WHERE type = ? AND id = ?",
            (resource_type, resource_id),
        ).fetchone()
    except sqlite3.OperationalError as error:
        raise _refusal(error) from None
    return None if row is None else _version(resource_type, resource_id, row)


def _version(resource_type: str, resource_id: str, row: tuple[int, int, int, bytes]) -> Version:
    return Version(resource_type, resource_id, row[0], row[1], row[3], bool(row[2]))


def _refusal(error: sqlite3.OperationalError) -> Refused:
    # SQLite has one exception class for all of these; only the text distinguishes them.
    text = str(error)
    if "interrupted" in text or "too many" in text or "too large" in text:
        return Refused(
            Problem.TOO_COSTLY,
            "The search costs too much; restrict it to a patient or to a shorter time.",
        )
    return Refused(Problem.BUSY, "The store is busy; try again in a second.")
