"""The rule book: categories, tiers, cells and the rules of the risk tier; applicants, and what a book admits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import IntEnum, StrEnum
from functools import cached_property

from hilum.controls.switches.models import RATE_LEAST_PER_S, Quota
from hilum.foundation.kernel.ids import Part, VersionId
from hilum.policy.matrix.exception_models import (
    Autonomy,
    ExceptionKind,
    ExceptionOrder,
    PolicyException,
    Population,
)
from hilum.policy.matrix.limit_models import (
    AUTOMATION,
    DORMANT_DAYS,
    FIX_DAYS,
    GRACE_DAYS_BOUND,
    LADDER_DAYS,
    NO_CRITERIA,
    SERVICE,
    Automation,
    Criteria,
    Expiry,
    Lifetimes,
)
from hilum.policy.matrix.product_models import NOTICE, WORKFLOW_SCOPE, ScopeProduct, ScopeStatus, Workflow
from hilum.policy.matrix.version_models import (
    APPLY_ACTION,
    DRY_RUN_VALID,
    DRY_RUNS_WAITING,
    IN_FORCE_BOUND,
    NUMBER_BOUND,
    SHIPPED,
    TAKE_BACK_WITHIN,
    TENANTS_BOUND,
    Application,
    ApplyOrder,
    CurrentVersions,
    DryRun,
    DryRunState,
    Recorded,
    TakeBack,
    Verified,
    Version,
)

__all__ = [
    "APPLY_ACTION",
    "AUTOMATION",
    "DORMANT_DAYS",
    "DRY_RUNS_WAITING",
    "DRY_RUN_VALID",
    "FIX_DAYS",
    "GRACE_DAYS_BOUND",
    "IN_FORCE_BOUND",
    "LADDER_DAYS",
    "NOTICE",
    "NO_CRITERIA",
    "NUMBER_BOUND",
    "SHIPPED",
    "TAKE_BACK_WITHIN",
    "TENANTS_BOUND",
    "WORKFLOW_SCOPE",
    "Application",
    "ApplyOrder",
    "Automation",
    "Autonomy",
    "Criteria",
    "CurrentVersions",
    "DryRun",
    "DryRunState",
    "ExceptionKind",
    "ExceptionOrder",
    "Expiry",
    "Lifetimes",
    "PolicyException",
    "Population",
    "Recorded",
    "ScopeProduct",
    "ScopeStatus",
    "TakeBack",
    "Verified",
    "Version",
    "Workflow",
]

POLICIES = Part("policies")
"""The part of the facts that holds the rule books in force; its keys are ``application/<number>``."""
FORMAT = 2
"""The version of the document's format. A book of format 1 has no scope products, and its workflows expand into nothing."""
FAULTS_BOUND = 100
"""The most faults that one validation reports."""
LIST_BOUND = 200
STAGES_BOUND = 200
"""How many books with ended products are cached: those of the versions in force."""
NAMES_BOUND = 50
"""The most categories, tier rules, workflows, scope products or other named entries."""
TEXT_BOUND = 300
DOCUMENT_BOUND = 512 * 1024
"""The most bytes of a stored document, written out in full."""
ACCESS_TOKEN_BOUND = timedelta(hours=1)
"""No book may let a person's access token live longer: revocations are kept in memory for that long (C47)."""
BACKEND_TOKEN_BOUND = timedelta(minutes=5)
LIFE_BOUND = timedelta(days=3 * 366)
UNCLASSIFIED = "unclassified"
"""The category of apps that were registered before there were categories."""
SANDBOX_TRIAL = "sandbox_trial"
"""The category of apps that developers register themselves at a sandbox, and of test suites. Never certified for production."""
PEER = "peer"
"""The category of a hospital's own EHR or resource server, which is not an app and in no book."""
ANY = "*"
"""In a cell's list: any name. In a rule: every resource type. In an app's declaration: all."""
NOT_DECLARED = (ANY,)
"""The workflows or placements of a version that declares none: every one, so that each rule about any of them applies."""


