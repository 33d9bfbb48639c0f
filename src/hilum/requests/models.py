"""Requests for apps, their groups, the rules that decide them, and wider versions."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.identity.models import VENDOR_ROLES
from hilum.kernel.ids import AppId, PersonId, TenantId, VendorId
from hilum.kernel.pages import Sorts
from hilum.policies.models import Tier

REASON_BOUND = 1_000
RULES_BOUND = 100
"""Rules of one hospital."""
NAMED_BOUND = 200
"""What one condition of a rule names."""
RULE_SCOPES_BOUND = 50
"""Scopes that one list of a rule names; a wildcard names more."""
RULE_NAME_BOUND = 40
DAYS_BOUND = 3 * 366
GROUP_BOUND = 500
"""Requests in one group; beyond it the administrators know that the app is wanted."""
ASKED_WITHIN = timedelta(hours=24)
ASKED_BOUND = 50
"""Requests of one person within ASKED_WITHIN."""
TRIED_WITHIN = timedelta(days=90)
"""How far back a dry run of rules goes."""
TRY_BOUND = 1_000_000
"""Comparisons of a scope with a scope of a rule in one part of a dry run; more take the call again."""
KEPT = timedelta(days=400)
"""How long a group is kept after it was decided."""
PURGE_BATCH = 500
HAND_OVER_BATCH = 500
"""Groups that one act hands over; more take the act again."""
MAIL_WINDOW = timedelta(hours=1)
"""What began to wait within such a window is one mail to each who decides."""
MAILED_BACK = timedelta(days=1)
"""What has waited for longer is in no mail: the jobs process was down for as long."""
APPS_MAILED = 5
"""Apps that one mail names."""
WAITING_BATCH = 100
"""Hospitals that one transaction mails."""
GROUP_SORTS = Sorts({"since": "id"})
"""The orders of groups of requests, whose ids are in the order in which they were opened."""


class State(StrEnum):
    """Of a request, and of a group."""

    OPEN = "open"
    APPROVED = "approved"
    DISMISSED = "dismissed"
    WITHDRAWN = "withdrawn"
    """By who asked; of a group: by all who did."""


class Action(StrEnum):
    """What a rule does with a request that it matches."""

    APPROVE = "approve"
    RESTRICT = "restrict"
    """Approve with limits: only some scopes or roles, or with an end."""
    DISMISS = "dismiss"
    ESCALATE = "escalate"
    """Leave it to a person, with a reason."""
    WAIT = "wait"
    """No rule matches: it waits for an administrator. Not written in a rule."""


class Obstacle(StrEnum):
    """Why no rule may approve a request, whatever it says."""

    NOT_CERTIFIED = "app_not_certified"
    SUSPENDED = "app_suspended"
    STOPPED = "switch_engaged"
    INSTALLED = "already_installed"
    """More for an installed app is for a person to decide: the hospital may have kept it back."""
    REMOVED = "removed_before"
    """Somebody at the hospital removed the app once."""
    DISMISSED = "dismissed_before"
    """An administrator dismissed a request for it after the rules were put in force."""
    NO_AGREEMENT = "agreements_missing"
    """The vendor lacks an agreement that the app needs here."""
    NO_APPROVER = "approver_may_not"
    """Who put the rules in force is no longer an administrator, is stopped, or was stopped since."""
    OWN = "own_request"
    """Who put the rules in force asks for it."""
    WIDER = "wider_than_allowed"
    """It is more than is certified and the rule book allows here."""
    NOTHING_LEFT = "nothing_left"
    """The rule's limits leave no scope, or no role."""
    UNKNOWN = "unknown_fact"
    """A rule depends on an unknown fact."""
    INCOMPLETE = "needed_by_app"
    """It would leave out what the app says that it needs: a person decides that knowingly."""
    REFUSED = "installation_refused"
    """The installation was refused when the rule's approval was carried out."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: conditions, all of which must hold, and what it does then. An empty condition always holds.

    ``scopes_within``: everything asked for is within these. ``requesters``: roles of the people who ask. ``because`` is shown to them.
    ``only_scopes``, ``only_roles`` and ``for_days`` limit what ``restrict`` approves. ``to``: the person to whom ``escalate`` assigns it;
    empty for any administrator.
    """

    name: str
    action: Action
    because: str = ""
    apps: frozenset[str] = frozenset()
    vendors: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    tier_at_most: Tier | None = None
    tier_at_least: Tier | None = None
    scopes_within: tuple[str, ...] = ()
    requesters: frozenset[str] = frozenset()
    only_scopes: tuple[str, ...] = ()
    only_roles: frozenset[str] = frozenset()
    for_days: int | None = None
    to: str = ""


@dataclass(frozen=True, slots=True)
class RuleSet:
    """A hospital's rules in their order, as one administrator put them in force. Version 0: it has none yet."""

    tenant: TenantId
    version: int = 0
    rules: tuple[Rule, ...] = ()
    note: str = ""
    approver: PersonId = PersonId("")
    in_force_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """The inputs of rules, as of the request; stored, so that other rules can be tried on them.

    ``scopes``: all that is asked for, workflows expanded, without launch and identity scopes. ``admitted``: the most that may be approved
    here: registered, certified and allowed by the rule book. ``tier`` None and ``category`` empty: not known. ``needed``: those of the
    admitted that the app says it does not work without.
    """

    app: AppId
    vendor: VendorId
    category: str
    tier: Tier | None
    requester: PersonId
    requester_role: str
    roles: frozenset[str]
    scopes: tuple[str, ...]
    admitted: tuple[str, ...]
    only_backend: bool = False
    obstacles: tuple[Obstacle, ...] = ()
    needed: tuple[str, ...] = ()


