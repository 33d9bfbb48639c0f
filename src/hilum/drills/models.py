"""Drills of kill switches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from hilum.kernel.ids import AppId, ClientId, TenantId

CEILING_S = 5.0
"""How long after a switch was engaged the last endpoint may still answer (P9)."""
DRILL_LIFE = timedelta(minutes=3)
"""When a drill's switch expires, and an unfinished drill counts as dead."""
DOORS = ("gateway", "token", "introspection")
"""The endpoints that a backend service uses. The others (authorize, launch, refresh) need a person or an EHR."""
TRIES_LEAST = 20
"""How often each endpoint must have refused."""
TRIES_BOUND = 1_000_000


class DrillState(StrEnum):
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    ABANDONED = "abandoned"
    """It died; the next drill has cleaned up after it."""


@dataclass(frozen=True, slots=True)
class Door:
    """What the command saw at one endpoint: how often it refused, and how many milliseconds after the stop it last answered."""

    name: str
    closed: int
    last_open_ms: float
    unclear: int = 0
    """Answers that are neither, such as a spent quota or an error."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What the command saw. ``revived``: a token from before works after the release; ``works_again``: a new token works."""

    doors: tuple[Door, ...]
    revived: bool
    works_again: bool


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill. ``containment``: verdict, slowest worker and digest of the switch's report. ``record``: the signed record of its end."""

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
