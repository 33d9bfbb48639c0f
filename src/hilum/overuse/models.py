"""Use of an app that exceeds what its version declares."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.audit.models import BusyDay, PermitCount
from hilum.kernel.ids import ClientId
from hilum.policies.models import Assessment
from hilum.registry.models import App, AppVersion, Certification, UseExcess

LOOKED_BACK = timedelta(days=30)
"""Use that is longer ago opens no review, and keeps none open."""
SENTENCES_SHOWN = 5
"""Sentences of one review; it says how many more there are."""


class ExcessKind(StrEnum):
    WORKFLOW = "workflow"
    """A scope is used that none of the declared workflows needs."""
    AI_WRITES = "ai_writes"
    """An AI that is declared to inform only, in an app that writes."""
    AI_ACTS_ALONE = "ai_acts_alone"
    """An AI that is declared to need a person, in a backend service that writes: no person is there."""
    CALLS = "calls"
    """More calls in a day at one hospital than a backend service declares."""
    WRITES = "writes"
    """More writes, likewise."""


@dataclass(frozen=True, slots=True)
class Use:
    """What was permitted to a client. ``backend``: no person is there."""

    permit: PermitCount
    backend: bool = False


@dataclass(frozen=True, slots=True)
class Volume:
    """What a backend service declares that it does in a day at one hospital at most, and the days on which it did more."""

    calls_a_day: int | None
    writes_a_day: int | None
    busy: tuple[BusyDay, ...] = ()


@dataclass(frozen=True, slots=True)
class Excess:
    """A kind of use that is not declared: how often, when last, and of which tier the version would be if it had declared it."""

    kind: ExcessKind
    what: str
    number: int
    last: datetime
    assessment: Assessment

    def __str__(self) -> str:
        times = "once" if self.number == 1 else f"{self.number} times"
        return f"{self.what} ({times}, last on {self.last:%Y-%m-%d})"


@dataclass(frozen=True, slots=True)
class Judged:
    """A certified version whose use is judged, with its clients; ``since``: from when its use counts."""

    app: App
    version: AppVersion
    certification: Certification
    clients: tuple[tuple[ClientId, bool], ...]
    """Each with whether it is a backend service."""
    since: datetime
    volumes: Mapping[ClientId, Volume] = field(default_factory=dict)
    """Of the backend services that declare any."""


@dataclass(frozen=True, slots=True)
class Finding:
    """That the use of a version exceeds its declaration. ``words``: how, as the vendor's mail says it, without scopes and counts."""

    needed: UseExcess
    words: str
