"""The table of approvals."""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import JSON, Column, Connection, Index, String, Table, select

from hilum.controls.approvals.models import PURGE_BATCH, Act, Approval, ApprovalState
from hilum.foundation.infra.db import Instant, metadata
from hilum.foundation.infra.rows import Parts, Rows, given
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery

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


APPROVALS = Rows(approvals, Approval, "approval", act=Parts(Act, {"order": "act"}))


def list_pending(
    tx: Connection, now: datetime, *, tenant: TenantId | None = None, page: PageQuery = FIRST_PAGE
) -> list[Approval]:
    """List what waits for a second person, oldest first; of one tenant if one is given, and of the staff alone if that is empty."""
    of_state = (approvals.c.expires_at > now, *APPROVALS.where(state=ApprovalState.PENDING))
    # By id, which begins with its time: the oldest first.
    return APPROVALS.page(tx, page, *of_state, **given(tenant=tenant))


def count_pending(tx: Connection, tenant: TenantId | None, now: datetime) -> int:
    return APPROVALS.count(tx, approvals.c.expires_at > now, tenant=tenant, state=ApprovalState.PENDING)


def save_decided(tx: Connection, decided: Approval) -> bool:
    """Save how an approval was decided, and what its act created, in one statement; False if it was decided meanwhile."""
    # The sealed half of a secret is kept only while it may still be needed.
    used = replace(decided, act=replace(decided.act, sealed=""))
    columns = ("state", "target", "decided_by", "decided_at", "sealed")
    return APPROVALS.save(tx, used, only=columns, state=ApprovalState.PENDING)


def end_all(tx: Connection, at: datetime) -> None:
    """Expire every pending approval."""
    # After a restore: what was pending in the backup may have been decided since.
    APPROVALS.change(tx, {"expires_at": at}, approvals.c.expires_at > at)


def purge(tx: Connection, *, sealed_before: datetime, before: datetime) -> int:
    """Delete what was sealed with approvals that expired before the one moment, and approvals that expired before the other.

    At most PURGE_BATCH of each; return how many.
    """
    expired = select(approvals.c.id).where(*APPROVALS.where(state=ApprovalState.PENDING))
    sealed = expired.where(approvals.c.expires_at < sealed_before, approvals.c.sealed != "")
    ended = APPROVALS.change(tx, {"sealed": ""}, approvals.c.id.in_(sealed.limit(PURGE_BATCH)))
    return ended + APPROVALS.purge(tx, PURGE_BATCH, approvals.c.expires_at < before)
