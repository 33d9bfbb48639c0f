"""Copies whole files of a server while other processes have them open: packs one as a template, replaces a server's records, deletes them.

Records are replaced in one transaction of SQLite's own backup, so that every process sees all of the old ones or all of the new ones. A file
is never replaced by another one: a process that has it open would continue with the old one.
"""

import os
import sqlite3
import zlib
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from threading import get_ident

from hilum.foundation.kernel.times import to_micros

BUSY_S = 10.0
LEVEL = 1
"""The compression level: nine times smaller in a fifth of a second."""
_DELETE = (
    "DELETE FROM resource",
    "DELETE FROM history",
    "DELETE FROM ix_token",
    "DELETE FROM ix_string",
    "DELETE FROM ix_reference",
    "DELETE FROM ix_date",
    "DELETE FROM ix_quantity",
    "DELETE FROM ix_uri",
)
_MOVE = (
    "UPDATE ix_token SET param = ? WHERE param = ?",
    "UPDATE ix_string SET param = ? WHERE param = ?",
    "UPDATE ix_reference SET param = ? WHERE param = ?",
    "UPDATE ix_date SET param = ? WHERE param = ?",
    "UPDATE ix_quantity SET param = ? WHERE param = ?",
    "UPDATE ix_uri SET param = ? WHERE param = ?",
)
_OFFSET = 1_000_000
"""An offset above every parameter's number."""


def pack(source: Path, packed: Path) -> None:
    """Write a compressed copy of a server's file, whole or not at all."""
    packed.parent.mkdir(parents=True, exist_ok=True)
    work = packed.with_suffix(".part")
    work.unlink(missing_ok=True)
    with closing(_open(source)) as db, closing(sqlite3.connect(work)) as copy:
        db.backup(copy)
    content = zlib.compress(work.read_bytes(), LEVEL)
    work.write_bytes(content)
    work.replace(packed)


def unpack_over(packed: Path, target: Path) -> None:
    """Replace all records of a server by those of a packed file. The server's file need not exist yet."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # Named after process and thread, so that two concurrent calls do not share a file.
    work = target.with_suffix(f".{os.getpid()}-{get_ident()}.new")
    try:
        _write_private(work, zlib.decompress(packed.read_bytes()))
        if target.exists():
            _renumber(work, target)
        else:
            _write_private(target, b"")
        with closing(_open(work)) as db, closing(_open(target)) as into:
            db.backup(into)
    finally:
        for each in (work, Path(f"{work}-wal"), Path(f"{work}-shm")):
            each.unlink(missing_ok=True)


def clear(target: Path) -> None:
    """Delete all records of a server; do nothing if it has no file."""
    if not target.exists():
        return
    with closing(_open(target)) as db:
        db.execute("BEGIN IMMEDIATE")
        for statement in _DELETE:
            db.execute(statement)
        db.execute("COMMIT")
        # Optional: without it SQLite reuses the space.
        with suppress(sqlite3.OperationalError):
            db.execute("VACUUM")


def holds_records(target: Path) -> bool:
    """Check whether a server has any record, deleted ones included."""
    try:
        with closing(_open(target)) as db:
            return db.execute("SELECT 1 FROM resource LIMIT 1").fetchone() is not None
    except sqlite3.OperationalError:
        # A new file has no tables yet.
        return False


def count_changed(target: Path, since: datetime) -> int:
    """Count the records of a server that were created, changed or deleted after a moment."""
    query = "SELECT count(*) FROM resource WHERE updated > ?"
    with closing(_open(target)) as db:
        return int(db.execute(query, (to_micros(since),)).fetchone()[0])


def _write_private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)


def _renumber(work: Path, target: Path) -> None:
    """Renumber the parameters of a copy to the numbers that they have in the target, which processes with an open connection have cached."""
    with closing(_open(target)) as db:
        present = dict(_numbers(db))
    with closing(_open(work)) as db:
        copied = dict(_numbers(db))
        if all(present.get(key) == number for key, number in copied.items()):
            _write_numbers(db, present | copied)
            return
        top = max([*present.values(), *copied.values(), 0])
        fresh = {key: top + n for n, key in enumerate(sorted(copied.keys() - present.keys()), 1)}
        moved = [(copied[key], (present | fresh)[key]) for key in copied]
        db.execute("BEGIN IMMEDIATE")
        for statement in _MOVE:
            # In two steps, since a parameter's new number may still be the old one of another.
            db.executemany(statement, [(old + _OFFSET, old) for old, _ in moved])
            db.executemany(statement, [(new, old + _OFFSET) for old, new in moved])
        db.execute("COMMIT")
        _write_numbers(db, present | fresh)


def _write_numbers(db: sqlite3.Connection, numbers: dict[str, int]) -> None:
    db.execute("BEGIN IMMEDIATE")
    db.execute("DELETE FROM parameter")
    db.executemany("INSERT INTO parameter (key, number) VALUES (?, ?)", numbers.items())
    db.execute("COMMIT")


def _numbers(db: sqlite3.Connection) -> list[tuple[str, int]]:
    # A new file has no tables yet.
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'parameter'").fetchone():
        return []
    return db.execute("SELECT key, number FROM parameter").fetchall()
