"""Tables of how vendors begin, of how far that was followed, and of the units of scopes that are granted."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Index, Integer, Row, String, Table, func, select

from hilum.infra.db import Instant, insert_or_ignore, metadata
from hilum.kernel.ids import AppId, VendorId
from hilum.revalidation.figure_models import Friction, Units

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
uses = Table(
    "revalidation_use",
    metadata,
    Column("app", String(64), primary_key=True),
    Column("tier", String(20), nullable=False),
    Column("granted", Integer, nullable=False),
    Column("unused", Integer, nullable=False),
    Column("at", Instant, nullable=False),
)


def add(tx: Connection, found: Friction) -> None:
    """Add a vendor that signed up; one that is there stays as it is."""
    tx.execute(insert_or_ignore(tx, frictions).values(_values(found)))


def save(tx: Connection, found: Friction) -> None:
    """Save how far a vendor came."""
    values = _values(found)
    tx.execute(frictions.update().where(frictions.c.vendor == found.vendor).values(values))


def under_way(
    tx: Connection, since: datetime, lately: tuple[datetime, datetime], before: datetime, limit: int
) -> list[Friction]:
    """List vendors that signed up since a moment, read nothing yet and were not looked at since ``before``, locked.

    ``lately``: from which sign-up on they are looked at more often, and since when those were not.
    """
    looked_at, (signed_up_at, sooner) = frictions.c.looked_at, lately
    query = select(frictions).where(
        frictions.c.read_at.is_(None),
        frictions.c.signed_up_at >= since,
        looked_at.is_(None)
        | (looked_at < before)
        | ((frictions.c.signed_up_at >= signed_up_at) & (looked_at < sooner)),
    )
    rows = tx.execute(query.order_by(frictions.c.vendor).limit(limit).with_for_update())
    return [_friction(row) for row in rows]


def trying_since(tx: Connection, since: datetime) -> dict[VendorId, Friction]:
    """Return the vendors that had no token yet at a moment, locked."""
    query = select(frictions).where((frictions.c.launched_at.is_(None)) | (frictions.c.launched_at >= since))
    return {VendorId(row.vendor): _friction(row) for row in tx.execute(query.with_for_update())}


def signed_up(tx: Connection, since: datetime) -> list[Friction]:
    """List the vendors that signed up since a moment, the newest first."""
    query = select(frictions).where(frictions.c.signed_up_at >= since)
    ordered = query.order_by(frictions.c.signed_up_at.desc(), frictions.c.vendor)
    return [_friction(row) for row in tx.execute(ordered)]


def followed(tx: Connection, name: str) -> datetime | None:
    """Return up to when something was followed; None: it was not begun."""
    at: datetime | None = tx.execute(select(followed_to.c.at).where(followed_to.c.name == name)).scalar()
    return at


def set_followed(tx: Connection, name: str, at: datetime) -> None:
    """Keep up to when something was followed."""
    changed = tx.execute(followed_to.update().where(followed_to.c.name == name).values(at=at)).rowcount
    if not changed:
        tx.execute(insert_or_ignore(tx, followed_to).values(name=name, at=at))


def save_use(tx: Connection, app: AppId, tier: str, found: Units, at: datetime) -> None:
    """Keep how many units of scopes an app is granted, and how many of them nobody used."""
    values: dict[str, Any] = {"tier": tier, "granted": found.granted, "unused": found.unused, "at": at}
    if not tx.execute(uses.update().where(uses.c.app == app).values(values)).rowcount:
        tx.execute(insert_or_ignore(tx, uses).values(values | {"app": app}))


def forget_use(tx: Connection, app: AppId) -> None:
    """Forget an app that is certified no more."""
    tx.execute(uses.delete().where(uses.c.app == app))


def read_uses(tx: Connection) -> Mapping[str, Units]:
    """Return the units of all apps by tier."""
    query = select(uses.c.tier, func.sum(uses.c.granted), func.sum(uses.c.unused)).group_by(uses.c.tier)
    return {tier: Units(int(granted), int(unused)) for tier, granted, unused in tx.execute(query)}


def most_unused(tx: Connection, limit: int) -> list[str]:
    """List the apps with the most units that nobody used."""
    query = select(uses.c.app).where(uses.c.unused > 0)
    return list(tx.execute(query.order_by(uses.c.unused.desc(), uses.c.app).limit(limit)).scalars())


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
