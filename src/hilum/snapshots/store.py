"""The table of snapshots."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Index,
    Integer,
    Row,
    String,
    Table,
    UniqueConstraint,
    func,
    select,
    text,
)

from hilum.infra.db import Instant, get_row, insert_or_ignore, metadata, row_of
from hilum.infra.sorting import by_key
from hilum.kernel.ids import ClientId, TenantId, VendorId
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.snapshots.models import UNUSED_BATCH, Snapshot, State

snapshots = Table(
    "snapshots_snapshot",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("vendor", String(64), nullable=False),
    Column("slot", Integer, nullable=False),
    Column("name", String(40), nullable=False),
    Column("template", String(32), nullable=False),
    Column("client", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("made_by", String(120), nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("reset_at", Instant, nullable=False),
    Column("used_at", Instant, nullable=False),
    Column("claim", String(64), nullable=False, server_default=""),
    # Two concurrent creations must not get the same place.
    UniqueConstraint("vendor", "slot"),
    Index("ix_snapshots_snapshot_state", "state", "used_at"),
)


_LOCK = 0x534E4150
"""The advisory lock under which places are given on PostgreSQL: the letters of SNAP. On SQLite there is one writer anyway."""
_THERE = (State.READY.value, State.RESETTING.value)


def lock(tx: Connection) -> None:
    """Lock the places of the platform until this transaction ends, since they are counted."""
    if tx.dialect.name == "postgresql":
        tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def add(tx: Connection, found: Snapshot) -> bool:
    """Add a snapshot; return False if its place is taken."""
    return tx.execute(insert_or_ignore(tx, snapshots).values(_values(found))).rowcount == 1


def save(tx: Connection, found: Snapshot) -> None:
    tx.execute(snapshots.update().where(snapshots.c.id == found.id).values(_values(found)))


def get(tx: Connection, snapshot: TenantId, *, lock: bool = False) -> Snapshot:
    """Get a snapshot; with ``lock`` no other transaction changes it meanwhile. Raises NotFound."""
    return _snapshot(get_row(tx, snapshots, snapshot, "snapshot", lock=lock))


def find(tx: Connection, snapshot: TenantId) -> Snapshot | None:
    row = row_of(tx, snapshots, snapshot)
    return None if row is None else _snapshot(row)


def list_of(tx: Connection, vendor: VendorId) -> list[Snapshot]:
    """List the snapshots of a vendor by place, removed ones too; there are few."""
    query = select(snapshots).where(snapshots.c.vendor == vendor).order_by(snapshots.c.slot)
    return [_snapshot(row) for row in tx.execute(query)]


def list_present(tx: Connection, vendor: VendorId | None, page: PageQuery = FIRST_PAGE) -> list[Snapshot]:
    """List snapshots that are there, of a vendor or of all, by id."""
    query = select(snapshots).where(snapshots.c.state.in_(_THERE))
    if vendor is not None:
        query = query.where(snapshots.c.vendor == vendor)
    return [_snapshot(row) for row in tx.execute(by_key(query, snapshots.c.id, page))]


def count_present(tx: Connection) -> int:
    """Count the places that are taken, also those in which one is being made."""
    query = select(func.count()).select_from(snapshots).where(snapshots.c.state != State.REMOVED.value)
    return int(tx.execute(query).scalar_one())


def list_unused(tx: Connection, before: datetime) -> list[Snapshot]:
    """List snapshots that were not removed and not used since, at most a batch."""
    query = select(snapshots).where(snapshots.c.state.in_(_THERE), snapshots.c.used_at < before)
    return [_snapshot(row) for row in tx.execute(query.order_by(snapshots.c.used_at).limit(UNUSED_BATCH))]


def list_broken_off(tx: Connection, before: datetime) -> list[Snapshot]:
    """List snapshots whose making began before a moment and did not end, at most a batch, locked."""
    making = snapshots.c.state == State.MAKING.value, snapshots.c.made_at <= before
    query = select(snapshots).where(*making).order_by(snapshots.c.id).limit(UNUSED_BATCH)
    return [_snapshot(row) for row in tx.execute(query.with_for_update())]


def note_use(tx: Connection, of: Collection[TenantId], at: datetime) -> None:
    tx.execute(snapshots.update().where(snapshots.c.id.in_(list(of))).values(used_at=at))


def _values(found: Snapshot) -> dict[str, Any]:
    return {column.name: getattr(found, column.name) for column in snapshots.c} | {"state": found.state.value}


def _snapshot(row: Row[Any]) -> Snapshot:
    kept = dict(row._mapping)
    typed = {
        "id": TenantId(row.id),
        "vendor": VendorId(row.vendor),
        "client": ClientId(row.client),
        "state": State(row.state),
    }
    return Snapshot(**kept | typed)
