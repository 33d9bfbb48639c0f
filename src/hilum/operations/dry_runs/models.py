"""Results of a dry run: decisions that would turn out differently, and other effects of the version."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from hilum.apps.clients.models import ClientFacts
from hilum.apps.installations.models import InstallationFacts, NarrowOrder
from hilum.controls.switches.models import Quota, QuotaFacts
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.ids import AppId, ClientId, TenantId
from hilum.policy.matrix.models import Admission, Book, CurrentVersions
from hilum.policy.matrix.policy import PolicyFacts
from hilum.records.audit.models import RecordedCalls

REPLAYED = timedelta(days=90)
"""How far back decisions are replayed (C208)."""
APPS_AT_ONCE = 100
"""How many apps are read, judged and stored together."""
ROWS_BOUND = 200_000
"""How many rows of a run are stored. Further ones are counted and covered by the digest, but not stored; rows about hospitals always are."""
PACKED_ROWS = 200
"""How many rows of one kind and hospital are stored together: a row costs the database more than its text does."""
TRIED_ROWS_BOUND = 200
"""The most rows of a trial of a narrowing."""
RUNS_KEPT = 20
"""How many runs keep their rows."""
DELETE_BATCH = 500
DRY_RUN_EVERY = timedelta(seconds=1)
CALLS_OF_A_CLIENT = 200_000
CALLS_OF_A_RUN = 5_000_000
"""The most recorded calls on which a changed quota is tried, the newest ones; those of a run are shared among the clients."""
BY_SCOPES = frozenset({Reason.SCOPE_INSUFFICIENT.value, Reason.OUTSIDE_LAUNCH_CONTEXT.value})
"""The reasons that more scopes may turn into permits; no policy changes the others."""


class Kind(StrEnum):
    """The kinds of result rows."""

    DECISION_CHANGE = "decision_changes"
    APP = "apps"
    CERTIFICATION = "certifications"
    LAPSE = "lapses"
    INSTALLATION = "installations"
    HOSPITAL = "hospitals"


FOR_HOSPITALS = frozenset({Kind.DECISION_CHANGE, Kind.LAPSE, Kind.INSTALLATION, Kind.HOSPITAL})
"""The kinds about one hospital, which it may see."""


class Verdict(StrEnum):
    """How a decision would turn out differently."""

    REFUSED = "allow_to_refuse"
    LESS = "allow_to_less"
    """Still permitted, by fewer or narrower scopes: some records may be withheld."""
    ALLOWED = "refuse_to_allow"
    """Refused for its scopes; an app that holds or requests the new ones would be permitted."""


Turn = tuple[Verdict, str]
"""How decisions of one shape would change, and because of which scope."""


class Loss(StrEnum):
    """The loss of a certification or installation when the version is applied."""

    LAPSES = "lapses"
    """No scope is admitted any longer."""
    NARROWED = "narrowed"
    SOONER = "ends_sooner"
    """It keeps its scopes but ends earlier: the version gives its entry a shorter life."""
    NONE = "none"
    """It gains scopes, or its limits change."""


@dataclass(frozen=True, slots=True)
class LimitChange:
    """A changed limit of a client's entry: a quota, a lifetime or client authentication. Empty if there is no entry."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect of a version on a client, before its installations are considered."""

    before: Admission
    after: Admission
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    limits: tuple[LimitChange, ...]
    ends_before: datetime
    """When the client's certification ends now, and under the version."""
    ends: datetime
    served_before: datetime
    """Until when it works where it is installed, with its entry's grace; now and under the version."""
    served: datetime
    unbroken_before: datetime | None = None
    """Since when it has been certified or in a grace without interruption; None: always, or it is the same under both."""
    unbroken: datetime | None = None

    @property
    def changes_scopes(self) -> bool:
        return bool(self.lost or self.gained)

    @property
    def changes_lives(self) -> bool:
        """Return whether agreements with the client may end at another time."""
        before, after = self.before.entry, self.after.entry
        if before is None or after is None:
            return False
        rest = (before.dormant_days, before.dormant_ends) != (after.dormant_days, after.dormant_ends)
        return rest or before.lifetimes != after.lifetimes

    @property
    def changes_launches(self) -> bool:
        """Return whether launches may be refused for another workflow or placement, or because no entry admits the client."""
        before, after = self.before.entry, self.after.entry
        if before is None or after is None:
            return before is not after
        return (before.workflows, before.placements) != (after.workflows, after.placements)

    @property
    def changes_quota(self) -> bool:
        before, after = self.before.entry, self.after.entry
        return before is not None and after is not None and before.quota != after.quota

    @property
    def asks_agreements(self) -> bool:
        """Return whether the version newly requires agreements between vendor and hospital."""
        before, after = self.before.entry, self.after.entry
        return after is not None and not after.agreements <= (before.agreements if before else frozenset())


