"""Classes of database faults, each with what an operator does about it.

Clients learn only that the database is unavailable. Operators see the class in the log, from ``hilum doctor`` and at start-up. The
server's own messages are never repeated: they may hold addresses, names and passwords.
"""

import sqlite3
from dataclasses import dataclass

import psycopg

from hilum.foundation.kernel.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Fault:
    """One class: ``code`` is stable, ``what`` says what is wrong, ``next`` what to do; both are sentences."""

    code: str
    what: str
    next: str


UNKNOWN = Fault(
    "database_unavailable",
    "The database cannot be reached.",
    "Check HILUM_DATABASE_URL, the server and its log.",
)
SILENT = Fault(
    "database_silent",
    "The database did not answer in time.",
    "Check the server's load and the network between this host and the server.",
)
_CREDENTIALS = Fault(
    "database_credentials_refused",
    "The database server refused the user or the password.",
    "Check both in HILUM_DATABASE_URL, and that the role exists on the server.",
)
_NOT_ADMITTED = Fault(
    "database_not_admitted",
    "The database server does not allow this user to connect from this host.",
    "Add an entry to the server's pg_hba.conf, or connect as that file requires, for example with TLS.",
)
_MISSING = Fault(
    "database_missing",
    "The server runs, but has no database with this name.",
    "Create it (`createdb`), or correct the name in HILUM_DATABASE_URL.",
)
_REFUSED = Fault(
    "database_port_closed",
    "Nothing listens at the database's address and port.",
    "Start the server, or correct host and port in HILUM_DATABASE_URL.",
)
_HOST = Fault(
    "database_host_unknown",
    "The database's host name does not resolve.",
    "Correct the host in HILUM_DATABASE_URL, or repair name resolution on this machine.",
)
_UNREACHABLE = Fault(
    "database_host_unreachable",
    "The database's host is unreachable.",
    "Check routes and firewalls between this host and the server.",
)
_CONNECTIONS_EXHAUSTED = Fault(
    "database_connections_exhausted",
    "The database server has no connection left.",
    "Raise max_connections, or run fewer workers; the operations guide states how many connections each needs.",
)
_TLS = Fault(
    "database_tls_refused",
    "The TLS handshake with the database failed.",
    "Compare sslmode and sslrootcert in HILUM_DATABASE_URL with the server's certificate and its ssl setting.",
)
_STARTING = Fault(
    "database_starting",
    "The database server is starting, stopping or recovering.",
    "Wait until it accepts connections; check its log if that takes long.",
)
_READ_ONLY = Fault(
    "database_read_only",
    "The database is read-only: it is a standby, or set to read-only.",
    "Point HILUM_DATABASE_URL at the primary, or add target_session_attrs=read-write.",
)
_FORBIDDEN = Fault(
    "database_permission_missing",
    "The database's user lacks permissions on Hilum's tables.",
    "Make this user the owner of the database, or connect as its owner.",
)
LOCKED = Fault(
    "database_locked",
    "Another transaction held a lock for too long.",
    "If it persists, look for a session that is idle in a transaction, or another program that uses the same file.",
)
_DISK = Fault(
    "database_disk_full",
    "The database's disk is full.",
    "Free space. No acknowledged change is lost.",
)
_CORRUPT = Fault(
    "database_damaged",
    "The database's file is damaged, or not a database.",
    "Stop the platform and restore a backup.",
)
_UNWRITABLE = Fault(
    "database_file_inaccessible",
    "The database's file cannot be opened or written.",
    "Check that the file, its -wal and -shm files and their directory belong to the platform's user.",
)
ALL = (
    UNKNOWN,
    SILENT,
    _CREDENTIALS,
    _NOT_ADMITTED,
    _MISSING,
    _REFUSED,
    _HOST,
    _UNREACHABLE,
    _CONNECTIONS_EXHAUSTED,
    _TLS,
    _STARTING,
    _READ_ONLY,
    _FORBIDDEN,
    LOCKED,
    _DISK,
    _CORRUPT,
    _UNWRITABLE,
)
# Source: PostgreSQL documentation, appendix A. 57014 is our own statement_timeout, 55P03 our lock_timeout
# (``postgres._options``).
_BY_SQLSTATE = {
    "25006": _READ_ONLY,
    "28000": _NOT_ADMITTED,
    "28P01": _CREDENTIALS,
    "3D000": _MISSING,
    "42501": _FORBIDDEN,
    "53100": _DISK,
    "53300": _CONNECTIONS_EXHAUSTED,
    "55P03": LOCKED,
    "57014": SILENT,
    "57P01": _STARTING,
    "57P02": _STARTING,
    "57P03": _STARTING,
}
_BY_MESSAGE = (
    ("password authentication failed", _CREDENTIALS),
    ("no password supplied", _CREDENTIALS),
    ("pg_hba.conf", _NOT_ADMITTED),
    ("is not permitted to log in", _NOT_ADMITTED),
    ("authentication failed", _CREDENTIALS),
    ("too many clients", _CONNECTIONS_EXHAUSTED),
    ("too many connections", _CONNECTIONS_EXHAUSTED),
    ("connection slots are reserved", _CONNECTIONS_EXHAUSTED),
    ("the database system is", _STARTING),
    ("is not accepting connections", _STARTING),
    ("session is read-only", _READ_ONLY),
    ("server is in hot standby", _READ_ONLY),
    ("ssl", _TLS),
    ("certificate", _TLS),
    ("connection refused", _REFUSED),
    ("translate host name", _HOST),
    ("resolve host", _HOST),
    ("name or service not known", _HOST),
    ("temporary failure in name resolution", _HOST),
    ("nodename nor servname", _HOST),
    ("no route to host", _UNREACHABLE),
    ("network is unreachable", _UNREACHABLE),
    ("timeout expired", SILENT),
    ("did not answer in time", SILENT),
    ("timed out", SILENT),
)
"""Parts of libpq's messages in lower case, the more specific first: libpq reports failed connections without a code."""
_BY_SQLITE = {
    sqlite3.SQLITE_BUSY: LOCKED,
    sqlite3.SQLITE_LOCKED: LOCKED,
    sqlite3.SQLITE_FULL: _DISK,
    sqlite3.SQLITE_CANTOPEN: _UNWRITABLE,
    sqlite3.SQLITE_READONLY: _UNWRITABLE,
    sqlite3.SQLITE_IOERR: _UNWRITABLE,
    sqlite3.SQLITE_CORRUPT: _CORRUPT,
    sqlite3.SQLITE_NOTADB: _CORRUPT,
    sqlite3.SQLITE_INTERRUPT: SILENT,
}


