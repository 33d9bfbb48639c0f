"""The table of listings."""

from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Index,
    Row,
    String,
    Table,
    Text,
    select,
    text,
)

from hilum.foundation.infra.db import Instant, metadata
from hilum.foundation.infra.sorting import by_key
from hilum.foundation.kernel.ids import AppId, VendorId
from hilum.foundation.kernel.pages import PageQuery
from hilum.review.listings.models import Listing

listings = Table(
    "listing",
    metadata,
    Column("app", String(64), primary_key=True),
    Column("vendor", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("published", Boolean, nullable=False),
    Column("by", String(120), nullable=False),
    Column("at", Instant, nullable=False),
    Column("reason", Text, nullable=False),
    Column("hidden", Boolean, nullable=False),
    Index("ix_listing_vendor", "vendor", "app"),
    Index(
        "ix_listing_published",
        "app",
        sqlite_where=text("published"),
        postgresql_where=text("published"),
    ),
)


def find_listing(tx: Connection, app: AppId, *, lock: bool = False) -> Listing | None:
    query = select(listings).where(listings.c.app == app)
    row = tx.execute(query.with_for_update() if lock else query).first()
    return None if row is None else _listing(row)


def save_listing(tx: Connection, after: Listing) -> None:
    values = {each.name: getattr(after, each.name) for each in listings.c}
    changed = tx.execute(listings.update().where(listings.c.app == after.app).values(values))
    if not changed.rowcount:
        tx.execute(listings.insert().values(values))


def list_listings(
    tx: Connection, page: PageQuery, *, vendor: str | None, published: bool | None
) -> list[Listing]:
    """List listings by app."""
    wanted: list[ColumnElement[bool]] = []
    if vendor is not None:
        wanted.append(listings.c.vendor == vendor)
    if published is not None:
        wanted.append(listings.c.published.is_(published))
    query = by_key(select(listings).where(*wanted), listings.c.app, page)
    return [_listing(row) for row in tx.execute(query)]


def read_published(tx: Connection) -> set[AppId]:
    """Return every published app."""
    query = select(listings.c.app).where(listings.c.published.is_(True))
    return {AppId(row.app) for row in tx.execute(query)}


def _listing(row: Row[Any]) -> Listing:
    return Listing(
        AppId(row.app),
        VendorId(row.vendor),
        row.name,
        row.published,
        row.by,
        row.at,
        row.reason,
        row.hidden,
    )
