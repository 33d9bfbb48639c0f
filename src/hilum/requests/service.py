"""Ask a hospital for an app, decide what is asked for, and hand it over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.identity import service as identity
from hilum.identity.models import Person, Tenant
from hilum.infra.context import Context
from hilum.installations import service as installations
from hilum.installations.models import Installation, InstallOrder, LeftOut, WidenOrder
from hilum.installations.policy import may_install
from hilum.kernel.actor import Actor, ActorKind
from hilum.kernel.errors import (
    DECIDED,
    NO_RIGHT,
    Conflict,
    Invalid,
    NotFound,
    Readers,
    Unavailable,
    not_shown,
)
from hilum.kernel.ids import AppId, PersonId, TenantId
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.registry import service as registry
from hilum.registry.models import App
from hilum.requests import policy, rule_sets, store
from hilum.requests.facts import AppAtHospital, facts_of, read_app_at
from hilum.requests.mailing import announce, mail_decided
from hilum.requests.models import (
    ASKED_BOUND,
    ASKED_WITHIN,
    GROUP_BOUND,
    HAND_OVER_BATCH,
    KEPT,
    Action,
    AppRequest,
    AskOrder,
    Decision,
    Grant,
    Group,
    GroupView,
    Obstacle,
    RequestFacts,
    RuleSet,
    State,
    Verdict,
)
from hilum.requests.rule_sets import put_in_force, try_rules, view_rules
from hilum.review.service import reasons_of
from hilum.standards.smart.scopes import all_covered

__all__ = [
    "announce",
    "approve",
    "ask",
    "dismiss",
    "end_rules",
    "hand_over",
    "hand_over_all",
    "list_groups",
    "list_requests",
    "preview",
    "purge",
    "put_in_force",
    "try_rules",
    "view_group",
    "view_request",
    "view_rules",
    "withdraw",
]
_DETAILS = {
    "already_decided": "These requests have already been decided. Read the group again.",
    "changed_since_read": "These requests changed since you read them. Read the group again before you decide.",
    "own_request": "You asked for this app yourself, so a colleague must decide.",
    "assigned_to_another": "These requests are assigned to a colleague. Have them handed over to you first.",
}
_ABSENT = NotFound("app_not_found", "There is no such app.")
_STATE_AFTER = {
    Action.APPROVE: State.APPROVED,
    Action.RESTRICT: State.APPROVED,
    Action.DISMISS: State.DISMISSED,
}
"""The state of a request after what rules decided; after anything else it stays open."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """A request that rules have judged: its facts, what they decide, in whose name, and what was installed by it."""

    facts: RequestFacts
    verdict: Verdict
    rules: RuleSet
    approver: Actor | None
    installed: Installation | None = None


def ask(ctx: Context, order: AskOrder) -> AppRequest:
    """Ask a hospital for an app. Its rules decide at once, or the request waits in the app's open group (C214).

    Raises NotFound (app, hospital), NotPermitted (right, too many requests), Invalid, Conflict (asked or installed already), Unavailable.
    """
    tenant, app = _asked_for(ctx, order)
    place = read_app_at(ctx, tenant, app)
    if faults := policy.ask_faults(order, place.workflows, only_backend=place.only_backend):
        raise Invalid("request_invalid", "The request is invalid; see fields.", fields=faults)
    # An account has one role.
    role = min(ctx.actor.roles)
    rules = store.rules_in_force(ctx.tx, tenant.id)
    facts = facts_of(ctx, place, order, role, rules)
    before = place.installed
    if (
        before is not None
        and order.roles <= before.roles
        and facts.scopes
        and all_covered(facts.scopes, before.scopes)
    ):
        raise Conflict(
            "already_installed",
            "The app is installed here already, with all that you ask for. Open it, or ask for another role or more.",
        )
    group = _open_group(ctx, tenant.id, app.id)
    judged = _judge(ctx, place, facts, rules)
    request = AppRequest(
        id=ctx.ids.new("arq"),
        group=group.id,
        tenant=tenant.id,
        app=app.id,
        person=PersonId(ctx.actor.id),
        role=role,
        roles=order.roles,
        scopes=order.scopes,
        workflows=order.workflows,
        reason=order.reason.strip(),
        asked_at=ctx.now,
        facts=facts,
        verdict=judged.verdict,
        judged_by=rules.version,
    )
    if not store.add_request(ctx.tx, request):
        raise Conflict("already_asked", "You have already requested this app, and nobody has decided yet.")
    return _settle(ctx, group, request, judged)


def _asked_for(ctx: Context, order: AskOrder) -> tuple[Tenant, App]:
    """Return the hospital and the app of a request that the actor may make. Raises NotFound, NotPermitted."""
    at = rule_sets.own(ctx, order.tenant)
    event = Event("requests.request.add", tenant=at, app=order.app)
    if ctx.actor.kind not in {ActorKind.PERSON, ActorKind.MEMBER}:
        raise audit.refusal(ctx, replace(event, tenant="", app=""))
    # People ask at their own hospital only. A vendor's member may name another one, whose addresses are public anyway.
    tenant = identity.find_tenant(ctx, at)
    if tenant is None or not tenant.active or ctx.actor.tenant not in {None, tenant.id}:
        raise NotFound("tenant_not_found", "There is no such hospital.")
    app = registry.get_app(ctx, order.app)
    if app.tenant is not None or ctx.actor.vendor not in {None, app.vendor}:
        raise _ABSENT
    if not policy.may_ask(ctx.actor, tenant.id, app):
        raise audit.refusal(ctx, event)
    since = ctx.now - ASKED_WITHIN
    if store.count_since(ctx.tx, PersonId(ctx.actor.id), since, ASKED_BOUND) >= ASKED_BOUND:
        detail = f"You asked {ASKED_BOUND} times within a day. Try again tomorrow."
        raise audit.refusal(ctx, replace(event, reason="too_many_requests"), detail)
    return tenant, app


def _open_group(ctx: Context, tenant: TenantId, app: AppId) -> Group:
    """Find the open group of an app, locked, or open one. Raises Conflict, Unavailable."""
    group = store.find_open(ctx.tx, tenant, app)
    if group is None:
        group = Group(ctx.ids.new("rqg"), tenant, app, ctx.now)
        if not store.add_group(ctx.tx, group):
            # Somebody else opened it at this moment; it can be joined once that is committed.
            raise Conflict("concurrent_change", "Somebody requested the app at the same moment. Try again.")
    elif store.count_in_group(ctx.tx, group.id) >= GROUP_BOUND:
        raise Unavailable(
            "too_many_requests",
            f"{GROUP_BOUND} people have asked for this app already, and nobody has decided yet.",
        )
    return group


def _judge(ctx: Context, place: AppAtHospital, facts: RequestFacts, rules: RuleSet) -> _Judged:
    """Judge a request by the hospital's rules, and carry out what they approve in the name of whoever confirmed them."""
    approver = rule_sets.approver_of(ctx, rules)
    if rules.rules and approver is None:
        facts = replace(facts, obstacles=(*facts.obstacles, Obstacle.NO_APPROVER))
    verdict = policy.decide_request(facts, rules)
    if verdict.grant is None or approver is None:
        return _Judged(facts, verdict, rules, approver)
    try:
        installed = _install(ctx.as_actor(approver), place, verdict.grant)
    # The installation was refused although the rules approved: the request stays open, for a person to decide.
    except DECIDED:
        refused = Verdict(Action.ESCALATE, verdict.rule, obstacle=Obstacle.REFUSED, steps=verdict.steps)
        return _Judged(facts, refused, rules, approver)
    return _Judged(facts, verdict, rules, approver, installed)


