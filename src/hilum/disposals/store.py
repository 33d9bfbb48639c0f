"""The table of disposal requests."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Index, Row, String, Table, UniqueConstraint, delete, select, text

from hilum.disposals.models import DUE_BATCH, OPEN_BOUND, SORTS, Answer, Cause, Disposal, DisposalQuery, State
from hilum.infra.db import Instant, get_row, insert_or_ignore, metadata
from hilum.infra.sorting import paged
from hilum.kernel.ids import AppId, AuthorizationId, ClientId, TenantId, VendorId
from hilum.kernel.pages import PageQuery

disposals = Table(
    "disposals_request",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("once", String(200), nullable=False),
    Column("cause", String(20), nullable=False),
    Column("vendor", String(64), nullable=False),
    Column("app", String(64), nullable=False),
    Column("tenant", String(32), nullable=False),
    Column("client", String(64), nullable=False),
    Column("authorization", String(64), nullable=False),
    Column("patient", String(64), nullable=False),
    Column("requested_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("announced_at", Instant),
    Column("overdue_at", Instant),
    Column("escalated_at", Instant),
    Column("answer", String(20), nullable=False),
    Column("legal_reason", String(500), nullable=False),
    Column("answered_at", Instant),
    Column("answered_by", String(128), nullable=False),
    UniqueConstraint("once"),
    Index("ix_disposals_request_vendor", "vendor", "id"),
    Index("ix_disposals_request_tenant", "tenant", "id"),
    Index("ix_disposals_request_app", "app", "id"),
    Index("ix_disposals_request_answered", "answered_at"),
    Index("ix_disposals_request_by_due", "due_at", "id"),
    Index("ix_disposals_request_vendor_due", "vendor", "due_at", "id"),
    Index("ix_disposals_request_tenant_due", "tenant", "due_at", "id"),
    # Only what still waits for an answer: it stays small, however many requests there were.
    Index(
        "ix_disposals_request_due",
        "due_at",
        sqlite_where=text("answer = '' AND overdue_at IS NULL"),
        postgresql_where=text("answer = '' AND overdue_at IS NULL"),
    ),
    Index(
        "ix_disposals_request_late",
        "due_at",
        sqlite_where=text("answer = '' AND escalated_at IS NULL"),
        postgresql_where=text("answer = '' AND escalated_at IS NULL"),
    ),
    Index(
        "ix_disposals_request_unanswered",
        "due_at",
        sqlite_where=text("answer = ''"),
        postgresql_where=text("answer = ''"),
    ),
    Index(
        "ix_disposals_request_new",
        "id",
        sqlite_where=text("announced_at IS NULL"),
        postgresql_where=text("announced_at IS NULL"),
    ),
    Index(
        "ix_disposals_request_open",
        "id",
        sqlite_where=text("answer = ''"),
        postgresql_where=text("answer = ''"),
    ),
)


def add(tx: Connection, disposal: Disposal, once: str) -> bool:
    """Add a request; return False if its cause has one already."""
    row = asdict(disposal) | {"once": once, "cause": disposal.cause.value, "answer": ""}
    return tx.execute(insert_or_ignore(tx, disposals).values(row)).rowcount == 1


def get(tx: Connection, disposal: str, *, lock: bool = False) -> Disposal:
    """Get a request. Raises NotFound."""
    return _disposal(get_row(tx, disposals, disposal, "disposal request", code="disposal", lock=lock))


def list_requests(tx: Connection, query: DisposalQuery, page: PageQuery, now: datetime) -> list[Disposal]:
    """List requests by id, which is in the order of their making, or in the page's order."""
    table = disposals
    wanted = select(table)
    for name in ("vendor", "tenant", "app"):
        if (value := getattr(query, name)) is not None:
            wanted = wanted.where(table.c[name] == value)
    match query.state:
        case State.OPEN:
            wanted = wanted.where(table.c.answer == "", table.c.due_at > now)
        case State.OVERDUE:
            wanted = wanted.where(table.c.answer == "", table.c.due_at <= now)
        case State() as answered:
            wanted = wanted.where(table.c.answer == answered.value)
    return [_disposal(row) for row in tx.execute(paged(wanted, table, SORTS, page))]


def list_open(tx: Connection, app: AppId, vendor: VendorId, tenant: TenantId) -> list[Disposal]:
    """List the oldest requests to a vendor about an app that wait for an answer, of one hospital and of all."""
    table = disposals
    # What a former vendor never answered is not among the bounded number: it would hide the requests of this one for ever.
    its = (table.c.app == app, table.c.vendor == vendor, table.c.tenant.in_((tenant, "")))
    wanted = select(table).where(*its, table.c.answer == "")
    return [_disposal(row) for row in tx.execute(wanted.order_by(table.c.id).limit(OPEN_BOUND))]


