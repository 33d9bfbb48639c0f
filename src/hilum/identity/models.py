"""Tenants and the people in them."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.kernel.ids import FacilityId, Part, PersonId, TenantId, VendorId
from hilum.kernel.pages import Sorts
from hilum.pictures.models import Picture

IDENTITY = Part("identity")
"""The part of the facts with tenants and inactive people; its keys are ``tenant/<id>``, ``person/<id>`` and ``facility/<id>``."""
TENANTS_BOUND = 10_000
PROXIES_BOUND = 50
FACILITIES_BOUND = 500
"""Facilities of a tenant at a time: an installation may list all of them."""
EHR_ORIGINS_BOUND = 20
ATTACHMENT_HOSTS_BOUND = 20
NAME_BOUND = 200
REACHED_BOUND = 50
"""People of one place who are mailed about one thing."""
APPROVAL_MAILS = 20
"""Mails about approvals that one person gets a day."""
NAMES_BOUND = 100
"""Names that one request may ask for: their ids stand in its address."""
USERNAME_BOUND = 64
URL_BOUND = 500
CREDENTIALS_BOUND = 4_000
SECOND_PERSON_AGE = timedelta(days=7)
"""How old an account must be to be one of the two people that some acts take (security decision 25)."""
SECOND_PEOPLE_MIN = 2
"""How many of the staff who may be the second person must always remain."""
FIRST_ADMINISTRATORS = 2
"""How many platform administrators the host may set up, so that there are two people from the first day."""
CHART_RACE = timedelta(minutes=1)
"""A token issued up to so long after a chart was taken away may still hold it: the two may have happened at the same time."""
NEGATIVE_WINDOW = timedelta(minutes=65)
"""How long the gateway must be able to see a deactivation: longer than any access token lives."""


class Role(StrEnum):
    """What a person is at a tenant. Each role has its rights in ``policy.RIGHTS``."""

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
    """What a person is on the platform's staff."""

    PLATFORM_ADMIN = "platform_admin"
    SECURITY = "security"
    REVIEWER = "reviewer"
    AUDITOR = "auditor"


class VendorRole(StrEnum):
    """What a person is at a vendor. Each role has its rights in ``policy.VENDOR_RIGHTS``."""

    OWNER = "vendor_owner"
    DEVELOPER = "vendor_developer"
    BILLING = "vendor_billing"
    SECURITY = "vendor_security"


class VendorRight(StrEnum):
    """What a member may do with the records of their own vendor, besides reading them."""

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
    """The credential was issued before such a stop ended, and stays invalid."""
    READ_ONLY = "read_only"
    """A switch permits the person to read only."""


class UpstreamKind(StrEnum):
    EMBEDDED = "embedded"
    HTTP = "http"


class MovedReads(StrEnum):
    """What a token launched under another patient may still do after the chart moved. Writes are always refused."""

    ALLOW = "allow"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class UpstreamRef:
    """Where a tenant's FHIR server is. ``credentials_sealed`` is opened by the upstream room only.

    ``public_url`` is the base that the server writes in its answers, if it differs from ``url``. ``attachment_hosts``: apps see
    addresses of attachments only on these hosts; addresses on any other are withheld.
    """

    kind: UpstreamKind
    url: str = ""
    credentials_sealed: str = ""
    public_url: str = ""
    attachment_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tenant:
    id: TenantId
    name: str
    upstream: UpstreamRef
    base_url: str = ""
    """The tenant's own origin; empty if it is served under the platform's."""
    ehr_origins: tuple[str, ...] = ()
    """Origins of the tenant's EHR that may frame a consent page."""
    # The safe default: an app that did not notice the move would show one patient's data beside
    # another's chart.
    moved_reads: MovedReads = MovedReads.REFUSE
    sandbox: bool = False
    active: bool = True
    left_at: datetime | None = None
    """When the hospital left the platform, for good; from then on no verb finds it."""
    colour: str = ""
    """Its colour on pages, as ``#0b6b74``; empty if it has none."""
    logo: str = ""
    """The digest of its logo (``pictures``); empty if it has none."""
    language: str = ""
    """The language of its pages for a browser that wants none, such as ``es``; empty: English."""
    time_zone: str = ""
    """The zone of the times on its pages, such as ``Europe/Madrid``; empty: UTC."""
    vendor: VendorId | None = None
    """The vendor that owns it, as a snapshot in a sandbox; None if every vendor may use it."""


@dataclass(frozen=True, slots=True)
class Branding:
    """How a hospital shows itself on pages; None leaves a part as it is, an empty one removes it."""

    colour: str | None = None
    logo: Picture | None = None


@dataclass(frozen=True, slots=True)
class NewFacility:
    """A facility to add. ``reference``: the Location or Organization of the hospital's FHIR server that stands for it."""

    tenant: TenantId
    name: str
    legal_entity: str
    reference: str


@dataclass(frozen=True, slots=True)
class Facility:
    """A place of a hospital at which apps are opened, such as a clinic or a ward. Once removed it never comes back; another may take its name."""

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
    """Where links into the account and notices are mailed; empty for nowhere."""

    @property
    def vendor(self) -> VendorId | None:
        """The vendor of which the person is a member, if they are."""
        return _vendor_of(self.tenant, self.role)


@dataclass(frozen=True, slots=True)
class Person:
    """A person who can sign in. ``patients`` are the charts that they may open: their own and those they act for as a proxy.

    ``tenant`` is None for the platform's staff, and a vendor's id for its members: no tenant has one like it, so whoever takes it for a
    tenant's finds none (ADR 48). ``fhir_user`` is a relative reference such as ``Practitioner/12``.
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
    """When a colleague last issued a link into the account, by adding or resetting it. None counts as just now."""
    chart_ends: tuple[tuple[str, datetime], ...] = ()
    """Charts of ``patients`` that end at a moment, such as when a child comes of age."""
    mail: str = ""
    """As in NewPerson. It never changes: whoever could change it would get the next link into the account."""

    @property
    def vendor(self) -> VendorId | None:
        """The vendor of which the person is a member, if they are."""
        return _vendor_of(self.tenant, self.role)


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart that a person may open, until a moment or without an end."""

    patient: str
    until: datetime | None = None


PEOPLE_SORTS = Sorts(
    {"username": "username", "name": "name", "role": "role", "added": "created_at"}, key="username"
)
TENANT_SORTS = Sorts({"name": "name"})
"""The orders of people and of hospitals."""


@dataclass(frozen=True, slots=True)
class TenantFacts:
    """What the gateway must know of a tenant."""

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
    """What enforcement must know of tenants and people, besides what is in tokens.

    ``inactive_people``: those deactivated within the life of an access token; sign-in and refresh read the row itself.
    ``lost_charts``: by person, the charts taken away within that time or soon, and when. ``recent_losses``: the same people by their
    latest loss, so that removing expired entries costs no more than their number. ``removed_facilities``: those removed within that time.
    """

    tenants: Mapping[TenantId, TenantFacts] = field(default_factory=dict)
    inactive_people: AbstractSet[PersonId] = frozenset()
    lost_charts: Mapping[PersonId, Mapping[str, datetime]] = field(default_factory=dict)
    recent_losses: AbstractSet[PersonId] = frozenset()
    removed_facilities: AbstractSet[FacilityId] = frozenset()
