"""The table of defects."""

from typing import Any

from sqlalchemy import Boolean, Column, Connection, Index, Row, String, Table, Text, func, select

from hilum.defects.models import COUNTED_BOUND, Defect, Seen, Severity
from hilum.infra.db import Instant, get_row, metadata
from hilum.infra.sorting import newest_first
from hilum.kernel.ids import AppId, VendorId, VersionId
from hilum.kernel.pages import FIRST_PAGE, PageQuery

defects = Table(
    "defects_defect",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("app", String(64), nullable=False),
    Column("vendor", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("label", String(100), nullable=False),
    Column("seen_in", String(16), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("summary", Text, nullable=False),
    Column("first_seen_at", Instant, nullable=False),
    Column("went_live_at", Instant),
    Column("reported_by", String(120), nullable=False),
    Column("reported_at", Instant, nullable=False),
    Column("reproducible", Boolean),
    Column("scenario", String(64), nullable=False),
    Column("proposed", Boolean, nullable=False),
    Column("gap", Text, nullable=False),
    Column("tagged_by", String(120), nullable=False),
    Column("tagged_at", Instant),
    Column("closed_by", String(120), nullable=False),
    Column("closed_at", Instant),
    Column("outcome", Text, nullable=False),
    Index("ix_defects_defect_vendor", "vendor", "id"),
    Index("ix_defects_defect_app", "app", "id"),
)


def add(tx: Connection, found: Defect) -> None:
    tx.execute(defects.insert().values(_values(found)))


def save(tx: Connection, found: Defect) -> None:
    tx.execute(defects.update().where(defects.c.id == found.id).values(_values(found)))


def get(tx: Connection, defect: str, *, lock: bool = False) -> Defect:
    """Get a defect; with ``lock`` no other transaction changes it meanwhile. Raises NotFound."""
    return _defect(get_row(tx, defects, defect, "defect", lock=lock))


def list_defects(
    tx: Connection, page: PageQuery = FIRST_PAGE, *, vendor: VendorId | None = None, app: AppId | None = None
) -> list[Defect]:
    """List defects of all, of a vendor or of an app, newest first."""
    query = newest_first(select(defects), defects, page)
    if vendor is not None:
        query = query.where(defects.c.vendor == vendor)
    if app is not None:
        query = query.where(defects.c.app == app)
    return [_defect(row) for row in tx.execute(query)]


def count_open(tx: Connection, app: AppId) -> int:
    query = (
        select(func.count()).select_from(defects).where(defects.c.app == app, defects.c.closed_at.is_(None))
    )
    return int(tx.execute(query).scalar_one())


def read_newest(tx: Connection) -> list[Defect]:
    """Read the newest defects, of which figures are made."""
    return [
        _defect(row) for row in tx.execute(select(defects).order_by(defects.c.id.desc()).limit(COUNTED_BOUND))
    ]


def _values(found: Defect) -> dict[str, Any]:
    typed = {"seen_in": found.seen_in.value, "severity": found.severity.value}
    return {column.name: getattr(found, column.name) for column in defects.c} | typed


def _defect(row: Row[Any]) -> Defect:
    kept = dict(row._mapping)
    typed = {
        "app": AppId(row.app),
        "vendor": VendorId(row.vendor),
        "version": VersionId(row.version),
        "seen_in": Seen(row.seen_in),
        "severity": Severity(row.severity),
    }
    return Defect(**kept | typed)
