"""Use of an app beyond what its version declares."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.apps.registry.models import App, AppVersion, Certification, UseExcess
from hilum.foundation.kernel.ids import ClientId
from hilum.foundation.kernel.lists import counted
from hilum.policy.matrix.models import Assessment
from hilum.records.audit.models import BusyDay, PermitCount, ReachedDay

LOOKED_BACK = timedelta(days=30)
"""Older use neither opens a review nor keeps one open."""
SETTLED_AFTER = timedelta(hours=2)
"""How long after its end a day is read: by then its records are in the index of accesses."""
SENTENCES_SHOWN = 5
"""How many sentences a review shows; it states how many more exist."""


class ExcessKind(StrEnum):
    WORKFLOW = "workflow"
    """It used a scope that no declared workflow needs."""
    AI_WRITES = "ai_writes"
    """Its AI is declared to inform only, but the app wrote."""
    AI_ACTS_ALONE = "ai_acts_alone"
    """Its AI is declared to need a person, but a backend service wrote, where no person is."""
    CALLS = "calls"
    """A backend service made more calls in a day at one hospital than it declares."""
    WRITES = "writes"
    """The same for writes."""
    PATIENTS = "patients"
    """The same for patients whose records it read."""
    HOURS = "hours"
    """A backend service called outside the hours that it declares."""


@dataclass(frozen=True, slots=True)
class Use:
    """What was permitted to a client. ``backend``: it is a backend service."""

    permit: PermitCount
    backend: bool = False


@dataclass(frozen=True, slots=True)
class Volume:
    """The most that a backend service declares for a day at one hospital, and the days on which it did more."""

    calls_a_day: int | None
    writes_a_day: int | None
    busy: tuple[BusyDay, ...] = ()
    patients_a_day: int | None = None
    hours: str = ""
    reached: tuple[ReachedDay, ...] = ()
    """Whom it reached and when it called, on days that are over; empty if it declares neither patients nor hours."""


@dataclass(frozen=True, slots=True)
class Excess:
    """A kind of undeclared use: how often, when last, and the tier that the version would have had if it had declared it."""

    kind: ExcessKind
    what: str
    number: int
    last: datetime
    assessment: Assessment

    def __str__(self) -> str:
        times = "once" if self.number == 1 else counted(self.number, "time")
        return f"{self.what} ({times}, last on {self.last:%Y-%m-%d})"


@dataclass(frozen=True, slots=True)
class Judged:
    """A certified version whose use is judged. ``since``: from when its use counts."""

    app: App
    version: AppVersion
    certification: Certification
    clients: tuple[tuple[ClientId, bool], ...]
    """Each with a flag for backend services."""
    since: datetime
    volumes: Mapping[ClientId, Volume] = field(default_factory=dict)
    """By backend service, if it declares a volume."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Use of a version beyond its declaration. ``words``: the description in the vendor's mail, without scopes and counts."""

    needed: UseExcess
    words: str
