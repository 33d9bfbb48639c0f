"""Defects and the figure that is made of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.kernel.ids import AppId, VendorId, VersionId

TEXT_BOUND = 2_000
ESCAPES_WITHIN = timedelta(days=90)
"""How long after go-live a defect that is first seen in production counts as one that escaped."""
OPEN_BOUND = 200
"""Open defects of an app that its vendor may have on record: more would only crowd out what others' figures are made of."""
COUNTED_BOUND = 5_000
"""The newest defects that a figure is made of."""


class Seen(StrEnum):
    """Where a defect was first seen."""

    SANDBOX = "sandbox"
    REVIEW = "review"
    PRODUCTION = "production"


class Severity(StrEnum):
    LOW = "low"
    MODERATE = "moderate"
    HIGH = "high"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class NewDefect:
    version: VersionId
    seen_in: Seen
    severity: Severity
    summary: str
    first_seen_at: datetime


@dataclass(frozen=True, slots=True)
class Tag:
    """Whether the sandbox could have shown it: by which ``scenario``, or what it lacks (``gap``)."""

    reproducible: bool
    scenario: str = ""
    gap: str = ""


@dataclass(frozen=True, slots=True)
class Defect:
    """``proposed``: the rule book had no such scenario when it was tagged. ``went_live_at``: when its version was first certified for production."""

    id: str
    app: AppId
    vendor: VendorId
    version: VersionId
    label: str
    seen_in: Seen
    severity: Severity
    summary: str
    first_seen_at: datetime
    went_live_at: datetime | None
    reported_by: str
    reported_at: datetime
    reproducible: bool | None = None
    scenario: str = ""
    proposed: bool = False
    gap: str = ""
    tagged_by: str = ""
    tagged_at: datetime | None = None
    closed_by: str = ""
    closed_at: datetime | None = None
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Leakage:
    """K2: of all defects of versions that went live those that escaped; of the escaped ones how many are tagged, and reproducible.

    ``by_version``: escaped and all, by version.
    """

    escaped: int
    all: int
    tagged: int
    reproducible: int
    by_version: Mapping[VersionId, tuple[int, int]] = field(default_factory=dict)

    @property
    def share(self) -> float | None:
        """The share that escaped; None of no defects."""
        return self.escaped / self.all if self.all else None

    @property
    def reproducible_share(self) -> float | None:
        """The share of escaped ones that the sandbox could have shown, of those that are tagged."""
        return self.reproducible / self.tagged if self.tagged else None
