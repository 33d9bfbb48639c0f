"""The bodies of the API of requests."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from hilum.installations.models import Installation
from hilum.kernel.ids import PersonId
from hilum.policies.models import Tier
from hilum.registry.models import SCOPES_BOUND
from hilum.requests.documents import read_rule, write_rule
from hilum.requests.models import (
    DAYS_BOUND,
    GROUP_SORTS,
    NAMED_BOUND,
    RULES_BOUND,
    Acceptance,
    Action,
    AppRequest,
    Group,
    GroupView,
    Holds,
    Rule,
    RuleSet,
    State,
    Tried,
    Verdict,
    WiderVersion,
)
from hilum.requests.policy import OBSTACLES, wanted
from hilum.web.api import Cursor, Id, Line, Moment, Paging, Prose, Shown, Sorted, Strict, Word, one_of

Scopes = Annotated[tuple[Word, ...], Field(max_length=SCOPES_BOUND)]
Roles = Annotated[frozenset[Line], Field(max_length=20)]
SortedWords = Annotated[list[str], BeforeValidator(sorted)]
Named = Annotated[frozenset[Line], Field(max_length=NAMED_BOUND)]
Revision = Annotated[int, Field(ge=1, le=2**31 - 1)]


class RequestAsked(Strict):
    """Without ``scopes`` and ``workflows`` it is for all that the app may have; without ``tenant`` at one's own hospital."""

    app: Id
    tenant: Id | None = None
    roles: Roles = frozenset()
    scopes: Scopes = ()
    workflows: Annotated[tuple[Line, ...], Field(max_length=50)] = ()
    reason: Prose


class RequestsQuery(Paging):
    tenant: Id | None = None
    group: Id | None = None


class GroupsQuery(Sorted):
    tenant: Id | None = None
    state: State = State.OPEN
    sort: Annotated[str, one_of(GROUP_SORTS)] = ""


class ApproveAsked(Strict):
    """``revision`` is the one that was read. What is omitted is what was asked for, together.

    ``anyway``: also without scopes that the app says it needs.
    """

    revision: Revision
    roles: Roles | None = None
    scopes: Scopes | None = None
    expires_at: Moment | None = None
    reason: Prose = ""
    anyway: bool = False


class DismissAsked(Strict):
    revision: Revision
    reason: Prose


class HandOverAsked(Strict):
    revision: Revision
    to: Id


class HandOverAllAsked(Strict):
    """``of``: the administrator whose open groups are handed over."""

    tenant: Id | None = None
    of: Id
    to: Id


class RuleAsked(Strict):
    """A rule: conditions, all of which must hold, and what it does. See ``hilum request-rule``."""

    name: Line
    action: Action
    because: Prose = ""
    apps: Named = frozenset()
    vendors: Named = frozenset()
    categories: Named = frozenset()
    tier_at_most: Tier | None = None
    tier_at_least: Tier | None = None
    scopes_within: Scopes = ()
    requesters: Roles = frozenset()
    only_scopes: Scopes = ()
    only_roles: Roles = frozenset()
    for_days: Annotated[int, Field(ge=1, le=DAYS_BOUND)] | None = None
    to: Line = ""


class _Rules(Strict):
    tenant: Id | None = None
    rules: Annotated[tuple[RuleAsked, ...], Field(max_length=RULES_BOUND)]

    @property
    def parsed(self) -> tuple[Rule, ...]:
        return tuple(read_rule(each.model_dump(exclude_defaults=True)) for each in self.rules)


class RulesAsked(_Rules):
    """``base``: the version that was read, 0 if there is none yet."""

    base: Annotated[int, Field(ge=0, le=2**30)]
    note: Prose = ""


class TryAsked(_Rules):
    """``after``: ``next`` of the previous answer."""

    after: Cursor = ""


class RulesQuery(Strict):
    tenant: Id | None = None


class VersionsQuery(Paging):
    tenant: Id | None = None


class AcceptAsked(Strict):
    """``digest``: of the difference that was read. Without ``scopes`` all that is new is accepted; ``roles`` are added."""

    digest: Id
    scopes: Scopes | None = None
    roles: Roles = frozenset()


# --- answers -------------------------------------------------------------------------------------------------------------------


class StepShown(Shown):
    """A rule that was judged: whether it holds, and why."""

    rule: str
    holds: Holds
    sentence: str


class GrantShown(Shown):
    roles: SortedWords
    scopes: tuple[str, ...]
    days: int | None


class VerdictShown(Shown):
    """What rules decide. ``obstacle``: why it is left to a person although a rule matches, with its sentence."""

    action: Action
    rule: str
    because: str
    obstacle: str
    obstacle_sentence: str
    to: str
    grant: GrantShown | None
    steps: tuple[StepShown, ...]

    @classmethod
    def of(cls, verdict: Verdict) -> "VerdictShown":
        return cls(
            action=verdict.action,
            rule=verdict.rule,
            because=verdict.because,
            obstacle="" if verdict.obstacle is None else verdict.obstacle.value,
            obstacle_sentence="" if verdict.obstacle is None else OBSTACLES[verdict.obstacle],
            to=verdict.to,
            grant=None if verdict.grant is None else GrantShown.model_validate(verdict.grant),
            steps=tuple(map(StepShown.model_validate, verdict.steps)),
        )


