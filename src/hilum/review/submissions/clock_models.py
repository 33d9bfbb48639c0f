"""Clocks, and measurements."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hilum.foundation.kernel.ids import AppId
from hilum.policy.matrix.models import Tier

# --- clocks --------------------------------------------------------------------------------------------------------------------


class Stage(StrEnum):
    """What a clock runs for."""

    FIRST_ANSWER = "first_answer"
    """From submission to the first verdict on a discipline."""
    DECISION = "decision"
    """From submission to the decision."""
    VERIFY = "verify"
    """In the regulated lane: verifying the identity of the requester."""
    ENABLE = "enable"
    """In the regulated lane: from verification to use of the app."""


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock of a submission, in business days of a calendar.

    ``due_at``: None while it is paused. ``pauses``: when the vendor had to answer.
    """

    submission: str
    stage: Stage
    app: AppId
    tier: Tier | None
    calendar: str
    allowed_days: int
    started_at: datetime
    due_at: datetime | None
    pauses: tuple[tuple[datetime, datetime | None], ...] = ()
    stopped_at: datetime | None = None
    missed: bool = False


class MeasureKind(StrEnum):
    """The measurements of reviews."""

    LEAD = "lead"
    """K1: from submission to the decision."""
    TURNAROUND = "turnaround"
    """K12: from taking a discipline to its verdict."""
    APPEAL = "appeal"


@dataclass(frozen=True, slots=True)
class Measure:
    """One measurement in thousandths of business days, without and with the time in which the vendor had to answer.

    ``good``: within its clock; for an appeal, the submission was rejected again.
    """

    id: str
    kind: MeasureKind
    tier: str
    discipline: str
    at: datetime
    milli: int
    milli_whole: int
    good: bool


@dataclass(frozen=True, slots=True)
class Figure:
    """Published figures of one kind of measurement in a tier or discipline: how many, median and 90th percentile, and how many were good."""

    kind: MeasureKind
    tier: str
    discipline: str
    count: int
    good: int
    median_milli: int | None
    p90_milli: int | None
    median_whole_milli: int | None
    p90_whole_milli: int | None
