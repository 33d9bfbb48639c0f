"""Tables of signing keys."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Index,
    String,
    Table,
    Text,
    bindparam,
    delete,
    select,
    update,
)

from hilum.infra.db import Instant, insert_or_ignore, metadata
from hilum.infra.prepared_statements import PreparedStatement, prepare_rows
from hilum.keys.models import KeyState, Purpose, SigningKey

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
_FIND_ACTIVE = PreparedStatement(
    select(signing_key).where(
        signing_key.c.purpose == bindparam("purpose"), signing_key.c.ring == bindparam("ring"), _ACTIVE
    ),
    *signing_key.c,
)
_RING = prepare_rows(signing_key, "purpose", "ring")
_KEY = prepare_rows(signing_key, "kid", "purpose")
# Lets a ring have one active key only, even if two processes add or rotate at once.
Index(
    "uq_signing_key_active",
    signing_key.c.purpose,
    signing_key.c.ring,
    unique=True,
    sqlite_where=_ACTIVE,
    postgresql_where=_ACTIVE,
)


def add(tx: Connection, key: SigningKey) -> bool:
    """Add the key; return False if the ring already has an active key."""
    row = {
        "kid": key.kid,
        "purpose": key.purpose.value,
        "ring": key.ring,
        "algorithm": key.algorithm,
        "public": key.public,
        "private_sealed": key.private_sealed,
        "state": key.state.value,
        "created_at": key.created_at,
        "retired_at": key.retired_at,
    }
    return tx.execute(insert_or_ignore(tx, signing_key).values(row)).rowcount == 1


def active(tx: Connection, purpose: Purpose, ring: str) -> SigningKey | None:
    row = _FIND_ACTIVE.first(tx, {"purpose": purpose.value, "ring": ring})
    return None if row is None else _key(row)


def ring_keys(tx: Connection, purpose: Purpose, ring: str) -> list[SigningKey]:
    return [_key(row) for row in _RING.mappings(tx, {"purpose": purpose.value, "ring": ring})]


def find(tx: Connection, purpose: Purpose, kid: str) -> SigningKey | None:
    row = _KEY.first(tx, {"kid": kid, "purpose": purpose.value})
    return None if row is None else _key(row)


def retire(tx: Connection, kid: str, now: datetime, *, proof: str) -> None:
    """Retire the key and put ``proof`` in the place of its private half."""
    tx.execute(
        update(signing_key)
        .where(signing_key.c.kid == kid)
        # State and private half in one statement: no moment in which a retired key could still sign.
        .values(state=KeyState.RETIRED.value, retired_at=now, private_sealed=proof)
    )


def remove(tx: Connection, kids: list[str]) -> None:
    tx.execute(delete(signing_key).where(signing_key.c.kid.in_(kids)))


def _key(row: Mapping[Any, Any]) -> SigningKey:
    values = dict(row) | {"purpose": Purpose(row["purpose"]), "state": KeyState(row["state"])}
    return SigningKey(**values)


def find_check(tx: Connection) -> str | None:
    """Return the sealed value by which the key-encryption key is recognized, or None."""
    return tx.execute(select(key_check.c.sealed)).scalar_one_or_none()


def add_check(tx: Connection, sealed: str) -> None:
    """Store the sealed value, unless one is stored already."""
    # One row for the whole platform, written by the first process to start.
    tx.execute(insert_or_ignore(tx, key_check).values(id=1, sealed=sealed))
