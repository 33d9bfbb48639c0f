"""Values of incidents: severities with their clocks, kinds with their playbooks, what an incident reached, notices."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field

from hilum.controls.switches.models import Mode
from hilum.foundation.actions.models import ID, LINE, PROSE, Arg, Moment
from hilum.foundation.kernel.ids import AppId, PersonId, TenantId, VendorId

JOB_EVERY = timedelta(seconds=5)
TENANTS_BOUND = 10_000
"""How many hospitals a reach lists, those with most calls first, and so how many are notified."""
NAMED_BOUND = 50
"""How many hospitals an incident may be limited to."""
STOPS_BOUND = 50
"""How many switches one containment engages."""
BATCH = 100
"""How many hospitals one transaction notifies."""
RELATED_BOUND = 100
"""How many other apps are named as related."""
TIMELINE_BOUND = 200
"""How many events of one incident a timeline shows."""
BEFORE_OPENED = timedelta(hours=24)
"""How long before it was opened an incident began, if nobody says when."""


class IncidentSeverity(StrEnum):
    """How bad an incident is."""

    SEV1 = "sev1"
    """Records were reached that should not have been, or patients' data left."""
    SEV2 = "sev2"
    """An app acts beyond what it is certified for, or shows what is wrong, and patients may be harmed."""
    SEV3 = "sev3"
    """An app fails, or makes others slow, and people cannot work with it."""
    SEV4 = "sev4"
    """A fault that annoys."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """By when an incident is contained, and by when hospitals are notified; None: no clock."""

    contain: timedelta
    notify: timedelta | None


CLOCKS: Mapping[IncidentSeverity, Clocks] = MappingProxyType(
    {
        IncidentSeverity.SEV1: Clocks(timedelta(minutes=15), timedelta(hours=4)),
        IncidentSeverity.SEV2: Clocks(timedelta(hours=1), timedelta(hours=24)),
        IncidentSeverity.SEV3: Clocks(timedelta(hours=24), timedelta(hours=72)),
        IncidentSeverity.SEV4: Clocks(timedelta(days=7), None),
    }
)


class IncidentKind(StrEnum):
    """What happened, which chooses the playbook."""

    COMPROMISED_APP = "compromised_app"
    SCOPE_ESCALATION = "scope_escalation"
    UNAUTHORIZED_ACCESS = "unauthorized_access"
    LEAKING_VENDOR = "leaking_vendor"
    WRONG_DISPLAY = "wrong_display"
    OUTAGE = "outage"


class IncidentState(StrEnum):
    """The phase that an incident is in. Source: NIST SP 800-61r2, section 3."""

    DETECTED = "detected"
    CONTAINED = "contained"
    ERADICATED = "eradicated"
    RECOVERED = "recovered"
    CLOSED = "closed"


class StepCheck(StrEnum):
    """What the platform finds out itself, so that nobody has to state it."""

    STOPPED = "stopped"
    """The incident has a kill switch."""
    MEASURED = "measured"
    """Its reach was counted."""
    HELD = "held"
    """Its evidence is on hold."""
    NOTIFIED = "notified"
    """A notice was sent to all whom it reached."""
    CERTIFIED = "certified"
    """Each of its apps is active, and certified for production."""
    RELEASED = "released"
    """None of its switches is in force."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a playbook. ``phase``: the phase that cannot be left before it. ``check``: what the platform finds out itself."""

    id: str
    text: str
    phase: IncidentState
    check: StepCheck | None = None


class StopWhere(StrEnum):
    """Where an incident is contained."""

    EVERYWHERE = "everywhere"
    """Its apps, at every hospital."""
    HOSPITALS = "hospitals"
    """Its apps, at the hospitals that the incident names."""
    VENDOR = "vendor"
    """Every app of its vendor."""


class StepOutcome(StrEnum):
    DONE = "done"
    SKIPPED = "skipped"


class CertificateDecision(StrEnum):
    """What becomes of the certification of the app."""

    KEPT = "kept"
    WITHDRAWN = "withdrawn"


Why = Annotated[
    str,
    PROSE,
    Field(min_length=1),
    Arg("Why; it is recorded.", '"its key was published"', label="Why", area=True),
]
Severity = Annotated[IncidentSeverity, Arg("How bad it is: sev1 is the worst.", "sev1")]
IncidentId = Annotated[str, ID, Arg("The incident.", "inc_01h...", target=True)]
OneIncident = Annotated[str, ID, Arg("Only those of one incident.", listed_by="incident list")]


@dataclass(frozen=True, slots=True)
class NewIncident:
    """An incident to open: about an app, or about all apps of a vendor. An alert or a switch says by itself which app."""

    kind: Annotated[IncidentKind, Arg("What happened; it chooses the playbook.", "compromised_app")]
    severity: Severity
    summary: Annotated[
        str,
        LINE,
        Field(min_length=1),
        Arg("What happened, in a line.", '"A signing key was published"', label="In a line"),
    ]
    app: Annotated[AppId | None, ID, Arg("The app.", '"Lumen Chart"', names="app")] = None
    vendor: Annotated[
        VendorId | None,
        ID,
        Arg("The vendor, if it is about all of its apps.", '"Lumen Clinical"', names="vendor"),
    ] = None
    alert: Annotated[str, ID, Arg("The alert that showed it.", listed_by="alert list")] = ""
    switch: Annotated[str, ID, Arg("The kill switch that is in force for it.", listed_by="switch list")] = ""
    tenants: Annotated[
        tuple[TenantId, ...],
        Field(max_length=NAMED_BOUND),
        Arg("The hospitals that it is about, by id; without any, all.", label="Hospitals"),
    ] = ()
    began_at: Annotated[Moment | None, Arg("When it began; by default, 24 hours before it is opened.", "2026-12-01T00:00:00Z", label="Began")] = None  # fmt: skip


