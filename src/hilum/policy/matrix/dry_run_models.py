"""Dry runs of versions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

DRY_RUN_VALID = timedelta(days=7)
"""How old the dry run behind an application may be: as long as a request for a second person lives."""
DRY_RUNS_WAITING = 10
"""How many dry runs may wait at a time."""


class DryRunState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class DryRun:
    """A replay of the decisions since ``since`` under a version, compared with what was in force after application ``after`` (C208).

    ``decisions``: how many were replayed. ``digest`` is that of the whole result, and ``counts`` its numbers. ``fault``: why it failed.
    """

    id: str
    version: int
    version_digest: str
    asked_by: str
    asked_at: datetime
    state: DryRunState = DryRunState.WAITING
    after: int = 0
    since: datetime | None = None
    finished_at: datetime | None = None
    progress: int = 0
    """The progress in percent."""
    decisions: int = 0
    digest: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    fault: str = ""
