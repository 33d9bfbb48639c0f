"""Defects and the figure that is made of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from hilum.foundation.actions.models import ID, PROSE, WORD, Arg, Moment
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
    """A defect to report. ``first_seen_at``: now, if left out."""

    version: Annotated[
        VersionId,
        ID,
        Arg(
            "App and version, such as Chart Viewer@1.0.",
            '"Chart Viewer@1.0"',
            label="Of which version",
            names="version",
            placed=True,
        ),
    ]
    seen_in: Annotated[
        Seen,
        Arg(
            "Where it was first seen; production only if the version is certified for it.",
            "production",
            label="First seen in",
        ),
    ]
    severity: Annotated[Severity, Arg("How bad it is.", "high")]
    summary: Annotated[
        str,
        PROSE,
        Arg("Without data of patients.", '"Shows the wrong dose."', label="What is wrong", area=True),
    ]
    first_seen_at: Annotated[
        Moment | None, Arg("When, in UTC; now if left out.", "2026-11-20", label="When")
    ] = None


@dataclass(frozen=True, slots=True)
class Tag:
    """Whether the sandbox could have shown a defect: in which ``scenario``, or what the sandbox lacks (``gap``)."""

    scenario: Annotated[
        str,
        WORD,
        Arg(
            "It could: a scenario of the policy, or a new one such as dose_in_two_units, which proposes it.",
            "patient_switched",
            label="Yes, by this scenario",
        ),
    ] = ""
    gap: Annotated[
        str,
        PROSE,
        Arg(
            "It could not: what the sandbox lacks.",
            '"The sandbox has no record with two units of one dose."',
            label="No, this is what the sandbox lacks",
            area=True,
        ),
    ] = ""


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


class State(StrEnum):
    TO_TAG = "to_tag"
    """First seen in production, and nobody has said whether the sandbox could have shown it."""
    OPEN = "open"
    CLOSED = "closed"


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
