"""Versions of the policy, and where which of them is in force."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from hilum.foundation.kernel.ids import TenantId

SHIPPED = 0
"""The number that stands for the policy of this release. It is in force only until the platform adopts it at its first start."""
APPLY_ACTION = "policies.book.apply"
"""The action of the event of each application."""
NUMBER_BOUND = 2**31 - 1
"""The highest number of a version or an application."""
TENANTS_BOUND = 200
"""The most tenants that one application names."""
IN_FORCE_BOUND = 16
"""The most versions that are in force at one time: each of them is kept in memory by every process."""


@dataclass(frozen=True, slots=True)
class Version:
    """A policy as it was added: its canonical document, signed. It is in force nowhere until it is applied.

    ``base`` is the version it was made from, ``digest`` the SHA-256 of the document's bytes.
    """

    number: int
    document: str
    digest: str
    base: int
    note: str
    added_by: str
    added_at: datetime
    kid: str = ""
    signature: str = ""


@dataclass(frozen=True, slots=True)
class ApplyOrder:
    """An order to put a version in force. ``tenants`` empty: everywhere, instead of all that was in force.

    ``after``: the number of the last application that whoever orders it knows of. ``emergency``: without a dry run (C208, C218).
    """

    version: int
    tenants: tuple[TenantId, ...]
    after: int
    reason: str
    emergency: bool = False


@dataclass(frozen=True, slots=True)
class Application:
    """That a version was put in force: at some tenants, or everywhere. Signed, and never changed.

    ``digest`` is the version's. ``previous`` is the digest of the application before this one; empty if this one begins a chain.
    """

    number: int
    version: int
    digest: str
    tenants: tuple[TenantId, ...]
    reason: str
    applied_by: str
    applied_at: datetime
    previous: str
    agreed_by: str = ""
    kid: str = ""
    signature: str = ""


@dataclass(frozen=True, slots=True)
class CurrentVersions:
    """Which version is in force where: at most places ``everywhere``, at some tenants another one."""

    everywhere: int = SHIPPED
    at: Mapping[TenantId, int] = field(default_factory=dict)
    last: int = 0
    """The number of the last application; 0 if there was none."""
    fault: str = ""
    """Why nothing is decided by it; empty if it is in order."""

    def version_at(self, tenant: TenantId) -> int:
        return self.at.get(tenant, self.everywhere)


TAKE_BACK_WITHIN = timedelta(hours=1)
"""How long the author of a narrowing may take it back alone."""


class TakeBack(NamedTuple):
    """How an author takes application ``after`` back until a moment: the version from immediately before it, at the same tenants."""

    version: int
    tenants: frozenset[TenantId]
    after: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Recorded:
    """An application as the audit trail has it: its number and its digest."""

    number: int
    head: str


@dataclass(frozen=True, slots=True)
class Verified:
    """The policy in force everywhere, and the last application, as a verification of everything stored found them.

    ``faults``: what does not match what was signed, is missing, or cannot be read. ``warnings``: what is in force and would be refused today.
    """

    everywhere: int
    digest: str
    last: int
    head: str
    faults: tuple[str, ...]
    warnings: tuple[str, ...]


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
