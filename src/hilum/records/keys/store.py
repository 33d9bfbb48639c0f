"""Tables of signing keys."""

from datetime import datetime

from sqlalchemy import JSON, BigInteger, Column, Connection, Index, String, Table, Text, select

from hilum.foundation.infra.db import Instant, insert_or_ignore, metadata
from hilum.foundation.infra.rows import Rows
from hilum.records.keys.models import KeyState, Purpose, SigningKey

signing_key = Table(
    "signing_key",
    metadata,
    Column("kid", String(64), primary_key=True),
    Column("purpose", String(32), nullable=False),
    Column("ring", String(64), nullable=False),
    Column("algorithm", String(16), nullable=False),
    Column("public", JSON, nullable=False),
    # Sealed under the key-encryption key, which is in the environment: a copy of the database is not enough to sign.
    Column("private_sealed", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("retired_at", Instant),
    Index("ix_signing_key_ring", "purpose", "ring"),
)
key_check = Table(
    "key_check",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("sealed", Text, nullable=False),
)
_ACTIVE = signing_key.c.state == KeyState.ACTIVE.value
# Lets a ring have one active key only, even if two processes add or rotate at once.
Index(
    "uq_signing_key_active",
    signing_key.c.purpose,
    signing_key.c.ring,
    unique=True,
    sqlite_where=_ACTIVE,
    postgresql_where=_ACTIVE,
)


KEYS = Rows(signing_key, SigningKey)


def active(tx: Connection, purpose: Purpose, ring: str) -> SigningKey | None:
    return KEYS.find(tx, purpose=purpose, ring=ring, state=KeyState.ACTIVE)


def retire(tx: Connection, kid: str, now: datetime, *, proof: str) -> None:
    """Retire the key and put ``proof`` in the place of its private half."""
    # State and private half in one statement: no moment in which a retired key could still sign.
    KEYS.change(tx, {"state": KeyState.RETIRED, "retired_at": now, "private_sealed": proof}, kid=kid)


def remove(tx: Connection, kids: list[str]) -> None:
    KEYS.delete(tx, signing_key.c.kid.in_(kids))


def find_check(tx: Connection) -> str | None:
    """Return the sealed value by which the key-encryption key is recognized, or None."""
    return tx.execute(select(key_check.c.sealed)).scalar_one_or_none()


def add_check(tx: Connection, sealed: str) -> None:
    """Store the sealed value, unless one is stored already."""
    # One row for the whole platform, written by the first process to start.
    tx.execute(insert_or_ignore(tx, key_check).values(id=1, sealed=sealed))
