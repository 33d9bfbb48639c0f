"""Vendors, apps and versions; certifications."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from hilum.identity.models import Tenant
from hilum.kernel.ids import AppId, Part, TenantId, VendorId, VersionId
from hilum.kernel.pages import Sorts
from hilum.policies.models import NOT_DECLARED, Autonomy, ClientAuthentication, Population, Tier
from hilum.registry.app_edit_models import EDITED
from hilum.registry.held_models import EditState, HeldEdit

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
"""Records of one name that are read at most. Names of vendors and their apps differ; those of single hospitals' clients may not."""
APPS_BOUND = 200
"""Apps of one vendor that its members may add."""
PARTS_BOUND = 50
"""Subcontractors and hosting regions that one app lists."""


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
    """A third-party app. ``tenant`` is set for a platform peer (EHR, resource server, dynamic client) that exists at one tenant only."""

    id: AppId
    vendor: VendorId
    name: str
    description: str
    purpose: str
    state: AppState = AppState.ACTIVE
    # A peer or dynamic client is an app of its own, so that switches, standing and audit treat it like any
    # other.
    tenant: TenantId | None = None
    created_at: datetime | None = None
    # What was issued before a suspension stays invalid after it (ADR 23), so the end of the last one is kept.
    active_since: datetime | None = None
    """When it was added, or last resumed."""
    owner_since: datetime | None = None
    """When its vendor took it over from another (C14); None if it has had one.

    What people, hospitals and review agreed to before was about the other vendor.
    """
    purpose_since: datetime | None = None
    """When its purpose was last changed; None if it has had one. What people agreed to before was another purpose."""
    ask_again_since: datetime | None = None
    """When its terms or privacy policy last changed, or somebody of the staff last had people asked again, such as after an incident (C90)."""
    logo: str = ""
    """The digest of its logo (``pictures``); empty if it shows none."""
    category: str = field(kw_only=True)
    """Its category in the rule book."""

    @property
    def revision(self) -> str:
        """A digest of what an edit can change: an edit of another revision is stale."""
        held = [getattr(self, name) for name in EDITED]
        return hashlib.sha256(json.dumps(held).encode()).hexdigest()[:32]


COUNTED_BOUND = 1_000
"""How far the apps of a list are counted; beyond it there are "more than" so many."""


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
    """Somebody who works on an app's data for its vendor: who, for what, and in which hosting region."""

    name: str
    purpose: str
    region: str


@dataclass(frozen=True, slots=True)
class Profile:
    """What a vendor states about an app (C6). Empty and None mean not stated yet; ``subcontractors`` may be stated to be none.

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
    """What a version declares of the AI that it uses: the model, what it is for, how far it acts by itself (C23).

    ``human_step``: what a person does before anything comes of it. ``model_card`` is the address of the model's card, and
    ``model_card_digest`` its SHA-256.
    """

    model: str
    purpose: str
    autonomy: Autonomy
    human_step: str = ""
    model_card: str = ""
    model_card_digest: str = ""


@dataclass(frozen=True, slots=True)
class TierRaise:
    """That a reviewer raised the tier of a version, and why (C19). It only takes away."""

    tier: Tier
    reason: str
    raised_by: str
    raised_at: datetime


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
    raised: TierRaise | None = None
    optional_scopes: tuple[str, ...] | None = None
    """The scopes that it can do without; None: it does not say (C211)."""
    population: Population | None = None
    """How many patients of a hospital it reaches; None: it does not say, and counts as reaching every one (C18)."""


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
    """An order to add a version. What it does not declare counts as every workflow or placement of the rule book."""

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

    Of what rises above it later, nothing is granted; clients that authenticate in another way get nothing.
    """
    category: str
    """The category that the app had. After a move to another one, only what both allow is granted."""
    withdrawn_at: datetime | None = None
    submission: str = ""
    """The submission that was reviewed for it; empty for one that a reviewer recorded directly."""

    @property
    def tier(self) -> Tier | None:
        """Return the highest of its tiers, which says what had to be shown; None if it counts for no client."""
        return max(self.tiers.values(), key=lambda tier: tier.rank, default=None)


class ReviewSource(StrEnum):
    """What asks for a delta review."""

    BOOK = "book"
    """The rule book puts what was certified in a higher tier now."""
    USE = "use"
    """The app does what its version does not declare."""
    FINDINGS = "findings"
    """What was found about it was not fixed in time, or much was found (C225)."""


@dataclass(frozen=True, slots=True)
class UseExcess:
    """That the use of a certified version exceeds what it declares. ``computed``: its tier if it declared that too, or the certified one."""

    app: AppId
    version: VersionId
    certification: str
    certified: Tier
    computed: Tier
    sentence: str


@dataclass(frozen=True, slots=True)
class DeltaReview:
    """That what was certified is of a higher tier now, or used beyond its declaration, which a reviewer must look at (C21).

    Closed once it is not, or is certified again.
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
class Attestation:
    """What the platform signed about an app: its category, and its certifications by digest. Each contains the digest of the one before it.

    ``after``: certifications up to this id are left out and count no more, since they were not as they were signed; usually empty.
    ``digest``: of the app and its certifications; empty for an app that was deleted.
    """

    number: int
    app: AppId
    category: str
    after: str
    digest: str
    made_at: datetime
    previous: str
    kid: str = ""
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Attested:
    """The newest trusted attestation of each app. ``head``: the digest of the newest of all, number ``last``.

    ``fault``: why attestations are missing or not as they were signed; empty if all of them are intact.
    """

    last: int
    head: str
    apps: Mapping[AppId, Attestation]
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Certified:
    """Apps with their versions and certifications as they were signed. What is not is left out, and in ``faults`` by app, in words."""

    apps: Mapping[AppId, App]
    versions: Mapping[VersionId, AppVersion]
    certifications: Mapping[AppId, tuple[Certification, ...]]
    faults: Mapping[AppId, str]
    last: int
    head: str


@dataclass(frozen=True, slots=True)
class MovedCertification:
    """What a move to another category means for a certification in force: its tiers there, what to certify again, what is lost for good."""

    certification: str
    version: str
    tiers: Mapping[ClientAuthentication, str]
    certify_again: tuple[str, ...]
    not_allowed: tuple[str, ...]


ABSENT = 404
"""The status that is the same for absent, out of reach and withheld records."""
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
