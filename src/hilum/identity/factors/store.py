"""Tables and rows of authenticator apps, passkeys, challenges and recovery codes."""

import hashlib
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, String, Table, bindparam, func, select

from hilum.foundation.infra.db import Instant, insert_or_ignore, metadata
from hilum.foundation.infra.prepared_statements import PreparedStatement, prepare_rows, read_together
from hilum.foundation.infra.rows import Rows
from hilum.foundation.kernel.ids import PersonId
from hilum.identity.factors.models import (
    LOCKED_AFTER,
    PASSKEYS_PER_PERSON,
    PURGE_BATCH,
    Ceremony,
    Passkey,
    Totp,
)

totps = Table(
    "factors_totp",
    metadata,
    Column("person", String(64), primary_key=True),
    Column("sealed", String(200), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("last_step", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
)

recovery_codes = Table(
    "factors_recovery",
    metadata,
    Column("person", String(64), primary_key=True),
    # A MAC under the platform's key: from a plain hash in a copied database, sixty bits could be guessed.
    Column("digest", String(64), primary_key=True),
    Column("used_at", Instant),
)

passkeys = Table(
    "factors_passkey",
    metadata,
    # A digest of the credential's id, which may have a kilobyte.
    Column("digest", String(64), primary_key=True),
    Column("person", String(64), nullable=False),
    Column("credential", String(1400), nullable=False),
    Column("public_key", String(2000), nullable=False),
    Column("sign_count", BigInteger, nullable=False),
    Column("name", String(60), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("last_used_at", Instant),
    Index(None, "person"),
)

challenges = Table(
    "factors_challenge",
    metadata,
    # The session or pending sign-in. The challenge of a newer page replaces that of an older one.
    Column("holder", String(64), primary_key=True),
    Column("ceremony", String(10), primary_key=True),
    Column("challenge", String(64), nullable=False),
    Column("expires_at", Instant, nullable=False),
    Index(None, "expires_at"),
)
TOTPS = Rows(totps, Totp)
PASSKEYS = Rows(passkeys, Passkey)
_TOTP = prepare_rows(totps, "person")
_PASSKEYS = PreparedStatement(
    select(passkeys)
    .where(passkeys.c.person == bindparam("person"))
    .order_by(passkeys.c.created_at)
    .limit(PASSKEYS_PER_PERSON),
    *passkeys.c,
)


def find_factors(tx: Connection, person: PersonId) -> tuple[Totp | None, tuple[Passkey, ...]]:
    """Find a person's authenticator app and passkeys, on PostgreSQL in one round trip."""
    apps, keys = read_together(tx, (_TOTP, {"person": person}), (_PASSKEYS, {"person": person}))
    return next(map(TOTPS.of, apps), None), tuple(map(PASSKEYS.of, keys))


def use_step(tx: Connection, app: Totp, step: int) -> bool:
    """Accept the code of a step, once; return False if it or a later one was accepted, or the app was locked or replaced meanwhile."""
    # One statement: of two workers that accept the same code
    # concurrently, one changes the row (RFC 6238 section 5.2).
    usable = (totps.c.last_step < step, totps.c.failures < LOCKED_AFTER)
    values = {"last_step": step, "failures": 0}
    return TOTPS.change(tx, values, *usable, person=app.person, sealed=app.sealed) == 1


def count_failure(tx: Connection, person: PersonId) -> None:
    """Count a wrong code."""
    TOTPS.change(tx, {"failures": totps.c.failures + 1}, person=person)


def clear_failures(tx: Connection, person: PersonId) -> None:
    TOTPS.change(tx, {"failures": 0}, totps.c.failures > 0, person=person)


def save_recovery_codes(tx: Connection, person: PersonId, digests: Iterable[str]) -> None:
    """Replace a person's recovery codes."""
    tx.execute(recovery_codes.delete().where(recovery_codes.c.person == person))
    rows = [{"person": person, "digest": each, "used_at": None} for each in digests]
    tx.execute(recovery_codes.insert(), rows)


def use_recovery_code(tx: Connection, person: PersonId, digest: str, at: datetime) -> bool:
    mine = (recovery_codes.c.person == person) & (recovery_codes.c.digest == digest)
    query = recovery_codes.update().where(mine, recovery_codes.c.used_at.is_(None))
    return tx.execute(query.values(used_at=at)).rowcount == 1


def count_recovery_codes(tx: Connection, person: PersonId) -> int:
    mine = (recovery_codes.c.person == person) & recovery_codes.c.used_at.is_(None)
    return int(tx.execute(select(func.count()).select_from(recovery_codes).where(mine)).scalar_one())


def list_passkeys(tx: Connection, person: PersonId) -> tuple[Passkey, ...]:
    """List a person's passkeys, at most PASSKEYS_PER_PERSON, oldest first."""
    return tuple(map(PASSKEYS.of, _PASSKEYS.records(tx, {"person": person})))


def add_passkey(tx: Connection, passkey: Passkey) -> bool:
    """Store a passkey; return False if it belongs to an account already."""
    return PASSKEYS.add_new(tx, passkey, digest=_digest(passkey.credential))


def use_passkey(tx: Connection, found: Passkey, sign_count: int, at: datetime) -> bool:
    """Record a use of a passkey; return False if its counter has passed this one, or the passkey is gone."""
    # One statement: of two responses with the same counter, one is accepted.
    credible = (passkeys.c.sign_count < sign_count) | ((passkeys.c.sign_count == 0) & (sign_count == 0))
    values = {"sign_count": sign_count, "last_used_at": at}
    return PASSKEYS.change(tx, values, credible, digest=_digest(found.credential)) == 1


def delete_passkey(tx: Connection, passkey: Passkey) -> bool:
    return PASSKEYS.delete(tx, digest=_digest(passkey.credential)) == 1


def _digest(credential: str) -> str:
    return hashlib.sha256(credential.encode()).hexdigest()


def save_challenge(
    tx: Connection, holder: str, ceremony: Ceremony, challenge: str, expires_at: datetime
) -> None:
    row = {"challenge": challenge, "expires_at": expires_at}
    key = {"holder": holder, "ceremony": ceremony.value}
    if tx.execute(insert_or_ignore(tx, challenges).values(**key, **row)).rowcount == 0:
        mine = (challenges.c.holder == holder) & (challenges.c.ceremony == ceremony.value)
        tx.execute(challenges.update().where(mine).values(row))


def take_challenge(tx: Connection, holder: str, ceremony: Ceremony, now: datetime) -> str:
    """Return a stored challenge and delete it; empty if there is none in force."""
    # One statement, so that a challenge is used once.
    mine = (challenges.c.holder == holder) & (challenges.c.ceremony == ceremony.value)
    query = challenges.delete().where(mine, challenges.c.expires_at > now)
    return tx.execute(query.returning(challenges.c.challenge)).scalar_one_or_none() or ""


def purge_challenges(tx: Connection, before: datetime) -> int:
    """Delete expired challenges, at most PURGE_BATCH; return how many."""
    old = select(challenges.c.holder).where(challenges.c.expires_at < before).limit(PURGE_BATCH)
    return tx.execute(
        challenges.delete().where(challenges.c.holder.in_(old), challenges.c.expires_at < before)
    ).rowcount


def delete_all(tx: Connection, person: PersonId) -> int:
    """Delete every factor of a person; return how many there were, without recovery codes."""
    tx.execute(recovery_codes.delete().where(recovery_codes.c.person == person))
    return PASSKEYS.delete(tx, person=person) + TOTPS.delete(tx, person=person)