def _install(ctx: Context, place: AppAtHospital, grant: Grant) -> Installation:
    order = InstallOrder(
        place.tenant.id, place.app.id, grant.roles, grant.scopes, policy.end_of(grant, ctx.now)
    )
    return installations.install(ctx, order)


def _settle(ctx: Context, group: Group, request: AppRequest, judged: _Judged) -> AppRequest:
    """Record what rules decided on a new request, and close its group if nothing in it is left open."""
    verdict, rules, installed = judged.verdict, judged.rules, judged.installed
    state = _STATE_AFTER.get(verdict.action, State.OPEN)
    if state is not State.OPEN:
        store.save_states(ctx.tx, [request.id], state)
    open_ = [each for each in store.all_of(ctx.tx, [group.id]) if each.state is State.OPEN]
    if installed is not None:
        # Colleagues who asked for no more than that have it now.
        served = [each.id for each in open_ if policy.is_within(each, installed.roles, installed.scopes)]
        store.save_states(ctx.tx, served, State.APPROVED)
        # The request that is being made is answered at once.
        waited = [each for each in open_ if each.id in served and each.id != request.id]
        mail_decided(ctx, group, waited, State.APPROVED)
        open_ = [each for each in open_ if each.id not in served]
    after = replace(group, revision=group.revision + 1)
    if verdict.action is Action.ESCALATE:
        attention = "rule" if verdict.obstacle is None else verdict.obstacle.value
        after = replace(after, attention=attention, assigned_to=_assignee(ctx, group, verdict.to))
    if not open_:
        after = replace(
            after,
            state=state,
            decided_by=f"{ActorKind.PERSON}:{rules.approver}",
            decided_at=ctx.now,
            reason=verdict.because,
            rule=verdict.rule,
            rules_version=rules.version,
            installation="" if installed is None else installed.id,
        )
    if not store.save_group(ctx.tx, after, revision=group.revision):
        raise Conflict("concurrent_change", "A colleague decided this at the same moment. Try again.")
    _record_judged(ctx, request, judged, state)
    return _shown(ctx.actor, replace(request, state=state))


