"""The access journal in SQLite files: one file per worker slot, one chain per boot, all chains of a file linked to each other."""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from itertools import islice
from pathlib import Path

from hilum.foundation.kernel.errors import Unavailable
from hilum.records.audit import encoding, policy
from hilum.records.audit.journal_records import (
    Batch,
    ChainRows,
    LocatedAccess,
    NewRecords,
    Positions,
    RecordPosition,
    limit_of,
    matching,
    newest_of,
)
from hilum.records.audit.models import (
    CLAIM_LIFE,
    OPEN_INTENTS_BOUND,
    PURGE_BATCH,
    SLOTS_BOUND,
    Access,
    AccessQuery,
    Head,
    OpenIntent,
    Stream,
)

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS chain (first INTEGER PRIMARY KEY, writer TEXT NOT NULL UNIQUE)",
    """CREATE TABLE IF NOT EXISTS record (id INTEGER PRIMARY KEY, request_id TEXT NOT NULL, header BLOB NOT NULL,
    digest BLOB NOT NULL, hash BLOB NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS record_request ON record (request_id)",
    "CREATE TABLE IF NOT EXISTS payload (id INTEGER PRIMARY KEY, salt BLOB NOT NULL, body BLOB NOT NULL)",
    """CREATE TABLE IF NOT EXISTS intent (request_id TEXT PRIMARY KEY, id INTEGER NOT NULL, dead INTEGER NOT NULL DEFAULT 0)
    WITHOUT ROWID""",
)
"""``intent`` lists the writes of this file without an outcome. It is only an index: the chain is the record."""
# WITHOUT ROWID: one B-tree instead of two, for rows that live for the length of one request.
_CLAIMS = "CREATE TABLE IF NOT EXISTS claim (key BLOB PRIMARY KEY, request_id TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID"
"""In one file for all workers of the machine, since an identical create may arrive at any of them."""
BUSY_MS = 2_500
"""Wait for another connection's lock on a day's file."""
CLAIMS_BUSY_MS = 1_000
"""Wait for another worker's commit of a create. Shorter than ``JOURNAL_DEADLINE``, because the rest of the batch waits too."""
WAL_PAGES = 1_000
"""Pages of the write-ahead log at which a commit copies them into the file, and all records of that commit wait: 4 MB take some 8 ms, and 16 MB 20."""
# Without an adapter of their own, the driver looks in vain for one at each value of bytes: 0.2 us, and five of a record.
sqlite3.register_adapter(bytes, bytes)
_ROWS = 64
"""The most rows of one INSERT.

As few statements as possible: sqlite3 releases the interpreter's lock at each, and getting it back may wait for the event loop.
"""
_RECORD, _RECORDS = "(?,?,?,?,?)", "INSERT INTO record VALUES "
_PAYLOAD, _PAYLOADS = "(?,?,?)", "INSERT INTO payload VALUES "
_INSERT_RECORDS = {n: _RECORDS + ",".join([_RECORD] * n) for n in range(1, _ROWS + 1)}
_INSERT_PAYLOADS = {n: _PAYLOADS + ",".join([_PAYLOAD] * n) for n in range(1, _ROWS + 1)}
_LAST = "SELECT id, hash FROM record ORDER BY id DESC LIMIT 1"
_HASH = "SELECT hash FROM record WHERE id = ?"
_HEADER = "SELECT id, header FROM record WHERE id >= ? ORDER BY id LIMIT 1"
_CHAIN_ROWS = """
SELECT record.id, CAST(request_id AS TEXT), CAST(header AS BLOB), CAST(digest AS BLOB), CAST(hash AS BLOB),
  CAST(salt AS BLOB), CAST(body AS BLOB)
FROM record LEFT JOIN payload USING (id) WHERE record.id BETWEEN ? AND ? ORDER BY record.id
"""
"""The casts are for tampered files: SQLite accepts any type in any column."""
_FIND = """
SELECT request_id, CAST(header AS BLOB), CAST(body AS BLOB) FROM record LEFT JOIN payload USING (id)
WHERE request_id = ? ORDER BY record.id
"""
_NEWEST = """
SELECT record.id, request_id, CAST(header AS BLOB), CAST(body AS BLOB) FROM record LEFT JOIN payload USING (id)
ORDER BY record.id DESC
"""
_AT = """
SELECT record.id, request_id, CAST(header AS BLOB), CAST(body AS BLOB) FROM record LEFT JOIN payload USING (id)
WHERE record.id = ?
"""
_AFTER = """
SELECT record.id, request_id, CAST(header AS BLOB), CAST(body AS BLOB) FROM record LEFT JOIN payload USING (id)
WHERE record.id > ? ORDER BY record.id LIMIT ?
"""
_OPEN_INTENTS = """
SELECT record.request_id, CAST(header AS BLOB), CAST(body AS BLOB), dead
FROM intent JOIN record USING (id) LEFT JOIN payload USING (id) ORDER BY record.id LIMIT ?
"""
_CLAIM = "INSERT OR IGNORE INTO claim VALUES (?, ?, ?)"
_PURGE = "DELETE FROM payload WHERE id IN (SELECT id FROM payload WHERE id < ? LIMIT ?)"