@dataclass(frozen=True, slots=True)
class QuotaTrial:
    """A changed quota, tried on the recorded calls since a moment: permitted ones that it would refuse, and ones refused for their quota that it would permit."""

    calls: int
    since: datetime
    refused: int
    permitted: int


# Rows of decisions and of installations are neither frozen nor have slots: there are a hundred thousand of each in a run, and it takes
# six times as long to build a frozen one, and three times as long to write one with slots as JSON.
@dataclass
class DecisionChange:
    """Equal decisions that would turn out differently. ``scope``: what permitted them, or what newly would."""

    tenant: str
    app: str
    client: str
    verdict: Verdict
    scope: str
    resource_type: str
    interaction: str
    number: int
    first: datetime
    last: datetime
    example: str


@dataclass(frozen=True, slots=True)
class NarrowedUse:
    """Permits by one scope that the remaining scopes would refuse or reduce. ``last``: when last."""

    scope: str
    resource_type: str
    interaction: str
    verdict: Verdict
    number: int
    last: datetime


@dataclass(frozen=True, slots=True)
class Tried:
    """The narrowing that a hospital tries. ``quota``: its rate a second and burst; None if none is tried."""

    order: NarrowOrder
    quota: Quota | None = None
    days: int = REPLAYED.days


@dataclass(frozen=True, slots=True)
class RefusedLaunches:
    """How many launches of people of a role from a facility would have been refused, for one reason. ``facility``: empty for none that is known."""

    reason: str
    role: str
    facility: str
    number: int


@dataclass(frozen=True, slots=True)
class LaunchTrial:
    """Launches since a moment, and how many would have been refused; ``rows``: the most frequent."""

    since: datetime
    number: int = 0
    refused: int = 0
    rows: tuple[RefusedLaunches, ...] = ()


@dataclass(frozen=True, slots=True)
class NarrowingTrial:
    """What an app did at a hospital since ``since``, tried on the ``scopes`` that a narrowing would leave.

    ``permitted`` counts every decision, ``unjudged`` those of which the scopes are not on record, ``refused`` and ``less`` those that would turn
    out differently; ``rows`` are the most frequent of these, and ``whole`` is whether they are all.
    """

    installation: str
    scopes: tuple[str, ...]
    since: datetime
    permitted: int
    unjudged: int
    refused: int
    less: int
    rows: tuple[NarrowedUse, ...]
    whole: bool
    launches: LaunchTrial | None = None
    """None if neither roles nor facilities are tried."""
    beyond_quota: int | None = None
    """Permitted requests that the tried quota would have refused; None if none is tried."""


@dataclass(frozen=True, slots=True)
class AppChange:
    """A client whose scopes, tier or limits would change. ``tenant`` is empty: the row is about the app everywhere. A tier is empty if nothing is admitted."""

    tenant: str
    app: str
    client: str
    category: str
    tier_before: str
    tier_after: str
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    limits: tuple[LimitChange, ...]
    hospitals: int


@dataclass(frozen=True, slots=True)
class CertificationChange:
    """A certification in force that would lose scopes when the version is applied, or end sooner.

    ``until``: when it would end. ``served_until``: until when hospitals that have the app may keep using it, with the grace of its entry.
    """

    tenant: str
    app: str
    client: str
    version: str
    environment: str
    loss: Loss
    lost: tuple[str, ...]
    until: datetime
    hospitals: int
    served_until: datetime


