"""The policy: categories, tiers, entries and the rules of the risk tier; applicants, and what a policy admits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import IntEnum, StrEnum
from functools import cached_property
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    with_config,
)

from hilum.controls.switches.models import RATE_LEAST_PER_S, Quota
from hilum.foundation.kernel.ids import Part, VersionId
from hilum.foundation.standards.fhir.definitions import resource_types
from hilum.foundation.standards.smart.scopes import LETTERS, SPECIAL, Prefix
from hilum.policy.matrix.exception_models import (
    Autonomy,
    ExceptionKind,
    ExceptionOrder,
    PolicyException,
    Population,
)
from hilum.policy.matrix.fields import (
    LIST_BOUND,
    NAMES_BOUND,
    Condition,
    Day,
    Days,
    Duration,
    Flag,
    ListOf,
    Name,
    Named,
    NotWritten,
    OwnName,
    Percent,
    SetOf,
    Tables,
    Text,
    Titles,
    Words,
    at_longest,
    fault,
    one_of,
)
from hilum.policy.matrix.lane_models import LANE_STEPS, NEVER_A_CONDITION, LaneStep, StepCondition
from hilum.policy.matrix.limit_models import (
    ACCESS_TOKEN_BOUND,
    AUTOMATION,
    BACKEND_TOKEN_BOUND,
    DORMANT_DAYS,
    ESCALATION_DAYS,
    FIX_DAYS,
    GRACE_DAYS_BOUND,
    LATENCY_BOUND_MS,
    LIFE_BOUND,
    NO_CRITERIA,
    SERVICE,
    Automation,
    Criteria,
    Expiry,
    Lifetimes,
)
from hilum.policy.matrix.product_models import NOTICE, WORKFLOW_SCOPE, ScopeProduct, ScopeStatus, Workflow
from hilum.policy.matrix.traffic_models import ALL_PLACES, TrafficClass, read_shares, written_shares
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
    "ACCESS_TOKEN_BOUND",
    "ALL_PLACES",
    "APPLY_ACTION",
    "AUTOMATION",
    "BACKEND_TOKEN_BOUND",
    "DORMANT_DAYS",
    "DRY_RUNS_WAITING",
    "DRY_RUN_VALID",
    "ESCALATION_DAYS",
    "FIX_DAYS",
    "GRACE_DAYS_BOUND",
    "IN_FORCE_BOUND",
    "LANE_STEPS",
    "LIFE_BOUND",
    "LIST_BOUND",
    "NAMES_BOUND",
    "NEVER_A_CONDITION",
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
    "LaneStep",
    "Lifetimes",
    "PolicyException",
    "Population",
    "Recorded",
    "ScopeProduct",
    "ScopeStatus",
    "StepCondition",
    "TakeBack",
    "TrafficClass",
    "Verified",
    "Version",
    "Workflow",
]

POLICIES = Part("policies")
"""The part of the facts that holds the policies in force; its keys are ``application/<number>``."""
FORMAT = 2
"""The version of the document's format."""
FAULTS_BOUND = 100
"""The most faults that one validation reports."""
STAGES_BOUND = 200
"""How many policies with ended products are cached: those of the versions in force."""
DOCUMENT_BOUND = 512 * 1024
"""The most bytes of a stored document, written out in full."""
UNCLASSIFIED = "unclassified"
"""The category of apps that were registered before there were categories."""
SANDBOX_TRIAL = "sandbox_trial"
"""The category of apps that developers register themselves at a sandbox, and of test suites. Never certified for production."""
SYSTEM_CLIENT = "system_client"
"""The category of a hospital's own EHR or resource server, which is not an app and in no book."""
ANY = "*"
"""In an entry's list: any name. In a rule: every resource type. In an app's declaration: all."""
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
"""An entry by its category and tier."""


class ClientAuthentication(StrEnum):
    """How a client authenticates at the token endpoint. Source: RFC 7591 section 2."""

    NONE = "none"
    SECRET = "client_secret_basic"
    KEY = "private_key_jwt"


class Discipline(StrEnum):
    """A separate part of review with its own reviewer (C100)."""

    TECHNICAL = "technical"
    LEGAL = "legal"
    CLINICAL = "clinical"


