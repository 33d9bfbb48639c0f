"""The access journal in PostgreSQL: one chain per worker and boot, one round trip per batch."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from itertools import islice
from typing import Any

import psycopg

from hilum.foundation.infra import lanes, postgres
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.kernel.times import to_micros
from hilum.records.audit import encoding, policy
from hilum.records.audit.journal_records import (
    Batch,
    ChainMoved,
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
    Access,
    AccessQuery,
    Head,
    OpenIntent,
    Stream,
)

STREAM_ROWS = 2_000
_SHORT = 10
"""Hex digits of a writer's short name, which keeps cursors and event ids short."""
_TOO_LONG = frozenset({"57014", "55P03"})
"""SQLSTATE query_canceled (statement_timeout) and lock_not_available (lock_timeout)."""
_APPEND = """
WITH chain AS (INSERT INTO access_chain (writer) VALUES (%(writer)s) ON CONFLICT DO NOTHING),
batch AS (SELECT * FROM unnest(%(seqs)s::bigint[], %(ids)s::text[], %(headers)s::bytea[], %(digests)s::bytea[], %(hashes)s::bytea[],
  %(salts)s::bytea[], %(bodies)s::bytea[]) AS r (seq, request_id, header, digest, hash, salt, body)),
record AS (INSERT INTO access_record (writer, seq, request_id, header, digest, hash)
  SELECT %(writer)s, seq, request_id, header, digest, hash FROM batch)
INSERT INTO access_payload (writer, seq, salt, body) SELECT %(writer)s, seq, salt, body FROM batch
"""
_APPEND_WRITES = _APPEND.replace(
    "\nINSERT INTO access_payload",
    """,
opened AS (INSERT INTO access_intent (request_id, writer, seq)
  SELECT request_id, %(writer)s, seq FROM unnest(%(opened_ids)s::text[], %(opened_seqs)s::bigint[]) AS o (request_id, seq)
  ON CONFLICT DO NOTHING),
closed AS (DELETE FROM access_intent WHERE request_id = ANY(%(closed)s::text[]))
INSERT INTO access_payload""",
)
_CLAIM = """
INSERT INTO access_claim (key, request_id, at)
SELECT key, request_id, %(at)s FROM unnest(%(keys)s::bytea[], %(ids)s::text[]) AS c (key, request_id)
ON CONFLICT DO NOTHING
"""
# A waiter here may hold up a whole batch of other records, which have a deadline of 2.5 seconds.
_CLAIM_WAIT_MS = 250
"""Wait for an identical create that another worker is about to commit. Short, because the rest of the batch waits too."""
_EXPIRED = """
DELETE FROM access_claim WHERE key IN (SELECT key FROM access_claim WHERE at < %s FOR UPDATE SKIP LOCKED)
"""
_HOLDERS = """
SELECT wanted.request_id, access_claim.request_id
FROM unnest(%(keys)s::bytea[], %(ids)s::text[]) AS wanted (key, request_id) JOIN access_claim USING (key)
WHERE access_claim.request_id <> wanted.request_id
"""
_OPEN_INTENTS = """
SELECT record.request_id, header, body FROM access_intent JOIN access_record AS record USING (writer, seq)
LEFT JOIN access_payload USING (writer, seq) ORDER BY access_intent.request_id LIMIT %s
"""
_LAST = "SELECT seq, hash FROM access_record WHERE writer = %s ORDER BY seq DESC LIMIT 1"
_WRITERS = """
WITH RECURSIVE met AS (
  (SELECT writer FROM access_record ORDER BY writer LIMIT 1)
  UNION ALL
  SELECT (SELECT writer FROM access_record WHERE writer > met.writer ORDER BY writer LIMIT 1) FROM met WHERE writer IS NOT NULL)
SELECT writer FROM access_chain UNION SELECT writer FROM met WHERE writer IS NOT NULL ORDER BY writer
"""
"""A loose index scan from writer to writer: DISTINCT would read every record."""
_MOVED = """
SELECT chain.writer, last.seq, last.hash
FROM access_chain AS chain LEFT JOIN audit_head AS covered ON covered.chain = 'access/' || chain.writer
CROSS JOIN LATERAL (SELECT seq, hash FROM access_record
  WHERE access_record.writer = chain.writer AND access_record.seq > coalesce(covered.seq, 0) ORDER BY seq DESC LIMIT 1) AS last
"""
"""One index lookup per chain, however many records it has."""
_ENDS = """
SELECT chain.writer, last.seq, last.header
FROM access_chain AS chain LEFT JOIN LATERAL (SELECT seq, header FROM access_record
  WHERE access_record.writer = chain.writer ORDER BY seq DESC LIMIT 1) AS last ON true ORDER BY chain.writer
"""
_CHAIN_ROWS = (
    "SELECT seq, request_id, header, digest, hash, salt, body FROM access_record LEFT JOIN access_payload USING (writer, seq)"
    " WHERE writer = %s ORDER BY seq"
)
_STRETCH = _CHAIN_ROWS.replace("writer = %s ORDER", "writer = %s AND seq > %s ORDER")
_HASH = "SELECT hash FROM access_record WHERE writer = %s AND seq = %s"
_FIND = (
    "SELECT request_id, header, body FROM access_record LEFT JOIN access_payload USING (writer, seq)"
    " WHERE request_id = %s ORDER BY writer, seq"
)
_NEWEST = (
    "SELECT writer, seq, request_id, header, body FROM access_record LEFT JOIN access_payload USING (writer, seq)"
    " ORDER BY request_id DESC"
)
_AT = """
SELECT place.journal, record.seq, record.request_id, record.header, payload.body
FROM unnest(%(journals)s::text[], %(writers)s::text[], %(seqs)s::bigint[]) AS place (journal, writer, seq)
JOIN access_record AS record USING (writer, seq) LEFT JOIN access_payload AS payload USING (writer, seq)
"""
_HEADER = "SELECT seq, header FROM access_record WHERE writer = %s AND seq >= %s ORDER BY seq LIMIT 1"
_AFTER = """
SELECT place.writer, r.seq, r.request_id, r.header, payload.body
FROM unnest(%(writers)s::text[], %(seqs)s::bigint[]) AS place (writer, seq)
CROSS JOIN LATERAL (SELECT seq, request_id, header FROM access_record
  WHERE access_record.writer = place.writer AND access_record.seq > place.seq ORDER BY seq LIMIT %(most)s) AS r
LEFT JOIN access_payload AS payload ON payload.writer = place.writer AND payload.seq = r.seq
ORDER BY place.writer, r.seq
"""
_PROBE = "INSERT INTO access_payload (writer, seq, salt, body) VALUES ('probe', 0, '', %s)"
PROBE_BYTES = 256 * 1024
"""More than the free space of the pages that are there, so that the table must grow."""
_PURGE = (
    "DELETE FROM access_payload WHERE writer = %(writer)s AND seq IN"
    " (SELECT seq FROM access_payload WHERE writer = %(writer)s AND seq < %(end)s LIMIT %(most)s)"
)


