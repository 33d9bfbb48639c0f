"""Who may ask and decide, what is valid, and what rules decide on a request. Pure. How a rule is matched is in ``matching``."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from hilum.controls.policy import administers
from hilum.identity.models import Person, Role, VendorRight
from hilum.identity.policy import ROLES, may_as_member
from hilum.installations.policy import may_install
from hilum.kernel.actor import Actor, ActorKind
from hilum.kernel.ids import PersonId, TenantId
from hilum.kernel.limits import too_long
from hilum.registry.models import App
from hilum.registry.policy import scope_faults
from hilum.requests.matching import judge_rule
from hilum.requests.models import (
    MAIL_WINDOW,
    REASON_BOUND,
    Action,
    AppRequest,
    AskOrder,
    Grant,
    Group,
    Holds,
    Obstacle,
    RequestFacts,
    Rule,
    RuleSet,
    State,
    Step,
    Verdict,
)
from hilum.standards.smart.scopes import LAUNCH_AND_IDENTITY, all_covered, narrow


def may_ask(actor: Actor, tenant: TenantId, app: App) -> bool:
    """Check whether an actor may ask a hospital for an app: its staff, and members of the app's vendor who may change its apps."""
    # A hospital's own EHR and a dynamic client are installed as they are added.
    if app.tenant is not None:
        return False
    if actor.kind is ActorKind.PERSON:
        return asks_at(actor, tenant)
    return may_as_member(actor, app.vendor, VendorRight.APPS)


def asks_at(actor: Actor, tenant: TenantId) -> bool:
    """Check whether an actor is of a hospital's staff, who ask it for apps."""
    return (
        actor.kind is ActorKind.PERSON
        and actor.tenant == tenant
        and bool(actor.roles & ROLES - {Role.PATIENT})
    )


def window_of(at: datetime) -> datetime:
    """Return the beginning of the window of mail in which a moment is."""
    return at - timedelta(seconds=at.timestamp() % MAIL_WINDOW.total_seconds())


def groups_for(groups: Iterable[Group], person: PersonId, deciding: Collection[PersonId]) -> list[Group]:
    """Return the groups that an administrator decides: those assigned to nobody who may decide, and their own."""
    return [each for each in groups if each.assigned_to == person or each.assigned_to not in deciding]


def may_see_group(actor: Actor, group: Group) -> bool:
    """Check whether an actor may see a group with its requests: the hospital's administrators, and the platform's staff."""
    return actor.is_platform or administers(actor, group.tenant)


def awaits_decision(request: AppRequest, person: Person | None, app: App) -> bool:
    """Check whether a request awaits a decision: it is open, and by an active person of the hospital or of the app's vendor."""
    if request.state is not State.OPEN or person is None or not person.active:
        return False
    return person.tenant == (app.vendor if request.from_vendor else request.tenant)


def ask_faults(order: AskOrder, workflows: Iterable[str], *, only_backend: bool) -> dict[str, str]:
    """Return the error code of each invalid field of a request; ``workflows``: those that the app may do at the hospital."""
    faults = scope_faults(order.scopes) if order.scopes else {}
    if not set(order.workflows) <= set(workflows):
        faults["workflows"] = "workflow_not_allowed"
    if not order.roles and not only_backend:
        faults["roles"] = "roles_missing"
    elif not order.roles <= ROLES:
        faults["roles"] = "role_unknown"
    if not order.reason.strip():
        faults["reason"] = "reason_missing"
    elif len(order.reason) > REASON_BOUND:
        faults["reason"] = too_long(REASON_BOUND, "reason_too_long")
    return faults


def decision_fault(
    actor: Actor, group: Group, requests: Sequence[AppRequest], *, revision: int, assignee_counts: bool
) -> str:
    """Return why an actor may not decide a group; empty if they may. ``requests``: all of it, whatever their state.

    ``assignee_counts``: whether the person to whom it is assigned may decide; otherwise anybody may who administers the hospital.
    INVARIANT: nobody decides on what they asked for, also if they have withdrawn it; a group is decided once.
    """
    if not may_install(actor, group.tenant):
        return "not_permitted"
    if group.state is not State.OPEN:
        return "already_decided"
    if group.revision != revision:
        return "changed_since_read"
    if any(each.person == actor.id for each in requests):
        return "own_request"
    if group.assigned_to not in {"", actor.id} and assignee_counts:
        return "assigned_to_another"
    return ""