class Tier(StrEnum):
    """Risk tiers: how much harm an app could do."""

    LOW = "low"
    MODERATE = "moderate"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """Return its place in the order of tiers."""
        return _RANKS[self.value]


_RANKS = {"low": 0, "moderate": 1, "high": 2}
TIERS = tuple(Tier)
CellName = tuple[str, Tier]
"""A cell by its category and tier."""


class ClientAuthentication(StrEnum):
    """How a client authenticates at the token endpoint. Source: RFC 7591 section 2."""

    NONE = "none"
    SECRET = "client_secret_basic"
    KEY = "private_key_jwt"


class Lens(StrEnum):
    """A separate part of review with its own reviewer (C100)."""

    TECHNICAL = "technical"
    LEGAL = "legal"
    CLINICAL = "clinical"


class TrafficClass(StrEnum):
    """Traffic classes; in overload the last one is shed first (C133)."""

    CLINICAL_INTERACTIVE = "clinical_interactive"
    USER_APPS = "user_apps"
    PATIENT_APPS = "patient_apps"
    BACKEND = "backend"
    BULK = "bulk"

    @property
    def rank(self) -> int:
        """Return its place in the order: 0 for the class that is shed last."""
        return _URGENCY[self]


_URGENCY = {each: rank for rank, each in enumerate(TrafficClass)}
ALL_PLACES = (100,) * len(TrafficClass)
"""The shares of a book that reserves no places."""


class StepCondition(StrEnum):
    """The only conditions that a step of the regulated lane may have."""

    IDENTITY_VERIFIED = "identity_verified"
    METADATA_COMPLETE = "metadata_complete"
    KEYS_REGISTERED = "keys_registered"
    SECURITY_TERMS_ACCEPTED = "security_terms_accepted"


PROOFS = ("owner", "support", "security", "domain")
"""What a vendor can prove: a contact of each kind, and a domain."""
LANE_STEPS = ("verify", "enable")
"""The steps of the regulated lane: verify the requester, enable the app. A book cannot add steps, or a fee could be one."""
NEVER_A_CONDITION = frozenset({"fee", "certificate", "exclusivity"})
"""Conditions on which protected access must never depend. Source: 45 CFR 170.404(a)."""

NEVER_BELOW_HIGH = frozenset({
    "MedicationRequest", "MedicationDispense", "MedicationAdministration", "MedicationStatement", "ServiceRequest", "NutritionOrder",
    "DeviceRequest", "VisionPrescription", "SupplyRequest", "RequestGroup", "DocumentReference", "Composition", "DiagnosticReport",
})  # fmt: skip
"""Orders, medications and notes: a book in which writing one of these is not of the high tier is refused (C22)."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault at one place of a document: path, code and sentence."""

    path: str
    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class ReviewClocks:
    """How long review may take. ``sample_percent``: how many clean submissions a person examines; None for all (C103)."""

    first_answer_business_days: int
    decision_business_days: int
    sample_percent: int | None = None


@dataclass(frozen=True, slots=True)
class AlertThresholds:
    """The shares of refused and failed requests, and the latency, above which monitoring raises an alert."""

    refused_percent: int
    failed_percent: int
    latency_ms_p95: int


