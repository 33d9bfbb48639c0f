"""What the gateway decides with: the snapshot of facts, the request, the effective access of a grant, the plan of a search, the permit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hilum.apps.clients.models import ClientFacts
from hilum.apps.installations.models import InstallationFacts, RegistryFacts
from hilum.authorization.breakglass.models import BreakGlassFacts, BrokenGlass
from hilum.authorization.consent.models import ConsentFacts
from hilum.authorization.launches.models import LaunchFacts
from hilum.authorization.tokens.models import AccessToken, TokenFacts
from hilum.controls.switches.models import ControlFacts, Quota
from hilum.foundation.kernel.decision import Deny
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.standards.fhir.matching import Matcher
from hilum.foundation.standards.fhir.requests import BINARY_BODY_BOUND, BODY_BOUND, FhirRequest, Unsupported
from hilum.foundation.standards.smart.scopes import CompiledScopes, Prefix
from hilum.gateway.upstream.models import SlotRequest
from hilum.identity.people.models import IdentityFacts, RoleRights, TenantFacts
from hilum.policy.matrix.models import Admission, Book, TrafficClass
from hilum.policy.matrix.policy import PolicyFacts

# ADR 5: a process that has not heard for so long whether something was stopped refuses everything.
STALENESS_BOUND = timedelta(seconds=2)
# A hundredth of the bound above, so that some lost polls make no process refuse.
SNAPSHOT_POLL = timedelta(milliseconds=20)
QUOTA_LAG = timedelta(seconds=30)
"""How much longer than the bound quotas may be behind: reading a million overrides takes seconds, and a late quota forbids nothing."""
EARLIER_BOUND = 8
"""Failovers that lost changes and that nobody confirmed; after more of them everything is refused, since no bound drops a stop."""
FOLLOWED_AT_ONCE = 1_000
"""Changes of one part that the watching thread applies; more are left to the loader's thread."""
NEWER_POLLS = 25
"""Half polls for which a new token waits for a snapshot that has its app."""
PAGE_LINK_LIFE = timedelta(hours=1)
PAGE_LINK_BOUND = 6_000
DEFAULT_PAGE = 50
# What multiplies the work of a hospital's FHIR server has a bound: the app pays with one request,
# the hospital with many.
INCLUDES_BOUND = 6
ALTERNATIVES_BOUND = 100
SORT_KEYS_BOUND = 3
PRICE_OF_INCLUDE = 1
PRICE_OF_PAGE, PAGE_PRICED = 1, 50
"""What so many further records of a page cost."""
PRICE_OF_ALTERNATIVES, ALTERNATIVES_PRICED = 1, 10
PRICE_OF_ALL_PATIENTS = 3
"""Of a search that names neither patients nor records: its server looks through those of everybody."""
PRICE_OF_COUNT = 4
"""Of a number that is found by judging each match."""
REFILL_BOUND = 10
"""Pages of an upstream that one page of an answer may be gathered from; more of them when they are small, so that the length of a page
never reveals that records were withheld."""
COUNTED_BOUND = 2_000
"""Matches that are counted by judging each; more are too costly."""
COUNTED_PAGES_BOUND = 20
"""Pages of an upstream that a count is taken from: twice as many as that takes, so that what is withheld does not show."""
EVIDENCE_BOUND = 400
"""Resources that one page of an upstream may make the gateway fetch only to judge others by, EVIDENCE_AT_ONCE at a time."""
EVIDENCE_AT_ONCE = 20
PAGE_OF_TARGETS = 20
"""Matches on a page of a type that is judged by its targets."""
REFERRER_PAGE = 50
REFERRERS_BOUND = 500
"""Records of one type that are searched for a reference to a Binary; REFERRERS_IN_ALL of all types together. A page counts as the records
that it holds, and at least as REFERRERS_A_PAGE."""
REFERRERS_IN_ALL = 3_000
REFERRERS_A_PAGE = 10
RESOURCE_BOUND = 256 * 1024
DOCUMENT_BOUND = BODY_BOUND
ATTACHED_BOUND = BINARY_BODY_BOUND
"""Bytes of a resource that an app may write; types with attachments may have DOCUMENT_BOUND, a Binary ATTACHED_BOUND: it is in no page. A page of such resources stays below the
bound of one answer of a FHIR server: otherwise one app could make a chart unreadable for all others."""
OVERSIZED_BOUND = 4
"""Records too large to be shown that one page of an answer passes over."""
GROUNDS_KEPT = 10_000
BEARER_BOUND = 512
PERSON_QUOTA = Quota(rate_per_s=2.0, burst=60)
"""Reads that the platform makes for one person at one tenant (picker, names), beside the quota of the app that asked."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that enforcement must know beside the token, as of one epoch. One immutable value per process.

    ``earlier``: what was known of copies of the database that this one replaced without all their changes. It forbids what it forbade.
    ``confirmations``: how often a person had confirmed such a failover by then.
    """

    epoch: int = 0
    identity: IdentityFacts = field(default_factory=IdentityFacts)
    registry: RegistryFacts = field(default_factory=RegistryFacts)
    controls: ControlFacts = field(default_factory=ControlFacts)
    tokens: TokenFacts = field(default_factory=TokenFacts)
    consent: ConsentFacts = field(default_factory=ConsentFacts)
    launches: LaunchFacts = field(default_factory=LaunchFacts)
    policies: PolicyFacts = field(default_factory=PolicyFacts)
    break_glass: BreakGlassFacts = field(default_factory=BreakGlassFacts)
    confirmations: int = 0
    earlier: "tuple[Snapshot, ...]" = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Where a search continues: the requested parameters, the FHIR server's target, and how many of its matches were returned already."""

    type: str
    params: tuple[tuple[str, str], ...]
    target: str
    skip: int = 0