class PostgresWriter:
    """The only writer of its chain. Connects when first needed, and again after a failure."""

    def __init__(self, url: str, writer: str) -> None:
        self._url = url
        self.writer = writer
        # None means unknown, as in JournalFile: the next `tip` reads the chain's end from the database.
        self._db: psycopg.Connection[Any] | None = None
        self._last = 0
        self._previous = b""

    def open(self) -> None:
        """Return at once: ``open`` may run on the event loop, and connecting may block. ``tip`` connects."""

    def tip(self) -> bytes:
        """Return the hash that the next record follows. Read again after a failure, since the last batch may or may not have arrived."""
        if self._db is None:
            try:
                # A connection of its own: a journal that waited for a pool would wait behind searches.
                self._db = postgres.connect(self._url, Lane.JOURNAL, autocommit=True)
                row = self._db.execute(_LAST, (self.writer,)).fetchone()
            except psycopg.Error as error:
                raise self._failed() from error
            self._last = row[0] if row else 0
            self._previous = bytes(row[1]) if row else policy.genesis(Stream.ACCESS, self.writer)
        return self._previous

    def append(self, batch: Batch) -> None:
        """Commit a batch durably, in one statement. Raises Unavailable when the database refuses or is away."""
        assert self._db is not None, "tip comes first"
        size = len(batch.request_ids)
        values = {
            "writer": self.writer,
            "seqs": list(range(self._last + 1, self._last + 1 + size)),
            "ids": batch.request_ids,
            "headers": batch.headers,
            "digests": batch.digests,
            "hashes": batch.hashes,
            "salts": batch.salts,
            "bodies": batch.bodies,
        }
        statement = _APPEND
        if batch.opened or batch.closed:
            statement = _APPEND_WRITES
            values |= {
                "opened_ids": [batch.request_ids[at] for at in batch.opened],
                "opened_seqs": [self._last + 1 + at for at in batch.opened],
                "closed": batch.closed,
            }
        try:
            self._db.execute(statement, values)
        except psycopg.errors.UniqueViolation as error:
            # An earlier batch, whose commit was in doubt, arrived after ``tip`` had been read and took these seqs.
            self.close()
            raise ChainMoved from error
        except psycopg.Error as error:
            raise self._failed() from error
        self._last += size
        self._previous = batch.hashes[-1]

    @contextmanager
    def claiming(self, wanted: Mapping[str, bytes], at: datetime) -> Iterator[dict[str, str]]:
        self.tip()
        assert self._db is not None, "tip has connected"
        # Closing the connection rolls back at the server, also where an explicit ROLLBACK could not be sent.
        committed = False
        try:
            yield _claim(self._db, wanted, at)
            self._db.execute("COMMIT")
            committed = True
        except psycopg.Error as error:
            raise self._failed() from error
        finally:
            if not committed:
                self.close()

    def release(self, request_ids: Sequence[str]) -> None:
        self.tip()
        assert self._db is not None, "tip has connected"
        try:
            self._db.execute("DELETE FROM access_claim WHERE request_id = ANY(%s)", (list(request_ids),))
        except psycopg.Error as error:
            raise self._failed() from error

    def _failed(self) -> Unavailable:
        self.close()
        return Unavailable("audit_unavailable", "The audit journal cannot be written.")

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


