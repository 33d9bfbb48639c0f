"""The table of service owners."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Index, Row, String, Table, Text, func, select, text

from hilum.apps.service_owners.models import FOLLOW_BATCH, SORTS, ServiceOwner, ServiceOwnerQuery
from hilum.foundation.infra.db import Instant, get_row, metadata
from hilum.foundation.infra.sorting import paged
from hilum.foundation.kernel.ids import AppId, ClientId, PersonId, TenantId, VendorId
from hilum.foundation.kernel.pages import PageQuery

_IS_FINDING = text("lost_at IS NOT NULL AND ended_at IS NULL")

service_owners = Table(
    "service_owners_service_owner",
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
    Index("ix_service_owners_service_owner_ends", "ends_at", "id"),
    Index("ix_service_owners_service_owner_tenant_ends", "tenant", "ends_at", "id"),
    Index("ix_service_owners_service_owner_vendor_ends", "vendor", "ends_at", "id"),
    Index("ix_service_owners_service_owner_approver_ends", "approver", "ends_at", "id"),
    Index(
        "ix_service_owners_service_owner_finding",
        "id",
        sqlite_where=_IS_FINDING,
        postgresql_where=_IS_FINDING,
    ),
)


def _service_owner(row: Row[Any]) -> ServiceOwner:
    found = dict(row._mapping)
    ids = {
        "tenant": TenantId(row.tenant),
        "client": ClientId(row.client),
        "app": AppId(row.app),
        "vendor": VendorId(row.vendor),
        "approver": PersonId(row.approver),
        "asked_by": PersonId(row.asked_by),
    }
    return ServiceOwner(**found | ids)


def add_service_owner(tx: Connection, service_owner: ServiceOwner) -> None:
    tx.execute(service_owners.insert().values(asdict(service_owner)))


def save_service_owner(tx: Connection, service_owner: ServiceOwner) -> None:
    tx.execute(
        service_owners.update().where(service_owners.c.id == service_owner.id).values(asdict(service_owner))
    )


def get_service_owner(tx: Connection, service_owner: str, *, lock: bool = False) -> ServiceOwner:
    """Get a service owner; ``lock``: until the transaction ends. Raises NotFound."""
    return _service_owner(get_row(tx, service_owners, service_owner, "service_owner", lock=lock))


def list_service_owners(tx: Connection, query: ServiceOwnerQuery, page: PageQuery) -> list[ServiceOwner]:
    """List service owners by id, or in the page's order."""
    found = select(service_owners)
    for name in ("tenant", "vendor", "approver"):
        if wanted := getattr(query, name):
            found = found.where(service_owners.c[name] == wanted)
    if query.findings:
        found = found.where(_IS_FINDING)
    return [_service_owner(row) for row in tx.execute(paged(found, service_owners, SORTS, page))]


def list_agreed_at(
    tx: Connection, tenant: TenantId, client: ClientId, *, lock: bool = False
) -> list[ServiceOwner]:
    """List the service owners of a client at a hospital that were agreed to and not ended; more than one only if somebody wrote to the database."""
    query = select(service_owners).where(
        service_owners.c.tenant == tenant,
        service_owners.c.client == client,
        service_owners.c.agreed_at.is_not(None),
        service_owners.c.ended_at.is_(None),
    )
    query = query.order_by(service_owners.c.id)
    return [_service_owner(row) for row in tx.execute(query.with_for_update() if lock else query)]


def was_agreed(tx: Connection, tenant: TenantId, client: ClientId) -> bool:
    """Check whether any service owner of a client at a hospital was ever agreed to."""
    here = (
        service_owners.c.tenant == tenant,
        service_owners.c.client == client,
        service_owners.c.agreed_at.is_not(None),
    )
    return tx.execute(select(service_owners.c.id).where(*here).limit(1)).first() is not None


def count_waiting(tx: Connection, tenant: TenantId, asked_after: datetime) -> int:
    waiting = (
        service_owners.c.tenant == tenant,
        service_owners.c.agreed_at.is_(None),
        service_owners.c.ended_at.is_(None),
        service_owners.c.asked_at > asked_after,
    )
    return int(tx.execute(select(func.count()).select_from(service_owners).where(*waiting)).scalar_one())


def list_agreed(tx: Connection, after: str, now: datetime) -> list[ServiceOwner]:
    """List service owners that were agreed to and are not over, whose approver is not recorded as lost: at most a batch, by id."""
    query = select(service_owners).where(
        service_owners.c.id > after,
        service_owners.c.agreed_at.is_not(None),
        service_owners.c.ended_at.is_(None),
        service_owners.c.lost_at.is_(None),
        service_owners.c.ends_at > now,
    )
    return [
        _service_owner(row) for row in tx.execute(query.order_by(service_owners.c.id).limit(FOLLOW_BATCH))
    ]


def save_lost(tx: Connection, service_owner: str, at: datetime) -> bool:
    """Record since when the approver of a service owner has been lost; False if it is over or recorded already."""
    open_ = (
        service_owners.c.id == service_owner,
        service_owners.c.ended_at.is_(None),
        service_owners.c.lost_at.is_(None),
    )
    return tx.execute(service_owners.update().where(*open_).values(lost_at=at)).rowcount == 1