class What(StrEnum):
    """What lapses."""

    CERTIFICATE = "certificate_ends"
    """It is older than the version's life for it."""
    GRACE = "grace_ends"
    """It has ended, and its grace would end too."""
    GAP = "gap_ends"
    """A gap between two certifications would no longer be bridged by its grace: what was issued before ``which`` would end."""
    AGREEMENTS = "agreements_end"
    REFRESH = "refresh_tokens_end"
    MISSING = "agreements_missing"
    """Newly required agreements between vendor and hospital: nothing new begins there, and nobody else can install the app."""
    PROOFS = "proofs_missing"
    """Newly required proofs of contacts and domains: a finding that is due at ``until``."""
    STOPPED = "app_stopped"
    SUSPENDED = "app_suspended"
    """The escalation would suspend the app by itself, for findings that are overdue already (C226)."""
    EXCEPTION = "exception_ends"
    """An exception does not count under the version, or not for so long."""


@dataclass
class Lapse:
    """What would lapse under the version: of an app at a hospital, or everywhere (``tenant`` is empty).

    ``which``: what it is about, in the words of its kind. ``number``: how many places, agreements, families or findings. ``before`` and ``until``:
    when it ends now, and under the version; without ``until`` once the version is applied.
    """

    tenant: str
    app: str
    client: str
    what: What
    which: tuple[str, ...]
    number: int
    before: datetime | None = None
    until: datetime | None = None


class Counted(StrEnum):
    """What is counted among the refusals of a version."""

    REQUESTS = "requests"
    AGREEMENTS = "agreements"
    FAMILIES = "refresh_tokens"
    """Refreshable tokens of agreements that continue."""
    LAUNCHES = "launches"
    MISSING = "missing_agreements"
    """Kinds of agreements between vendor and hospital, without which nothing new begins there."""


@dataclass(frozen=True, slots=True)
class Refused:
    """How many recent requests or launches would have been refused at a hospital, or agreements would have ended or be missing, for one reason."""

    reason: str
    number: int
    of: str


@dataclass
class InstallationChange:
    """An app at a hospital whose scopes or limits would change. ``agreements`` in force lose scopes, ``ended`` of them all. ``refused``: refusals by reason."""

    tenant: str
    app: str
    client: str
    loss: Loss
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    limits: tuple[LimitChange, ...]
    agreements: int
    ended: int
    refused: tuple[Refused, ...] = ()
    quota: QuotaTrial | None = None
    """None if the quota there is the same, or could not be tried: the record of calls was not complete."""


@dataclass(slots=True)
class HospitalChange:
    """What would change at a hospital, in numbers. ``refused``, ``less`` and ``allowed`` count decisions by their scopes, not rows; the last two calls by their quota."""

    tenant: str
    version_before: int
    apps: int = 0
    lapsing: int = 0
    agreements: int = 0
    ended: int = 0
    refused: int = 0
    less: int = 0
    allowed: int = 0
    over_quota: int = 0
    within_quota: int = 0


Row = DecisionChange | AppChange | CertificationChange | Lapse | InstallationChange | HospitalChange
KINDS: Mapping[type[Row], Kind] = {
    DecisionChange: Kind.DECISION_CHANGE,
    AppChange: Kind.APP,
    CertificationChange: Kind.CERTIFICATION,
    Lapse: Kind.LAPSE,
    InstallationChange: Kind.INSTALLATION,
    HospitalChange: Kind.HOSPITAL,
}


@dataclass(slots=True)
class RunTotals:
    """The numbers of a run. ``over_quota``: calls that changed quotas would refuse, ``within_quota``: permit. ``unjudged``: decisions that might change, but whose app is no longer installed there or whose scope is not on record."""

    decision_changes: int = 0
    refused: int = 0
    less: int = 0
    allowed: int = 0
    apps: int = 0
    certifications_lapsing: int = 0
    certifications_narrowed: int = 0
    lapses: int = 0
    agreements: int = 0
    agreements_ended: int = 0
    hospitals: int = 0
    unjudged: int = 0
    over_quota: int = 0
    within_quota: int = 0
    quotas_untried: int = 0
    """Places where another quota would hold that was not tried, since the record of calls was not complete."""
    left_out: int = 0
    """Rows that are not stored, because there are too many."""


