"""Uses of break-glass (emergency accesses), their review, a hospital's settings for them, and their bounds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from hilum.foundation.actions.models import ID, PROSE, Arg
from hilum.foundation.kernel.ids import AppId, ClientId, LaunchId, Part, PersonId, TenantId
from hilum.foundation.kernel.pages import Sorts
from hilum.foundation.standards.fhir.labels import CATEGORIES
from hilum.identity.people.models import Role
from hilum.records.audit.models import Access

BREAK_GLASS = Part("break_glass")
"""The part of the facts with open uses and hospitals' settings; its keys are ``use/<id>`` and ``settings/<tenant>``."""
CLINICIANS = frozenset({Role.PHYSICIAN.value, Role.NURSE.value})
"""The roles that may break the glass."""
NEVER_OPENED = frozenset({"psychotherapy_notes", "specially_protected"})
"""Categories that no setting opens. Source: 45 CFR 164.508(a)(2): psychotherapy notes need the patient's authorization."""
PROTECTED_BY_LAW = frozenset(
    {"substance_use", "mental_health", "hiv", "sexual_health", "genetics", "violence"}
)
"""Categories that many laws protect; opened only if the hospital chooses them. Source: 42 CFR 2.51 (medical emergencies)"""
OPENABLE = frozenset(CATEGORIES) - NEVER_OPENED
OPENED_BY_DEFAULT = OPENABLE - PROTECTED_BY_LAW
"""What a hospital opens if it chooses no categories."""
# The setting of a hospital that has not changed it, and the largest that it may choose.
MINUTES, MINUTES_MAX = 15, 60
PER_DAY, PER_DAY_MAX = 3, 10
"""Uses of one person within 24 hours."""
REVIEW_HOURS, REVIEW_HOURS_MAX = 72, 168
"""Hours from the beginning of a use within which it must be reviewed."""
REASON_MIN, REASON_MAX = 20, 1_000
NOTE_MIN = 10
LAUNCH_AGE = timedelta(hours=24)
"""How old a launch may be when the glass is broken in it."""
LAUNCHES_SHOWN = 20
ANSWERS_READ = 1_000
"""Answers under one use that are counted and listed."""
MISUSE_BAR = timedelta(days=30)
"""How long a person may not use it after a review that found a use unjustified."""
DAY = timedelta(days=1)


class Verdict(StrEnum):
    """What a reviewer found."""

    JUSTIFIED = "justified"
    UNJUSTIFIED = "unjustified"
    """No emergency, or not this patient's; the person is barred for a while."""


UseId = Annotated[str, ID, Arg("The emergency access.", "btg_01h...", target=True)]
VerdictArg = Annotated[
    Verdict,
    Arg("Whether there was an emergency. After unjustified the person is barred for 30 days.", "justified"),
]
NoteArg = Annotated[
    str,
    PROSE,
    Arg(
        "What you looked at and found; it is recorded.",
        '"admitted at 02:10, confirmed by the ward"',
        area=True,
    ),
]


class UseState(StrEnum):
    OPEN = "open"
    WAITING = "waiting"
    """It is over and not reviewed."""
    OVERDUE = "overdue"
    """Not reviewed in time: a finding, until somebody reviews it."""
    REVIEWED = "reviewed"


@dataclass(frozen=True, slots=True)
class Settings:
    """A hospital's settings. ``categories`` of labels are opened, for ``minutes``; a use must be reviewed within ``review_hours`` of its beginning."""

    tenant: TenantId
    enabled: bool = False
    categories: tuple[str, ...] = tuple(sorted(OPENED_BY_DEFAULT))
    minutes: int = MINUTES
    per_day: int = PER_DAY
    review_hours: int = REVIEW_HOURS


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """A change of the settings; None leaves a setting as it is."""

    enabled: bool | None = None
    categories: tuple[str, ...] | None = None
    minutes: int | None = None
    per_day: int | None = None
    review_hours: int | None = None


@dataclass(frozen=True, slots=True)
class NewUse:
    """A use to open: in which launch, and for which reason."""

    launch: LaunchId
    reason: str


@dataclass(frozen=True, slots=True)
class Use:
    """One use. ``patient`` is the launch's. It is PHI, and ``reason`` and ``note`` may be."""

    id: str
    tenant: TenantId
    person: PersonId
    role: str
    client: ClientId
    app: AppId
    launch: LaunchId
    patient: str
    reason: str
    categories: tuple[str, ...]
    opened_at: datetime
    ends_at: datetime
    review_by: datetime
    ended_at: datetime | None = None
    ended_by: str = ""
    reviewed_at: datetime | None = None
    reviewed_by: str = ""
    verdict: str = ""
    note: str = ""


SORTS = Sorts({"review": "review_by", "began": "id"})


@dataclass(frozen=True, slots=True)
class UseQuery:
    """Which uses to list; empty fields do not filter. ``waiting``: only those without a review; ``findings``: only those whose review is overdue."""

    tenant: str = ""
    person: str = ""
    waiting: Annotated[bool, Arg("Only those without a review.")] = False
    findings: Annotated[bool, Arg("Only those whose review is overdue.", label="Overdue")] = False


@dataclass(frozen=True, slots=True)
class Recent:
    """How many uses a person opened within a day, and when a review last found one of theirs unjustified."""

    uses: int = 0
    unjustified_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """What an app was answered under a use, newest first. ``is_all``: False if more was answered than is read.

    ``records``: how many records the answers showed only because of it; one that was shown twice counts twice.
    """

    accesses: tuple[Access, ...]
    records: int
    is_all: bool


@dataclass(frozen=True, slots=True)
class OpenUse:
    """An open use, as the gateway needs it."""

    id: str
    tenant: TenantId
    person: PersonId
    launch: LaunchId
    patient: str
    categories: frozenset[str]
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class BrokenGlass:
    """What an open use permits a request to read: records of this patient whose labels are all of these categories."""

    use: str
    patient: str
    categories: frozenset[str]


@dataclass(frozen=True, slots=True)
class BreakGlassFacts:
    """Open uses by launch, and the categories that each hospital which has it switched on allows."""

    open: Mapping[LaunchId, OpenUse] = field(default_factory=dict)
    allowed: Mapping[TenantId, frozenset[str]] = field(default_factory=dict)
