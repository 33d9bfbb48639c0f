"""The table of drills."""

from typing import Any

from sqlalchemy import JSON, Column, Connection, Index, Row, String, Table, select

from hilum.drills.models import Drill, DrillState
from hilum.infra.db import Instant, get_row, metadata
from hilum.infra.sorting import newest_first
from hilum.kernel.ids import AppId, ClientId, TenantId
from hilum.kernel.pages import FIRST_PAGE, PageQuery

drills = Table(
    "drills_drill",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("client", String(64), nullable=False),
    Column("app", String(64), nullable=False),
    Column("tenant", String(32), nullable=False),
    Column("began_by", String(120), nullable=False),
    Column("began_at", Instant, nullable=False),
    Column("state", String(16), nullable=False),
    Column("switch", String(64), nullable=False),
    Column("containment", JSON, nullable=False),
    Column("record", JSON, nullable=False),
    Column("kid", String(64), nullable=False),
    Column("signature", String(120), nullable=False),
    Column("ended_at", Instant),
    Index("ix_drills_drill_state", "state", "id"),
)


def add(tx: Connection, drill: Drill) -> None:
    tx.execute(drills.insert().values(_values(drill)))


def save(tx: Connection, drill: Drill) -> None:
    tx.execute(drills.update().where(drills.c.id == drill.id).values(_values(drill)))


def get(tx: Connection, drill: str, *, lock: bool = False) -> Drill:
    """Get a drill; with ``lock`` no other transaction changes it meanwhile. Raises NotFound."""
    return _drill(get_row(tx, drills, drill, "drill", lock=lock))


def list_running(tx: Connection) -> list[Drill]:
    """List unfinished drills: at most one that runs, and dead ones."""
    query = select(drills).where(drills.c.state == DrillState.RUNNING.value).order_by(drills.c.id)
    return [_drill(row) for row in tx.execute(query.with_for_update())]


def list_drills(tx: Connection, page: PageQuery = FIRST_PAGE) -> list[Drill]:
    """List drills, newest first."""
    return [_drill(row) for row in tx.execute(newest_first(select(drills), drills, page))]


def _values(drill: Drill) -> dict[str, Any]:
    found = {column.name: getattr(drill, column.name) for column in drills.c}
    more = {"containment": dict(drill.containment), "record": dict(drill.record)}
    return found | more | {"state": drill.state.value}


def _drill(row: Row[Any]) -> Drill:
    kept = dict(row._mapping)
    ids = {"client": ClientId(row.client), "app": AppId(row.app), "tenant": TenantId(row.tenant)}
    return Drill(**kept | ids | {"state": DrillState(row.state)})
