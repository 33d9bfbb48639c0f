"""Checks of FHIR servers, and their bounds."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from hilum.foundation.actions.models import ID, Arg
from hilum.foundation.kernel.ids import TenantId
from hilum.gateway.upstream.models import CheckLine

CHECK_EVERY = timedelta(seconds=2)
"""How soon a check that somebody asked for begins."""
DUE_EVERY = timedelta(minutes=5)
"""How soon after a change of its settings a server is checked by itself."""
DUE_AFTER = timedelta(hours=23)
"""How long after a server was checked it is checked again."""
BATCH = 50
"""How many servers one run checks before it stores what was found."""

FhirServerId = Annotated[
    TenantId, ID, Arg("The hospital.", "lakeside", names="tenant", placed=True, target=True)
]


class ServerState(StrEnum):
    """What is known of a FHIR server."""

    WAITING = "waiting"
    """A check was asked for, and none has ended."""
    WORKS = "works"
    LIMITED = "limited"
    FAILS = "fails"


@dataclass(frozen=True, slots=True)
class FhirServer:
    """A hospital's FHIR server as it was checked last. ``id``: the hospital.

    ``settings``: a digest of the settings that it was checked with. ``asked_at``: when a check was asked for last.
    """

    id: TenantId
    state: ServerState
    asked_at: datetime
    asked_by: str
    settings: str = ""
    checked_at: datetime | None = None
    failing_since: datetime | None = None
    lines: tuple[CheckLine, ...] = ()
    is_old: bool = False
    """Whether its settings changed since; known of one server that is shown, not in lists."""


@dataclass(frozen=True, slots=True)
class ServerQuery:
    """Which FHIR servers a list has."""

    state: Annotated[ServerState | None, Arg("Only those in this state.", "fails")] = None
