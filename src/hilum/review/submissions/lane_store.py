"""The table of requests for protected access."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Boolean, Column, Connection, Index, Row, String, Table, Text, select, text

from hilum.foundation.infra.db import Instant, insert_or_ignore, metadata, row_of
from hilum.foundation.infra.sorting import NEVER, paged
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ids import AppId, VendorId, VersionId
from hilum.foundation.kernel.pages import PageQuery
from hilum.review.submissions.lane_models import LANE_BATCH, LANE_SORTS, LaneRequest, LaneState

_STANDS = text("state != 'refused'")
_DUE = text(f"coalesce(due_at, {NEVER})")
lane = Table(
    "review_lane",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("app", String(64), nullable=False),
    Column("vendor", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("asked_by", String(120), nullable=False),
    Column("asked_at", Instant, nullable=False),
    Column("due_at", Instant),
    Column("state", String(20), nullable=False),
    Column("decided_by", String(120), nullable=False),
    Column("decided_at", Instant),
    Column("reason", Text, nullable=False),
    Column("enabled_at", Instant),
    Column("certification", String(64), nullable=False),
    Column("missed", Boolean, nullable=False),
    Index("uq_review_lane_version", "version", unique=True, sqlite_where=_STANDS, postgresql_where=_STANDS),
    Index("ix_review_lane_state", "state", "id"),
    Index("ix_review_lane_vendor", "vendor", "id"),
    Index("ix_review_lane_due", "missed", "due_at"),
    Index("ix_review_lane_by_due", _DUE, "id"),
    Index("ix_review_lane_vendor_due", "vendor", _DUE, "id"),
)


def _values(each: LaneRequest) -> dict[str, Any]:
    names = ("id", "app", "vendor", "version", "asked_by", "asked_at", "due_at", "decided_by", "decided_at")
    more = ("reason", "enabled_at", "certification", "missed")
    return {name: getattr(each, name) for name in (*names, *more)} | {
        "scopes": list(each.scopes),
        "state": each.state.value,
    }


def _request(row: Row[Any]) -> LaneRequest:
    return LaneRequest(
        row.id,
        AppId(row.app),
        VendorId(row.vendor),
        VersionId(row.version),
        tuple(row.scopes),
        row.asked_by,
        row.asked_at,
        row.due_at,
        LaneState(row.state),
        row.decided_by,
        row.decided_at,
        row.reason,
        row.enabled_at,
        row.certification,
        bool(row.missed),
    )


def no_such_request() -> NotFound:
    """Build the error of a request that does not exist, or that the actor may not see."""
    return NotFound("lane_request_not_found", "There is no such request for protected access.")


def add_request(tx: Connection, added: LaneRequest) -> bool:
    """Add a request; return False if its version has one that was not refused."""
    return tx.execute(insert_or_ignore(tx, lane).values(_values(added))).rowcount == 1


def save_request(tx: Connection, after: LaneRequest) -> None:
    """Save a request, whose row is locked or which only the holder of the job's lease changes."""
    tx.execute(lane.update().where(lane.c.id == after.id).values(_values(after)))


def get_request(tx: Connection, request: str, *, lock: bool = False) -> LaneRequest:
    """Get a request; with ``lock`` its row is locked until the transaction ends. Raises NotFound."""
    row = row_of(tx, lane, request, lock=lock)
    if row is None:
        raise no_such_request()
    return _request(row)


def list_requests(tx: Connection, page: PageQuery, *, vendor: str = "") -> list[LaneRequest]:
    """List requests by id, which is the order in which they were made, or in the page's order."""
    query = select(lane)
    if vendor:
        query = query.where(lane.c.vendor == vendor)
    return [_request(row) for row in tx.execute(paged(query, lane, LANE_SORTS, page))]


def verified_after(tx: Connection, after: str) -> list[LaneRequest]:
    """List the next requests that wait to be enabled, locked; at most a batch."""
    query = select(lane).where(lane.c.state == LaneState.VERIFIED.value, lane.c.id > after)
    rows = tx.execute(query.order_by(lane.c.id).limit(LANE_BATCH).with_for_update())
    return [_request(row) for row in rows]


def late(tx: Connection, now: datetime) -> list[LaneRequest]:
    """List requests whose step ended before now and that are not in the ledger, locked; at most a batch."""
    query = select(lane).where(~lane.c.missed, lane.c.due_at <= now).order_by(lane.c.due_at)
    return [_request(row) for row in tx.execute(query.limit(LANE_BATCH).with_for_update())]
