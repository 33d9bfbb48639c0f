"""Defects and the figure that is made of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.foundation.kernel.ids import AppId, VendorId, VersionId

TEXT_BOUND = 2_000
ESCAPES_WITHIN = timedelta(days=90)
"""How long after go-live a defect first seen in production counts as escaped."""
OPEN_BOUND = 200
"""How many defects of an app may be open: more would displace those of others from the figure."""
COUNTED_BOUND = 5_000
"""How many of the newest defects the figure counts."""


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
    """Whether the sandbox could have shown a defect: in which ``scenario``, or what the sandbox lacks (``gap``)."""

    reproducible: bool
    scenario: str = ""
    gap: str = ""


@dataclass(frozen=True, slots=True)
class Defect:
    """``proposed``: the policy had no such scenario when it was tagged. ``went_live_at``: when its version was first certified for production."""

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
    """K2: how many defects of versions that went live escaped, and how many of those are tagged and reproducible. ``by_version``: escaped and all."""

    escaped: int
    all: int
    tagged: int
    reproducible: int
    by_version: Mapping[VersionId, tuple[int, int]] = field(default_factory=dict)

    @property
    def share(self) -> float | None:
        """Return the share that escaped; None without defects."""
        return self.escaped / self.all if self.all else None

    @property
    def reproducible_share(self) -> float | None:
        """Return the share of the tagged escaped defects that the sandbox could have shown."""
        return self.reproducible / self.tagged if self.tagged else None
