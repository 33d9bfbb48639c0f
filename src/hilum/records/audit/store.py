"""Tables and rows of the control stream, checkpoints, holds, and (in PostgreSQL) the access journal."""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Select,
    String,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    desc,
    func,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import DBAPIError

from hilum.foundation.infra.db import (
    OWN_CHAIN,
    TIPS,
    Instant,
    in_batches,
    insert_or_ignore,
    is_unavailable,
    metadata,
)
from hilum.foundation.infra.postgres import QUEUED
from hilum.foundation.infra.prepared_statements import (
    PreparedStatement,
    prepare_insert,
    prepare_insert_or_ignore,
)
from hilum.foundation.infra.sorting import by_key
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.foundation.kernel.times import from_micros, to_micros
from hilum.records.audit import policy
from hilum.records.audit.models import (
    PURGE_ACTION,
    PURGE_BATCH,
    Checkpoint,
    Head,
    Hold,
    RecordedEvent,
    Stream,
)

THIN_BATCH = 1_000
"""Old checkpoints that are looked at in one transaction."""
STREAM_BATCH = 1_000

# One row for each writer: an append locks and updates it, and never searches the events for the last one.
audit_chain = Table(
    "audit_chain",
    metadata,
    Column("writer", String(128), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
)

_WORDS = (
    "actor",
    "action",
    "outcome",
    "tenant",
    "app",
    "client",
    "person",
    "launch",
    "authorization",
    "reason",
    "request_id",
    "source",
    "correlation_id",
)
"""Fields of an event's header, in order: the chain covers them, so the order is fixed."""

audit_event = Table(
    "audit_event",
    metadata,
    Column("writer", String(128), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at", Instant, nullable=False, index=True),
    *(Column(word, Text, nullable=False) for word in _WORDS),
    Column("digest", LargeBinary(32), nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    PrimaryKeyConstraint("writer", "seq"),
    Index("ix_audit_event_request", "request_id"),
    Index("ix_audit_event_tenant", "tenant", "at"),
    Index("ix_audit_event_app", "app", "at"),
    Index("ix_audit_event_app_action", "app", "action", "at"),
    Index("ix_audit_event_action", "action", "at"),
    Index("ix_audit_event_launch", "launch"),
    Index("ix_audit_event_authorization", "authorization"),
)

audit_payload = Table(
    "audit_payload",
    metadata,
    Column("writer", String(128), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at", Instant, nullable=False, index=True),
    Column("kind", String(64), nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("writer", "seq"),
)
"""``kind`` is the class it is purged by: the module that the action begins with."""

audit_hold = Table(
    "audit_hold",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(32), nullable=False),
    Column("app", String(64), nullable=False),
    Column("patient", String(64), nullable=False),
    Column("since", Instant, nullable=False),
    Column("reason", String(500), nullable=False),
    Column("placed_by", String(128), nullable=False),
    Column("placed_at", Instant, nullable=False),
    Column("released_by", String(128), nullable=False),
    Column("released_at", Instant),
)

audit_checkpoint = Table(
    "audit_checkpoint",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("heads", JSON, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("kid", String(64), nullable=False),
    Column("signature", String(128), nullable=False),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("chain", String(192), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
)
"""The latest checkpointed head of every chain, so that a checkpoint states only changes. A cache: the checkpoints are the proof."""

access_chain = Table(
    "access_chain",
    metadata,
    Column("writer", String(128), primary_key=True),
)

access_record = Table(
    "access_record",
    metadata,
    Column("writer", String(128), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("header", LargeBinary, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    PrimaryKeyConstraint("writer", "seq"),
    Index("ix_access_record_request", "request_id"),
)

access_payload = Table(
    "access_payload",
    metadata,
    Column("writer", String(128), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("writer", "seq"),
)

access_intent = Table(
    "access_intent",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("writer", String(128), nullable=False),
    Column("seq", BigInteger, nullable=False),
)
"""Writes without a recorded outcome. Only an index: the chains are the record."""

access_claim = Table(
    "access_claim",
    metadata,
    Column("key", LargeBinary(32), primary_key=True),
    Column("request_id", String(64), nullable=False),
    Column("at", Instant, nullable=False, index=True),
    Index("ix_access_claim_request", "request_id"),
)
"""Creates whose app may not have received the answer yet, by ``policy.claim_key``: no two of them may share a key."""

_NEXT = PreparedStatement(
    update(audit_chain)
    .where(audit_chain.c.writer == bindparam("of_writer"))
    .values(seq=audit_chain.c.seq + 1)
    .returning(audit_chain.c.seq, audit_chain.c.hash),
    audit_chain.c.seq,
    audit_chain.c.hash,
)
_LINK = PreparedStatement(
    update(audit_chain).where(audit_chain.c.writer == bindparam("of_writer")).values(hash=bindparam("new"))
)
_ADD_CHAIN = prepare_insert_or_ignore(audit_chain)
_ADD_PAYLOAD = prepare_insert(audit_payload)
_ADD_EVENT = prepare_insert(audit_event)


# An editor of the database may store any value; verification must report it and continue.
UNREADABLE = (TypeError, ValueError, ArithmeticError, AttributeError, DBAPIError, sqlite3.Error)
"""Errors of reading a tampered row; also raised when the database is unreachable."""


def is_unreachable(error: Exception) -> bool:
    """Check whether a read failed because the database is unreachable, not because of its content."""
    return is_unavailable(getattr(error, "orig", error))


_APPEND = """
WITH moved AS (UPDATE audit_chain SET seq = %(seq)s, hash = %(hash)s
  WHERE writer = %(writer)s AND seq = %(before)s AND hash = %(previous)s RETURNING 1),
event AS (INSERT INTO audit_event (writer, seq, at, {words}, digest, hash)
  VALUES (%(writer)s, %(seq)s, %(at)s, {values}, %(digest)s, %(hash)s)){payload}
SELECT 1 / count(*) FROM moved
""".replace("{words}", ", ".join(f'"{word}"' for word in _WORDS)).replace(
    "{values}", ", ".join(f"%({word})s" for word in _WORDS)
)
"""Append at the cached end. If the chain ends elsewhere, ``moved`` is empty, 1 / 0 raises, and the transaction fails."""
_APPEND_BARE = _APPEND.replace("{payload}", "")
_APPEND_WITH_PAYLOAD = _APPEND.replace(
    "{payload}",
    """,
payload AS (INSERT INTO audit_payload (writer, seq, at, kind, salt, body)
  VALUES (%(writer)s, %(seq)s, %(at)s, %(kind)s, %(salt)s, %(body)s))""",
)


def append(tx: Connection, recorded: RecordedEvent, salt: bytes) -> None:
    """Append an event to its writer's chain. The chain's row is locked until commit, so that no two records follow the same one.

    On PostgreSQL, if the connection has cached the chain's end from its last commit, the statement is sent with the commit.
    """
    writer = recorded.writer
    # With the end of the chain cached by the connection, the event goes out in the same round trip as COMMIT.
    tip = tx.info.get(TIPS, {}).get(writer)
    if tip is not None:
        _append_later(tx, recorded, salt, tip)
        return
    # UPDATE ... RETURNING locks the row and reads it in one
    # statement, so two events cannot follow the same record.
    row = _NEXT.first(tx, {"of_writer": writer})
    if row is None:
        _ADD_CHAIN.count(tx, {"writer": writer, "seq": 0, "hash": policy.genesis(Stream.CONTROL, writer)})
        row = _NEXT.first(tx, {"of_writer": writer})
    assert row is not None, "the chain was begun"
    seq, previous = int(row["seq"]), bytes(row["hash"])
    event = recorded.event
    words = _words(recorded)
    digest = policy.NO_PAYLOAD
    if event.facts or event.patient:
        body = orjson.dumps([event.patient, event.facts], default=str)
        digest = policy.payload_digest(salt, body)
        kind = event.action.partition(".")[0]
        payload = {
            "writer": writer,
            "seq": seq,
            "at": recorded.at,
            "kind": kind,
            "salt": salt,
            "body": body,
        }
        _ADD_PAYLOAD.count(tx, payload)
    new = policy.link(previous, digest, _header(recorded.at, words))
    values = {"writer": writer, "seq": seq, "at": recorded.at, "digest": digest, "hash": new}
    _ADD_EVENT.count(tx, values | dict(zip(_WORDS, words, strict=True)))
    _LINK.count(tx, {"of_writer": writer, "new": new})
    # Only a chain that no other connection writes may be cached.
    if tx.info.get(OWN_CHAIN) == writer:
        tx.info.setdefault(TIPS, {})[writer] = (seq, new)


def _append_later(tx: Connection, recorded: RecordedEvent, salt: bytes, tip: tuple[int, bytes]) -> None:
    event, writer, (before, previous) = recorded.event, recorded.writer, tip
    words = _words(recorded)
    at = to_micros(recorded.at)
    values: dict[str, Any] = dict(zip(_WORDS, words, strict=True))
    values |= {"writer": writer, "seq": before + 1, "before": before, "previous": previous, "at": at}
    values["digest"] = policy.NO_PAYLOAD
    statement = _APPEND_BARE
    if event.facts or event.patient:
        statement = _APPEND_WITH_PAYLOAD
        body = orjson.dumps([event.patient, event.facts], default=str)
        values |= {"kind": event.action.partition(".")[0], "salt": salt, "body": body}
        values["digest"] = policy.payload_digest(salt, body)
    values["hash"] = policy.link(previous, values["digest"], _header(recorded.at, words))
    tx.info[QUEUED].append((statement, values))
    # If the transaction rolls back, infra.db drops the cached ends.
    tx.info[TIPS][writer] = (before + 1, values["hash"])


def _words(recorded: RecordedEvent) -> list[str]:
    event = recorded.event
    return [
        recorded.actor,
        event.action,
        event.outcome.value,
        event.tenant,
        event.app,
        event.client,
        event.person,
        event.launch,
        event.authorization,
        event.reason,
        recorded.request_id,
        recorded.source,
        recorded.correlation_id,
    ]


def header_of(row: RowMapping) -> bytes:
    """Return the header of a stored event, rebuilt from its columns."""
    return _header(row["at"], [row[word] for word in _WORDS])


def _header(at: datetime, words: list[str]) -> bytes:
    return orjson.dumps([to_micros(at), *words])


def with_payload() -> Select[Any]:
    event, payload = audit_event, audit_payload
    joined = event.outerjoin(payload, and_(event.c.writer == payload.c.writer, event.c.seq == payload.c.seq))
    return select(*event.c, payload.c.salt, payload.c.body).select_from(joined)


def control_heads(tx: Connection) -> dict[str, Head]:
    rows = tx.execute(select(audit_chain))
    return {f"{Stream.CONTROL}/{row.writer}": (int(row.seq), bytes(row.hash).hex()) for row in rows}


def moved_control_heads(tx: Connection) -> dict[str, Head]:
    """Return the heads of control chains that no checkpoint states yet. A covered chain costs one row of a join."""
    # Joined with the covered heads: SELECT DISTINCT over
    # events took 461 ms at three million rows, each second.
    chain, covered = audit_chain, audit_head
    name = literal(f"{Stream.CONTROL}/") + chain.c.writer
    found = (
        select(chain)
        .select_from(chain.outerjoin(covered, covered.c.chain == name))
        .where(chain.c.seq > func.coalesce(covered.c.seq, 0))
    )
    return {
        f"{Stream.CONTROL}/{row.writer}": (int(row.seq), bytes(row.hash).hex()) for row in tx.execute(found)
    }


def control_rows(tx: Connection, writer: str) -> Iterator[policy.Row]:
    """Stream one control chain in order. Each header is rebuilt from the row's columns, so that an edit of any column is detected."""
    found = with_payload().where(audit_event.c.writer == writer).order_by(audit_event.c.seq)
    with tx.execute(found.execution_options(yield_per=STREAM_BATCH)) as rows:
        for row in rows.mappings():
            header = header_of(row)
            yield int(row["seq"]), header, bytes(row["digest"]), bytes(row["hash"]), row["salt"], row["body"]


def control_writers(tx: Connection) -> list[str]:
    """List the writers of heads and of events, so that a chain whose head was removed is verified too."""
    named = select(audit_chain.c.writer).union(select(audit_event.c.writer).distinct())
    return sorted(tx.execute(named).scalars())


def purge_control(tx: Connection, kind: str, before: datetime) -> int:
    """Remove up to PURGE_BATCH payloads of the class; the chain keeps their digests."""
    table = audit_payload
    old = (
        select(table.c.writer, table.c.seq)
        .where(table.c.kind == kind, table.c.at < before)
        .limit(PURGE_BATCH)
    )
    return tx.execute(delete(table).where(tuple_(table.c.writer, table.c.seq).in_(old))).rowcount


def covered_heads(tx: Connection, names: Iterable[str]) -> dict[str, Head]:
    """Return the latest checkpointed heads of these chains."""
    found: dict[str, Head] = {}
    for some in in_batches(names):
        rows = tx.execute(select(audit_head).where(audit_head.c.chain.in_(some)))
        found |= {row.chain: (int(row.seq), row.hash) for row in rows}
    return found


def last_checkpoint(tx: Connection) -> tuple[Checkpoint, bytes] | None:
    row = tx.execute(select(audit_checkpoint).order_by(desc(audit_checkpoint.c.number)).limit(1)).first()
    return None if row is None else read_checkpoint(row)


def checkpoints(tx: Connection, after: int = 0) -> Iterator[tuple[Checkpoint, bytes]]:
    """Stream the checkpoints after a number, oldest first, with the bytes that were signed."""
    found = (
        select(audit_checkpoint).where(audit_checkpoint.c.number > after).order_by(audit_checkpoint.c.number)
    )
    with tx.execute(found.execution_options(yield_per=STREAM_BATCH)) as rows:
        for row in rows:
            yield read_checkpoint(row)


def old_checkpoints(tx: Connection, after: int, before: datetime) -> list[Checkpoint]:
    """List the next THIN_BATCH checkpoints after a number that were made before a moment."""
    table = audit_checkpoint
    old = select(table).where(table.c.number > after, table.c.at < before)
    return [read_checkpoint(row)[0] for row in tx.execute(old.order_by(table.c.number).limit(THIN_BATCH))]


def delete_checkpoints(tx: Connection, numbers: Iterable[int]) -> None:
    for batch in in_batches(numbers):
        tx.execute(delete(audit_checkpoint).where(audit_checkpoint.c.number.in_(batch)))


def numbered_checkpoints(tx: Connection, numbers: Iterable[int]) -> Iterator[tuple[Checkpoint, bytes]]:
    """Read the stored ones of these checkpoints, with the bytes that were signed."""
    for batch in in_batches(numbers):
        rows = tx.execute(select(audit_checkpoint).where(audit_checkpoint.c.number.in_(batch)))
        yield from map(read_checkpoint, rows)


def checkpoint_signed_bytes(number: int, at: datetime, heads: dict[str, Head], previous: str) -> bytes:
    return policy.checkpoint_bytes(number, to_micros(at), heads, previous)


def add_checkpoint(tx: Connection, checkpoint: Checkpoint) -> bool:
    """Store the checkpoint and the heads it states; False when another process was first."""
    heads = {name: list(head) for name, head in checkpoint.heads.items()}
    row = {
        "number": checkpoint.number,
        "at": checkpoint.at,
        "heads": heads,
        "previous": checkpoint.previous,
        "kid": checkpoint.kid,
        "signature": checkpoint.signature,
    }
    if tx.execute(insert_or_ignore(tx, audit_checkpoint).values(row)).rowcount != 1:
        return False
    for name, (seq, digest) in checkpoint.heads.items():
        moved = update(audit_head).where(audit_head.c.chain == name).values(seq=seq, hash=digest)
        if tx.execute(moved).rowcount == 0:
            tx.execute(audit_head.insert().values(chain=name, seq=seq, hash=digest))
    return True


def read_checkpoint(row: Any) -> tuple[Checkpoint, bytes]:
    heads = {name: (int(seq), str(digest)) for name, (seq, digest) in row.heads.items()}
    number = int(row.number)
    checkpoint = Checkpoint(number, row.at, heads, row.kid, row.signature, row.previous)
    return checkpoint, checkpoint_signed_bytes(number, row.at, heads, row.previous)


def purges(tx: Connection) -> dict[str, datetime]:
    """Return the horizon up to which payloads of each class were purged, from the recorded purge events."""
    found: dict[str, datetime] = {}
    reasons = select(audit_event.c.reason).where(audit_event.c.action == PURGE_ACTION)
    for reason in tx.execute(reasons).scalars():
        kind, _, moment = reason.partition(" before ")
        before = datetime.fromisoformat(moment)
        found[kind] = max(before, found.get(kind, before))
    return found


def may_lack_payload(header: bytes, purged: dict[str, datetime]) -> bool:
    """Check whether the payload of a control event with this header may have been purged."""
    at_us, _, action = orjson.loads(header)[:3]
    horizon = purged.get(action.partition(".")[0])
    return horizon is not None and from_micros(at_us) < horizon


def add_hold(tx: Connection, hold: Hold) -> None:
    tx.execute(audit_hold.insert().values(asdict(hold)))


def list_holds(tx: Connection, page: PageQuery = FIRST_PAGE) -> list[Hold]:
    """List the holds in force, oldest first."""
    in_force = select(audit_hold).where(audit_hold.c.released_at.is_(None))
    return [Hold(**row) for row in tx.execute(by_key(in_force, audit_hold.c.id, page)).mappings()]


def holds_over(tx: Connection, tenant: str) -> list[str]:
    """List the holds in force that name a tenant or none."""
    mine = audit_hold.c.released_at.is_(None), audit_hold.c.tenant.in_(("", tenant))
    return list(tx.execute(select(audit_hold.c.id).where(*mine).order_by(audit_hold.c.id)).scalars())


def count_holds(tx: Connection) -> int:
    in_force = select(func.count()).select_from(audit_hold).where(audit_hold.c.released_at.is_(None))
    return int(tx.execute(in_force).scalar_one())


def find_hold(tx: Connection, hold: str) -> Hold | None:
    row = tx.execute(select(audit_hold).where(audit_hold.c.id == hold)).mappings().one_or_none()
    return None if row is None else Hold(**row)


def save_released(tx: Connection, hold: str, by: str, at: datetime) -> bool:
    """Release a hold; False when it was released already."""
    query = audit_hold.update().where(audit_hold.c.id == hold, audit_hold.c.released_at.is_(None))
    return tx.execute(query.values(released_by=by, released_at=at)).rowcount == 1


def held_since(tx: Connection) -> datetime | None:
    """Return the earliest ``since`` of the holds in force; None if there is none."""
    since: datetime | None = tx.execute(
        select(func.min(audit_hold.c.since, type_=Instant)).where(audit_hold.c.released_at.is_(None))
    ).scalar_one()
    return since
