"""The bodies of the API of clocks and figures, and the body of an appeal."""

from datetime import datetime

from hilum.foundation.web.api import Prose, Shown, Strict
from hilum.policy.matrix.models import Tier
from hilum.review.submissions import clocks
from hilum.review.submissions.clock_models import (
    Clock,
    Figure,
    MeasureKind,
    Stage,
)


class ClockShown(Shown):
    """``used_milli`` and ``vendor_milli``: thousandths of business days that the platform has used, and that the vendor took to answer.

    ``due_at``: null while it is paused or over. ``waits_for``: whose turn it is; empty once it is over.
    """

    stage: Stage
    tier: Tier | None
    calendar: str
    allowed_days: int
    started_at: datetime
    due_at: datetime | None
    stopped_at: datetime | None
    used_milli: int
    vendor_milli: int
    waits_for: str
    missed: bool


class ClocksShown(Shown):
    clocks: tuple[ClockShown, ...]


def clock_shown(found: Clock, now: datetime) -> ClockShown:
    """Return a clock as it is now."""
    calendar = clocks.named(found.calendar, clocks.shipped_calendars())
    end = found.stopped_at or now
    used = clocks.elapsed(calendar, found.started_at, end, found.pauses)
    whole = clocks.elapsed(calendar, found.started_at, end)
    paused = bool(found.pauses) and found.pauses[-1][1] is None
    return ClockShown(
        stage=found.stage,
        tier=found.tier,
        calendar=found.calendar,
        allowed_days=found.allowed_days,
        started_at=found.started_at,
        due_at=found.due_at,
        stopped_at=found.stopped_at,
        used_milli=clocks.in_milli(used),
        vendor_milli=clocks.in_milli(whole - used),
        waits_for="" if found.stopped_at else "vendor" if paused else "platform",
        missed=found.missed,
    )


class FigureShown(Shown):
    """Thousandths of business days, by nearest rank; ``whole`` with the time that vendors took to answer. ``good``: how many were in time.

    For ``appeal``, ``good`` counts upheld rejections.
    """

    kind: MeasureKind
    tier: str
    discipline: str
    count: int
    good: int
    median_milli: int | None
    p90_milli: int | None
    median_whole_milli: int | None
    p90_whole_milli: int | None


class FiguresShown(Shown):
    """``made_at``: null before the first figures."""

    made_at: datetime | None
    figures: tuple[FigureShown, ...]


def figures_shown(made_at: datetime | None, found: list[Figure]) -> FiguresShown:
    """Return the published figures."""
    return FiguresShown(made_at=made_at, figures=tuple(map(FigureShown.model_validate, found)))


class AppealAsked(Strict):
    """``text``: why the rejection is wrong; reviewers see it."""

    text: Prose
