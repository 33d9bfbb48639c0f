"""The table of what hospitals share."""

from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Index,
    Row,
    String,
    Table,
    Text,
    and_,
    delete,
    exists,
    or_,
    select,
)

from hilum.infra.db import Instant, insert_or_ignore, metadata
from hilum.infra.sorting import by_key
from hilum.kernel.ids import AppId, TenantId
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.precedents.models import WHOLE, Sharing

sharing = Table(
    "precedents_sharing",
    metadata,
    Column("tenant", String(32), primary_key=True),
    Column("app", String(64), primary_key=True),
    Column("shares", Boolean, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("changed_by", String(120), nullable=False),
    Column("changed_at", Instant, nullable=False),
    Index("ix_precedents_sharing_app", "app", "shares", "tenant"),
)


def save(tx: Connection, found: Sharing) -> None:
    """Add a choice, or replace the existing one."""
    values = {column.name: getattr(found, column.name) for column in sharing.c}
    mine = and_(sharing.c.tenant == found.tenant, sharing.c.app == found.app)
    if not tx.execute(sharing.update().where(mine).values(values)).rowcount:
        tx.execute(insert_or_ignore(tx, sharing).values(values))


def remove(tx: Connection, tenant: TenantId, app: str) -> None:
    tx.execute(delete(sharing).where(sharing.c.tenant == tenant, sharing.c.app == app))


def find(tx: Connection, tenant: TenantId, app: str) -> Sharing | None:
    """Find a hospital's choice for an app, or with ``WHOLE`` the general one."""
    row = tx.execute(select(sharing).where(sharing.c.tenant == tenant, sharing.c.app == app)).first()
    return None if row is None else _sharing(row)


def list_of(tx: Connection, tenant: TenantId, page: PageQuery = FIRST_PAGE) -> list[Sharing]:
    """List a hospital's choices by app, the general one first."""
    query = select(sharing).where(sharing.c.tenant == tenant)
    return [_sharing(row) for row in tx.execute(by_key(query, sharing.c.app, page))]


def list_sharing(tx: Connection, app: AppId, besides: TenantId, limit: int) -> list[Sharing]:
    """List the choices of hospitals that share their approval of an app, one for each hospital, by id."""
    own = sharing.alias()
    chosen = exists().where(own.c.tenant == sharing.c.tenant, own.c.app == app)
    wanted = or_(sharing.c.app == app, and_(sharing.c.app == WHOLE, ~chosen))
    query = select(sharing).where(wanted, sharing.c.shares.is_(True))
    query = query.where(sharing.c.tenant != besides).order_by(sharing.c.tenant).limit(limit)
    return [_sharing(row) for row in tx.execute(query)]


def _sharing(row: Row[Any]) -> Sharing:
    return Sharing(TenantId(row.tenant), row.app, row.shares, row.reasons, row.changed_by, row.changed_at)