PEER_LIFETIMES = Lifetimes(
    BACKEND_TOKEN_BOUND, BACKEND_TOKEN_BOUND, BACKEND_TOKEN_BOUND, BACKEND_TOKEN_BOUND, BACKEND_TOKEN_BOUND
)
"""The lifetimes of a hospital's EHR or resource server: tokens live five minutes."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What apps of one category and tier may do, and their requirements.

    ``scopes`` are the clinical scopes, those of the lower tiers included; ``session_scopes`` those of identity, launch and session.
    """

    scopes: tuple[str, ...]
    session_scopes: tuple[str, ...]
    client_authentication: frozenset[ClientAuthentication]
    workflows: frozenset[str]
    placements: frozenset[str]
    scenarios: frozenset[str]
    evidence: frozenset[str]
    lenses: frozenset[Lens]
    review: ReviewClocks
    quota: Quota
    traffic_class: TrafficClass
    alerts: AlertThresholds
    certificate_life: timedelta
    lifetimes: Lifetimes
    agreements: frozenset[str] = frozenset()
    """The kinds of agreements between vendor and hospital without which an app is not installed at a production tenant (C189)."""
    dormant_days: int = DORMANT_DAYS
    """Days without use after which people are asked again (C90)."""
    dormant_ends: bool = False
    """Whether an agreement that was not used for ``dormant_days`` has ended and cannot be refreshed (C194)."""
    proofs: frozenset[str] = frozenset()
    """The current proofs, of ``PROOFS``, that a vendor needs to have a version certified for production (C6, C7)."""
    fix_days_critical: int = FIX_DAYS["fix_days_critical"]
    fix_days_high: int = FIX_DAYS["fix_days_high"]
    fix_days_medium: int = FIX_DAYS["fix_days_medium"]
    fix_days_low: int = FIX_DAYS["fix_days_low"]
    """Days to fix a finding about an app, by its severity (C115)."""
    suspend_days: int = LADDER_DAYS["suspend_days"]
    withdraw_days: int = LADDER_DAYS["withdraw_days"]
    """Days after that deadline until the app is to be suspended, and its certification withdrawn (C226)."""
    grace_days: int = 0
    """Days after the end of a certification in which installed apps keep working (C114)."""
    service_unavailable_percent: int = SERVICE["service_unavailable_percent"]
    service_errors_percent: int = SERVICE["service_errors_percent"]
    service_latency_ms_p95: int = SERVICE["service_latency_ms_p95"]
    service_least_calls: int = SERVICE["service_least_calls"]
    service_grace_days: int = SERVICE["service_grace_days"]
    """The criteria for an app's service, the least number of calls, and the days to fix it (C228)."""
    automation: Automation = AUTOMATION
    """How far the platform climbs the ladder by itself; beyond it a person decides."""
    waived: frozenset[str] = frozenset()
    """In the book for one app: requirements, as ``kind.name``, that are not asked of it for a time."""
    observe: "Observation | None" = field(default=None, compare=False)
    """Until when its tightening is only observed (C209)."""


@dataclass(frozen=True, slots=True)
class Observation:
    """Before a day the cell is as ``earlier``, and from that day on as it states itself.

    ``limits`` empty: for everything that is tighter. ``earlier`` is None in a document that was not added yet; adding it fills in the cell of the version in force.
    """

    until: date
    limits: tuple[str, ...] = ()
    earlier: Cell | None = None


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of app. ``open``: new apps may be registered in it. A tier without a cell is not allowed in the category."""

    name: str
    title: str
    floor: Tier
    open: bool
    cells: Mapping[Tier, Cell]
    model_card: bool = False
    """A version whose app is in it and that uses AI must have a model card (C23)."""


@dataclass(frozen=True, slots=True)
class TierRule:
    """Raises an app to a tier when each of its conditions holds; an empty condition always does.

    The conditions on scopes (``prefixes``, ``types``, ``letters``, ``special``) must hold for one scope together. None of them can hold
    for several scopes only, so more scopes never lower a tier, and each scope has a tier of its own. ``because`` may name ``{type}``,
    ``{scope}``, ``{workflow}``, ``{placement}``, ``{autonomy}``.
    """

    name: str
    tier: Tier
    because: str
    categories: frozenset[str] = frozenset()
    clients: frozenset[ClientAuthentication] = frozenset()
    workflows: frozenset[str] = frozenset()
    placements: frozenset[str] = frozenset()
    prefixes: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    letters: str = ""
    special: frozenset[str] = frozenset()
    autonomy: frozenset[str] = frozenset()
    """How far an app's AI acts by itself. A version without declared AI meets no such condition."""
    populations: frozenset[str] = frozenset()
    """How many patients it reaches. A version without a declaration meets every such condition."""

    @property
    def names_scopes(self) -> bool:
        """Return whether it depends on a scope."""
        return bool(self.prefixes or self.types or self.letters or self.special)


