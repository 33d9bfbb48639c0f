"""The tables of vendors' first steps, and of how far the job has read.

They keep the names that they had in ``revalidation``, so that the previous release finds them.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Index, Integer, Row, String, Table, select

from hilum.beginnings.models import Friction
from hilum.infra.db import Instant, in_batches, insert_or_ignore, metadata
from hilum.kernel.ids import VendorId

frictions = Table(
    "revalidation_friction",
    metadata,
    Column("vendor", String(64), primary_key=True),
    Column("signed_up_at", Instant, nullable=False),
    Column("launched_at", Instant),
    Column("read_at", Instant),
    Column("tries", Integer, nullable=False),
    Column("looked_at", Instant),
    Index("ix_revalidation_friction_signed_up", "signed_up_at"),
    Index("ix_revalidation_friction_looked", "looked_at"),
)
followed_to = Table(
    "revalidation_followed",
    metadata,
    Column("name", String(60), primary_key=True),
    Column("at", Instant, nullable=False),
)


def add(tx: Connection, found: Friction) -> None:
    """Add a vendor that signed up, unless it was added before."""
    tx.execute(insert_or_ignore(tx, frictions).values(_values(found)))


def save(tx: Connection, found: Friction) -> None:
    """Save how far a vendor came."""
    values = _values(found)
    tx.execute(frictions.update().where(frictions.c.vendor == found.vendor).values(values))


def under_way(
    tx: Connection, since: datetime, *, lately: datetime, sooner: datetime, before: datetime, limit: int
) -> list[Friction]:
    """List and lock vendors that signed up since a moment, have read nothing yet and were not checked since ``before``.

    For those that signed up after ``lately``, ``sooner`` replaces ``before``.
    """
    looked_at = frictions.c.looked_at
    query = select(frictions).where(
        frictions.c.read_at.is_(None),
        frictions.c.signed_up_at >= since,
        looked_at.is_(None)
        | (looked_at < before)
        | ((frictions.c.signed_up_at >= lately) & (looked_at < sooner)),
    )
    rows = tx.execute(query.order_by(frictions.c.vendor).limit(limit).with_for_update())
    return [_friction(row) for row in rows]


def trying_since(tx: Connection, since: datetime, of: Collection[VendorId]) -> dict[VendorId, Friction]:
    """Return and lock those of some vendors that had no token yet at a moment."""
    had_none = frictions.c.launched_at.is_(None) | (frictions.c.launched_at >= since)
    found: dict[VendorId, Friction] = {}
    # Sorted, so that two processes lock in the same order.
    for batch in in_batches(sorted(of)):
        query = select(frictions).where(had_none, frictions.c.vendor.in_(batch)).order_by(frictions.c.vendor)
        found |= {VendorId(row.vendor): _friction(row) for row in tx.execute(query.with_for_update())}
    return found


def signed_up(tx: Connection, since: datetime) -> list[Friction]:
    """List the vendors that signed up since a moment, the newest first."""
    query = select(frictions).where(frictions.c.signed_up_at >= since)
    ordered = query.order_by(frictions.c.signed_up_at.desc(), frictions.c.vendor)
    return [_friction(row) for row in tx.execute(ordered)]


def followed(tx: Connection, name: str) -> datetime | None:
    """Return up to when records were read; None if reading has not begun."""
    at: datetime | None = tx.execute(select(followed_to.c.at).where(followed_to.c.name == name)).scalar()
    return at


def set_followed(tx: Connection, name: str, at: datetime) -> None:
    """Store up to when records were read."""
    changed = tx.execute(followed_to.update().where(followed_to.c.name == name).values(at=at)).rowcount
    if not changed:
        tx.execute(insert_or_ignore(tx, followed_to).values(name=name, at=at))


def _values(found: Friction) -> dict[str, Any]:
    return {
        "vendor": found.vendor,
        "signed_up_at": found.signed_up_at,
        "launched_at": found.launched_at,
        "read_at": found.read_at,
        "tries": found.tries,
        "looked_at": found.looked_at,
    }


def _friction(row: Row[Any]) -> Friction:
    return Friction(
        VendorId(row.vendor), row.signed_up_at, row.launched_at, row.read_at, row.tries, row.looked_at
    )