def save_answer(tx: Connection, after: Disposal, before: Answer | None) -> bool:
    """Record an answer if the one before is still the last; False if another was first."""
    table = disposals
    last = "" if before is None else before.value
    here = (table.c.id == after.id, table.c.answer == last)
    values = {
        "answer": "" if after.answer is None else after.answer.value,
        "legal_reason": after.legal_reason,
        "answered_at": after.answered_at,
        "answered_by": after.answered_by,
    }
    return tx.execute(table.update().where(*here).values(values)).rowcount == 1


def list_unannounced(tx: Connection) -> list[Disposal]:
    """List and lock requests that are not in the outbox yet, oldest first."""
    query = select(disposals).where(disposals.c.announced_at.is_(None)).order_by(disposals.c.id)
    return [_disposal(row) for row in tx.execute(query.limit(DUE_BATCH).with_for_update(skip_locked=True))]


def save_announced(tx: Connection, disposal: str, now: datetime) -> None:
    """Record that a request was put into the outbox."""
    tx.execute(disposals.update().where(disposals.c.id == disposal).values(announced_at=now))


def list_due(tx: Connection, now: datetime) -> list[Disposal]:
    """List and lock requests whose deadline has passed without an answer, and of which that is not recorded yet."""
    table = disposals
    due = (table.c.answer == "", table.c.overdue_at.is_(None), table.c.due_at <= now)
    query = select(table).where(*due).order_by(table.c.due_at).limit(DUE_BATCH)
    return [_disposal(row) for row in tx.execute(query.with_for_update(skip_locked=True))]


def save_overdue(tx: Connection, disposal: str, now: datetime) -> bool:
    """Record that no answer came in time; False if it was recorded, or one came, meanwhile."""
    table = disposals
    here = (table.c.id == disposal, table.c.answer == "", table.c.overdue_at.is_(None))
    return tx.execute(table.update().where(*here).values(overdue_at=now)).rowcount == 1


def list_late(tx: Connection, due_before: datetime) -> list[Disposal]:
    """List and lock requests without an answer whose deadline passed before a moment, and which were not escalated."""
    table = disposals
    late = (table.c.answer == "", table.c.escalated_at.is_(None), table.c.due_at <= due_before)
    query = select(table).where(*late).order_by(table.c.due_at).limit(DUE_BATCH)
    return [_disposal(row) for row in tx.execute(query.with_for_update(skip_locked=True))]


def save_escalated(tx: Connection, disposal: str, now: datetime) -> None:
    """Record that the hospital was notified of the missing answer."""
    tx.execute(disposals.update().where(disposals.c.id == disposal).values(escalated_at=now))


def take_unanswered(tx: Connection, due_before: datetime) -> list[Disposal]:
    """Delete a batch of requests without an answer whose deadline passed before a moment, and return them."""
    table = disposals
    old = select(table).where(table.c.answer == "", table.c.due_at < due_before).order_by(table.c.due_at)
    found = [_disposal(row) for row in tx.execute(old.limit(DUE_BATCH).with_for_update(skip_locked=True))]
    tx.execute(delete(table).where(table.c.id.in_([each.id for each in found])))
    return found


def purge(tx: Connection, before: datetime) -> int:
    """Delete a batch of requests that were answered before a moment; return how many."""
    table = disposals
    old = (
        select(table.c.id).where(table.c.answered_at < before).order_by(table.c.answered_at).limit(DUE_BATCH)
    )
    return tx.execute(delete(table).where(table.c.id.in_(old))).rowcount


def _disposal(row: Row[Any]) -> Disposal:
    return Disposal(
        id=row.id,
        cause=Cause(row.cause),
        vendor=VendorId(row.vendor),
        app=AppId(row.app),
        requested_at=row.requested_at,
        due_at=row.due_at,
        tenant=TenantId(row.tenant),
        client=ClientId(row.client),
        authorization=AuthorizationId(row.authorization),
        patient=row.patient,
        announced_at=row.announced_at,
        overdue_at=row.overdue_at,
        escalated_at=row.escalated_at,
        answer=Answer(row.answer) if row.answer else None,
        legal_reason=row.legal_reason,
        answered_at=row.answered_at,
        answered_by=row.answered_by,
    )