_FINDINGS: Mapping[str, str] = {
    "refused": "Permitted requests that would be refused for their scopes",
    "less": "Permitted requests that would see less",
    "allowed": "Requests refused for their scopes that would be permitted",
    "over_quota": "Permitted requests that would be refused for their quota",
    "within_quota": "Requests refused for their quota that would be permitted",
    "quotas_untried": "Changed quotas that were not tried, since the record of calls was not complete",
    "apps": "Clients of apps with other scopes, another tier or other limits",
    "hospitals": "Hospitals that are affected",
    "certifications_lapsing": "Certifications that lapse when it is applied",
    "certifications_narrowed": "Certifications that are narrowed",
    "agreements": "Agreements of people that lose scopes",
    "agreements_ended": "Agreements of people that lose all scopes",
    "lapses": "What else lapses or is missing",
    "unjudged": "Decisions that were not judged, since the app is no longer installed there or the scope is not on record",
    "left_out": "Rows that are counted and not listed",
}


def findings(counts: Mapping[str, int]) -> list[str]:
    """Return the numbers of a run in words, without those that are zero."""
    # A run of a release before has not counted all of them.
    return [f"{text}: {counts[name]:,}." for name, text in _FINDINGS.items() if counts.get(name)]


def quota_tried(quota: Mapping[str, Any] | None) -> str:
    """Return what a stored trial of a quota found, as text."""
    if quota is None:
        return "not tried: the record of calls was not complete"
    since = f"since {datetime.fromisoformat(quota['since']):%-d %B %Y}"
    if not quota["calls"]:
        return f"no calls {since}"
    newly = f", {quota['permitted']:,} refused ones would be permitted" if quota["permitted"] else ""
    return f"of {quota['calls']:,} calls {since} {quota['refused']:,} permitted ones would be refused{newly}"


class StoredRow(NamedTuple):
    """A row of a result: its place in the run, and its fields."""

    number: int
    kind: Kind
    tenant: str
    app: str
    fields: Mapping[str, Any]


class Pack(NamedTuple):
    """Rows of one kind and hospital as they are stored: the number of the last one, and the fields of all as a JSON array.

    ``app`` is empty if they are of several.
    """

    last: int
    kind: Kind
    tenant: str
    app: str
    body: str


@dataclass(frozen=True, slots=True)
class ObservedCount:
    """A row of the newest count of a version: what it would have refused to an app at a hospital, in the 90 days before ``counted_at``."""

    version: int
    until: date
    dry_run: str
    counted_at: datetime | None
    row: StoredRow

    @property
    def key(self) -> str:
        """Return where a list of one app over all versions continues."""
        return f"{self.version}-{self.row.number}"


@dataclass(frozen=True, slots=True)
class Start:
    """The inputs of a dry run: the candidate, the policies in force, and all live clients by app."""

    candidate: Book
    version_digest: str
    now_in_force: PolicyFacts
    versions: CurrentVersions
    clients: tuple[ClientFacts, ...]
    now: datetime
    since: datetime
    quotas: QuotaFacts = field(default_factory=QuotaFacts)
    """What the platform and hospitals set instead of the policy's quotas."""


Agreements = Mapping[tuple[str, str], Mapping[tuple[str, ...], int]]
"""(tenant, client) -> scopes -> how many agreements in force have them."""
Places = Mapping[AppId, Mapping[TenantId, InstallationFacts]]
"""The installations of apps, each in the order of the hospitals."""
Launched = Mapping[tuple[str, str], Mapping[tuple[str, str], int]]
"""(tenant, client) -> (intent, placement) -> how often it was opened with them."""
Between = Mapping[tuple[str, str], frozenset[str]]
"""(vendor, tenant) -> the kinds of agreements in force between them; those of whom it was not asked are missing."""
Calls = Mapping[ClientId, RecordedCalls]
"""The recorded calls of clients for which another quota would hold; those that could not be read are missing."""