class RequestShown(Shown):
    """A request. ``scopes`` and ``workflows`` are as asked, ``wanted`` all that they come to.

    ``verdict`` is how the hospital's rules judged it, by their version ``judged_by``; only who administers the hospital sees how.
    """

    id: str
    group: str
    tenant: str
    app: str
    person: str
    role: str
    roles: SortedWords
    scopes: tuple[str, ...]
    workflows: tuple[str, ...]
    wanted: tuple[str, ...]
    reason: str
    asked_at: datetime
    state: State
    because: str
    judged_by: int
    verdict: VerdictShown

    @classmethod
    def of(cls, found: AppRequest) -> "RequestShown":
        values = {name: getattr(found, name) for name in cls.model_fields if hasattr(found, name)}
        decided = found.state is not State.OPEN
        return cls(
            **values
            | {
                "wanted": found.facts.scopes,
                "because": found.verdict.because if decided else "",
                "verdict": VerdictShown.of(found.verdict),
            }
        )


class GroupShown(Shown):
    """Requests for one app at a hospital. ``requests``: how many count; ``not_counted``: open ones of people who have left.

    ``roles`` and ``scopes`` are what they ask for together. ``attention``: why it was escalated.
    """

    id: str
    tenant: str
    app: str
    state: State
    revision: int
    requests: int
    not_counted: int
    roles: SortedWords
    scopes: tuple[str, ...]
    opened_at: datetime
    assigned_to: str
    attention: str
    decided_by: str
    decided_at: datetime | None
    reason: str
    installation: str
    rule: str
    rules_version: int

    @classmethod
    def of(cls, view: GroupView) -> "GroupShown":
        roles, scopes = wanted(view.requests)
        values = {name: getattr(view.group, name) for name in Group.__dataclass_fields__}
        counted = {"requests": len(view.requests), "not_counted": view.not_counted}
        return cls(**values | counted | {"roles": roles, "scopes": scopes})


class TaskShown(Shown):
    name: str
    title: str
    purpose: str


class RequestableShown(Shown):
    """An app that your hospital could install. ``tasks``: workflows by which it can be asked for; ``asked``: you have an open request for it."""

    app: str
    name: str
    vendor: str
    purpose: str
    tasks: tuple[TaskShown, ...]
    installed: bool
    asked: bool


class HandedOver(Shown):
    """``more``: there are more; repeat the call."""

    groups: int
    more: bool


class RulesShown(Shown):
    """The rules of a hospital; each rule has only what it sets. Version 0: there are none yet."""

    tenant: str
    version: int
    rules: list[dict[str, Any]]
    note: str
    approver: str
    in_force_at: datetime | None

    @classmethod
    def of(cls, found: RuleSet) -> "RulesShown":
        values = {name: getattr(found, name) for name in RuleSet.__dataclass_fields__}
        return cls(**values | {"rules": [write_rule(each) for each in found.rules]})


class DifferenceShown(Shown):
    """A past request: what the rules of its time decided, what those that are tried would, and how it really ended."""

    request: str
    group: str
    app: str
    person: str
    asked_at: datetime
    before: VerdictShown
    now: VerdictShown
    ended: State


class TriedShown(Shown):
    """So many past requests were judged; ``items`` would be decided differently. ``next``: ``after`` of the next call, if there are more."""

    judged: int
    items: list[DifferenceShown]
    next: str

    @classmethod
    def of(cls, found: Tried) -> "TriedShown":
        items = [
            DifferenceShown(
                request=each.request.id,
                group=each.request.group,
                app=each.request.app,
                person=PersonId(each.request.person),
                asked_at=each.request.asked_at,
                before=VerdictShown.of(each.request.verdict),
                now=VerdictShown.of(each.now),
                ended=each.ended,
            )
            for each in found.differences
        ]
        return cls(judged=found.judged, items=items, next=found.next)


class NewScopeShown(Shown):
    scope: str
    words: str
    writes: bool


class NewWorkShown(Shown):
    """What is new for one workflow; without a name: scopes that no workflow of the version needs. ``is_new``: the workflow itself is new."""

    name: str
    title: str
    purpose: str
    is_new: bool
    scopes: tuple[NewScopeShown, ...]


class WiderShown(Shown):
    """What a newer version has more. ``version`` is empty if nothing is new; ``withheld``: certified, and not allowed by the rule book here.

    ``revives``: accepting all of it ends what was issued before, since it gives back what was narrowed away.
    """

    installation: str
    app: str
    version: str
    label: str
    digest: str
    scopes: tuple[str, ...]
    work: tuple[NewWorkShown, ...]
    withheld: tuple[str, ...]
    revives: bool

    @classmethod
    def of(cls, found: WiderVersion) -> "WiderShown":
        return cls.model_validate(found)


class AcceptanceShown(Shown):
    """What was accepted and left out of a version, and the installation's scopes and roles after it."""

    id: str
    installation: str
    tenant: str
    app: str
    version: str
    accepted: tuple[str, ...]
    left_out: tuple[str, ...]
    accepted_by: str
    accepted_at: datetime
    scopes: tuple[str, ...]
    roles: SortedWords

    @classmethod
    def of(cls, found: Acceptance, after: Installation) -> "AcceptanceShown":
        values = {name: getattr(found, name) for name in cls.model_fields if hasattr(found, name)}
        return cls(**values | {"accepted": found.scopes, "scopes": after.scopes, "roles": after.roles})