def _record_judged(ctx: Context, request: AppRequest, judged: _Judged, state: State) -> None:
    verdict, installed = judged.verdict, judged.installed
    facts = {
        "request": request.id,
        "group": request.group,
        "outcome": verdict.action.value,
        "rule": verdict.rule,
        "rules_version": judged.rules.version,
        "obstacle": "" if verdict.obstacle is None else verdict.obstacle.value,
    }
    event = Event("requests.request.add", tenant=request.tenant, app=request.app, person=request.person)
    audit.record(ctx, replace(event, facts=facts))
    if state is State.OPEN or judged.approver is None:
        return
    # The decision is the approver's, with the rule by which they made it.
    action = "requests.request.approve" if state is State.APPROVED else "requests.request.dismiss"
    more = {} if installed is None else {"installation": installed.id}
    audit.record(ctx.as_actor(judged.approver), replace(event, action=action, facts=facts | more))


def _assignee(ctx: Context, group: Group, to: str) -> str:
    """Return the person to whom a group is assigned now: the one that the rule names, if they may decide; otherwise as before."""
    person = identity.find_person(ctx, PersonId(to)) if to else None
    may = person is not None and rule_sets.may_decide_at(person, group.tenant)
    return to if may else group.assigned_to


def withdraw(ctx: Context, request_id: str) -> AppRequest:
    """Withdraw one's own request that nobody has decided. Raises NotFound, Conflict (decided, or withdrawn)."""
    request = store.get_request(ctx.tx, request_id)
    if request.person != ctx.actor.id:
        raise NotFound("request_not_found", "There is no such request.")
    group = store.get_group(ctx.tx, request.group, lock=True)
    requests = {each.id: each for each in store.all_of(ctx.tx, [group.id])}
    if requests[request_id].state is not State.OPEN:
        raise Conflict("already_decided", "This request has already been decided or withdrawn.")
    store.save_states(ctx.tx, [request_id], State.WITHDRAWN)
    after = replace(group, revision=group.revision + 1)
    if all(each.state is not State.OPEN for each in requests.values() if each.id != request_id):
        after = replace(after, state=State.WITHDRAWN, decided_by=str(ctx.actor), decided_at=ctx.now)
    store.save_group(ctx.tx, after, revision=group.revision)
    facts = {"request": request.id, "group": group.id}
    event = Event("requests.request.withdraw", tenant=request.tenant, app=request.app, facts=facts)
    audit.record(ctx, replace(event, person=request.person))
    return _shown(ctx.actor, replace(request, state=State.WITHDRAWN))


# --- decisions -----------------------------------------------------------------------------------------------------------------


