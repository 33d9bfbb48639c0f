"""The table of one-time links."""

from datetime import datetime

from sqlalchemy import Column, Connection, Index, Integer, String, Table

from hilum.foundation.infra.db import Instant, metadata
from hilum.foundation.infra.rows import Rows
from hilum.foundation.kernel.ids import PersonId
from hilum.identity.enrolment.models import CODE_TRIES, Link

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


LINKS = Rows(links, Link)
_UNUSED = {"used_at": None, "replaced_at": None}


def save_links_replaced(tx: Connection, person: PersonId, at: datetime) -> None:
    """End every unused link of a person."""
    # Used links are not changed, so that the time of their use stays on record.
    LINKS.change(tx, {"replaced_at": at}, person=person, **_UNUSED)


def count_try(tx: Connection, digest: str, now: datetime) -> Link | None:
    """Count an attempt at a link, before its code is checked; None if the link cannot be used.

    One statement checks and counts, so that concurrent attempts cannot exceed the limit.
    """
    # On PostgreSQL the second of two concurrent updates waits for the first and evaluates the row again.
    usable = (links.c.expires_at > now, links.c.tries < CODE_TRIES)
    return LINKS.step(tx, {"tries": links.c.tries + 1}, *usable, digest=digest, **_UNUSED)


def save_link_used(tx: Connection, digest: str, at: datetime) -> bool:
    """Mark a link as used in one statement; False if it was used or replaced meanwhile."""
    return LINKS.change(tx, {"used_at": at}, digest=digest, **_UNUSED) == 1


def delete_links_before(tx: Connection, at: datetime) -> None:
    LINKS.delete(tx, links.c.expires_at < at)


def end_all(tx: Connection, at: datetime) -> int:
    """End every unused link; return how many there were."""
    return LINKS.change(tx, {"replaced_at": at}, **_UNUSED)
