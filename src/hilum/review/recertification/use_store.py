"""The table of the units of scopes that hospitals grant each app (K5)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Integer, String, Table, func, select

from hilum.foundation.infra.db import Instant, insert_or_ignore, metadata
from hilum.foundation.kernel.ids import AppId
from hilum.review.recertification.figure_models import Units

uses = Table(
    "revalidation_use",
    metadata,
    Column("app", String(64), primary_key=True),
    Column("tier", String(20), nullable=False),
    Column("granted", Integer, nullable=False),
    Column("unused", Integer, nullable=False),
    Column("at", Instant, nullable=False),
)


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