def approve(ctx: Context, decision: Decision) -> GroupView:
    """Approve the requests of a group: install the app, or widen its installation, for what they ask together or what is named.

    Raises NotFound, NotPermitted (right, own request, assigned to another), Invalid, Conflict (decided, changed, no request awaits a decision).
    """
    view, app = _decidable(ctx, decision, "requests.group.approve")
    if not view.requests:
        raise Conflict(
            "no_request_counts", "Nobody who asked for this is still active. Dismiss the requests."
        )
    roles, scopes = policy.wanted(view.requests)
    roles = roles if decision.roles is None else decision.roles
    scopes = scopes if decision.scopes is None else decision.scopes
    installed = _carry_out(ctx, app, replace(decision, roles=roles, scopes=scopes), view.group.tenant)
    return _decided(ctx, view, decision, State.APPROVED, installed.id)


def _carry_out(ctx: Context, app: App, decision: Decision, tenant: TenantId) -> Installation:
    """Install an app, or widen its installation, for the roles and scopes of a decision."""
    place = read_app_at(ctx, identity.get_tenant(ctx, tenant), app)
    roles = decision.roles or frozenset()
    scopes = policy.with_launch(decision.scopes or (), place.admitted)
    before = place.installed
    if before is None:
        order = InstallOrder(tenant, app.id, roles, scopes, decision.expires_at, anyway=decision.anyway)
        return installations.install(ctx, order, reasons_of)
    if decision.expires_at is not None:
        fields = {"expires_at": "already_installed"}
        raise Invalid("decision_invalid", "The app is installed already, with its own end.", fields=fields)
    new = tuple(each for each in scopes if not all_covered((each,), before.scopes))
    if not new and roles <= before.roles:
        return before
    return installations.widen(ctx, before.id, WidenOrder(new, roles - before.roles))


def preview(ctx: Context, group_id: str) -> tuple[LeftOut, ...]:
    """Return what an approval of all that a group asks for would leave out of what the app needs, or may need. Nothing changes. Raises NotFound, NotPermitted."""
    view = view_group(ctx, group_id)
    place = read_app_at(
        ctx, identity.get_tenant(ctx, view.group.tenant), registry.get_app(ctx, view.group.app)
    )
    # Widening an installation takes nothing away from the app, so nothing is missing.
    if view.group.state is not State.OPEN or place.installed is not None or not view.requests:
        return ()
    roles, scopes = policy.wanted(view.requests)
    scopes = policy.with_launch(scopes, place.admitted)
    order = InstallOrder(place.tenant.id, place.app.id, roles, scopes)
    return installations.preview(ctx, order, reasons_of)


def dismiss(ctx: Context, decision: Decision) -> GroupView:
    """Dismiss the requests of a group, with a reason that is shown to those who asked. Raises as ``approve``."""
    view, _ = _decidable(ctx, decision, "requests.group.dismiss")
    if not decision.reason.strip():
        raise Invalid(
            "decision_invalid", "State a reason; those who asked see it.", fields={"reason": "reason_missing"}
        )
    return _decided(ctx, view, decision, State.DISMISSED, "")


def _decidable(ctx: Context, decision: Decision, action: str) -> tuple[GroupView, App]:
    """Return a group that the actor may decide now, locked. Raises NotFound, NotPermitted, Conflict."""
    group = _visible(ctx, decision.group, lock=True)
    requests = store.all_of(ctx.tx, [group.id])
    app = registry.get_app(ctx, group.app)
    assignee = identity.find_person(ctx, PersonId(group.assigned_to)) if group.assigned_to else None
    fault = policy.decision_fault(
        ctx.actor,
        group,
        requests,
        revision=decision.revision,
        assignee_counts=assignee is not None and rule_sets.may_decide_at(assignee, group.tenant),
    )
    if fault in {"already_decided", "changed_since_read"}:
        raise Conflict(fault, _DETAILS[fault])
    if fault:
        event = Event(action, tenant=group.tenant, app=group.app, reason=fault, facts={"group": group.id})
        raise audit.refusal(ctx, event, _DETAILS.get(fault, NO_RIGHT))
    return _view(ctx, group, requests, app), app