@dataclass(frozen=True, slots=True)
class LaneStep:
    """A step of the regulated lane: its business days, and what it may wait for."""

    name: str
    within_business_days: int
    requires: frozenset[StepCondition]


@dataclass(frozen=True, slots=True)
class JurisdictionPack:
    """Dated rules of one jurisdiction, which a book keeps from when it has them until they end, so that they bind it on their first day.

    ``step_days``: the most business days that each step of the regulated lane may take. ``patient_refresh_at_least``: how long a refresh
    token of a cell with ``patient/`` scopes and ``offline_access`` lives at least.
    """

    name: str
    jurisdiction: str
    source: str
    valid_from: date
    valid_until: date | None
    step_days: Mapping[str, int]
    patient_refresh_at_least: timedelta

    def is_over(self, on: date) -> bool:
        return self.valid_until is not None and self.valid_until <= on


@dataclass(frozen=True, slots=True)
class Raise:
    """That a version is treated as of this tier, and why (C19)."""

    tier: Tier
    reason: str


@dataclass(frozen=True, slots=True)
class Lowering:
    """That a version of an app in a category is treated as of this tier, as long as no other rules than these raise it above (C19)."""

    tier: Tier
    category: str
    rules: frozenset[str]


@dataclass(frozen=True, eq=False)
class Book:
    """A valid rule book. Compared by identity, so that what is derived from it can be cached; equal books have one ``digest``.

    ``products`` None: a book of format 1, in which every scope is covered.
    """

    title: str
    owner: str
    workflows: Mapping[str, Workflow]
    placements: Mapping[str, str]
    scenarios: Mapping[str, str]
    evidence: Mapping[str, str]
    categories: Mapping[str, Category]
    tier_rules: tuple[TierRule, ...]
    regulated_lane: tuple[LaneStep, ...]
    packs: tuple[JurisdictionPack, ...]
    digest: str = ""
    products: Mapping[str, ScopeProduct] | None = None
    custom_scopes_at_most: int = 0
    """The number of custom scope products above which there is a finding (C65)."""
    longest_exception: timedelta = timedelta(0)
    """How long an exception that loosens something may last (C19, C23, C207)."""
    waivable: frozenset[str] = frozenset()
    """What review asks for and an exception may waive, such as ``evidence.security_test``."""
    shares: tuple[int, ...] = ALL_PLACES
    """The percentage of a FHIR server's places that a traffic class may hold together with those below it, by rank (C133)."""
    raised: Mapping[VersionId, Raise] = field(default_factory=dict)
    """In a book in force: the versions whose tier a reviewer raised."""
    lowered: Mapping[VersionId, Lowering] = field(default_factory=dict)
    """In the book for one app: its versions whose tier two people lowered."""
    autonomous: frozenset[VersionId] = frozenset()
    """In the book for one app at one hospital: its versions whose AI may write alone."""

    @cached_property
    def observed_cells(self) -> tuple[tuple[CellName, Observation], ...]:
        """Return the cells with a day until which they are observed, also after it."""
        cells = (
            (name, tier, cell) for name, of in self.categories.items() for tier, cell in of.cells.items()
        )
        return tuple(((name, tier), cell.observe) for name, tier, cell in cells if cell.observe is not None)

    @cached_property
    def sunsets(self) -> tuple[date, ...]:
        """Return the days on which scope products end, in order."""
        products = () if self.products is None else self.products.values()
        return tuple(sorted({each.sunset for each in products if each.in_force and each.sunset is not None}))

    @cached_property
    def notices(self) -> tuple[ScopeProduct, ...]:
        """Return the deprecated scope products."""
        products = () if self.products is None else self.products.values()
        return tuple(each for each in products if each.status is ScopeStatus.DEPRECATED)


