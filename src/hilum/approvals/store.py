"""The table of approvals."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Connection, Index, Row, String, Table, delete, func, select, update

from hilum.approvals.models import PURGE_BATCH, Act, Approval, ApprovalKind, ApprovalState
from hilum.infra.db import Instant, get_row, metadata
from hilum.infra.sorting import by_key
from hilum.kernel.ids import PersonId, TenantId
from hilum.kernel.pages import FIRST_PAGE, PageQuery

approvals = Table(
    "approvals_approval",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("tenant", String(32), nullable=False),
    Column("target", String(64), nullable=False),
    Column("act", JSON, nullable=False),
    Column("before", JSON, nullable=False),
    # The secret part of an act, under the key-encryption key;
    # ``act`` is shown to the second person and holds none.
    Column("sealed", String(8_000), nullable=False),
    Column("asked_by", String(64), nullable=False),
    Column("asked_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("state", String(20), nullable=False),
    Column("decided_by", String(64), nullable=False),
    Column("decided_at", Instant),
    Index(None, "tenant", "state", "id"),
    Index(None, "state", "id"),
)


def add_approval(tx: Connection, approval: Approval) -> None:
    act = approval.act
    tx.execute(
        approvals.insert().values(
            id=approval.id,
            kind=act.kind.value,
            tenant=act.tenant or "",
            target=act.target,
            act=dict(act.order),
            before=dict(act.before),
            sealed=act.sealed,
            asked_by=approval.asked_by,
            asked_at=approval.asked_at,
            expires_at=approval.expires_at,
            state=approval.state.value,
            decided_by="",
            decided_at=None,
        )
    )


def _approval(row: Row[Any]) -> Approval:
    return Approval(
        id=row.id,
        act=Act(
            kind=ApprovalKind(row.kind),
            tenant=TenantId(row.tenant) if row.tenant else None,
            target=row.target,
            order=row.act,
            before=row.before,
            sealed=row.sealed,
        ),
        asked_by=PersonId(row.asked_by),
        asked_at=row.asked_at,
        expires_at=row.expires_at,
        state=ApprovalState(row.state),
        decided_by=PersonId(row.decided_by) if row.decided_by else None,
        decided_at=row.decided_at,
    )


def get_approval(tx: Connection, approval: str, *, lock: bool = False) -> Approval:
    """Get an approval; with ``lock`` its row is locked until the transaction ends. Raises NotFound."""
    # On PostgreSQL the second colleague waits here until the first has decided.
    return _approval(get_row(tx, approvals, approval, "approval", lock=lock))


def list_pending(
    tx: Connection, now: datetime, *, tenant: TenantId | None = None, page: PageQuery = FIRST_PAGE
) -> list[Approval]:
    """List what waits for a second person, oldest first; of one tenant if one is given, and of the staff alone if that is empty."""
    query = select(approvals).where(
        approvals.c.state == ApprovalState.PENDING.value,
        approvals.c.expires_at > now,
    )
    if tenant is not None:
        query = query.where(approvals.c.tenant == tenant)
    # By id, which begins with its time: the oldest first.
    return [_approval(row) for row in tx.execute(by_key(query, approvals.c.id, page))]


def count_pending(tx: Connection, tenant: TenantId | None, now: datetime) -> int:
    waiting = (
        approvals.c.tenant == (tenant or ""),
        approvals.c.state == ApprovalState.PENDING.value,
        approvals.c.expires_at > now,
    )
    return int(tx.execute(select(func.count()).select_from(approvals).where(*waiting)).scalar_one())


def save_decided(tx: Connection, decided: Approval) -> bool:
    """Save how an approval was decided, and what its act created, in one statement; False if it was decided meanwhile."""
    pending = (approvals.c.id == decided.id, approvals.c.state == ApprovalState.PENDING.value)
    values = {
        "state": decided.state.value,
        "target": decided.act.target,
        "decided_by": decided.decided_by or "",
        "decided_at": decided.decided_at,
        # The sealed half of a secret is kept only while it may still be needed.
        "sealed": "",
    }
    return tx.execute(approvals.update().where(*pending).values(values)).rowcount == 1


def end_all(tx: Connection, at: datetime) -> None:
    """Expire every pending approval."""
    # After a restore: what was pending in the backup may have been decided since.
    tx.execute(approvals.update().where(approvals.c.expires_at > at).values(expires_at=at))


def purge(tx: Connection, *, sealed_before: datetime, before: datetime) -> int:
    """Delete what was sealed with approvals that expired before the one moment, and approvals that expired before the other.

    At most PURGE_BATCH of each; return how many.
    """
    expired = select(approvals.c.id).where(approvals.c.state == ApprovalState.PENDING.value)
    sealed = expired.where(approvals.c.expires_at < sealed_before, approvals.c.sealed != "").limit(
        PURGE_BATCH
    )
    old = select(approvals.c.id).where(approvals.c.expires_at < before).limit(PURGE_BATCH)
    done = tx.execute(update(approvals).where(approvals.c.id.in_(sealed)).values(sealed=""))
    return done.rowcount + tx.execute(delete(approvals).where(approvals.c.id.in_(old))).rowcount
