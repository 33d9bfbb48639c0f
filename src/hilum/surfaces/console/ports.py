"""What ``app`` hands to the consoles: readers of the journals, and what only the whole platform knows."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from hilum.apps.installations.models import ScopeComparison
from hilum.apps.registry.models import App, HeldEdit
from hilum.apps.registry.service import HeldEdits
from hilum.controls.approvals.service import Acts
from hilum.controls.switches.models import Target
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.ids import AppId, VendorId
from hilum.foundation.kernel.pages import PageQuery
from hilum.foundation.pictures.models import Picture
from hilum.hospitals.vendor_hospitals.live import Snapshots
from hilum.identity.enrolment.models import LinkMail
from hilum.identity.federation.models import Provider, Trial
from hilum.operations.dry_runs.models import NarrowingTrial, ObservedCount, Tried
from hilum.operations.switch_administration.models import Preview
from hilum.records.audit.models import AccessPage, AccessQuery, Anchored, CountedTraffic, Event, Explanation
from hilum.review.certification_runs.models import Upstream
from hilum.review.certification_runs.service import ReadGround, ReadSealed
from hilum.review.recertification.models import CriterionResult

T = TypeVar("T")


class Recorded(Protocol):
    """Reads something of the audit and records who read what before it returns (``audit.recorded_reads``)."""

    async def __call__(
        self, asked: Event, verb: Callable[[Context], tuple[T, Event]], *, actor: Actor, trace: Trace
    ) -> T: ...


@dataclass(frozen=True, slots=True)
class Node:
    """A node that serves the platform. ``closed``: why it does not serve."""

    name: str
    workers: int
    live: bool
    seen_at: datetime
    skew_ms: float
    closed: str


@dataclass(frozen=True, slots=True)
class Health:
    """How the worker that shows the page is: the age of its snapshot, the records that wait for its disk, and what is wrong."""

    snapshot_s: float
    waiting: int
    failing: bool
    faults: Mapping[str, str]


def unknown_health() -> Health:
    """Return that nothing is known of a worker."""
    return Health(0.0, 0, failing=False, faults={})


@dataclass(frozen=True, slots=True)
class Providers:
    """``try_out`` looks at an identity provider as a sign-in would: the provider, the allowed origins, its redirect URI. ``seal`` seals a secret for an issuer."""

    try_out: Callable[[Provider, frozenset[str], str], Awaitable[Trial]]
    seal: Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class Runs:
    """What certification runs need: their records as they were written, and the faults of the sandbox's FHIR servers."""

    read: ReadSealed
    set_fault: Callable[[Upstream], None]
    clear_faults: Callable[[str], None]
    ground: ReadGround


@dataclass(frozen=True, slots=True)
class AppEdits:
    """Edits of what is said and shown of an app: ``edit`` takes the revision that was read, the texts and the logo, and returns what waits for a reviewer.

    ``logo`` returns the one that an edit asks for; ``held`` lists and decides those that wait.
    """

    edit: Callable[[Context, AppId, str, Mapping[str, str], Picture | None], tuple[App, HeldEdit | None]]
    logo: Callable[[Context, str], bytes]
    held: HeldEdits


@dataclass(frozen=True, slots=True)
class Ports:
    """``generation`` is another value whenever the facts of enforcement are; ``at_stop`` registers what ends streams."""

    recorded: Recorded
    accesses: Callable[[AccessQuery], AccessPage]
    explain: Callable[[Context, str], tuple[Explanation, Event]]
    traffic: CountedTraffic
    nodes: Callable[[Context], list[Node]]
    preview: Callable[[Context, Target], Preview]
    compare_scopes: Callable[[Context, AppId, int], ScopeComparison]
    observed: Callable[[Context, AppId, PageQuery], Sequence[ObservedCount]]
    unused: Callable[[Context, App, Sequence[str]], Sequence[str]]
    try_narrowing: Callable[[Context, str, Tried], NarrowingTrial]
    acts: Acts
    by_mail: LinkMail
    providers: Providers
    app_edits: AppEdits
    client_edits: HeldEdits
    runs: Runs
    check_domain: Callable[[VendorId, str, Actor, Trace], Awaitable[object]]
    held: Callable[[Actor], AbstractContextManager[None]]
    snapshots: Snapshots
    transferred: Callable[[Context, AppId, VendorId], None]
    ended: Callable[[Context, AppId, str], None]
    at_stop: Callable[[Callable[[], None]], None]
    criteria: Callable[[Context, AppId], Sequence[CriterionResult]]
    anchored: Callable[[], Sequence[Anchored]] = tuple
    health: Callable[[], Health] = unknown_health
    generation: Callable[[], object] = object
