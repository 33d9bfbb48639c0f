"""Tenants, facilities, people and their roles, and their bounds."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.foundation.kernel.ids import FacilityId, Part, PersonId, TenantId, VendorId
from hilum.foundation.kernel.pages import Sorts
from hilum.foundation.pictures.models import Picture

IDENTITY = Part("identity")
"""The part of the facts with tenants, people and facilities; its keys are ``tenant/<id>``, ``person/<id>`` and ``facility/<id>``."""
TENANTS_BOUND = 10_000
PROXIES_BOUND = 50
FACILITIES_BOUND = 500
"""Facilities in use of a tenant; an installation may list all of them."""
EHR_ORIGINS_BOUND = 20
ATTACHMENT_HOSTS_BOUND = 20
QUIRKS_BOUND = 20
NAME_BOUND = 200
RECIPIENTS_BOUND = 50
"""How many people of a tenant or vendor are mailed about one event."""
APPROVAL_MAILS = 20
"""How many mails about approvals one person gets a day."""
NAMES_BOUND = 100
"""How many names one request may ask for; their ids are in its query."""
USERNAME_BOUND = 64
URL_BOUND = 500
CREDENTIALS_BOUND = 4_000
CLIENT_ID_BOUND = 200
SCOPE_BOUND = 1_000
HEADERS_BOUND = 10
PEM_BOUND = 64 * 1024
"""Characters of certificates or of a key in PEM."""
SECOND_PERSON_AGE = timedelta(days=7)
"""How old an account must be to be one of the two people that some acts take (security decision 25)."""
SECOND_PEOPLE_MIN = 2
"""How many of the staff must remain who can be the second person."""
FIRST_ADMINISTRATORS = 2
"""How many platform administrators the host may add, so that acts of two people are possible from the first day."""
CHART_RACE = timedelta(minutes=1)
"""For how long after the loss of a chart a concurrently issued token may still contain it."""
NEGATIVE_WINDOW = timedelta(minutes=65)
"""How long the facts contain a deactivation: longer than any access token lives."""


class Role(StrEnum):
    """A person's role at a tenant. Each role has its rights in ``policy.RIGHTS``."""

    PHYSICIAN = "physician"
    NURSE = "nurse"
    ANALYST = "analyst"
    ADMINISTRATOR = "administrator"
    """The tenant's administrator: installs apps, narrows them, reads the tenant's audit."""
    FRONT_DESK = "front_desk"
    PATIENT = "patient"


@dataclass(frozen=True, slots=True, eq=False)
class RoleRights:
    """The rights of a role, as masks of scope letters by resource type. There is one object for each role."""

    masks: Mapping[str, int]

    def mask(self, type_: str) -> int:
        """Return the letters that the role permits on a type."""
        return self.masks.get(type_, 0)


class StaffRole(StrEnum):
    """A person's role on the platform's staff."""

    PLATFORM_ADMIN = "platform_admin"
    SECURITY = "security"
    REVIEWER = "reviewer"
    AUDITOR = "auditor"


class VendorRole(StrEnum):
    """A person's role at a vendor. Each role has its rights in ``policy.VENDOR_RIGHTS``."""

    OWNER = "vendor_owner"
    DEVELOPER = "vendor_developer"
    BILLING = "vendor_billing"
    SECURITY = "vendor_security"


class VendorRight(StrEnum):
    """What a member of a vendor may do with its records, besides reading them."""

    MEMBERS = "members"
    """Invite and remove members."""
    PROFILE = "profile"
    """Change contacts, addresses and statements of the vendor and its apps, and sign agreements."""
    APPS = "apps"
    """Register and change apps, versions and clients."""
    SECRETS = "secrets"
    """Replace a client's secret."""
    SECURITY_CONTACTS = "security_contacts"
    """Add and remove the vendor's security contacts."""
    TRANSFER = "transfer"
    """Offer an app to another vendor, or accept one."""


class Bar(StrEnum):
    """Why a person's credential is not accepted now."""

    INACTIVE = "inactive"
    """The person or their tenant is not active."""
    STOPPED = "stopped"
    """A full stop is in force on the person, their tenant or the platform."""
    ISSUED_BEFORE = "issued_before"
    """The credential was issued before such a stop ended, and remains invalid."""
    READ_ONLY = "read_only"
    """A switch permits the person to read only."""


class UpstreamKind(StrEnum):
    EMBEDDED = "embedded"
    HTTP = "http"


