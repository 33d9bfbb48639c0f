"""The bodies of the API of clocks, figures, draws and appeals."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from hilum.foundation.web.api import Paging, Prose, Shown, Strict
from hilum.policy.matrix.models import Tier
from hilum.review.submissions import clocks
from hilum.review.submissions.clock_models import (
    Appeal,
    AppealState,
    Clock,
    Draw,
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
    lens: str
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


class DrawShown(Shown):
    """``number``, of 10,000, is drawn if it is below ``percent`` of them. ``same``: a repetition from the seed gives the same result."""

    submission: str
    seed: str
    percent: int
    number: int
    drawn: bool
    carried: str
    at: datetime
    same: bool


def draw_shown(found: Draw, *, same: bool) -> DrawShown:
    """Return a draw."""
    names = ("submission", "seed", "percent", "number", "drawn", "carried", "at")
    values: dict[str, Any] = {name: getattr(found, name) for name in names}
    return DrawShown(**values, same=same)


class AppealAsked(Strict):
    text: Prose


class AppealDecision(Strict):
    """``overturn``: the rejection was wrong, and the lenses that failed are judged again by others."""

    overturn: bool
    reason: Prose


class AppealsQuery(Paging):
    state: AppealState | None = None


class AppealShown(Shown):
    submission: str
    text: str
    by: str
    at: datetime
    state: AppealState
    decided_by: str
    decided_at: datetime | None
    reason: str


appeal_shown: Callable[[Appeal], AppealShown] = AppealShown.model_validate