class DatabaseUnavailable(Unavailable):
    """The database could not execute a request. ``fault`` is for operators; clients learn only that the database is unavailable.

    ``in_doubt``: the change may or may not have been committed.
    """

    def __init__(self, fault: Fault, *, in_doubt: bool = False) -> None:
        detail = "The database is unavailable. Retry in a few seconds."
        if in_doubt:
            detail = "The database did not confirm whether the change was made. Check before you repeat it."
        super().__init__("database_unavailable", detail)
        self.fault = fault
        self.in_doubt = in_doubt


def fault_of(error: BaseException | None) -> Fault | None:
    """Return the class of a driver's error; None for one that is a bug of ours, or a conflict between transactions."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        # The low byte of an extended result code is the primary code.
        return None if code is None else _BY_SQLITE.get(code & 0xFF)
    if not isinstance(error, psycopg.Error):
        return None
    fault = _BY_SQLSTATE.get(error.sqlstate or "")
    # Failed connections are OperationalErrors without an SQLSTATE. Anything else without a class
    # here is a bug of ours and must not be answered as an outage.
    if fault is not None or not isinstance(error, psycopg.OperationalError):
        return fault
    return fault_of_message(str(error))


def fault_of_message(message: str) -> Fault:
    """Return the class of a failed connection, from the client library's message.

    A missing database and a missing role have the same phrase: ``database "x" does not exist``.
    """
    lower = message.lower()
    # libpq uses the phrase for databases and for roles, and only the noun differs.
    if "does not exist" in lower:
        return _MISSING if 'database "' in lower else _CREDENTIALS
    return next((fault for part, fault in _BY_MESSAGE if part in lower), UNKNOWN)
