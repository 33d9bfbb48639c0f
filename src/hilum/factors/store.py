"""Tables and rows of authenticator apps and recovery codes."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Integer, String, Table, func, select

from hilum.factors.models import LOCKED_AFTER, Totp
from hilum.infra.db import Instant, insert_or_ignore, metadata
from hilum.kernel.ids import PersonId

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
    # A MAC under the platform's key: sixty bits of a copied database could be guessed by a plain hash.
    Column("digest", String(64), primary_key=True),
    Column("used_at", Instant),
)


def find_totp(tx: Connection, person: PersonId) -> Totp | None:
    row = tx.execute(select(totps).where(totps.c.person == person)).first()
    return None if row is None else Totp(row.person, row.sealed, row.created_at, row.last_step, row.failures)


def add_totp(tx: Connection, app: Totp) -> bool:
    """Store a person's first authenticator app; return False if there is one."""
    return tx.execute(insert_or_ignore(tx, totps).values(person=app.person, **_fields(app))).rowcount == 1


def save_totp(tx: Connection, app: Totp) -> None:
    """Store an authenticator app in place of an earlier one."""
    if not add_totp(tx, app):
        tx.execute(totps.update().where(totps.c.person == app.person).values(_fields(app)))


def _fields(app: Totp) -> dict[str, Any]:
    row = {"sealed": app.sealed, "created_at": app.created_at}
    return row | {"last_step": app.last_step, "failures": 0}


def use_step(tx: Connection, app: Totp, step: int) -> bool:
    """Accept the code of a step, once; return False if it or a later one was accepted, or the app was locked or replaced meanwhile."""
    # One statement: of two workers that compared the same code at the same moment one changes the row (RFC 6238 section 5.2).
    mine = (totps.c.person == app.person) & (totps.c.sealed == app.sealed)
    query = totps.update().where(mine, totps.c.last_step < step, totps.c.failures < LOCKED_AFTER)
    return tx.execute(query.values(last_step=step, failures=0)).rowcount == 1


def count_failure(tx: Connection, person: PersonId) -> int:
    """Count a wrong code; return how many there were in a row."""
    query = totps.update().where(totps.c.person == person).values(failures=totps.c.failures + 1)
    return int(tx.execute(query.returning(totps.c.failures)).scalar_one_or_none() or 0)


def clear_failures(tx: Connection, person: PersonId) -> None:
    tx.execute(totps.update().where(totps.c.person == person, totps.c.failures > 0).values(failures=0))


def save_recovery_codes(tx: Connection, person: PersonId, digests: Iterable[str]) -> None:
    """Store recovery codes in place of the earlier ones, of which none counts any more."""
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


def delete_all(tx: Connection, person: PersonId) -> int:
    """Delete every factor of a person; return how many there were, recovery codes not counted."""
    tx.execute(recovery_codes.delete().where(recovery_codes.c.person == person))
    return tx.execute(totps.delete().where(totps.c.person == person)).rowcount