def wanted(requests: Iterable[AppRequest]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the roles and scopes that some requests ask for together."""
    roles, scopes = frozenset[str](), dict[str, None]()
    for each in requests:
        roles |= each.roles
        scopes |= dict.fromkeys(each.facts.scopes)
    return roles, tuple(scopes)


def without_launch(scopes: Iterable[str]) -> tuple[str, ...]:
    """Return scopes without those of launch and identity, which reach no record."""
    return tuple(dict.fromkeys(each for each in scopes if each not in LAUNCH_AND_IDENTITY))


def with_launch(scopes: Iterable[str], admitted: Iterable[str]) -> tuple[str, ...]:
    """Return scopes with the launch and identity scopes that the app may have; without those it could not be launched."""
    return tuple(dict.fromkeys((*(each for each in admitted if each in LAUNCH_AND_IDENTITY), *scopes)))


def is_within(request: AppRequest, roles: frozenset[str], scopes: Iterable[str]) -> bool:
    """Check whether roles and scopes are all that a request asks for."""
    return request.roles <= roles and all_covered(request.facts.scopes, tuple(scopes))


def end_of(grant: Grant, now: datetime) -> datetime | None:
    """Return when what is approved now ends."""
    return None if grant.days is None else now + timedelta(days=grant.days)


# --- rules ---------------------------------------------------------------------------------------------------------------------


def decide_request(facts: RequestFacts, rules: RuleSet) -> Verdict:
    """Return what a hospital's rules decide on a request, and which rule decided. The first rule that matches wins.

    INVARIANT: a rule that depends on what is not known escalates, and so does every approval with an obstacle, or of more than is
    admitted; a request that no rule matches waits.
    Source: C214
    """
    steps: list[Step] = []
    for rule in rules.rules:
        step = judge_rule(rule, facts)
        steps.append(step)
        if step.holds is Holds.YES:
            verdict = _carried_out(rule, facts, rules)
            return replace(verdict, rule=rule.name, because=rule.because, steps=tuple(steps))
        # Skipping a rule that dismisses could leave the request to a later one that approves.
        if step.holds is Holds.UNKNOWN:
            return _escalated(Obstacle.UNKNOWN, rule=rule.name, steps=tuple(steps))
    return Verdict(Action.WAIT, steps=tuple(steps))


def _escalated(obstacle: Obstacle, *, rule: str = "", steps: tuple[Step, ...] = ()) -> Verdict:
    return Verdict(Action.ESCALATE, rule=rule, obstacle=obstacle, steps=steps)


def _carried_out(rule: Rule, facts: RequestFacts, rules: RuleSet) -> Verdict:
    """Return the decision of a matching rule."""
    if rule.action is Action.ESCALATE:
        return Verdict(Action.ESCALATE, to=rule.to)
    if rule.action is Action.DISMISS:
        gone = Obstacle.NO_APPROVER in facts.obstacles
        return _escalated(Obstacle.NO_APPROVER) if gone else Verdict(Action.DISMISS)
    if rule.action not in {Action.APPROVE, Action.RESTRICT}:
        return Verdict(Action.WAIT)
    # The rules approve in the name of the person who put them in force, who must not approve their own request.
    if facts.requester == rules.approver:
        return _escalated(Obstacle.OWN)
    if facts.obstacles:
        return _escalated(facts.obstacles[0])
    grant = _grant(rule, facts)
    if not grant.scopes or (not grant.roles and not facts.only_backend):
        return _escalated(Obstacle.NOTHING_LEFT)
    if not all_covered(grant.scopes, facts.admitted):
        return _escalated(Obstacle.WIDER)
    if not all_covered(facts.needed, grant.scopes):
        return _escalated(Obstacle.INCOMPLETE)
    return Verdict(rule.action, grant=replace(grant, scopes=with_launch(grant.scopes, facts.admitted)))


def _grant(rule: Rule, facts: RequestFacts) -> Grant:
    """Return what a rule approves of a request, without launch and identity scopes."""
    if rule.action is Action.APPROVE:
        return Grant(facts.roles, facts.scopes)
    scopes = narrow(facts.scopes, rule.only_scopes) if rule.only_scopes else facts.scopes
    roles = facts.roles & rule.only_roles if rule.only_roles else facts.roles
    return Grant(roles, scopes, rule.for_days)


OBSTACLES = {
    Obstacle.NOT_CERTIFIED: "No version of the app is certified and allowed by the rule book at this hospital.",
    Obstacle.SUSPENDED: "The app is suspended.",
    Obstacle.STOPPED: "A kill switch stops the app here.",
    Obstacle.INSTALLED: "The app is installed here already; a person decides whether it gets more.",
    Obstacle.REMOVED: "Somebody removed the app from this hospital before.",
    Obstacle.DISMISSED: "An administrator dismissed a request for this app after these rules were put in force.",
    Obstacle.NO_AGREEMENT: "The vendor lacks an agreement that the app needs at this hospital.",
    Obstacle.NO_APPROVER: "The person who put the rules in force may no longer approve: put them in force again.",
    Obstacle.OWN: "The requester put the rules in force.",
    Obstacle.WIDER: "It asks for more than is certified and the rule book allows at this hospital.",
    Obstacle.NOTHING_LEFT: "Nothing that is asked for is within the rule's limits.",
    Obstacle.INCOMPLETE: "It would leave out what the app states that it needs; a person decides whether it gets less.",
    Obstacle.UNKNOWN: "The rule depends on something that is not known about this request.",
    Obstacle.REFUSED: "The approval of the rule could not be carried out.",
}
"""Each obstacle as a sentence."""