def _decided(ctx: Context, view: GroupView, decision: Decision, state: State, installation: str) -> GroupView:
    group = view.group
    after = replace(
        group,
        state=state,
        revision=group.revision + 1,
        decided_by=str(ctx.actor),
        decided_at=ctx.now,
        reason=decision.reason.strip(),
        installation=installation,
    )
    if not store.save_group(ctx.tx, after, revision=group.revision):
        raise Conflict("concurrent_change", _DETAILS["changed_since_read"])
    waiting = [each.id for each in view.requests]
    store.save_states(ctx.tx, waiting, state)
    mail_decided(ctx, after, view.requests, state)
    # The requests that are still open are those of people who have left.
    rest = [each.id for each in store.all_of(ctx.tx, [group.id]) if each.state is State.OPEN]
    store.save_states(ctx.tx, rest, State.WITHDRAWN)
    action = "requests.group.approve" if state is State.APPROVED else "requests.group.dismiss"
    facts = {"group": group.id, "requests": len(waiting), "installation": installation}
    audit.record(ctx, Event(action, tenant=group.tenant, app=group.app, facts=facts))
    return GroupView(after, tuple(replace(each, state=state) for each in view.requests), view.not_counted)


# --- hand-over -----------------------------------------------------------------------------------------------------------------


def hand_over(ctx: Context, group_id: str, to: PersonId, *, revision: int) -> GroupView:
    """Assign an open group to an administrator. Raises NotFound, NotPermitted, Invalid (no administrator), Conflict (decided, changed)."""
    group = _visible(ctx, group_id, lock=True)
    _require_administrators(ctx, group.tenant, to)
    if group.state is not State.OPEN:
        raise Conflict("already_decided", _DETAILS["already_decided"])
    if group.revision != revision:
        raise Conflict("changed_since_read", _DETAILS["changed_since_read"])
    after = _assign(ctx, group, to)
    requests = store.all_of(ctx.tx, [group.id])
    return _view(ctx, after, requests, registry.get_app(ctx, group.app))


def hand_over_all(ctx: Context, tenant: TenantId | None, of: PersonId, to: PersonId) -> tuple[int, bool]:
    """Assign every open group of one person, who may have left, to an administrator; return how many, and whether there are more.

    Raises NotFound, NotPermitted, Invalid.
    """
    tenant = rule_sets.own(ctx, tenant)
    if ctx.actor.tenant is not None and ctx.actor.tenant != tenant:
        raise NotFound("tenant_not_found", "There is no such hospital.")
    _require_administrators(ctx, tenant, to)
    found = store.list_assigned(ctx.tx, tenant, of)
    for group in found:
        _assign(ctx, group, to)
    return len(found), len(found) == HAND_OVER_BATCH


def _require_administrators(ctx: Context, tenant: TenantId, to: PersonId) -> None:
    """Check that the actor and the person to whom something is assigned both administer a hospital."""
    if not may_install(ctx.actor, tenant):
        raise audit.refusal(ctx, Event("requests.group.hand_over", tenant=tenant))
    person = identity.find_person(ctx, to)
    if person is None or not rule_sets.may_decide_at(person, tenant):
        fields = {"to": "person_no_administrator"}
        raise Invalid("hand_over_invalid", "The group cannot be handed over to this person.", fields=fields)


def _assign(ctx: Context, group: Group, to: PersonId) -> Group:
    after = replace(group, assigned_to=to, revision=group.revision + 1)
    if not store.save_group(ctx.tx, after, revision=group.revision):
        raise Conflict("concurrent_change", _DETAILS["changed_since_read"])
    facts = {"group": group.id, "from": group.assigned_to, "to": to}
    audit.record(
        ctx, Event("requests.group.hand_over", tenant=group.tenant, app=group.app, person=to, facts=facts)
    )
    return after


# --- reading -------------------------------------------------------------------------------------------------------------------


def view_group(ctx: Context, group_id: str) -> GroupView:
    """Get a group with its requests that await a decision. Raises NotFound."""
    group = _visible(ctx, group_id)
    return _view(ctx, group, store.all_of(ctx.tx, [group.id]), registry.get_app(ctx, group.app))


