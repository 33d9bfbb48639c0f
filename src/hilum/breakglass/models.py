"""Emergency accesses, their review, and a hospital's settings for them, with their bounds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.identity.models import Role
from hilum.kernel.ids import AppId, ClientId, LaunchId, Part, PersonId, TenantId
from hilum.kernel.pages import Sorts
from hilum.standards.fhir.labels import CATEGORIES

BREAK_GLASS = Part("break_glass")
"""The part of the facts with uses that are open and hospitals that allow them; its keys are ``use/<id>`` and ``settings/<tenant>``."""
CLINICIANS = frozenset({Role.PHYSICIAN.value, Role.NURSE.value})
"""Who may break the glass: whoever treats patients."""
NEVER = frozenset({"psychotherapy_notes", "specially_protected"})
"""Categories that no setting opens. Source: 45 CFR 164.508(a)(2): psychotherapy notes need the patient's authorization."""
BY_LAW = frozenset({"substance_use", "mental_health", "hiv", "sexual_health", "genetics", "violence"})
"""Categories that law protects in many places; opened only if the hospital names them. Source: 42 CFR 2.51 (medical emergencies)"""
OPENABLE = frozenset(CATEGORIES) - NEVER
USUAL = OPENABLE - BY_LAW
"""What a hospital opens that names no categories."""
MINUTES, MINUTES_MAX = 15, 60
PER_DAY, PER_DAY_MAX = 3, 10
"""Uses of one person within 24 hours."""
REVIEW_HOURS, REVIEW_HOURS_MAX = 72, 168
REASON_MIN, REASON_MAX = 20, 1_000
NOTE_MIN = 10
LAUNCH_AGE = timedelta(hours=24)
"""How old a launch may be at most in which the glass is broken."""
LAUNCHES_SHOWN = 20
MISUSE_BAR = timedelta(days=30)
"""How long whoever used it without justification may not use it again, from the review on."""
DAY = timedelta(days=1)


class Verdict(StrEnum):
    """What a reviewer found."""

    JUSTIFIED = "justified"
    UNJUSTIFIED = "unjustified"
    """No emergency, or not this patient's; the person is barred for a while."""


class UseState(StrEnum):
    OPEN = "open"
    WAITING = "waiting"
    """It is over and not reviewed."""
    OVERDUE = "overdue"
    """Not reviewed in time: a finding, until somebody reviews it."""
    REVIEWED = "reviewed"


@dataclass(frozen=True, slots=True)
class Settings:
    """A hospital's settings. ``categories``: what is opened; ``review_hours``: how long a reviewer has after the use began."""

    tenant: TenantId
    enabled: bool = False
    categories: tuple[str, ...] = tuple(sorted(USUAL))
    minutes: int = MINUTES
    per_day: int = PER_DAY
    review_hours: int = REVIEW_HOURS


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """A change of the settings; None leaves as it is."""

    enabled: bool | None = None
    categories: tuple[str, ...] | None = None
    minutes: int | None = None
    per_day: int | None = None
    review_hours: int | None = None


@dataclass(frozen=True, slots=True)
class NewUse:
    """An emergency access to ask for: in which launch, and why."""

    launch: LaunchId
    reason: str


@dataclass(frozen=True, slots=True)
class Use:
    """One emergency access. ``patient`` is the launch's, and PHI; so may ``reason`` and ``note`` be."""

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
    """Which uses to list; empty fields do not filter. ``waiting``: only those without a review, ``findings``: only overdue ones."""

    tenant: str = ""
    person: str = ""
    waiting: bool = False
    findings: bool = False


@dataclass(frozen=True, slots=True)
class Recent:
    """What a person did lately: uses within a day, and when one was last found unjustified."""

    uses: int = 0
    unjustified_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OpenUse:
    """What the gateway must know of an open use."""

    id: str
    tenant: TenantId
    person: PersonId
    launch: LaunchId
    patient: str
    categories: frozenset[str]
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class BrokenGlass:
    """What a use opens to one request: records of this patient, if each of their labels is of one of these categories."""

    use: str
    patient: str
    categories: frozenset[str]


@dataclass(frozen=True, slots=True)
class BreakGlassFacts:
    """Open uses by launch, and the categories of each hospital that has it switched on."""

    open: Mapping[LaunchId, OpenUse] = field(default_factory=dict)
    allowed: Mapping[TenantId, frozenset[str]] = field(default_factory=dict)