class JournalFile:
    """The only writer of a slot's file. Claims the first free slot of the directory, so a restart continues in the same file.

    The directory must be local to this machine: slots are claimed by ``flock``. ``writer`` is unique per process and boot, so that
    every boot has its own chain.
    """

    def __init__(self, directory: Path, writer: str) -> None:
        self._directory = directory
        self.writer = writer
        # None means unknown: after a failure nobody knows whether
        # the last commit arrived, so the end is read again.
        self._previous: bytes | None = None
        self._last, self._begun, self._lock = 0, False, -1
        self._opened: sqlite3.Connection | None = None
        self._claims: sqlite3.Connection | None = None
        self.path: Path | None = None

    def open(self) -> None:
        """Claim a slot and read the end of its file. Raises Unavailable; then no slot is kept."""
        try:
            self._open()
        except Unavailable:
            self.close()
            raise

    def _open(self) -> None:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._lock, self.path = _claim(self._directory)
            self._opened = _open_for_writing(self.path)
            # The lock of the slot is held, so whatever intents
            # are in the file belong to a process that has ended.
            self._db.execute("UPDATE intent SET dead = 1")
            self._claim_open()
        except (OSError, sqlite3.Error) as error:
            raise Unavailable("audit_unavailable", "The audit journal cannot be opened.") from error
        self.tip()

    @property
    def _db(self) -> sqlite3.Connection:
        assert self._opened is not None, "open comes first"
        return self._opened

    def tip(self) -> bytes:
        """Return the hash that the next record follows; read from the file at start and after a failure. Raises Unavailable."""
        if self._previous is None:
            try:
                self._previous = self._read_tip()
            except sqlite3.Error as error:
                raise Unavailable("audit_unavailable", "The audit journal cannot be read.") from error
        return self._previous

    def _read_tip(self) -> bytes:
        self._roll_back()
        row = self._db.execute(_LAST).fetchone()
        self._last = int(row[0]) if row else 0
        last_hash = bytes(row[1]) if row else b""
        chain = self._db.execute("SELECT writer FROM chain ORDER BY first DESC LIMIT 1").fetchone()
        # A boot has a chain of its own, which begins at the hash
        # of the one before: the file as a whole is one chain.
        self._begun = chain is not None and chain[0] == self.writer
        return last_hash if self._begun else policy.genesis(Stream.ACCESS, self.writer, last_hash)

    def append(self, batch: Batch) -> None:
        """Commit a batch durably. Raises Unavailable when the disk refuses; the next ``tip`` then reads the end of the file again."""
        first, size = self._last + 1, len(batch.request_ids)
        try:
            # IMMEDIATE, because a transaction that begins by reading cannot wait for the lock when it comes
            # to write (SQLITE_BUSY at once).
            self._db.execute("BEGIN IMMEDIATE")
            if not self._begun:
                self._db.execute("INSERT INTO chain VALUES (?, ?)", (first, self.writer))
            for start in range(0, size, _ROWS):
                self._insert(batch, first, start, min(_ROWS, size - start))
            for at in batch.opened:
                self._db.execute(
                    "INSERT OR REPLACE INTO intent (request_id, id) VALUES (?, ?)",
                    (batch.request_ids[at], first + at),
                )
            for request_id in batch.closed:
                self._db.execute("DELETE FROM intent WHERE request_id = ?", (request_id,))
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._previous = None
            self._roll_back()
            raise Unavailable("audit_unavailable", "The audit journal cannot be written.") from error
        self._begun = True
        self._last += size
        self._previous = batch.hashes[-1]

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            with suppress(sqlite3.Error):  # _read_tip rolls back again before the next batch
                self._db.execute("ROLLBACK")

    def _insert(self, batch: Batch, first: int, start: int, size: int) -> None:
        records: list[object] = []
        payloads: list[object] = []
        for n in range(start, start + size):
            records += (
                first + n,
                batch.request_ids[n],
                batch.headers[n],
                batch.digests[n],
                batch.hashes[n],
            )
            payloads += (first + n, batch.salts[n], batch.bodies[n])
        self._db.execute(_INSERT_RECORDS[size], records)
        self._db.execute(_INSERT_PAYLOADS[size], payloads)

    def _claim_open(self) -> None:
        """Restore the claims of open creates, which a power cut may have lost: of every slot, since fewer workers may start after it."""
        if not self._open_creates():
            return
        with self._claims_held() as claims:
            # Read again: while the claims are held, a create that is open at a worker beside this one has its claim,
            # and one that was answered meanwhile is not open any more.
            for key, intent in self._open_creates():
                claims.execute(_CLAIM, (key, intent.request_id, _seconds(intent.at)))

    def _open_creates(self) -> list[tuple[bytes, Access]]:
        """Return the open creates of all slots, each with the key of its claim."""
        found = _open_creates(self._db)
        for path in sorted(set(self._directory.glob("access-*.db")) - {self.path}):
            # A damaged file of another slot keeps no worker from starting; the verification names it.
            with suppress(sqlite3.Error), closing(_open_for_reading(path)) as db:
                found += _open_creates(db)
        return found

    @contextmanager
    def claiming(self, wanted: Mapping[str, bytes], at: datetime) -> Iterator[dict[str, str]]:
        held: dict[str, str] = {}
        # The next claim deletes expired ones; the index on `at` makes that cheap.
        with self._claims_held() as claims:
            claims.execute("DELETE FROM claim WHERE at < ?", (_seconds(at - CLAIM_LIFE),))
            for request_id, key in wanted.items():
                if claims.execute(_CLAIM, (key, request_id, _seconds(at))).rowcount != 1:
                    (holder,) = claims.execute(
                        "SELECT request_id FROM claim WHERE key = ?", (key,)
                    ).fetchone()
                    # If equal, it is our own claim, restored by `_claim_open` or kept from a commit in doubt.
                    if holder != request_id:
                        held[request_id] = holder
            # Two files cannot commit together. The claims stay uncommitted until the intents are durable; if the process dies between
            # the two commits, ``_claim_open`` restores the claims at the next start.
            yield held

    def release(self, request_ids: Sequence[str]) -> None:
        with self._claims_held() as claims:
            for request_id in request_ids:
                claims.execute("DELETE FROM claim WHERE request_id = ?", (request_id,))

    @contextmanager
    def _claims_held(self) -> Iterator[sqlite3.Connection]:
        committed = False
        try:
            # Opened with the first create: most workers of a read-only installation never need it.
            if self._claims is None:
                self._claims = _open_claims(self._directory)
            self._claims.execute("BEGIN IMMEDIATE")
            yield self._claims
            self._claims.execute("COMMIT")
            committed = True
        except sqlite3.Error as error:
            raise Unavailable(
                "audit_unavailable", "The claims of the audit journal cannot be written."
            ) from error
        finally:
            if not committed:
                self._close_claims()

    def _close_claims(self) -> None:
        if self._claims is not None:
            self._claims.close()
            self._claims = None

    def close(self) -> None:
        self._close_claims()
        if self._lock >= 0:
            if self._opened is not None:
                self._opened.close()
                self._opened = None
            os.close(self._lock)
            self._lock = -1