_NEVER = datetime.min.replace(tzinfo=UTC)


# Not frozen, since one is built for each request and a frozen dataclass costs five times as much to build.
@dataclass(slots=True)
class GatewayRequest:
    """One request at one tenant's FHIR base, from its arrival to its answer: what is judged, and what the audit says of it.

    ``bases`` are the addresses, each ending in a slash, that mean this base. ``token``: that of ``bearer`` once it was looked up, a Deny if
    there is none of ours; without ``bearer`` it is None, unless the platform itself reads. ``page``: where a page link leads; ``request`` is
    then the search behind it. ``at`` is the time of its arrival.
    """

    tenant: TenantId
    request: FhirRequest | Unsupported
    bases: tuple[str, ...] = ()
    bearer: str | None = None
    token: AccessToken | Deny | None = None
    proof: str = ""
    """The DPoP header, if one was sent."""
    purpose: str = ""
    """Set for a read that the platform makes itself: its scopes are its own, not those that the app was granted."""
    source: str | None = None
    """The address that it came from; None for an older request that is judged again."""
    page: Page | None = None
    at: datetime = _NEVER
    # From here on for the audit record only.
    request_id: str = ""
    decision_id: str = ""
    """That of its decision, where that is another than the request's: a page of the platform can make several reads."""
    method: str = "GET"
    path: str = ""
    query: str = ""
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class GrantRule:
    """One rule by which a grant reaches a type: whose resources (None: all patients'), of which kind.

    ``text`` is the scope it comes from; ``constraints`` narrow searches, ``matchers`` judge the same on a resource.
    """

    text: str
    prefix: Prefix
    patients: frozenset[str] | None
    constraints: tuple[tuple[str, str], ...] = ()
    matchers: tuple[Matcher, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class EffectiveAccess:
    """What scopes, role and launch context together reach, before a type is named.

    ``patient`` is the launch context. ``people`` are the charts a person may open, None for all of the tenant; ``rights`` are
    those of the person's role, None for a backend service. ``own`` is the person's own chart, where they are a patient.
    ``stopped`` names scopes and types that a switch took out of the grant. ``glass``: whose restricted records are open in an emergency.
    """

    scopes: CompiledScopes
    patient: str = ""
    people: frozenset[str] | None = None
    rights: RoleRights | None = None
    own: str = ""
    stopped: Callable[[str, str], bool] | None = None
    glass: BrokenGlass | None = None
    reaches: "dict[tuple[str, int], Reach]" = field(init=False, default_factory=dict, repr=False)
    """How far it reaches by type and letters, computed once, since nothing here ever changes. A copy starts empty."""


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """The search that is sent in place of the requested one. ``exact``: it matches nothing that the grant does not reach, so its total may be shown.

    ``included`` maps each type that may come along to the letter that covers it.
    """

    type: str
    params: tuple[tuple[str, str], ...]
    asked: tuple[tuple[str, str], ...]
    exact: bool
    counting: bool
    count: int | None
    included: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """How far an access reaches with a letter on a type: the rules by which it does.

    ``rule`` names their scopes, and ``is_of_one`` says that each of them reaches nobody but the patient in context.
    """

    grants: tuple[GrantRule, ...]
    rule: str
    is_of_one: bool


@dataclass(frozen=True, slots=True, eq=False)
class CompiledGrant:
    """What a token comes to by its scopes, its person's role, its hospital's approval and its app's admission; kept with the token.

    ``book``: the policy by which it does. ``claim``: with which right it asks for a place at the FHIR server. ``origins``: the web
    origins of its client.
    """

    token: AccessToken
    client: ClientFacts | None
    installation: InstallationFacts | None
    book: Book
    admitted: Admission | None
    access: EffectiveAccess
    traffic: TrafficClass
    slot: SlotRequest
    origins: frozenset[str]


# Not frozen, for the same reason as GatewayRequest.
@dataclass(slots=True)
class Permit:
    """What a request is permitted: what it may reach, and what that asks of the gateway.

    ``access``: that of the grant, without what switches took out of it and with what the person opened in an emergency. ``rule`` names the
    scopes by which it was permitted. ``only``: nothing but this one resource, whatever the scopes (``fhirUser``). ``patient`` is for the
    audit record.
    """

    request: FhirRequest
    grant: CompiledGrant
    tenant: TenantFacts
    quota: Quota
    access: EffectiveAccess
    reach: Reach
    rule: str
    bases: tuple[str, ...] = ()
    only: str = ""
    plan: SearchPlan | None = None
    patient: str = ""
    may_create: bool = False
    """An update may create the resource it names (update-as-create)."""
    price: int = 1
    """How much of its app's quota the request takes."""

    @property
    def grants(self) -> tuple[GrantRule, ...]:
        """The rules of the asked letter on the asked type."""
        return self.reach.grants

    @property
    def asks_capabilities(self) -> bool:
        """Whether the FHIR server's CapabilityStatement is needed: for searches, and for what is found by searching."""
        return self.plan is not None or self.request.type == "Binary"
