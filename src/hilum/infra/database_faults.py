"""Why a database could not do what was asked: the class of the fault, and what its operator does about it.

Clients are told only that the database is away. Operators read the class in the log, from ``hilum doctor`` and at start-up. Nothing
here repeats what the server said: its words may hold addresses, names and passwords.
"""

import sqlite3
from dataclasses import dataclass

import psycopg

from hilum.kernel.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Fault:
    """``code`` is a stable word, ``what`` and ``next`` are sentences."""

    code: str
    what: str
    next: str


UNKNOWN = Fault(
    "database_unavailable",
    "The database cannot be reached.",
    "Look at HILUM_DATABASE_URL, at the server and at its log.",
)
SILENT = Fault(
    "database_silent",
    "The database did not answer in time.",
    "Look at the server's load and at the network between here and there.",
)
_CREDENTIALS = Fault(
    "database_credentials_refused",
    "The database server refused the user or the password.",
    "Check both in HILUM_DATABASE_URL, and that the server has this role.",
)
_NOT_ADMITTED = Fault(
    "database_not_admitted",
    "The database server admits no connection of this user from this host.",
    "Add a line for it to the server's pg_hba.conf, or connect as that file demands (TLS?).",
)
_MISSING = Fault(
    "database_missing",
    "The server runs, but has no database of this name.",
    "Create it (`createdb`), or correct the name in HILUM_DATABASE_URL.",
)
_REFUSED = Fault(
    "database_port_closed",
    "Nothing listens at the database's address and port.",
    "Start the server, or correct host and port in HILUM_DATABASE_URL.",
)
_HOST = Fault(
    "database_host_unknown",
    "The database's host name has no address.",
    "Correct the host in HILUM_DATABASE_URL, or mend name resolution on this machine.",
)
_UNREACHABLE = Fault(
    "database_host_unreachable",
    "No network path leads to the database's host.",
    "Look at routes and firewalls between here and there.",
)
_FULL_HOUSE = Fault(
    "database_connections_exhausted",
    "The database server has no connection left.",
    "Raise max_connections, or run fewer workers; each needs the connections that the operations guide states.",
)
_TLS = Fault(
    "database_tls_refused",
    "No TLS connection to the database could be agreed on.",
    "Compare sslmode and sslrootcert in HILUM_DATABASE_URL with the server's certificate and its ssl setting.",
)
_STARTING = Fault(
    "database_starting",
    "The database server is starting, stopping or recovering.",
    "Wait until it accepts connections; look at its log if that takes long.",
)
_READ_ONLY = Fault(
    "database_read_only",
    "The database takes no changes: it is a standby, or set to read only.",
    "Point HILUM_DATABASE_URL at the primary, or add target_session_attrs=read-write.",
)
_FORBIDDEN = Fault(
    "database_permission_missing",
    "The database's user may not use Hilum's tables.",
    "Make this user the owner of the database, or connect as its owner.",
)
LOCKED = Fault(
    "database_locked",
    "Another transaction held what this one needed for too long.",
    "If it lasts, look for a session that is idle in a transaction, or another program on the same file.",
)
_DISK = Fault(
    "database_disk_full",
    "The database's disk is full.",
    "Free space; nothing that was answered is lost.",
)
_CORRUPT = Fault(
    "database_damaged",
    "The database's file is damaged, or no database.",
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
    _FULL_HOUSE,
    _TLS,
    _STARTING,
    _READ_ONLY,
    _FORBIDDEN,
    LOCKED,
    _DISK,
    _CORRUPT,
    _UNWRITABLE,
)
_BY_SQLSTATE = {
    "25006": _READ_ONLY,
    "28000": _NOT_ADMITTED,
    "28P01": _CREDENTIALS,
    "3D000": _MISSING,
    "42501": _FORBIDDEN,
    "53100": _DISK,
    "53300": _FULL_HOUSE,
    "55P03": LOCKED,
    "57014": SILENT,
    "57P01": _STARTING,
    "57P02": _STARTING,
    "57P03": _STARTING,
}
_BY_WORDS = (
    ("password authentication failed", _CREDENTIALS),
    ("no password supplied", _CREDENTIALS),
    ("pg_hba.conf", _NOT_ADMITTED),
    ("is not permitted to log in", _NOT_ADMITTED),
    ("authentication failed", _CREDENTIALS),
    ("too many clients", _FULL_HOUSE),
    ("too many connections", _FULL_HOUSE),
    ("connection slots are reserved", _FULL_HOUSE),
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
"""What a failed connection says, in lower case, the more telling first: libpq hands on no code for it."""
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


class DatabaseAway(Unavailable):
    """The database could not do what was asked. ``fault`` is for operators; clients are told no more than that it is away.

    ``in_doubt``: the change may or may not have been made.
    """

    def __init__(self, fault: Fault, *, in_doubt: bool = False) -> None:
        detail = "The database cannot be reached right now."
        if in_doubt:
            detail = "The database did not say whether the change was made; look before you repeat it."
        super().__init__("database_unavailable", detail)
        self.fault = fault
        self.in_doubt = in_doubt


def fault_of(error: BaseException | None) -> Fault | None:
    """Return the class of a driver's error; None for one that is a bug of ours, or another transaction's turn."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        return None if code is None else _BY_SQLITE.get(code & 0xFF)
    if not isinstance(error, psycopg.Error):
        return None
    found = _BY_SQLSTATE.get(error.sqlstate or "")
    if found is not None or not isinstance(error, psycopg.OperationalError):
        return found
    return fault_of_words(str(error))


def fault_of_words(words: str) -> Fault:
    """Return the class of a connection that failed, from what the client library said.

    A missing database and a missing role are told by their shape: ``database "x" does not exist``.
    """
    lower = words.lower()
    if "does not exist" in lower:
        return _MISSING if 'database "' in lower else _CREDENTIALS
    return next((fault for part, fault in _BY_WORDS if part in lower), UNKNOWN)
