"""The table of defects."""

from sqlalchemy import Boolean, Column, Connection, Index, String, Table, Text, select

from hilum.foundation.infra.db import Instant, metadata
from hilum.foundation.infra.rows import Rows, given
from hilum.foundation.kernel.ids import AppId, VendorId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.review.defects.models import COUNTED_BOUND, Defect

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


DEFECTS = Rows(defects, Defect, "defect")


def list_defects(
    tx: Connection, page: PageQuery = FIRST_PAGE, *, vendor: VendorId | None = None, app: AppId | None = None
) -> list[Defect]:
    """List defects of all, of a vendor or of an app, newest first."""
    return DEFECTS.newest(tx, page, **given(vendor=vendor, app=app))


def read_newest(tx: Connection) -> list[Defect]:
    """Read the newest defects, of which figures are made."""
    return DEFECTS.read(tx, select(defects).order_by(defects.c.id.desc()).limit(COUNTED_BOUND))