def list_groups(
    ctx: Context, tenant: TenantId | None, state: State, page: PageQuery = FIRST_PAGE
) -> list[GroupView]:
    """List groups of requests in a state by id; an administrator sees their own hospital's. Raises NotPermitted."""
    at = tenant if ctx.actor.is_platform else tenant or ctx.actor.tenant
    if not (ctx.actor.is_platform or (at is not None and may_install(ctx.actor, at))):
        raise not_shown("the requests of a hospital", Readers.HOSPITAL)
    groups = store.list_groups(ctx.tx, at, state, page)
    by_group: dict[str, list[AppRequest]] = {each.id: [] for each in groups}
    for request in store.all_of(ctx.tx, list(by_group)):
        by_group[request.group].append(request)
    apps = registry.read_apps(ctx, {each.app for each in groups})
    people = identity.find_people(ctx, {each.person for found in by_group.values() for each in found})
    return [_counted(each, by_group[each.id], apps.get(each.app), people) for each in groups]


def view_request(ctx: Context, request_id: str) -> AppRequest:
    """Get a request of the actor, or of the hospital that they administer. Raises NotFound."""
    found = store.get_request(ctx.tx, request_id)
    if found.person != ctx.actor.id and not _sees_all(ctx.actor, found.tenant):
        raise NotFound("request_not_found", "There is no such request.")
    return _shown(ctx.actor, found)


def list_requests(
    ctx: Context, *, tenant: TenantId | None = None, group: str = "", page: PageQuery = FIRST_PAGE
) -> list[AppRequest]:
    """List requests by id: those of a group or hospital for its administrators, otherwise the actor's own. Raises NotFound (the group), NotPermitted."""
    if group:
        return store.list_requests(ctx.tx, page, group=_visible(ctx, group).id)
    at = tenant if ctx.actor.is_platform else tenant or ctx.actor.tenant
    if ctx.actor.is_platform or (at is not None and _sees_all(ctx.actor, at)):
        return store.list_requests(ctx.tx, page, tenant=at or "")
    if tenant is not None and tenant != ctx.actor.tenant:
        raise not_shown("the requests of a hospital", Readers.HOSPITAL)
    return [_shown(ctx.actor, each) for each in store.list_requests(ctx.tx, page, person=ctx.actor.id)]


def purge(ctx: Context) -> int:
    """Delete old groups that were decided, with their requests; return how many. Call again until it returns 0."""
    return store.purge(ctx.tx, ctx.now - KEPT)


def end_rules(ctx: Context) -> int:
    """After a restore, replace the rules of every hospital that has some by empty ones; return at how many hospitals."""
    return len(rule_sets.end_all(ctx))


def _sees_all(actor: Actor, tenant: TenantId) -> bool:
    return actor.is_platform or may_install(actor, tenant)


def _shown(actor: Actor, request: AppRequest) -> AppRequest:
    """Return a request as an actor may see it: only its administrators see how the hospital's rules came to a verdict."""
    if _sees_all(actor, request.tenant):
        return request
    verdict = request.verdict
    grant = verdict.grant if request.state is State.APPROVED else None
    return replace(
        request, verdict=Verdict(verdict.action, because=verdict.because, grant=grant), judged_by=0
    )


def _visible(ctx: Context, group_id: str, *, lock: bool = False) -> Group:
    group = store.get_group(ctx.tx, group_id, lock=lock)
    if not policy.may_see_group(ctx.actor, group):
        raise NotFound("group_not_found", "There is no such group of requests.")
    return group


def _view(ctx: Context, group: Group, requests: Sequence[AppRequest], app: App) -> GroupView:
    people = identity.find_people(ctx, {each.person for each in requests})
    return _counted(group, requests, app, people)


def _counted(
    group: Group, requests: Sequence[AppRequest], app: App | None, people: Mapping[PersonId, Person]
) -> GroupView:
    """Return a group with the requests that await a decision; once it was decided, with all that were decided."""
    if group.state is not State.OPEN:
        return GroupView(group, tuple(each for each in requests if each.state is not State.WITHDRAWN), 0)
    open_ = [each for each in requests if each.state is State.OPEN]
    waiting = [each for each in open_ if app and policy.awaits_decision(each, people.get(each.person), app)]
    return GroupView(group, tuple(waiting), len(open_) - len(waiting))
