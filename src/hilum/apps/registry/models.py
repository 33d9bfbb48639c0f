"""Vendors, apps and versions; certifications."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from hilum.apps.registry.app_edit_models import EDITED
from hilum.apps.registry.held_models import EditState, HeldEdit
from hilum.foundation.kernel.ids import AppId, Part, TenantId, VendorId, VersionId
from hilum.foundation.kernel.pages import Sorts
from hilum.identity.people.models import Tenant
from hilum.policy.matrix.models import NOT_DECLARED, Autonomy, ClientAuthentication, Population, Tier

__all__ = ["EditState", "HeldEdit"]

SCOPES_BOUND = 200
TEXT_BOUND = 2_000
REGISTRY = Part("registry")
"""The part of the facts with clients and installations. Its keys are ``app/<id>`` and ``at/<tenant>/<app>``."""
NAME_BOUND = 200
LABEL_BOUND = 100
# Error texts are shown in terminals and stored in records; a full list of 200 scopes would hide the sentence.
LISTED_BOUND = 40
"""The most scopes that an error text lists."""


EXPIRED_BATCH = 200
NAMED_BOUND = 100
"""The most records of one name that are read. Names of vendors and their apps are unique; those of single hospitals' clients may not be."""
APPS_BOUND = 200
"""How many apps a vendor's members may add."""
PARTS_BOUND = 50
"""How many subcontractors and hosting regions an app may list."""


class Environment(StrEnum):
    SANDBOX = "sandbox"
    PRODUCTION = "production"


def environment_of(tenant: Tenant) -> Environment:
    """Return the environment for which clients must be certified at a hospital. A sandbox client works only in the sandbox (C4)."""
    return Environment.SANDBOX if tenant.sandbox else Environment.PRODUCTION