@dataclass(frozen=True, slots=True)
class Containment:
    """How to contain an incident."""

    where: Annotated[
        StopWhere,
        Arg(
            "What is stopped: its apps everywhere, its apps at the hospitals that it names, or the whole vendor.",
            "everywhere",
        ),
    ]
    reason: Why
    mode: Annotated[Mode, Arg("What is stopped there.", "full_stop")] = Mode.FULL_STOP


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a step."""

    step: Annotated[
        str, ID, Arg("The step, by its name in the playbook.", "credentials", listed_by="incident show")
    ]
    outcome: Annotated[StepOutcome, Arg("Whether it is done, or was left out.", "done")]
    reason: Annotated[
        str,
        PROSE,
        Arg(
            "What was done; or why it was left out, without which nothing is.",
            '"the vendor rotated both keys"',
            label="What was done, or why not",
            area=True,
        ),
    ] = ""


@dataclass(frozen=True, slots=True)
class Closing:
    """The end of an incident."""

    cause: Annotated[
        str, PROSE, Field(min_length=1), Arg("The cause.", '"a key in a public repository"', area=True)
    ]
    corrective: Annotated[
        str,
        PROSE,
        Field(min_length=1),
        Arg(
            "What was changed so that it does not happen again.",
            '"keys come from a vault"',
            label="Corrective actions",
            area=True,
        ),
    ]
    certificate: Annotated[
        CertificateDecision,
        Arg(
            "Whether the app keeps its certification. One that is withdrawn must be withdrawn first.", "kept"
        ),
    ]
    scenario: Annotated[
        str, ID, Arg("The scenario of the sandbox that shows it from now on.", label="Scenario")
    ] = ""
    no_scenario: Annotated[
        str,
        PROSE,
        Arg(
            "Why the sandbox cannot show it, if there is no scenario.",
            label="Why there is no scenario",
            area=True,
        ),
    ] = ""


@dataclass(frozen=True, slots=True)
class StepView:
    """A step of an incident as it stands. ``outcome``: None while it is open. ``checked``: whether the platform finds out itself."""

    id: str
    text: str
    phase: IncidentState
    checked: bool
    outcome: StepOutcome | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Incident:
    """Harm by an app. ``apps``: those that it is about; ``tenants``: the hospitals, empty for all.

    ``done`` and ``skipped``: the steps that somebody settled, the latter with the reason. ``reach``: the signed count of whom it touched,
    as it was at ``reach_at``, and ``evidence`` its apps as they were when they were put on hold, signed too; both are empty in lists. It is counted again if ``reach_asked_at`` is later. ``notice_number``: the newest notice; ``sent_number``: the newest
    one that everybody got, and ``notice_cursor`` the hospital that got the one after it last. ``steps``: the playbook as it stands; empty in lists.
    """

    id: str
    kind: IncidentKind
    severity: IncidentSeverity
    summary: str
    apps: tuple[AppId, ...]
    vendor: VendorId
    tenants: tuple[TenantId, ...]
    began_at: datetime
    opened_at: datetime
    opened_by: str
    owner: PersonId | None
    state: IncidentState = IncidentState.DETECTED
    alert: str = ""
    switches: tuple[str, ...] = ()
    hold: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    done: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    reach: Mapping[str, Any] = field(default_factory=dict)
    reach_asked_at: datetime | None = None
    reach_at: datetime | None = None
    statement: str = ""
    notice_number: int = 0
    sent_number: int = 0
    notice_cursor: str = ""
    notified_at: datetime | None = None
    contained_at: datetime | None = None
    eradicated_at: datetime | None = None
    recovered_at: datetime | None = None
    closed_at: datetime | None = None
    closed_by: str = ""
    cause: str = ""
    corrective: str = ""
    scenario: str = ""
    no_scenario: str = ""
    certificate: CertificateDecision | None = None
    steps: tuple[StepView, ...] = ()


@dataclass(frozen=True, slots=True)
class RelatedApp:
    """Another app that may be affected. ``why``: ``same_vendor``, ``same_key_host`` or ``same_redirect_host``, in words."""

    app: AppId
    name: str
    vendor: VendorId
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IncidentNotice:
    """What one recipient was told about an incident: a hospital, or the vendor if ``tenant`` is empty. Counts are of that hospital.

    ``app``: empty if it is about several. ``state``: of the incident, now.
    """

    id: str
    incident: str
    number: int
    tenant: TenantId
    vendor: VendorId
    app: AppId
    kind: IncidentKind
    severity: IncidentSeverity
    statement: str
    calls: int
    patients: int
    people: int
    began_at: datetime
    sent_at: datetime
    due_at: datetime | None
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    state: IncidentState = IncidentState.DETECTED


@dataclass(frozen=True, slots=True)
class NoticeProgress:
    """How far a notice has come. ``unread``: some of those who have not acknowledged it."""

    sent: int
    acknowledged: int
    unread: list[IncidentNotice]