def probe(url: str) -> None:
    """Insert a large payload and take it back: reading does not show a full disk. Raises psycopg.Error."""
    with postgres.connect(url, Lane.OWN) as db:
        db.execute(_PROBE, (os.urandom(PROBE_BYTES),))
        db.rollback()


class PostgresReader:
    """Reads every access chain of the database while their writers append."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._kept: psycopg.Connection[Any] | None = None

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            # The caller's lane sets the statement timeout.
            with postgres.connect(self._url, lanes.current(Lane.OWN)) as db:
                yield db
        except psycopg.OperationalError as error:
            raise _unread(error) from error

    def heads(self) -> dict[str, Head]:
        with self._connected() as db:
            return {
                f"{Stream.ACCESS}/{writer}": (seq, bytes(hash_).hex())
                for writer, seq, hash_ in db.execute(_MOVED)
            }

    def chains(self) -> Iterator[ChainRows]:
        with self._connected() as db:
            # From the records and not only from access_chain, so
            # that a chain whose row was deleted is still verified.
            for (writer,) in db.execute(_WRITERS).fetchall():
                # A server-side cursor: verification reads millions of rows in constant memory.
                with db.cursor("chain") as cursor:
                    cursor.itersize = STREAM_ROWS
                    rows = (
                        (seq, encoding.covered(request_id, header), digest, stored, salt, body)
                        for seq, request_id, header, digest, stored, salt, body in cursor.execute(
                            _CHAIN_ROWS, (writer,)
                        )
                    )
                    yield ChainRows(f"{Stream.ACCESS}/{writer}", policy.genesis(Stream.ACCESS, writer), rows)

    def stretches(self, since: datetime) -> Iterator[ChainRows]:
        with self._connected() as db:
            for writer, last, header in db.execute(_ENDS).fetchall():
                before = _last_before(db, writer, last, header, since)
                if last is None or before >= last:
                    continue
                held = db.execute(_HASH, (writer, before)).fetchone()
                first = bytes(held[0]) if held else policy.genesis(Stream.ACCESS, writer)
                with db.cursor("stretch") as cursor:
                    cursor.itersize = STREAM_ROWS
                    rows = (
                        (seq, encoding.covered(request_id, header), digest, stored, salt, body)
                        for seq, request_id, header, digest, stored, salt, body in cursor.execute(
                            _STRETCH, (writer, before)
                        )
                    )
                    yield ChainRows(f"{Stream.ACCESS}/{writer}", first, rows)

    def find(self, request_id: str) -> list[Access]:
        with self._connected() as db:
            return [encoding.decode(*row) for row in db.execute(_FIND, (request_id,))]

    def open_intents(self) -> list[OpenIntent]:
        """List open intents, all as possibly alive, because processes on other machines cannot be observed from here."""
        with self._connected() as db:
            rows = db.execute(_OPEN_INTENTS, (OPEN_INTENTS_BOUND,)).fetchall()
        return [OpenIntent(encoding.decode(*row)) for row in rows]

    def forget_intents(self, request_ids: Sequence[str]) -> None:
        """Return at once: recording the settlement has removed the row."""

    def scan(self, query: AccessQuery) -> list[LocatedAccess]:
        with self._connected() as db, db.cursor("newest") as cursor:
            cursor.itersize = STREAM_ROWS
            rows = ((_short(writer), *row) for writer, *row in cursor.execute(_NEWEST))
            return newest_of([islice(matching(rows, query), limit_of(query))], query)

    def at(self, places: Sequence[RecordPosition]) -> list[LocatedAccess]:
        with self._connected() as db:
            writers = {_short(writer): writer for writer in _writers(db)}
            known = [place for place in places if place.journal in writers]
            values = {
                "journals": [place.journal for place in known],
                "writers": [writers[place.journal] for place in known],
                "seqs": [place.number for place in known],
            }
            rows = db.execute(_AT, values).fetchall()
        found = ((journal, seq, encoding.decode(*row)) for journal, seq, *row in rows)
        return [(RecordPosition(access.at, journal, seq), access) for journal, seq, access in found]

    @contextmanager
    def _following(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            # Kept open, since the stream polls five times a second.
            if self._kept is None:
                self._kept = postgres.connect(self._url, Lane.AUDIT, autocommit=True)
            yield self._kept
        except psycopg.Error as error:
            self.close()
            raise _unread(error) from error

    def ends(self) -> Positions:
        with self._following() as db:
            return {_short(writer): seq or 0 for writer, seq, _ in db.execute(_ENDS)}

    def starts(self, moment: datetime) -> Positions:
        with self._following() as db:
            ends = db.execute(_ENDS).fetchall()
            return {
                _short(writer): _last_before(db, writer, last, header, moment)
                for writer, last, header in ends
            }

    def after(self, positions: Positions, most: int) -> NewRecords:
        found: NewRecords = {}
        with self._following() as db:
            writers = _writers(db)
            seqs = [positions.get(_short(writer), 0) for writer in writers]
            for writer, seq, *row in db.execute(_AFTER, {"writers": writers, "seqs": seqs, "most": most}):
                found.setdefault(_short(writer), []).append((seq, encoding.decode(*row)))
        return found

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def purge(self, before: datetime, may_continue: Callable[[], bool] = lambda: True) -> int:
        removed = 0
        with self._connected() as db:
            for (writer,) in db.execute(_WRITERS).fetchall():
                end = _first_at(db, writer, before)
                values = {"writer": writer, "end": end, "most": PURGE_BATCH}
                while may_continue() and (count := db.execute(_PURGE, values).rowcount):
                    # Committed for each batch, so that a purge holds
                    # no lock for longer than a thousand rows take.
                    db.commit()
                    removed += count
        return removed


def _claim(db: psycopg.Connection[Any], wanted: Mapping[str, bytes], at: datetime) -> dict[str, str]:
    """Start a transaction and claim the keys; return the holders of those already claimed. In order of key, to avoid deadlocks."""
    ordered = sorted(wanted.items(), key=lambda item: item[1])
    values = {
        "keys": [key for _, key in ordered],
        "ids": [request_id for request_id, _ in ordered],
        "at": to_micros(at),
    }
    with db.pipeline():  # one round trip
        db.execute("BEGIN")
        db.execute(f"SET LOCAL lock_timeout = {_CLAIM_WAIT_MS}")
        claimed = db.execute(_CLAIM, values)
    if claimed.rowcount == len(wanted):
        return {}
    # Expired claims are deleted only on a conflict, so that the usual case costs one round trip.
    db.execute(_EXPIRED, (to_micros(at - CLAIM_LIFE),))
    db.execute(_CLAIM, values)
    return dict(db.execute(_HOLDERS, values).fetchall())


def _unread(error: psycopg.Error) -> Unavailable:
    # The reader can do something about a slow search, but nothing about an unreachable database.
    if error.sqlstate in _TOO_LONG:
        return Unavailable(
            "audit_read_slow", "The audit search took too long. Add a filter: tenant, app or time."
        )
    return Unavailable("audit_unavailable", "The audit journal cannot be read.")


def _writers(db: psycopg.Connection[Any]) -> list[str]:
    return [writer for (writer,) in db.execute("SELECT writer FROM access_chain ORDER BY writer")]


def _short(writer: str) -> str:
    return sha256(writer.encode()).hexdigest()[:_SHORT]


def _last_before(
    db: psycopg.Connection[Any], writer: str, last: int | None, header: bytes | None, moment: datetime
) -> int:
    """Return the last record before a moment. Needs no query for a writer that ended before it, which most writers did."""
    if last is None or header is None:
        return 0
    return last if encoding.at_of(header) < moment else _first_at(db, writer, moment) - 1


def _first_at(db: psycopg.Connection[Any], writer: str, moment: datetime) -> int:
    """Return the seq of the first record at or after the moment, by binary search."""
    row = db.execute(_LAST, (writer,)).fetchone()
    low, high = 1, (row[0] if row else 0) + 1
    while low < high:
        # Probe the last record first: most writers ended long before the moment, and one probe settles those.
        middle = high - 1 if low == 1 and row and high == row[0] + 1 else (low + high) // 2
        header = db.execute(_HEADER, (writer, middle)).fetchone()
        if header is None or encoding.at_of(header[1]) >= moment:
            high = middle
        else:
            low = int(header[0]) + 1
    return low