PROOFS = ("owner", "support", "security", "domain")
"""What a vendor can prove: a contact of each kind, and a domain."""
NEVER_BELOW_HIGH = frozenset({
    "MedicationRequest", "MedicationDispense", "MedicationAdministration", "MedicationStatement", "ServiceRequest", "NutritionOrder",
    "DeviceRequest", "VisionPrescription", "SupplyRequest", "RequestGroup", "DocumentReference", "Composition", "DiagnosticReport",
})  # fmt: skip
"""Orders, medications and notes: a policy in which writing one of these is not of the high tier is refused (C22)."""
LONGEST_EXCEPTION_BOUND = timedelta(days=366)
"""The longest that any policy may let an exception last."""
DaysFromNone = Annotated[int, Strict(), Field(ge=0, le=365)]


def _read_letters(value: object) -> str:
    if not isinstance(value, list | tuple) or not value or not {*value} <= {*LETTERS}:
        raise fault("word_unknown", f"It must be a list of some of the letters {', '.join(LETTERS)}.")
    return "".join(letter for letter in LETTERS if letter in value)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault at one place of a document: path, code and sentence."""

    path: str
    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class ReviewClocks:
    """How long review may take. ``automatic``: a submission that passes every check is certified without a person (C103)."""

    first_answer_business_days: Days
    decision_business_days: Days
    automatic: Flag = False


@dataclass(frozen=True, slots=True)
class AlertThresholds:
    """The shares of refused and failed requests, and the latency, above which monitoring raises an alert."""

    refused_percent: Percent
    failed_percent: Percent
    latency_ms_p95: Annotated[int, Strict(), Field(ge=1, le=LATENCY_BOUND_MS)]


SYSTEM_CLIENT_LIFETIMES = Lifetimes(
    BACKEND_TOKEN_BOUND, BACKEND_TOKEN_BOUND, BACKEND_TOKEN_BOUND, BACKEND_TOKEN_BOUND, BACKEND_TOKEN_BOUND
)
"""The lifetimes of a hospital's EHR or resource server: tokens live five minutes."""


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """What apps of one category and tier may do, and their requirements.

    ``scopes`` are the clinical scopes, those of the lower tiers included; ``session_scopes`` those of identity, launch and session.
    """

    scopes: Words
    session_scopes: Annotated[
        ListOf[Annotated[str, one_of(SPECIAL)]],
        AfterValidator(lambda found: tuple(sorted(found))),
    ]
    client_authentication: SetOf[ClientAuthentication]
    workflows: SetOf[str]
    placements: SetOf[str]
    scenarios: SetOf[str]
    evidence: SetOf[str]
    disciplines: SetOf[Discipline]
    review: ReviewClocks
    quota: Quota
    traffic_class: TrafficClass
    alerts: AlertThresholds
    certificate_life: Annotated[Duration, at_longest(LIFE_BOUND)]
    lifetimes: Lifetimes
    agreements: SetOf[Annotated[str, Field(pattern="^[a-z][a-z_]{0,39}$")]] = frozenset()
    """The kinds of agreements between vendor and hospital without which an app is not installed at a production tenant (C189)."""
    dormant_days: Days = DORMANT_DAYS
    """Days without use after which people are asked again (C90)."""
    dormant_ends: Flag = False
    """Whether an agreement that was not used for ``dormant_days`` has ended and cannot be refreshed (C194)."""
    proofs: SetOf[Annotated[str, one_of(PROOFS)]] = frozenset()
    """The current proofs, of ``PROOFS``, that a vendor needs to have a version certified for production (C6, C7)."""
    fix_days_critical: Days = FIX_DAYS["fix_days_critical"]
    fix_days_high: Days = FIX_DAYS["fix_days_high"]
    fix_days_medium: Days = FIX_DAYS["fix_days_medium"]
    fix_days_low: Days = FIX_DAYS["fix_days_low"]
    """Days to fix a finding about an app, by its severity (C115)."""
    suspend_days: DaysFromNone = ESCALATION_DAYS["suspend_days"]
    withdraw_days: DaysFromNone = ESCALATION_DAYS["withdraw_days"]
    """Days after that deadline until the app is to be suspended, and its certification withdrawn (C226)."""
    grace_days: Annotated[int, Strict(), Field(ge=0, le=GRACE_DAYS_BOUND)] = 0
    """Days after the end of a certification in which installed apps keep working (C114)."""
    service_unavailable_percent: Percent = SERVICE["service_unavailable_percent"]
    service_errors_percent: Percent = SERVICE["service_errors_percent"]
    service_latency_ms_p95: Annotated[int, Strict(), Field(ge=1, le=LATENCY_BOUND_MS)] = SERVICE[
        "service_latency_ms_p95"
    ]
    service_least_calls: Annotated[int, Strict(), Field(ge=100, le=1_000_000)] = SERVICE[
        "service_least_calls"
    ]
    service_grace_days: DaysFromNone = SERVICE["service_grace_days"]
    """The criteria for an app's service, the least number of calls, and the days to fix it (C228)."""
    automation: Automation = AUTOMATION
    """How far the platform escalates by itself; beyond it a person decides."""
    waived: NotWritten[frozenset[str]] = frozenset()
    """In the policy for one app: requirements, as ``kind.name``, that are not asked of it for a time."""
    observe: "Observation | None" = field(default=None, compare=False)
    """Until when its tightening is only observed (C209)."""


