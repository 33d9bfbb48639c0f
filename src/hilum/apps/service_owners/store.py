"""The table of mandates."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Index, Row, String, Table, Text, func, select, text

from hilum.apps.service_owners.models import FOLLOW_BATCH, SORTS, Mandate, MandateQuery
from hilum.foundation.infra.db import Instant, get_row, metadata
from hilum.foundation.infra.sorting import paged
from hilum.foundation.kernel.ids import AppId, ClientId, PersonId, TenantId, VendorId
from hilum.foundation.kernel.pages import PageQuery

_IS_FINDING = text("lost_at IS NOT NULL AND ended_at IS NULL")

mandates = Table(
    "mandates_mandate",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(32), nullable=False),
    Column("client", String(100), nullable=False),
    Column("app", String(64), nullable=False),
    Column("vendor", String(64), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("population", Text, nullable=False),
    Column("schedule", Text, nullable=False),
    Column("approver", String(64), nullable=False),
    Column("asked_by", String(64), nullable=False),
    Column("asked_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("agreed_at", Instant),
    Column("ended_at", Instant),
    Column("ended_by", String(120), nullable=False),
    Column("end_reason", Text, nullable=False),
    Column("lost_at", Instant),
    Index(None, "tenant", "id"),
    Index(None, "vendor", "id"),
    Index(None, "approver", "id"),
    Index(None, "client", "tenant"),
    Index("ix_mandates_mandate_ends", "ends_at", "id"),
    Index("ix_mandates_mandate_tenant_ends", "tenant", "ends_at", "id"),
    Index("ix_mandates_mandate_vendor_ends", "vendor", "ends_at", "id"),
    Index("ix_mandates_mandate_approver_ends", "approver", "ends_at", "id"),
    Index("ix_mandates_mandate_finding", "id", sqlite_where=_IS_FINDING, postgresql_where=_IS_FINDING),
)


def _mandate(row: Row[Any]) -> Mandate:
    found = dict(row._mapping)
    ids = {
        "tenant": TenantId(row.tenant),
        "client": ClientId(row.client),
        "app": AppId(row.app),
        "vendor": VendorId(row.vendor),
        "approver": PersonId(row.approver),
        "asked_by": PersonId(row.asked_by),
    }
    return Mandate(**found | ids)


def add_mandate(tx: Connection, mandate: Mandate) -> None:
    tx.execute(mandates.insert().values(asdict(mandate)))


def save_mandate(tx: Connection, mandate: Mandate) -> None:
    tx.execute(mandates.update().where(mandates.c.id == mandate.id).values(asdict(mandate)))


def get_mandate(tx: Connection, mandate: str, *, lock: bool = False) -> Mandate:
    """Get a mandate; ``lock``: until the transaction ends. Raises NotFound."""
    return _mandate(get_row(tx, mandates, mandate, "mandate", lock=lock))


def list_mandates(tx: Connection, query: MandateQuery, page: PageQuery) -> list[Mandate]:
    """List mandates by id, or in the page's order."""
    found = select(mandates)
    for name in ("tenant", "vendor", "approver"):
        if wanted := getattr(query, name):
            found = found.where(mandates.c[name] == wanted)
    if query.findings:
        found = found.where(_IS_FINDING)
    return [_mandate(row) for row in tx.execute(paged(found, mandates, SORTS, page))]


def list_agreed_at(
    tx: Connection, tenant: TenantId, client: ClientId, *, lock: bool = False
) -> list[Mandate]:
    """List the mandates of a client at a hospital that were agreed to and not ended; more than one only if somebody wrote to the database."""
    query = select(mandates).where(
        mandates.c.tenant == tenant,
        mandates.c.client == client,
        mandates.c.agreed_at.is_not(None),
        mandates.c.ended_at.is_(None),
    )
    query = query.order_by(mandates.c.id)
    return [_mandate(row) for row in tx.execute(query.with_for_update() if lock else query)]


def was_agreed(tx: Connection, tenant: TenantId, client: ClientId) -> bool:
    """Check whether any mandate of a client at a hospital was ever agreed to."""
    here = (mandates.c.tenant == tenant, mandates.c.client == client, mandates.c.agreed_at.is_not(None))
    return tx.execute(select(mandates.c.id).where(*here).limit(1)).first() is not None


def count_waiting(tx: Connection, tenant: TenantId, asked_after: datetime) -> int:
    waiting = (
        mandates.c.tenant == tenant,
        mandates.c.agreed_at.is_(None),
        mandates.c.ended_at.is_(None),
        mandates.c.asked_at > asked_after,
    )
    return int(tx.execute(select(func.count()).select_from(mandates).where(*waiting)).scalar_one())


def list_agreed(tx: Connection, after: str, now: datetime) -> list[Mandate]:
    """List mandates that were agreed to and are not over, whose approver is not recorded as lost: at most a batch, by id."""
    query = select(mandates).where(
        mandates.c.id > after,
        mandates.c.agreed_at.is_not(None),
        mandates.c.ended_at.is_(None),
        mandates.c.lost_at.is_(None),
        mandates.c.ends_at > now,
    )
    return [_mandate(row) for row in tx.execute(query.order_by(mandates.c.id).limit(FOLLOW_BATCH))]


def save_lost(tx: Connection, mandate: str, at: datetime) -> bool:
    """Record since when the approver of a mandate has been lost; False if it is over or recorded already."""
    open_ = (mandates.c.id == mandate, mandates.c.ended_at.is_(None), mandates.c.lost_at.is_(None))
    return tx.execute(mandates.update().where(*open_).values(lost_at=at)).rowcount == 1
