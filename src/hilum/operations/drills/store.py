"""The table of drills."""

from dataclasses import asdict

from sqlalchemy import JSON, Column, Float, String, Table

from hilum.foundation.infra.db import Instant, metadata
from hilum.foundation.infra.rows import Rows, Stored
from hilum.operations.drills.models import Drill, Measured

drills = Table(
    "drills_drill",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("client", String(64), nullable=False),
    Column("app", String(64), nullable=False),
    Column("tenant", String(32), nullable=False),
    Column("switch", String(64), nullable=False),
    Column("began_by", String(120), nullable=False),
    Column("began_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("measured", JSON, nullable=False),
    Column("containment", String(20), nullable=False),
    Column("slowest_ms", Float),
    Column("faults", JSON, nullable=False),
)
DRILLS = Rows(
    drills,
    Drill,
    "drill",
    measured=Stored(
        lambda measured: [asdict(each) for each in measured],
        lambda stored: tuple(Measured(**each) for each in stored),
    ),
)