@dataclass(frozen=True, slots=True)
class Observation:
    """Before a day the entry is as ``earlier``, and from that day on as it states itself.

    ``limits`` empty: for everything that is tighter. ``earlier`` is None in a document that was not added yet; adding it fills in the entry of the version in force.
    """

    until: Day
    limits: Words = ()
    earlier: PolicyEntry | None = None


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of app. ``open``: new apps may be registered in it. A tier without an entry is not allowed in the category."""

    name: OwnName
    title: Text
    floor: Tier
    open: Flag
    entries: Mapping[Tier, PolicyEntry]
    model_card: Flag = False
    """A version whose app is in it and that uses AI must have a model card (C23)."""


@dataclass(frozen=True, slots=True)
class TierRule:
    """Raises an app to a tier when each of its conditions holds; an empty condition always does.

    The conditions on scopes (``prefixes``, ``types``, ``letters``, ``special``) must hold for one scope together. None of them can hold
    for several scopes only, so more scopes never lower a tier, and each scope has a tier of its own. ``because`` may name ``{type}``,
    ``{scope}``, ``{workflow}``, ``{placement}``, ``{autonomy}``.
    """

    name: Text
    tier: Tier
    because: Text
    categories: Condition[str] = frozenset()
    clients: Condition[ClientAuthentication] = frozenset()
    workflows: Condition[str] = frozenset()
    placements: Condition[str] = frozenset()
    prefixes: Condition[Annotated[str, one_of(tuple(Prefix))]] = frozenset()
    types: Condition[Annotated[str, one_of(resource_types() | {ANY})]] = frozenset()
    letters: Annotated[str, BeforeValidator(_read_letters), PlainSerializer(list)] = ""
    special: Condition[Annotated[str, one_of(SPECIAL)]] = frozenset()
    autonomy: Condition[Annotated[str, one_of(tuple(Autonomy))]] = frozenset()
    """How far an app's AI acts by itself. A version without declared AI meets no such condition."""
    populations: Condition[Annotated[str, one_of(tuple(Population))]] = frozenset()
    """How many patients it reaches. A version without a declaration meets every such condition."""

    @property
    def names_scopes(self) -> bool:
        """Return whether it depends on a scope."""
        return bool(self.prefixes or self.types or self.letters or self.special)


@dataclass(frozen=True, slots=True)
class JurisdictionPack:
    """Dated rules of one jurisdiction, which a policy keeps from when it has them until they end, so that they bind it on their first day.

    ``step_days``: the most business days that each step of the regulated lane may take. ``patient_refresh_at_least``: how long a refresh
    token of an entry with ``patient/`` scopes and ``offline_access`` lives at least.
    """

    name: Text
    jurisdiction: Text
    source: Text
    valid_from: Day
    step_days: Mapping[Name, Days]
    patient_refresh_at_least: Annotated[Duration, at_longest(LIFE_BOUND)]
    valid_until: Day | None = None

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


