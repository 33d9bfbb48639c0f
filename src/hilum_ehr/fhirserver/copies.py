"""Whole files of a server: packed as a template, put over another server's records, and emptied, while others have them open.

Records are replaced in one transaction of SQLite's own backup, so that every process sees all of the old ones or all of the new ones. A file
is never exchanged for another: who has it open would go on with the old one.
"""

import os
import sqlite3
import zlib
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from threading import get_ident

from hilum.kernel.times import to_micros

BUSY_S = 10.0
LEVEL = 1
"""Of the compression: nine times smaller in a fifth of a second."""
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
_APART = 1_000_000
"""Above every number of a parameter."""


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
    """Put the records of a packed file in the place of all that a server has; the server need not exist yet."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # Of its own: of two at once in one process neither writes into the other's.
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
    """Delete all records of a server; nothing if there is none."""
    if not target.exists():
        return
    with closing(_open(target)) as db:
        db.execute("BEGIN IMMEDIATE")
        for statement in _DELETE:
            db.execute(statement)
        db.execute("COMMIT")
        # The space is used again also without it.
        with suppress(sqlite3.OperationalError):
            db.execute("VACUUM")


def holds_records(target: Path) -> bool:
    """Check whether a server has any record, also one that was deleted there."""
    try:
        with closing(_open(target)) as db:
            return db.execute("SELECT 1 FROM resource LIMIT 1").fetchone() is not None
    except sqlite3.OperationalError:
        # Nothing yet in a file that was made just now.
        return False


def count_changed(target: Path, since: datetime) -> int:
    """Return how many records of a server were made, changed or deleted after a moment."""
    asked = "SELECT count(*) FROM resource WHERE updated > ?"
    with closing(_open(target)) as db:
        return int(db.execute(asked, (to_micros(since),)).fetchone()[0])


def _write_private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)


def _renumber(work: Path, target: Path) -> None:
    """Renumber the parameters of a copy as they are in the target: whoever has that open has read them."""
    with closing(_open(target)) as db:
        wanted = dict(_numbers(db))
    with closing(_open(work)) as db:
        found = dict(_numbers(db))
        if all(wanted.get(key) == number for key, number in found.items()):
            _renamed(db, wanted | found)
            return
        top = max([*wanted.values(), *found.values(), 0])
        fresh = {key: top + n for n, key in enumerate(sorted(found.keys() - wanted.keys()), 1)}
        moved = [(found[key], (wanted | fresh)[key]) for key in found]
        db.execute("BEGIN IMMEDIATE")
        for statement in _MOVE:
            # Apart first: a number may be that of another parameter meanwhile.
            db.executemany(statement, [(old + _APART, old) for old, _ in moved])
            db.executemany(statement, [(new, old + _APART) for old, new in moved])
        db.execute("COMMIT")
        _renamed(db, wanted | fresh)


def _renamed(db: sqlite3.Connection, numbers: dict[str, int]) -> None:
    db.execute("BEGIN IMMEDIATE")
    db.execute("DELETE FROM parameter")
    db.executemany("INSERT INTO parameter (key, number) VALUES (?, ?)", numbers.items())
    db.execute("COMMIT")


def _numbers(db: sqlite3.Connection) -> list[tuple[str, int]]:
    # Nothing yet in a file that was made just now.
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'parameter'").fetchone():
        return []
    return db.execute("SELECT key, number FROM parameter").fetchall()
