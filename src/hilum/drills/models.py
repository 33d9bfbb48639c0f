"""Drills of kill switches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from hilum.kernel.ids import AppId, ClientId, TenantId

CEILING_S = 5.0
"""How long after a switch was engaged the last door may still be open (P9)."""
DRILL_LIFE = timedelta(minutes=3)
"""When a drill's switch ends by itself, and from when a drill that did not end counts as dead."""
DOORS = ("gateway", "token", "introspection")
"""The doors that a backend service has. The others (authorize, launch, refresh) need a person or an EHR."""
TRIES_LEAST = 20
"""How often each door must have been found closed."""
TRIES_BOUND = 1_000_000


class DrillState(StrEnum):
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    ABANDONED = "abandoned"
    """It died; the next one has cleaned up after it."""


@dataclass(frozen=True, slots=True)
class Door:
    """What the command saw at one door: how often it was found closed, and the milliseconds after which it was last found open."""

    name: str
    closed: int
    last_open_ms: float
    unclear: int = 0
    """Answers that are neither: the quota, an error."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What the command saw. ``revived``: what was issued before works after the release; ``works_again``: what is issued then works."""

    doors: tuple[Door, ...]
    revived: bool
    works_again: bool


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill. ``containment``: verdict, slowest worker and digest of the switch's report. ``record`` is what was signed at its end."""

    id: str
    client: ClientId
    app: AppId
    tenant: TenantId
    began_by: str
    began_at: datetime
    state: DrillState = DrillState.RUNNING
    switch: str = ""
    containment: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    kid: str = ""
    signature: str = ""
    ended_at: datetime | None = None