class Holds(StrEnum):
    """The result of a rule's conditions."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Step:
    """A judged rule, with a sentence why it holds or not."""

    rule: str
    holds: Holds
    sentence: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What is approved: roles, scopes with those of launch and identity, and for how many days (None: without an end)."""

    roles: frozenset[str]
    scopes: tuple[str, ...]
    days: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The rules' decision on a request, and its steps.

    ``rule``: the one that decided, or that could not be judged. ``obstacle``: why it escalates although the rule does not say so.
    ``steps``: each rule that was judged, in order.
    """

    action: Action
    rule: str = ""
    because: str = ""
    obstacle: Obstacle | None = None
    to: str = ""
    grant: Grant | None = None
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class AskOrder:
    """A request to make. Without ``scopes`` and ``workflows`` it is for all that the app may have; without ``tenant`` at one's own."""

    tenant: TenantId | None
    app: AppId
    roles: frozenset[str]
    reason: str
    scopes: tuple[str, ...] = ()
    workflows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AppRequest:
    """One person's request for an app at a hospital. ``judged_by``: the version of the rules that was in force."""

    id: str
    group: str
    tenant: TenantId
    app: AppId
    person: PersonId
    role: str
    roles: frozenset[str]
    scopes: tuple[str, ...]
    workflows: tuple[str, ...]
    reason: str
    asked_at: datetime
    facts: RequestFacts
    verdict: Verdict
    judged_by: int
    state: State = State.OPEN

    @property
    def from_vendor(self) -> bool:
        """Return whether a vendor's member made the request, not somebody of the hospital."""
        return self.role in VENDOR_ROLES


@dataclass(frozen=True, slots=True)
class Group:
    """All open requests for one app at a hospital, or those that were decided together.

    ``revision`` counts what happens to it: a decision says which one it saw. ``assigned_to``: the administrator who decides; empty for
    any. ``attention``: why it was escalated. ``decided_by``: an actor; ``rule`` and ``rules_version`` if a rule decided in their name.
    """

    id: str
    tenant: TenantId
    app: AppId
    opened_at: datetime
    state: State = State.OPEN
    revision: int = 1
    assigned_to: str = ""
    attention: str = ""
    decided_by: str = ""
    decided_at: datetime | None = None
    reason: str = ""
    installation: str = ""
    rule: str = ""
    rules_version: int = 0


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group with its requests that count: by people who are active, and of the hospital or of the app's vendor."""

    group: Group
    requests: tuple[AppRequest, ...]
    not_counted: int

    @property
    def id(self) -> str:
        return self.group.id


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision on a group: ``revision`` is the one that was seen. For an approval None means what was asked for, together.

    ``anyway``: also without what the app says that it needs.
    """

    group: str
    revision: int
    reason: str = ""
    roles: frozenset[str] | None = None
    scopes: tuple[str, ...] | None = None
    expires_at: datetime | None = None
    anyway: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """A past request that other rules would decide differently. ``ended``: how it really ended."""

    request: AppRequest
    now: Verdict
    ended: State


@dataclass(frozen=True, slots=True)
class Tried:
    """A part of a dry run of rules: so many requests judged, those decided differently, and from where to continue (empty: no more)."""

    judged: int
    differences: tuple[Difference, ...]
    next: str


@dataclass(frozen=True, slots=True)
class Task:
    """A workflow that an app may do at a hospital, by which it can be asked for."""

    name: str
    title: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Requestable:
    """An app that a hospital could install. ``asked``: the reader has an open request for it."""

    app: AppId
    name: str
    vendor: str
    purpose: str
    tasks: tuple[Task, ...]
    installed: bool
    asked: bool


# --- wider versions ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewScope:
    """A scope that a newer version is certified for and the installation does not have, in words."""

    scope: str
    words: str
    writes: bool


@dataclass(frozen=True, slots=True)
class NewWork:
    """What is new for one workflow. ``is_new``: no earlier version declares it. Empty ``name``: scopes that no declared workflow needs."""

    name: str
    title: str
    purpose: str
    is_new: bool
    scopes: tuple[NewScope, ...]


@dataclass(frozen=True, slots=True)
class WiderVersion:
    """What the newest certified version of an installed app has more than the installation, and more than was certified before.

    ``digest`` identifies the difference that was seen. ``withheld``: certified, and not allowed by the rule book here.
    ``revives``: accepting all of it ends what was issued before, since it gives back what the hospital had narrowed away.
    """

    installation: str
    app: AppId
    version: str
    label: str
    digest: str
    scopes: tuple[str, ...] = ()
    work: tuple[NewWork, ...] = ()
    withheld: tuple[str, ...] = ()
    revives: bool = False


@dataclass(frozen=True, slots=True)
class AcceptOrder:
    """An order to accept a wider version: all of it (``scopes`` None), or a part. ``digest`` is that of the difference that was seen."""

    installation: str
    digest: str
    scopes: tuple[str, ...] | None = None
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The record that a hospital accepted a wider version, and what it did not accept of it."""

    id: str
    installation: str
    tenant: TenantId
    app: AppId
    version: str
    scopes: tuple[str, ...]
    roles: frozenset[str]
    left_out: tuple[str, ...]
    accepted_by: str
    accepted_at: datetime = field(kw_only=True)
