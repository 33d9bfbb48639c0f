"""Clocks and published figures of review in words, for all who see them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from hilum.review.submissions import service as review
from hilum.review.submissions.models import Clock, Figure, MeasureKind, Stage

_STAGES = {
    Stage.FIRST_ANSWER: "First answer",
    Stage.DECISION: "Decision",
    Stage.VERIFY: "Regulated access: who asks",
    Stage.ENABLE: "Regulated access: use of the app",
}
_MEASURED = {
    MeasureKind.LEAD: "From submission to decision",
    MeasureKind.TURNAROUND: "From taking a discipline to its verdict",
    MeasureKind.APPEAL: "Appeals: the rejection stood",
}


def rows(found: Iterable[Clock], now: datetime) -> list[dict[str, Any]]:
    """Return the clocks of a submission: what both sides have used, when they end, and whose turn it is."""
    return [_row(each, now) for each in sorted(found, key=lambda one: one.stage is Stage.DECISION)]


def _row(clock: Clock, now: datetime) -> dict[str, Any]:
    used, vendor = review.times_of(clock, now)
    return {
        "stage": _STAGES[clock.stage],
        "allowed": clock.allowed_days,
        "used": days(used),
        "vendor": days(vendor),
        "due": clock.due_at if clock.stopped_at is None else None,
        "turn": "" if clock.stopped_at else "vendor" if clock.due_at is None else "reviewers",
        "missed": clock.missed,
    }


def days(milli: int | None) -> str:
    """Return thousandths of business days as days."""
    return "" if milli is None else f"{milli / 1000:.1f}"


def decision(found: Iterable[Clock]) -> Clock | None:
    """Return the clock of the decision."""
    return next((each for each in found if each.stage is Stage.DECISION), None)


def figures(found: Iterable[Figure]) -> list[dict[str, Any]]:
    """Return published figures in words."""
    return [
        {
            "what": _MEASURED[each.kind],
            "of": " ".join(
                filter(
                    None,
                    (each.tier and f"{each.tier} tier", each.discipline and f"{each.discipline} discipline"),
                )
            ),
            "count": each.count,
            "good": 100 * each.good // each.count if each.count else None,
            "timed": each.kind in {MeasureKind.LEAD, MeasureKind.TURNAROUND},
            "median": days(each.median_milli),
            "p90": days(each.p90_milli),
            "median_whole": days(each.median_whole_milli),
            "p90_whole": days(each.p90_whole_milli),
        }
        for each in found
    ]
