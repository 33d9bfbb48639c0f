"""Drills of kill switches."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from hilum.foundation.kernel.ids import AppId, ClientId, TenantId

CEILING_S = 5.0
"""How long after a switch was engaged the last endpoint may still answer (P9)."""
DRILL_LIFE = timedelta(minutes=3)
"""When a drill's switch expires by itself."""
ENDPOINTS = ("gateway", "token", "introspection")
"""The endpoints that a backend service uses. The others (authorize, launch, refresh) need a person or an EHR."""
TRIES_LEAST = 20
"""How often each endpoint must have refused."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was seen at one endpoint: how often it refused, and how many milliseconds after the stop it last answered."""

    endpoint: str
    refused: int
    last_open_ms: float


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill. ``containment``: the verdict of the switch's report, ``slowest_ms``: that of its slowest worker. It passed if it has ended without faults."""

    id: str
    client: ClientId
    app: AppId
    tenant: TenantId
    switch: str
    began_by: str
    began_at: datetime
    ended_at: datetime | None = None
    measured: tuple[Measured, ...] = ()
    containment: str = ""
    slowest_ms: float | None = None
    faults: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Return whether it has ended without faults."""
        return self.ended_at is not None and not self.faults