class MovedReads(StrEnum):
    """What a token of a launch may still do after the EHR moved to another patient's chart. Writes are always refused."""

    ALLOW = "allow"
    REFUSE = "refuse"


class TokenAuth(StrEnum):
    """How Hilum authenticates at the token endpoint of a FHIR server, by the names of RFC 8414."""

    BASIC = "client_secret_basic"
    POST = "client_secret_post"
    KEY = "private_key_jwt"
    """By a key of the hospital's own ring, with RS384, which every server accepts.

    Source: SMART App Launch 2.2, client-confidential-asymmetric.
    """


@dataclass(frozen=True, slots=True)
class Quirks:
    """What a FHIR server does otherwise than FHIR R4 or its own CapabilityStatement says, as the gateway must know it.

    ``page``: the largest ``_count`` that it takes; 0: any. ``forms``: it searches by a form that is posted. ``id_alone``: it takes ``_id``
    without any other parameter only. ``one_patient``: it searches for one patient at a time. ``patient_criteria``: it does not list patients
    without a criterion. ``ignored``: search parameters that it declares, or that every server has, and does not act on.
    """

    page: int = 0
    forms: bool = True
    id_alone: bool = False
    one_patient: bool = False
    patient_criteria: bool = False
    ignored: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Profile:
    """The quirks that a product is known to have. ``tried``: by whoever shipped this; else they are from its public documents."""

    quirks: tuple[str, ...] = ()
    tried: bool = False


PROFILES: Mapping[str, Profile] = {
    "azure": Profile(),
    "epic": Profile(("one-patient", "patient-criteria")),
    "google": Profile(("no-form",)),
    "hapi": Profile(),
    "medplum": Profile(tried=True),
    "oracle": Profile(("page=100", "id-alone")),
}
"""Products with a FHIR server, by the name that people give it in settings."""


@dataclass(frozen=True, slots=True)
class UpstreamRef:
    """Where a tenant's FHIR server is, and how Hilum is let in. Only the upstream module opens ``credentials_sealed``, an UpstreamSecrets.

    ``public_url``: the base that the server writes in its answers, if it differs from ``url``. ``attachment_hosts``: apps see only addresses
    of attachments on these hosts. ``token_auth``: set if the server wants access tokens, by client credentials, from ``token_url`` as
    ``client_id`` with ``scope``. ``authorities``: certificates in PEM that its TLS certificate is verified by in place of the system's.
    ``certificate``: the chain in PEM of the certificate that Hilum shows it. ``quirks``: as words, which ``policy.quirks_of`` reads.
    """

    kind: UpstreamKind
    url: str = ""
    credentials_sealed: str = ""
    public_url: str = ""
    attachment_hosts: tuple[str, ...] = ()
    token_auth: TokenAuth | None = None
    token_url: str = ""
    client_id: str = ""
    scope: str = ""
    authorities: str = ""
    certificate: str = ""
    quirks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UpstreamSecrets:
    """What a FHIR server accepts Hilum by, in clear: an Authorization header, or a client secret for its tokens.

    ``headers``: others that each request bears. ``key``: the private key of the certificate, in PEM.
    """

    authorization: str = ""
    client_secret: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    key: str = ""


@dataclass(frozen=True, slots=True)
class Tenant:
    id: TenantId
    name: str
    upstream: UpstreamRef
    base_url: str = ""
    """The tenant's own origin; empty if it is served under the platform's."""
    ehr_origins: tuple[str, ...] = ()
    """Origins of the tenant's EHR that may frame a consent page."""
    # The safe default: an app that missed the move would show one patient's data next to another's chart.
    moved_reads: MovedReads = MovedReads.REFUSE
    sandbox: bool = False
    active: bool = True
    left_at: datetime | None = None
    """When the hospital left the platform, for good."""
    colour: str = ""
    """Its colour on pages, as ``#0b6b74``; empty if it has none."""
    logo: str = ""
    """The digest of its logo (``pictures``); empty if it has none."""
    language: str = ""
    """The language of its pages for a browser that states none, such as ``es``; empty: English."""
    time_zone: str = ""
    """The zone of the times on its pages, such as ``Europe/Madrid``; empty: UTC."""
    vendor: VendorId | None = None
    """The vendor that owns it, which only a sandbox has; None if every vendor may use it."""


@dataclass(frozen=True, slots=True)
class Branding:
    """The colour and logo of a hospital's pages; None leaves one as it is, an empty one removes it."""

    colour: str | None = None
    logo: Picture | None = None