@dataclass(frozen=True, slots=True)
class ExceptionRules:
    """How long an exception that loosens something may last, and what review asks for and may be waived, such as ``evidence.security_test`` (C19, C23, C207)."""

    longest: Annotated[Duration, at_longest(LONGEST_EXCEPTION_BOUND)] = timedelta(0)
    waivable: SetOf[str] = frozenset()


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, eq=False)
class Book:
    """A valid policy. Compared by identity, so that what is derived from it can be cached; equal policies have one ``digest``."""

    title: Text
    owner: Text
    workflows: Named[Workflow]
    placements: Titles
    scenarios: Titles
    evidence: Titles
    categories: Named[Category]
    tier_rules: Tables[TierRule]
    regulated_lane: Tables[LaneStep]
    packs: Tables[JurisdictionPack]
    products: Annotated[Named[ScopeProduct], Field(alias="scopes")]
    custom_scopes_at_most: Annotated[int, Strict(), Field(ge=0, le=NAMES_BOUND)]
    """The number of custom scope products above which there is a finding (C65)."""
    exceptions: ExceptionRules = ExceptionRules()
    shares: Annotated[
        tuple[int, ...],
        BeforeValidator(read_shares),
        PlainSerializer(written_shares),
        Field(alias="traffic"),
    ] = ALL_PLACES
    """The percentage of a FHIR server's places that a traffic class may hold together with those below it, by rank (C133)."""
    digest: NotWritten[str] = ""
    raised: NotWritten[Mapping[VersionId, Raise]] = field(default_factory=dict)
    """In a policy in force: the versions whose tier a reviewer raised."""
    lowered: NotWritten[Mapping[VersionId, Lowering]] = field(default_factory=dict)
    """In the policy for one app: its versions whose tier two people lowered."""
    autonomous: NotWritten[frozenset[VersionId]] = frozenset()
    """In the policy for one app at one hospital: its versions whose AI may write alone."""

    @cached_property
    def observed_entries(self) -> tuple[tuple[CellName, Observation], ...]:
        """Return the entries with a day until which they are observed, also after it."""
        entries = (
            (name, tier, entry) for name, of in self.categories.items() for tier, entry in of.entries.items()
        )
        return tuple(
            ((name, tier), entry.observe) for name, tier, entry in entries if entry.observe is not None
        )

    @cached_property
    def sunsets(self) -> tuple[date, ...]:
        """Return the days on which scope products end, in order."""
        products = self.products.values()
        return tuple(sorted({each.sunset for each in products if each.in_force and each.sunset is not None}))

    @cached_property
    def notices(self) -> tuple[ScopeProduct, ...]:
        """Return the deprecated scope products."""
        return tuple(each for each in self.products.values() if each.status is ScopeStatus.DEPRECATED)


@dataclass(frozen=True, slots=True)
class Applicant:
    """What a policy must know of an app. ``scopes`` are those it may ask for: registered and certified.

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
    """The tier above which nothing counts, except what a policy never puts below the high tier."""


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
    """Why a policy withholds a scope, or a part of one."""

    CATEGORY = "category_not_allowed"
    """The policy does not have the app's category."""
    CERTIFICATE = "above_certificate"
    """It is of a higher tier than review certified."""
    MOVED = "certified_elsewhere"
    """Review certified it in another category, which does not allow it. Certify it in this one."""
    TIER = "tier_not_allowed"
    """The category has no entry for its tier."""
    CLIENT = "client_authentication"
    """The entry of its tier does not allow how this client authenticates."""
    SCOPE = "scope_not_allowed"
    """The entry does not list it."""
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
    """What a policy admits for an app: the tier it acts at, its entry and its scopes. No entry: it may not act at all."""

    assessment: Assessment
    tier: Tier | None
    entry: PolicyEntry | None
    scopes: tuple[str, ...]
    withheld: tuple[Withheld, ...] = field(default=())


class PrivilegeIncreaseSeverity(IntEnum):
    """The order in which privilege increases are shown to approvers, most severe first."""

    ACCESS = 0
    """Scopes, entries and categories."""
    PROOF = 1
    """Evidence, client authentication, and protected access."""
    TIER = 2
    """Tiers that fall."""
    LIMIT = 3
    """Lifetimes, quotas and the like."""


@dataclass(frozen=True, slots=True)
class PrivilegeIncrease:
    """Something that one policy newly allows: its path and a sentence. A greater weight is more severe within its severity class."""

    path: str
    sentence: str
    severity: PrivilegeIncreaseSeverity = field(default=PrivilegeIncreaseSeverity.ACCESS, compare=False)
    weight: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs between two books. None if missing."""

    path: str
    before: object
    after: object


NO_QUOTA = Quota(RATE_LEAST_PER_S, 1)
"""The quota of an app without an entry: it gets nothing, and its requests are limited."""
NO_BOOK = Book("", "", {}, {}, {}, {}, {}, (), (), (), {}, 0)
"""The policy that allows nothing."""