class AppState(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class Vendor:
    id: VendorId
    name: str
    support_contact: str
    security_contact: str
    website: str = ""


@dataclass(frozen=True, slots=True)
class App:
    """A third-party app. ``tenant`` is set for a platform system client (EHR, resource server, dynamic client) that exists at one tenant only."""

    id: AppId
    vendor: VendorId
    name: str
    description: str
    purpose: str
    state: AppState = AppState.ACTIVE
    # A system client or dynamic client is an app of its own, so that switches, eligibility and audit treat it like any other.
    tenant: TenantId | None = None
    created_at: datetime | None = None
    # What was issued before a suspension stays invalid after it (ADR 6), so the end of the last one is kept.
    active_since: datetime | None = None
    """When it was added, or last resumed."""
    owner_since: datetime | None = None
    """When its vendor took it over (C14); None if it never changed hands. Earlier agreements of people, hospitals and review were about the former vendor.
    """
    purpose_since: datetime | None = None
    """When its purpose last changed; None if it never did. Earlier agreements were about the former purpose."""
    ask_again_since: datetime | None = None
    """When its terms or privacy policy last changed, or somebody of the staff last had people asked again, such as after an incident (C90)."""
    logo: str = ""
    """The digest of its logo (``pictures``); empty if it shows none."""
    category: str = field(kw_only=True)
    """Its category in the policy."""

    @property
    def revision(self) -> str:
        """Return a digest of the editable fields: an edit of another revision is stale."""
        held = [getattr(self, name) for name in EDITED]
        return hashlib.sha256(json.dumps(held).encode()).hexdigest()[:32]


COUNTED_BOUND = 1_000
"""The highest count of a list of apps; beyond it the page shows "more than"."""


class AppOrder(StrEnum):
    """The order of a list of apps."""

    NAME = "name"
    NAME_DOWN = "-name"
    NEWEST = "-added"
    OLDEST = "added"


@dataclass(frozen=True, slots=True)
class AppsQuery:
    """Which apps of the catalogue, in which order. ``text`` is in the app's or its vendor's name. ``only`` and ``without`` are ids.

    ``after`` is ``next`` of the previous page.
    """

    text: str = ""
    category: str = ""
    vendor: str = ""
    suspended: bool | None = None
    only: frozenset[AppId] | None = None
    without: frozenset[AppId] = frozenset()
    order: AppOrder = AppOrder.NAME
    after: str = ""
    limit: int = 50


@dataclass(frozen=True, slots=True)
class AppsPage:
    """A page of the catalogue, with the names of the apps' vendors. ``total`` is COUNTED_BOUND + 1 if there are more than that."""

    apps: tuple[App, ...]
    vendors: Mapping[VendorId, str]
    total: int
    next: str = ""


@dataclass(frozen=True, slots=True)
class Subcontractor:
    """A party that processes an app's data for its vendor: who, for what, and in which hosting region."""

    name: str
    purpose: str
    region: str


@dataclass(frozen=True, slots=True)
class Profile:
    """What a vendor states about an app (C6). Empty and None mean not stated; an empty ``subcontractors`` tuple states that there are none.

    ``security_escalation`` is whom to reach when the security contact does not answer. ``retention_days`` is 0 for an app that stores
    nothing. ``revision`` counts the changes.
    """

    owner: str = ""
    support_contact: str = ""
    security_contact: str = ""
    security_escalation: str = ""
    privacy_policy: str = ""
    terms: str = ""
    stores_data: bool | None = None
    retention: str = ""
    retention_days: int | None = None
    subcontractors: tuple[Subcontractor, ...] | None = None
    hosting_regions: tuple[str, ...] = ()
    revision: int = 0


@dataclass(frozen=True, slots=True)
class AiUse:
    """A version's declared use of AI: the model, its purpose, how far it acts by itself (C23).

    ``human_step``: what a person does before it has an effect. ``model_card`` is the address of the model's card, and
    ``model_card_digest`` its SHA-256.
    """

    model: str
    purpose: str
    autonomy: Autonomy
    human_step: str = ""
    model_card: str = ""
    model_card_digest: str = ""


@dataclass(frozen=True, slots=True)
class AppVersion:
    """A version of an app, the unit that review certifies, with the workflows, placements and use of AI that it declares.

    They never change, since the tier at which it is certified depends on them. ``ai_use`` None: it declares that it uses none.
    """

    id: VersionId
    app: AppId
    label: str
    created_at: datetime
    workflows: tuple[str, ...] = NOT_DECLARED
    placements: tuple[str, ...] = NOT_DECLARED
    ai_use: AiUse | None = None
    optional_scopes: tuple[str, ...] | None = None
    """Its optional scopes; None if not declared (C211)."""
    population: Population | None = None
    """How many patients of a hospital it reaches; None if not declared, which counts as all (C18)."""


@dataclass(frozen=True, slots=True)
class NewVendor:
    name: str
    support_contact: str
    security_contact: str
    website: str = ""


@dataclass(frozen=True, slots=True)
class NewApp:
    """An order to add an app. Only the platform itself uses a category that is closed to new apps."""

    vendor: VendorId
    name: str
    description: str
    purpose: str
    category: str


@dataclass(frozen=True, slots=True)
class NewVersion:
    """An order to add a version. Without a declaration it counts as made for every workflow or placement of the policy."""

    label: str
    workflows: tuple[str, ...] = NOT_DECLARED
    placements: tuple[str, ...] = NOT_DECLARED
    ai_use: AiUse | None = None
    optional_scopes: tuple[str, ...] | None = None
    population: Population | None = None


@dataclass(frozen=True, slots=True)
class CertifyOrder:
    version: VersionId
    environment: Environment
    scopes: tuple[str, ...]
    expires_at: datetime
    submission: str = ""
    """The submission that was reviewed; empty without one."""


@dataclass(frozen=True, slots=True)
class Certification:
    """The scopes that review certified for a version. A missing, expired or withdrawn certification allows nothing."""

    id: str
    app: AppId
    version: VersionId
    scopes: tuple[str, ...]
    certified_by: str
    certified_at: datetime
    expires_at: datetime
    environment: Environment
    tiers: Mapping[ClientAuthentication, Tier]
    """The tier of its scopes when they were certified, for each way in which a client may authenticate.

    Scopes that rise above it later are not granted; clients that authenticate in another way get nothing.
    """
    category: str
    """The category that the app had. After a move to another one, only what both allow is granted."""
    withdrawn_at: datetime | None = None
    submission: str = ""
    """The submission that was reviewed for it; empty for one that a reviewer recorded directly."""

    @property
    def tier(self) -> Tier | None:
        """Return the highest of its tiers, which decided the required evidence; None if it counts for no client."""
        return max(self.tiers.values(), key=lambda tier: tier.rank, default=None)


class ReviewSource(StrEnum):
    """The sources of delta reviews."""

    BOOK = "book"
    """The policy now puts certified scopes in a higher tier."""
    USE = "use"
    """The app is used beyond its version's declaration."""
    FINDINGS = "findings"
    """Its findings were not fixed in time, or are many (C225)."""


@dataclass(frozen=True, slots=True)
class UseExcess:
    """Use of a certified version beyond its declaration. ``computed``: its tier if it had declared that use, or the certified one."""

    app: AppId
    version: VersionId
    certification: str
    certified: Tier
    computed: Tier
    sentence: str


@dataclass(frozen=True, slots=True)
class DeltaReview:
    """A required review of a certification whose scopes have a higher tier now, or whose use exceeds its declaration (C21).

    Closes once that is over, or with a new certification.
    """

    id: str
    app: AppId
    version: VersionId
    certification: str
    certified: Tier
    computed: Tier
    sentence: str
    opened_at: datetime
    closed_at: datetime | None = None
    source: ReviewSource = ReviewSource.BOOK


@dataclass(frozen=True, slots=True)
class Certified:
    """Apps with their versions and certifications."""

    apps: Mapping[AppId, App]
    versions: Mapping[VersionId, AppVersion]
    certifications: Mapping[AppId, tuple[Certification, ...]]


@dataclass(frozen=True, slots=True)
class MovedCertification:
    """The effect of a move to another category on a certification in force: its tiers there, scopes to certify again, and scopes lost for good."""

    certification: str
    version: str
    tiers: Mapping[ClientAuthentication, str]
    certify_again: tuple[str, ...]
    not_allowed: tuple[str, ...]


ABSENT = 404
"""The status for absent, out of reach and withheld records alike."""
CALLS = 50
"""Calls of a page."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an app. ``path``, ``rule`` and ``detail`` are of a sandbox's hospital only, where every record is synthetic.

    ``reason`` is the one in the app's answer, so it is empty for an answer that looks the same for absent and withheld records. ``without``: of a
    call for which its scopes did not suffice, what the app says that it needs and the hospital knowingly left out.
    """

    at: datetime
    request_id: str
    tenant: str
    client: str
    version: str
    interaction: str
    resource_type: str
    status: int
    reason: str
    latency_us: int
    sandbox: bool = False
    path: str = ""
    rule: str = ""
    detail: str = ""
    without: tuple[str, ...] = ()


VENDOR_SORTS = Sorts({"name": "name", "added": "id"})
APP_SORTS = Sorts({"name": "name", "added": "id"})
"""The orders of vendors and of apps, whose ids are in the order in which they were added."""


@dataclass(frozen=True, slots=True)
class CallsPage:
    """Newest first. ``next`` is empty on the last page."""

    calls: tuple[Call, ...]
    next: str = ""
