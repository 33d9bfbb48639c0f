"""The table of snapshots."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import (
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
    text,
)

from hilum.foundation.infra.db import Instant, metadata
from hilum.foundation.infra.rows import Rows, given
from hilum.foundation.kernel.ids import TenantId, VendorId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.hospitals.vendor_hospitals.models import UNUSED_BATCH, Snapshot, State

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


SNAPSHOTS = Rows(snapshots, Snapshot, "snapshot")


def list_of(tx: Connection, vendor: VendorId) -> list[Snapshot]:
    """List the snapshots of a vendor by place, removed ones too; there are few."""
    return SNAPSHOTS.read(tx, SNAPSHOTS.select(vendor=vendor).order_by(snapshots.c.slot))


def list_present(tx: Connection, vendor: VendorId | None, page: PageQuery = FIRST_PAGE) -> list[Snapshot]:
    """List snapshots that are there, of a vendor or of all, by id."""
    return SNAPSHOTS.page(tx, page, snapshots.c.state.in_(_THERE), **given(vendor=vendor))


def count_present(tx: Connection) -> int:
    """Count the places that are taken, also those in which one is being made."""
    return SNAPSHOTS.count(tx, snapshots.c.state != State.REMOVED.value)


def list_unused(tx: Connection, before: datetime) -> list[Snapshot]:
    """List snapshots that were not removed and not used since, at most a batch."""
    unused = SNAPSHOTS.select(snapshots.c.state.in_(_THERE), snapshots.c.used_at < before)
    return SNAPSHOTS.read(tx, unused.order_by(snapshots.c.used_at).limit(UNUSED_BATCH))


def list_broken_off(tx: Connection, before: datetime) -> list[Snapshot]:
    """List snapshots whose making began before a moment and did not end, at most a batch, locked."""
    query = SNAPSHOTS.select(snapshots.c.made_at <= before, state=State.MAKING)
    return SNAPSHOTS.read(tx, query.order_by(snapshots.c.id).limit(UNUSED_BATCH).with_for_update())


def note_use(tx: Connection, of: Collection[TenantId], at: datetime) -> None:
    SNAPSHOTS.change(tx, {"used_at": at}, snapshots.c.id.in_(list(of)))