def _claim(directory: Path) -> tuple[int, Path]:
    # flock ends with the process, however it ends, so a killed worker leaves no slot behind.
    for slot in range(SLOTS_BOUND):
        lock = os.open(directory / f"access-{slot}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        return lock, directory / f"access-{slot}.db"
    raise Unavailable(
        "audit_unavailable",
        f"All {SLOTS_BOUND} slots of the audit journal are in use on this machine. Run fewer workers.",
    )


def _open_for_writing(path: Path) -> sqlite3.Connection:
    # Module for the INSERTs of every length.
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=4 * _ROWS)
    for pragma in (
        f"busy_timeout={BUSY_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        f"wal_autocheckpoint={WAL_PAGES}",
    ):
        db.execute(f"PRAGMA {pragma}")
    for statement in _SCHEMA:
        db.execute(statement)
    return db


def _open_claims(directory: Path) -> sqlite3.Connection:
    """Open the claims. ``synchronous=NORMAL`` survives a killed process but not a power cut, after which ``_claim_open`` restores them."""
    db = sqlite3.connect(directory / "claims.db", isolation_level=None, check_same_thread=False)
    for pragma in (f"busy_timeout={CLAIMS_BUSY_MS}", "journal_mode=WAL", "synchronous=NORMAL"):
        db.execute(f"PRAGMA {pragma}")
    db.execute(_CLAIMS)
    db.execute("CREATE INDEX IF NOT EXISTS claim_request ON claim (request_id)")
    db.execute("CREATE INDEX IF NOT EXISTS claim_at ON claim (at)")
    return db


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _open_creates(db: sqlite3.Connection) -> list[tuple[bytes, Access]]:
    found = []
    for *row, _ in db.execute(_OPEN_INTENTS, (OPEN_INTENTS_BOUND,)):
        # Nor does a record that somebody edited: it is left out, and the verification names it too.
        with suppress(ValueError, TypeError, LookupError):
            intent = encoding.decode(*row)
            if key := policy.claim_key(intent):
                found.append((key, intent))
    return found


