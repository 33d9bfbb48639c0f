"""The table of one-time links."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Index, Integer, Row, String, Table, select

from hilum.enrolment.models import CODE_TRIES, Link, Purpose
from hilum.infra.db import Instant, metadata
from hilum.kernel.ids import PersonId, TenantId

links = Table(
    "enrolment_link",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("person", String(64), nullable=False),
    Column("tenant", String(32), nullable=False),
    Column("purpose", String(20), nullable=False),
    Column("issued_by", String(100), nullable=False),
    Column("issued_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("approval", String(64), nullable=False),
    Column("code_digest", String(64), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("used_at", Instant),
    Column("replaced_at", Instant),
    Index(None, "person"),
    Index(None, "expires_at"),
)


def add_link(tx: Connection, link: Link) -> None:
    row = asdict(link) | {"tenant": link.tenant or "", "purpose": link.purpose.value}
    tx.execute(links.insert().values(row))


def _link(row: Row[Any]) -> Link:
    columns = dict(row._mapping)
    return Link(
        **columns | {"tenant": TenantId(row.tenant) if row.tenant else None, "purpose": Purpose(row.purpose)}
    )


def find_link(tx: Connection, digest: str) -> Link | None:
    row = tx.execute(select(links).where(links.c.digest == digest)).first()
    return None if row is None else _link(row)


def save_links_replaced(tx: Connection, person: PersonId, at: datetime) -> None:
    """End every unused link of a person."""
    # Used links are not changed, so that the time of their use stays on record.
    unused = (links.c.person == person, links.c.used_at.is_(None), links.c.replaced_at.is_(None))
    tx.execute(links.update().where(*unused).values(replaced_at=at))


def count_try(tx: Connection, digest: str, now: datetime) -> Link | None:
    """Count an attempt at a link, before its code is checked; None if the link cannot be used.

    One statement checks and counts, so that concurrent attempts cannot exceed the limit.
    """
    usable = (
        links.c.digest == digest,
        links.c.used_at.is_(None),
        links.c.replaced_at.is_(None),
        links.c.expires_at > now,
        links.c.tries < CODE_TRIES,
    )
    # On PostgreSQL the second of two concurrent updates waits for the first and evaluates the row again.
    counted = links.update().where(*usable).values(tries=links.c.tries + 1).returning(links)
    row = tx.execute(counted).first()
    return None if row is None else _link(row)


def save_link_used(tx: Connection, digest: str, at: datetime) -> bool:
    """Mark a link as used in one statement; False if it was used or replaced meanwhile."""
    unused = (links.c.digest == digest, links.c.used_at.is_(None), links.c.replaced_at.is_(None))
    return tx.execute(links.update().where(*unused).values(used_at=at)).rowcount == 1


def delete_links_before(tx: Connection, at: datetime) -> None:
    tx.execute(links.delete().where(links.c.expires_at < at))


def end_all(tx: Connection, at: datetime) -> int:
    """End every unused link; return how many there were."""
    open_ = links.update().where(links.c.used_at.is_(None), links.c.replaced_at.is_(None))
    return tx.execute(open_.values(replaced_at=at)).rowcount
