"""Tables of clocks, measurements and figures."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Row,
    String,
    Table,
    exists,
    select,
    text,
)

from hilum.foundation.infra.db import Instant, insert_or_ignore, metadata
from hilum.foundation.kernel.ids import AppId
from hilum.policy.matrix.models import Tier
from hilum.review.submissions.clock_models import (
    Clock,
    Figure,
    Measure,
    MeasureKind,
    Stage,
)
from hilum.review.submissions.models import (
    CLOCKS_BATCH,
    MEASURES_BOUND,
)

RUNNING = text("stage = 'decision' AND stopped_at IS NULL AND due_at IS NOT NULL")
"""Of clocks: that a decision is due at some time. Written out and not parameters: only then does its index fit."""
clocks = Table(
    "review_clock",
    metadata,
    Column("submission", String(64), nullable=False),
    Column("stage", String(20), nullable=False),
    Column("app", String(64), nullable=False),
    Column("tier", String(20), nullable=False),
    Column("calendar", String(64), nullable=False),
    Column("allowed_days", Integer, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("due_at", Instant),
    Column("pauses", JSON, nullable=False),
    Column("stopped_at", Instant),
    Column("missed", Boolean, nullable=False),
    PrimaryKeyConstraint("submission", "stage"),
    # Those that were missed and of which nobody was notified yet.
    Index("ix_review_clock_due", "missed", "due_at"),
    Index("ix_review_clock_running", "due_at", "submission", sqlite_where=RUNNING, postgresql_where=RUNNING),
)

measures = Table(
    "review_measure",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("tier", String(20), nullable=False),
    Column("discipline", String(20), nullable=False),
    Column("at", Instant, nullable=False),
    Column("milli", Integer, nullable=False),
    Column("milli_whole", Integer, nullable=False),
    Column("good", Boolean, nullable=False),
    Index("ix_review_measure_at", "at"),
)

figures = Table(
    "review_figures",
    metadata,
    Column("name", String(20), primary_key=True),
    Column("made_at", Instant, nullable=False),
    Column("rows", JSON, nullable=False),
)


def _tier(tier: Tier | None) -> str:
    return "" if tier is None else tier.value


def _when(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


# --- clocks --------------------------------------------------------------------------------------------------------------------


def _clock_values(each: Clock) -> dict[str, Any]:
    names = ("submission", "app", "calendar", "allowed_days", "started_at", "due_at", "stopped_at", "missed")
    return {name: getattr(each, name) for name in names} | {
        "stage": each.stage.value,
        "tier": _tier(each.tier),
        "pauses": [[begun.isoformat(), ended and ended.isoformat()] for begun, ended in each.pauses],
    }


def _clock(row: Row[Any]) -> Clock:
    return Clock(
        row.submission,
        Stage(row.stage),
        AppId(row.app),
        Tier(row.tier) if row.tier else None,
        row.calendar,
        row.allowed_days,
        row.started_at,
        row.due_at,
        tuple((datetime.fromisoformat(begun), _when(ended)) for begun, ended in row.pauses),
        row.stopped_at,
        bool(row.missed),
    )


def put_clock(tx: Connection, after: Clock) -> None:
    """Add a clock, or replace it. Its submission's row is locked."""
    values = _clock_values(after)
    if tx.execute(insert_or_ignore(tx, clocks).values(values)).rowcount == 0:
        same = (clocks.c.submission == after.submission, clocks.c.stage == after.stage.value)
        tx.execute(clocks.update().where(*same).values(values))


def is_of_tier(submission: ColumnElement[str], tier: Tier) -> ColumnElement[bool]:
    """Build the condition that the clock of a submission's decision runs by a tier, which it does once it was checked."""
    of_it = (clocks.c.submission == submission, clocks.c.stage == Stage.DECISION.value)
    return exists(select(clocks.c.submission).where(*of_it, clocks.c.tier == tier.value))


def clocks_of_some(tx: Connection, submissions: Sequence[str]) -> list[Clock]:
    """List the clocks of some submissions."""
    query = (
        select(clocks)
        .where(clocks.c.submission.in_(submissions))
        .order_by(clocks.c.submission, clocks.c.stage)
    )
    return [_clock(row) for row in tx.execute(query)]


def clocks_of(tx: Connection, submission: str, *, lock: bool = False) -> list[Clock]:
    """List the clocks of a submission; with ``lock`` no other transaction changes them meanwhile."""
    query = select(clocks).where(clocks.c.submission == submission).order_by(clocks.c.stage)
    return [_clock(row) for row in tx.execute(query.with_for_update() if lock else query)]


def missed(tx: Connection, now: datetime) -> list[Clock]:
    """List clocks that ended before now and are not marked as missed, the oldest first, locked; at most a batch."""
    query = select(clocks).where(~clocks.c.missed, clocks.c.due_at <= now).order_by(clocks.c.due_at)
    # Locked: a verdict may stop one at this moment, and each is written whole.
    return [_clock(row) for row in tx.execute(query.limit(CLOCKS_BATCH).with_for_update())]


# --- figures -------------------------------------------------------------------------------------------------------------------


def add_measure(tx: Connection, added: Measure) -> None:
    names = ("id", "tier", "discipline", "at", "milli", "milli_whole", "good")
    row = {name: getattr(added, name) for name in names} | {"kind": added.kind.value}
    tx.execute(measures.insert().values(row))


def read_measures(tx: Connection, since: datetime) -> list[Measure]:
    """Read the newest measurements since a moment; at most MEASURES_BOUND."""
    query = select(measures).where(measures.c.at >= since).order_by(measures.c.at.desc())
    return [
        Measure(
            row.id,
            MeasureKind(row.kind),
            row.tier,
            row.discipline,
            row.at,
            row.milli,
            row.milli_whole,
            bool(row.good),
        )
        for row in tx.execute(query.limit(MEASURES_BOUND))
    ]


def put_figures(tx: Connection, found: Sequence[Figure], now: datetime) -> None:
    """Replace the published figures."""
    values = {"name": "all", "made_at": now, "rows": orjson.loads(orjson.dumps(found))}
    if tx.execute(insert_or_ignore(tx, figures).values(values)).rowcount == 0:
        tx.execute(figures.update().where(figures.c.name == "all").values(values))


def find_figures(tx: Connection) -> tuple[datetime | None, list[Figure]]:
    """Return the published figures and when they were made."""
    row = tx.execute(select(figures).where(figures.c.name == "all")).first()
    if row is None:
        return None, []
    return row.made_at, [Figure(**each | {"kind": MeasureKind(each["kind"])}) for each in row.rows]


def purge(tx: Connection, submissions: Sequence[str]) -> None:
    """Delete what belongs to submissions that are deleted; measurements stay."""
    tx.execute(clocks.delete().where(clocks.c.submission.in_(submissions)))
