"""Launch contexts: the patient, encounter and person of an EHR session that opens an app."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from hilum.foundation.kernel.ids import ClientId, LaunchId, Part, PersonId, SessionId, TenantId

LAUNCHES = Part("launches")
"""The part of the facts with launches that moved or ended; its keys are ``moved/<id>`` and ``ended/<id>``."""
LAUNCH_LIFE = timedelta(minutes=5)
"""How long a handle can be taken; the person may have to sign in first."""
OPEN_URL_LIFE = timedelta(seconds=60)
"""How long ``open_url`` can be used; the EHR redirects the browser there at once."""
NEGATIVE_WINDOW = timedelta(minutes=65)
"""How long the facts keep a moved or ended launch: longer than any access token lives, or its last token would work again."""
FHIR_CONTEXT_BOUND = 20
INTENT_BOUND = 100
LAUNCH_URI_BOUND = 2_048
USERNAME_BOUND = 200
CLIENT_BOUND = 64
RUN_BOUND = 64
LAUNCHES_TRIED = 200_000
"""How many of the newest launches of all hospitals a count for one hospital reads, because there is no index by hospital."""
LAUNCHES_KEPT = timedelta(days=60)
"""How long a launch that ended or was never taken is kept. Others are not purged, because their tokens may be in use."""
AVAILABILITY_BOUND = 50
"""How many apps an EHR may ask about at once, and how many are listed for it."""
ACTIVITY_ROWS_BOUND = 200
ACTIVITY_COUNT_BOUND = 10_000_000
FACILITY_BOUND = 64
FACILITY_NAMED_BOUND = 100
PURGE_BATCH = 1_000
BODY_BOUND = 64 * 1024
EHR_ROLE = "ehr"
"""The role of an EHR client's actor: its token has ``hilum/launch`` at its tenant."""
LAUNCH_SCOPE = "hilum/launch"
PLACEMENT_REFUSED = "placement_not_allowed"
"""The code of a launch from a place of the EHR where the app may not be opened."""


@dataclass(frozen=True, slots=True)
class LaunchOrder:
    """An EHR's request to open a launch. ``person`` is a username at the tenant, ``facility`` a facility's id or FHIR reference."""

    client: ClientId
    person: str
    patient: str = ""
    encounter: str = ""
    intent: str = ""
    placement: str = ""
    fhir_context: tuple[dict[str, Any], ...] = ()
    need_patient_banner: bool = True
    run: str = ""
    facility: str = ""
    launch_uri: str = ""
    """The URL at which to open the app; "" for its registered launch URL. Must be on an origin that the client registered."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A launch context, bound to client, person and tenant. It is taken once; nothing that an app sends changes it."""

    id: LaunchId
    tenant: TenantId
    client: ClientId
    person: PersonId
    created_at: datetime
    expires_at: datetime
    patient: str = ""
    encounter: str = ""
    intent: str = ""
    placement: str = ""
    fhir_context: tuple[dict[str, Any], ...] = ()
    need_patient_banner: bool = True
    run: str = ""
    facility: str = ""
    """The id of the facility where it was opened; empty if the EHR named none, or an unknown one."""
    launch_uri: str = ""
    opened_by: str = ""
    """The EHR client that opened it. Only that client may move or end it."""
    opened_at: datetime | None = None
    """When ``open_url`` was used."""
    used_at: datetime | None = None
    """When an authorization request took it."""
    moved_at: datetime | None = None
    ended_at: datetime | None = None
    session: SessionId = SessionId("")
    """The browser session that ``open_url`` began; it ends with the launch."""


@dataclass(frozen=True, slots=True)
class OpenLaunches:
    """How many launches of the last day have not ended at a tenant, and how many encounters they are in."""

    tenant: TenantId
    launches: int
    encounters: int


@dataclass(frozen=True, slots=True)
class BegunLaunch:
    """The result of ``open_url``: a session that the EHR vouches for, and the app's URL. ``cookie`` and ``handle`` are secrets."""

    launch: Launch
    cookie: str
    handle: str
    launch_uri: str


@dataclass(frozen=True, slots=True)
class OpenedLaunch:
    """The response to an EHR. ``handle`` and ``open_token`` are secrets, of which only digests are stored."""

    launch: Launch
    handle: str
    open_token: str
    launch_uri: str


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether an EHR may open an app for a person now. ``reason`` and ``detail`` are empty if it may, else a code and a sentence for the user."""

    client: ClientId
    reason: str = ""
    detail: str = ""
    app: str = ""
    logo: str = ""
    """The digest of the app's logo; empty if it has none or may not be opened."""
    name: str = ""
    """The app's name; like its description empty for an app that is not installed here."""
    description: str = ""


@dataclass(frozen=True, slots=True)
class LaunchFacts:
    """Launches moved or ended within the life of an access token."""

    moved: AbstractSet[LaunchId] = field(default_factory=frozenset)
    ended: AbstractSet[LaunchId] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Activity:
    """How many people of a role were active in the EHR at a facility on a day: the denominator of adoption rates."""

    day: date
    role: str
    facility: str
    count: int