def _open_for_reading(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    db.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    return db


class FileReader:
    """Reads every journal file of a directory while their writers append."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _files(self) -> Iterator[sqlite3.Connection]:
        for _, db in self._slots():
            yield db

    def _slots(self) -> Iterator[tuple[str, sqlite3.Connection]]:
        for path in sorted(self._directory.glob("access-*.db")):
            with closing(_open_for_reading(path)) as db:
                # A file that is being created has no tables yet.
                if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'payload'").fetchone():
                    yield path.stem.partition("-")[2], db

    def heads(self) -> dict[str, Head]:
        found: dict[str, Head] = {}
        with _readable():
            for db in self._files():
                for writer, first, last in _chains(db):
                    if row := db.execute(_HASH, (last,)).fetchone():
                        found[_name(writer)] = (last - first + 1, bytes(row[0]).hex())
        return found

    def chains(self) -> Iterator[ChainRows]:
        for db in self._files():
            after, next_first = b"", 1
            chains = _chains(db)
            for writer, first, last in chains:
                fault = (
                    "" if first == next_first else f"begins at record {first} of its file, not {next_first}"
                )
                rows = _rows(db, first, last)
                genesis = policy.genesis(Stream.ACCESS, writer, after)
                yield ChainRows(_name(writer), genesis, rows, last - first + 1, fault)
                after, next_first = _hash_of(db, last), last + 1
            if not chains and db.execute(_LAST).fetchone():
                yield ChainRows("access", b"", iter(()), 0, "a file holds records of no chain")

    def stretches(self, since: datetime) -> Iterator[ChainRows]:
        with _readable():
            for db in self._files():
                low, after = _first_at(db, since), b""
                for writer, first, last in _chains(db):
                    if last >= low:
                        before = policy.genesis(Stream.ACCESS, writer, after)
                        if low > first:
                            before = _hash_of(db, low - 1)
                        rows = _rows(db, max(first, low), last, first - 1)
                        yield ChainRows(_name(writer), before, rows)
                    after = _hash_of(db, last)

    def find(self, request_id: str) -> list[Access]:
        with _readable():
            return [encoding.decode(*row) for db in self._files() for row in db.execute(_FIND, (request_id,))]

    def open_intents(self) -> list[OpenIntent]:
        found: list[OpenIntent] = []
        with _readable():
            for db in self._files():
                # Files of releases before intents were recorded.
                if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'intent'").fetchone():
                    continue
                for *row, dead in db.execute(_OPEN_INTENTS, (OPEN_INTENTS_BOUND,)):
                    found.append(OpenIntent(encoding.decode(*row), bool(dead)))
            # A settlement is recorded by the job's own journal, in another file than the intent.
            closed = self._closed([each.intent.request_id for each in found])
        found.sort(key=lambda each: each.intent.at)
        return [each for each in found if each.intent.request_id not in closed][:OPEN_INTENTS_BOUND]

    def _closed(self, request_ids: Sequence[str]) -> set[str]:
        """Return which of these requests have an outcome in any file; opens each file once."""
        if not request_ids:
            return set()
        return {
            request_id
            for db in self._files()
            for request_id in request_ids
            if any(policy.closes(encoding.decode(*row)) for row in db.execute(_FIND, (request_id,)))
        }

    def forget_intents(self, request_ids: Sequence[str]) -> None:
        with _readable():
            for path in sorted(self._directory.glob("access-*.db")):
                # Beside the file's own writer; SQLite's lock serializes the two.
                with closing(_open_for_writing(path)) as db:
                    for request_id in request_ids:
                        db.execute("DELETE FROM intent WHERE request_id = ?", (request_id,))

    def scan(self, query: AccessQuery) -> list[LocatedAccess]:
        limit = limit_of(query)
        with _readable():
            pages = [
                list(islice(matching(((slot, *row) for row in db.execute(_NEWEST)), query), limit))
                for slot, db in self._slots()
            ]
        return newest_of(pages, query)

    def at(self, places: Sequence[RecordPosition]) -> list[LocatedAccess]:
        with _readable():
            return [
                (place, encoding.decode(*row[1:]))
                for slot, db in self._slots()
                for place in places
                if place.journal == slot and (row := db.execute(_AT, (place.number,)).fetchone())
            ]

    def ends(self) -> Positions:
        with _readable():
            return {slot: int((db.execute(_LAST).fetchone() or (0,))[0]) for slot, db in self._slots()}

    def starts(self, moment: datetime) -> Positions:
        with _readable():
            return {slot: _first_at(db, moment) - 1 for slot, db in self._slots()}

    def after(self, positions: Positions, most: int) -> NewRecords:
        found: NewRecords = {}
        with _readable():
            for slot, db in self._slots():
                if rows := db.execute(_AFTER, (positions.get(slot, 0), most)).fetchall():
                    found[slot] = [(number, encoding.decode(*row)) for number, *row in rows]
        return found

    def close(self) -> None:
        """Return at once: each call opens and closes its own files."""

    def purge(self, before: datetime, may_continue: Callable[[], bool] = lambda: True) -> int:
        removed = 0
        for path in sorted(self._directory.glob("access-*.db")):
            with closing(_open_for_writing(path)) as db:
                # Records are in order of time within a file, so a
                # purge deletes a range of ids and reads no payload.
                end = _first_at(db, before)
                while may_continue() and (count := db.execute(_PURGE, (end, PURGE_BATCH)).rowcount):
                    removed += count
        return removed


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise Unavailable("audit_unavailable", "The audit journal cannot be read.") from error


def _name(writer: str) -> str:
    return f"{Stream.ACCESS}/{writer}"


def _chains(db: sqlite3.Connection) -> list[tuple[str, int, int]]:
    """List writer, first and last record id of each chain: a chain ends where the next begins."""
    starts = [(str(w), int(f)) for w, f in db.execute("SELECT writer, first FROM chain ORDER BY first")]
    row = db.execute(_LAST).fetchone()
    ends = [first - 1 for _, first in starts[1:]] + [int(row[0]) if row else 0]
    return [(writer, first, last) for (writer, first), last in zip(starts, ends, strict=False)]


def _rows(db: sqlite3.Connection, first: int, last: int, offset: int = -1) -> Iterator[policy.Row]:
    """Yield records of a chain, numbered as within it. ``offset``: the record before the chain, if it does not begin with ``first``."""
    offset = first - 1 if offset < 0 else offset
    for number, request_id, header, digest, stored, salt, body in db.execute(_CHAIN_ROWS, (first, last)):
        yield number - offset, request_id.encode() + b"\n" + header, digest, stored, salt, body


def _hash_of(db: sqlite3.Connection, number: int) -> bytes:
    row = db.execute(_HASH, (number,)).fetchone()
    return bytes(row[0]) if row else b""


def _first_at(db: sqlite3.Connection, moment: datetime) -> int:
    """Return the id of the first record at or after the moment, by binary search: records are in order of time."""
    row = db.execute(_LAST).fetchone()
    low, high = 1, (int(row[0]) if row else 0) + 1
    while low < high:
        middle = (low + high) // 2
        row = db.execute(_HEADER, (middle,)).fetchone()
        if row is None or encoding.at_of(row[1]) >= moment:
            high = middle
        else:
            low = int(row[0]) + 1
    return low
