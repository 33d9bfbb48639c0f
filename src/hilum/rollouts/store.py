"""The table of rollouts. The document of a rollout never changes."""

from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import JSON, Column, Connection, Index, Integer, Row, String, Table, Text, select

from hilum.infra.db import Instant, get_row, metadata
from hilum.infra.sorting import newest_first
from hilum.kernel.ids import TenantId
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.policies.models import CurrentVersions
from hilum.rollouts.models import UNFINISHED, Limits, Rollout, RolloutState
from hilum.rollouts.policy import document, read_rings

plans = Table(
    "rollouts_plan",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("document", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("why", Text, nullable=False),
    Column("measured", JSON, nullable=False),
    Column("ended_at", Instant),
    Index("ix_rollouts_plan_state", "state", "id"),
)


def add(tx: Connection, plan: Rollout) -> None:
    text = orjson.dumps(document(plan), option=orjson.OPT_SORT_KEYS).decode()
    values = {"id": plan.id, "version": plan.version, "document": text}
    tx.execute(plans.insert().values(values | _state(plan)))


def save_state(tx: Connection, plan: Rollout) -> None:
    """Save the changing part of a rollout."""
    tx.execute(plans.update().where(plans.c.id == plan.id).values(_state(plan)))


def get(tx: Connection, plan: str, *, lock: bool = False) -> Rollout:
    """Get a rollout; with ``lock`` no other transaction changes it meanwhile. Raises NotFound."""
    return _plan(get_row(tx, plans, plan, "rollout", lock=lock))


def find_unfinished(tx: Connection) -> Rollout | None:
    """Find the open rollout."""
    states = [each.value for each in UNFINISHED]
    row = tx.execute(select(plans).where(plans.c.state.in_(states)).order_by(plans.c.id).limit(1)).first()
    return None if row is None else _plan(row)


def list_plans(tx: Connection, page: PageQuery = FIRST_PAGE) -> list[Rollout]:
    """List rollouts, newest first."""
    return [_plan(row) for row in tx.execute(newest_first(select(plans), plans, page))]


def _state(plan: Rollout) -> dict[str, Any]:
    return {
        "state": plan.state.value,
        "why": plan.why,
        "measured": dict(plan.measured),
        "ended_at": plan.ended_at,
    }


def _plan(row: Row[Any]) -> Rollout:
    found = orjson.loads(row.document)
    before = found["before"]
    at = {TenantId(tenant): number for tenant, number in before["at"].items()}
    return Rollout(
        id=found["id"],
        version=found["version"],
        digest=found["digest"],
        rings=read_rings(found["rings"]),
        limits=Limits(**found["limits"]),
        reason=found["reason"],
        before=CurrentVersions(before["everywhere"], at, before["last"]),
        dry_run=found["dry_run"],
        asked_by=found["asked_by"],
        agreed_by=found["agreed_by"],
        began_at=datetime.fromisoformat(found["began_at"]),
        state=RolloutState(row.state),
        why=row.why,
        measured=row.measured,
        ended_at=row.ended_at,
    )
