"""The table of agreements."""

from collections.abc import Collection, Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Connection, Index, Row, String, Table, Text, func, or_, select, text

from hilum.apps.agreements.models import DUE_BATCH, SORTS, Agreement, AgreementQuery, Side
from hilum.foundation.infra.db import Instant, get_row, in_batches, metadata
from hilum.foundation.infra.sorting import NEVER, paged
from hilum.foundation.kernel.ids import TenantId, VendorId
from hilum.foundation.kernel.pages import PageQuery

_IS_FINDING, _ENDS = text("finding_since IS NOT NULL"), text(f"coalesce(ends_at, {NEVER})")

agreements = Table(
    "agreements_agreement",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("vendor", String(64), nullable=False),
    Column("tenant", String(32), nullable=False),
    Column("entity", String(200), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("parties", JSON, nullable=False),
    Column("document", String(64), nullable=False),
    Column("effective_at", Instant, nullable=False),
    Column("ends_at", Instant),
    Column("recorded_by", String(120), nullable=False),
    Column("recorded_for", String(20), nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Column("confirmed_by", String(120), nullable=False),
    Column("confirmed_at", Instant),
    Column("ended_by", String(120), nullable=False),
    Column("end_reason", Text, nullable=False),
    Column("finding_since", Instant),
    Column("due_at", Instant),
    Index(None, "tenant", "id"),
    Index(None, "vendor", "id"),
    Index(None, "tenant", "vendor"),
    Index(None, "due_at"),
    Index("ix_agreements_agreement_ends", _ENDS, "id"),
    Index("ix_agreements_agreement_tenant_ends", "tenant", _ENDS, "id"),
    Index("ix_agreements_agreement_vendor_ends", "vendor", _ENDS, "id"),
    Index("ix_agreements_agreement_finding", "id", sqlite_where=_IS_FINDING, postgresql_where=_IS_FINDING),
)


def _agreement(row: Row[Any]) -> Agreement:
    found = dict(row._mapping)
    return Agreement(
        **found
        | {
            "vendor": VendorId(row.vendor),
            "tenant": TenantId(row.tenant),
            "parties": tuple(row.parties),
            "recorded_for": Side(row.recorded_for),
        }
    )


def _row(agreement: Agreement) -> dict[str, Any]:
    return asdict(agreement) | {
        "parties": list(agreement.parties),
        "recorded_for": agreement.recorded_for.value,
    }


def add_agreement(tx: Connection, agreement: Agreement) -> None:
    tx.execute(agreements.insert().values(_row(agreement)))


def save_agreement(tx: Connection, agreement: Agreement) -> None:
    tx.execute(agreements.update().where(agreements.c.id == agreement.id).values(_row(agreement)))


def get_agreement(tx: Connection, agreement: str, *, lock: bool = False) -> Agreement:
    """Get an agreement; ``lock``: until the transaction ends. Raises NotFound."""
    return _agreement(get_row(tx, agreements, agreement, "agreement", lock=lock))


def list_agreements(tx: Connection, query: AgreementQuery, page: PageQuery) -> list[Agreement]:
    """List agreements by id, or in the page's order."""
    found = select(agreements)
    if query.vendor:
        found = found.where(agreements.c.vendor == query.vendor)
    if query.tenant:
        found = found.where(agreements.c.tenant == query.tenant)
    if query.findings:
        found = found.where(agreements.c.finding_since.is_not(None))
    return [_agreement(row) for row in tx.execute(paged(found, agreements, SORTS, page))]


def count_waiting(tx: Connection, vendor: VendorId, tenant: TenantId, now: datetime) -> int:
    """Count the agreements of a vendor and a hospital that wait to be confirmed."""
    waiting = (
        agreements.c.vendor == vendor,
        agreements.c.tenant == tenant,
        agreements.c.confirmed_at.is_(None),
        or_(agreements.c.ends_at.is_(None), agreements.c.ends_at > now),
    )
    return int(tx.execute(select(func.count()).select_from(agreements).where(*waiting)).scalar_one())


def list_confirmed(tx: Connection, vendor: VendorId, tenant: TenantId, entity: str) -> list[Agreement]:
    """List the confirmed agreements between a vendor and a legal entity, including those that are over."""
    counting = (
        agreements.c.vendor == vendor,
        agreements.c.tenant == tenant,
        agreements.c.entity == entity,
        agreements.c.confirmed_at.is_not(None),
    )
    return [_agreement(row) for row in tx.execute(select(agreements).where(*counting))]


def list_confirmed_of(tx: Connection, vendors: Collection[VendorId]) -> list[Agreement]:
    """List the confirmed agreements of some vendors with hospitals themselves, including those that are over."""
    counting = agreements.c.entity == "", agreements.c.confirmed_at.is_not(None)
    found: list[Agreement] = []
    for some in in_batches(vendors):
        query = select(agreements).where(agreements.c.vendor.in_(some), *counting)
        found += [_agreement(row) for row in tx.execute(query)]
    return found


def list_same_kind(tx: Connection, agreement: Agreement, at: datetime) -> list[Agreement]:
    """List the confirmed agreements of the same vendor, hospital, legal entity and kind that end after a moment or are findings."""
    same_kind = (
        agreements.c.vendor == agreement.vendor,
        agreements.c.tenant == agreement.tenant,
        agreements.c.entity == agreement.entity,
        agreements.c.kind == agreement.kind,
        agreements.c.confirmed_at.is_not(None),
        or_(
            agreements.c.ends_at.is_(None),
            agreements.c.ends_at > at,
            agreements.c.finding_since.is_not(None),
        ),
    )
    return [_agreement(row) for row in tx.execute(select(agreements).where(*same_kind))]


def close_findings(tx: Connection, closed: Iterable[str]) -> None:
    tx.execute(agreements.update().where(agreements.c.id.in_(list(closed))).values(finding_since=None))


def list_due(tx: Connection, now: datetime) -> list[Agreement]:
    """List and lock the agreements whose ``due_at`` has come, at most a batch, without those that another transaction has locked."""
    query = select(agreements).where(agreements.c.due_at <= now).order_by(agreements.c.due_at)
    return [_agreement(row) for row in tx.execute(query.limit(DUE_BATCH).with_for_update(skip_locked=True))]