@dataclass(frozen=True, slots=True)
class Applicant:
    """What a book must know of an app. ``scopes`` are those it may ask for: registered and certified.

    ``authentication`` None: not known, which meets each rule about clients. ``certified_tier``: up to which tier
    review certified it for clients that authenticate like this one; it has nothing that is above. None: it was not certified for them.
    """

    category: str
    scopes: tuple[str, ...]
    authentication: ClientAuthentication | None = None
    workflows: tuple[str, ...] = NOT_DECLARED
    placements: tuple[str, ...] = NOT_DECLARED
    certified_tier: Tier | None = field(kw_only=True)
    certified_category: str = ""
    """The category in which review certified it, if the app has moved since."""
    version: VersionId | None = None
    autonomy: Autonomy | None = None
    """How far its AI acts by itself; None if it declares none."""
    population: Population | None = field(default=None, kw_only=True)
    """How many patients it reaches; None if not declared, which meets every rule about populations."""
    at_most: Tier | None = field(default=None, kw_only=True)
    """The tier above which nothing counts, except what a book never puts below the high tier."""


@dataclass(frozen=True, slots=True)
class TierReason:
    """Why an app has at least a tier: the rule and its sentence. ``scope`` is empty if no scope is the reason."""

    rule: str
    tier: Tier
    sentence: str
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Assessment:
    """The tier of an app with every reason, the highest first.

    ``computed``: the tier by the rules, if people set another.
    """

    tier: Tier
    reasons: tuple[TierReason, ...]
    computed: Tier | None = None

    def __str__(self) -> str:
        """Return the sentence: ``high, because it writes MedicationRequest``; of a tier that people set also from which."""
        of = self.tier if self.computed is None else max(self.tier, self.computed, key=lambda tier: tier.rank)
        why = "; ".join(dict.fromkeys(each.sentence for each in self.reasons if each.tier is of))
        if self.computed is None:
            return f"{self.tier}, because {why or 'nothing raises it'}"
        if self.computed.rank < self.tier.rank:
            return f"{self.tier}: raised by a reviewer from {self.computed}, because {why}"
        return f"{self.tier}: lowered by an exception from {self.computed}, which it is because {why}"


class Withholding(StrEnum):
    """Why a book withholds a scope, or a part of one."""

    CATEGORY = "category_not_allowed"
    """The book does not have the app's category."""
    CERTIFICATE = "above_certificate"
    """It is of a higher tier than review certified."""
    MOVED = "certified_elsewhere"
    """Review certified it in another category, which does not allow it. Certify it in this one."""
    TIER = "tier_not_allowed"
    """The category has no cell for its tier."""
    CLIENT = "client_authentication"
    """The cell of its tier does not allow how this client authenticates."""
    SCOPE = "scope_not_allowed"
    """The cell does not list it."""
    PRODUCT = "scope_retired"
    """No scope product in force covers it: it was retired, or its sunset is past."""
    AUTONOMY = "autonomous_writes"
    """Its AI would write alone, and this hospital made no exception for that."""


@dataclass(frozen=True, slots=True)
class Withheld:
    scope: str
    why: Withholding


@dataclass(frozen=True, slots=True)
class Admission:
    """What a book admits for an app: the tier it acts at, its cell and its scopes. No cell: it may not act at all."""

    assessment: Assessment
    tier: Tier | None
    cell: Cell | None
    scopes: tuple[str, ...]
    withheld: tuple[Withheld, ...] = field(default=())


class WideningSeverity(IntEnum):
    """The order in which widenings are shown to approvers, most severe first."""

    ACCESS = 0
    """Scopes, cells and categories."""
    PROOF = 1
    """Evidence, client authentication, and protected access."""
    TIER = 2
    """Tiers that fall."""
    LIMIT = 3
    """Lifetimes, quotas and the like."""


@dataclass(frozen=True, slots=True)
class Widening:
    """Something that one book newly allows: its path and a sentence. A greater weight is more severe within its severity class."""

    path: str
    sentence: str
    severity: WideningSeverity = field(default=WideningSeverity.ACCESS, compare=False)
    weight: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs between two books. None if missing."""

    path: str
    before: object
    after: object


NO_QUOTA = Quota(RATE_LEAST_PER_S, 1)
"""The quota of an app without a cell: it gets nothing, and its requests are limited."""
NO_BOOK = Book("", "", {}, {}, {}, {}, {}, (), (), ())
"""The book that allows nothing."""