@dataclass(frozen=True, slots=True)
class NewFacility:
    """A facility to add. ``reference``: its Location or Organization on the hospital's FHIR server."""

    tenant: TenantId
    name: str
    legal_entity: str
    reference: str


@dataclass(frozen=True, slots=True)
class Facility:
    """A place of a hospital where apps are opened, such as a clinic or a ward. Its removal is for good; another may take its name."""

    id: FacilityId
    tenant: TenantId
    name: str
    legal_entity: str
    reference: str
    created_at: datetime
    removed_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.removed_at is None


@dataclass(frozen=True, slots=True)
class TenantChange:
    """A change of a tenant; None leaves a field as it is. Id, ``sandbox`` and ``vendor`` never change."""

    name: str | None = None
    base_url: str | None = None
    ehr_origins: tuple[str, ...] | None = None
    moved_reads: MovedReads | None = None
    active: bool | None = None
    upstream: UpstreamRef | None = None
    language: str | None = None
    time_zone: str | None = None


VENDOR_ROLES = frozenset(role.value for role in VendorRole)


def _vendor_of(place: TenantId | None, role: str) -> VendorId | None:
    return VendorId(place) if place and role in VENDOR_ROLES else None


@dataclass(frozen=True, slots=True)
class NewPerson:
    """A person to add. ``tenant`` is None for staff, whose ``role`` is a StaffRole; for a VendorRole it is the vendor's id."""

    tenant: TenantId | None
    username: str
    name: str
    role: str
    fhir_user: str = ""
    patients: tuple[str, ...] = ()
    mail: str = ""
    """Where links into the account and notices are mailed; empty if nowhere."""

    @property
    def vendor(self) -> VendorId | None:
        """The vendor of which the person is a member, if they are."""
        return _vendor_of(self.tenant, self.role)


@dataclass(frozen=True, slots=True)
class Person:
    """A person who can sign in. ``patients``: the charts that a patient or proxy may open.

    ``tenant`` is None for the platform's staff, and a vendor's id for its members, which is no valid id of a tenant (ADR 48). ``fhir_user`` is a relative reference such as ``Practitioner/12``.
    """

    id: PersonId
    tenant: TenantId | None
    username: str
    name: str
    role: str
    fhir_user: str = ""
    patients: tuple[str, ...] = ()
    active: bool = True
    created_at: datetime | None = None
    deactivated_at: datetime | None = None
    age_counts_from: datetime | None = None
    """When a colleague last issued a link into the account, by adding or resetting it; None is treated as now."""
    chart_ends: tuple[tuple[str, datetime], ...] = ()
    """Which of ``patients`` end, and when, such as when a child comes of age."""
    mail: str = ""
    """As in NewPerson. It never changes, since whoever could change it would receive the next link into the account."""

    @property
    def vendor(self) -> VendorId | None:
        """The vendor of which the person is a member, if they are."""
        return _vendor_of(self.tenant, self.role)


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart that a person may open; ``until`` None: without an end."""

    patient: str
    until: datetime | None = None


PEOPLE_SORTS = Sorts(
    {"username": "username", "name": "name", "role": "role", "added": "created_at"}, key="username"
)
TENANT_SORTS = Sorts({"name": "name"})
"""The orders of people and of hospitals."""


@dataclass(frozen=True, slots=True)
class TenantFacts:
    """A tenant, as the gateway needs it."""

    id: TenantId
    upstream: UpstreamRef
    moved_reads: MovedReads
    active: bool
    base_url: str = ""
    sandbox: bool = False
    language: str = ""
    time_zone: str = ""
    vendor: VendorId | None = None
    ehr_origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IdentityFacts:
    """Tenants, and what changed about people and facilities within NEGATIVE_WINDOW, so that a token may not show it.

    ``inactive_people``: deactivated. ``lost_charts``: by person, the charts that they lost or lose soon, and when. ``recent_losses``: the same
    people by their latest loss, so that expired entries are found cheaply. ``removed_facilities``: removed.
    """

    tenants: Mapping[TenantId, TenantFacts] = field(default_factory=dict)
    inactive_people: AbstractSet[PersonId] = frozenset()
    lost_charts: Mapping[PersonId, Mapping[str, datetime]] = field(default_factory=dict)
    recent_losses: AbstractSet[PersonId] = frozenset()
    removed_facilities: AbstractSet[FacilityId] = frozenset()
