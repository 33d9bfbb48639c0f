"""The table of drills."""

from sqlalchemy import JSON, Column, Connection, Index, String, Table

from hilum.drills.models import Drill, DrillState
from hilum.infra.db import Instant, metadata
from hilum.infra.rows import Rows

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


DRILLS = Rows(drills, Drill, "drill")


def list_running(tx: Connection) -> list[Drill]:
    """List unfinished drills: at most one that runs, and dead ones."""
    return DRILLS.read(tx, DRILLS.select(state=DrillState.RUNNING).order_by(drills.c.id).with_for_update())
