"""Put a hospital's rules in force, list them, and try others on past requests."""

import hashlib
import json
from dataclasses import replace

from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.controls.policy import TENANT_ADMINISTRATOR
from hilum.identity import service as identity
from hilum.identity.models import Person
from hilum.infra.context import Context
from hilum.installations.policy import may_install
from hilum.kernel.actor import Actor, ActorKind
from hilum.kernel.errors import Conflict, Invalid, NotFound
from hilum.kernel.ids import PersonId, TenantId
from hilum.kernel.limits import too_long
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.policies import service as policies
from hilum.requests import matching, policy, store
from hilum.requests.documents import write_rule
from hilum.requests.models import (
    REASON_BOUND,
    TRIED_WITHIN,
    TRY_BOUND,
    Difference,
    Obstacle,
    Rule,
    RuleSet,
    Tried,
    Verdict,
)
from hilum.signin import policy as signin_policy

RESTORED = PersonId("system:restore")
"""The approver of the empty rules that a restore puts in force: nobody."""
NOWHERE = TenantId("-")
"""No tenant has this id."""
OF_RULES = frozenset({Obstacle.NO_APPROVER, Obstacle.DISMISSED})
"""Obstacles that come from the rules that were in force, and not from the request."""


def put_in_force(
    ctx: Context, tenant: TenantId | None, rules: tuple[Rule, ...], *, base: int, note: str
) -> RuleSet:
    """Put rules in force at the actor's hospital, instead of version ``base``; the actor is who approves by them.

    Raises NotPermitted, NotFound (another hospital), Invalid, Conflict (others were put in force meanwhile).
    """
    tenant = _require_administrator_of_rules(ctx, tenant, "requests.rules.apply")
    before = store.rules_in_force(ctx.tx, tenant)
    _require_valid(ctx, tenant, rules, note=note)
    made = RuleSet(tenant, base + 1, rules, note.strip(), PersonId(ctx.actor.id), ctx.now)
    if before.version != base or not store.add_rules(ctx.tx, made):
        raise Conflict(
            "changed_since_read",
            "Other rules were put in force since you read these. Read them again, and repeat your change.",
        )
    facts = {"version": made.version, "rules": [each.name for each in rules], "digest": digest_of(rules)}
    audit.record(ctx, Event("requests.rules.apply", tenant=tenant, facts=facts))
    return made


def digest_of(rules: tuple[Rule, ...]) -> str:
    """Return the digest of some rules, for the audit record."""
    text = json.dumps([write_rule(each) for each in rules], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def view_rules(ctx: Context, tenant: TenantId | None) -> RuleSet:
    """Return the rules in force at a hospital. Raises NotFound (also for another hospital), NotPermitted."""
    return store.rules_in_force(ctx.tx, _require_reader(ctx, tenant))


def list_versions(ctx: Context, tenant: TenantId | None, page: PageQuery = FIRST_PAGE) -> list[RuleSet]:
    """List the versions of a hospital's rules, newest first. Raises NotFound, NotPermitted, Invalid (the cursor)."""
    tenant = _require_reader(ctx, tenant)
    if page.after and not (page.after.isascii() and page.after.isdigit() and len(page.after) <= 9):
        raise Invalid("cursor_unknown", "This is not a cursor.", fields={"after": "cursor_unknown"})
    return store.list_rule_sets(ctx.tx, tenant, page)


def try_rules(
    ctx: Context, tenant: TenantId | None, rules: tuple[Rule, ...], *, after: str, limit: int
) -> Tried:
    """Judge past requests by other rules, and return those that these would decide differently; nothing changes (C214).

    Judges at most ``limit`` requests of the last 90 days, beginning ``after`` one. Raises NotPermitted, NotFound, Invalid.
    """
    tenant = _require_administrator_of_rules(ctx, tenant, "requests.rules.try")
    _require_valid(ctx, tenant, rules, note="")
    tried = RuleSet(tenant, 0, rules, approver=PersonId(ctx.actor.id))
    past = store.list_past(ctx.tx, tenant, after=after, limit=limit)
    since = ctx.now - TRIED_WITHIN
    differences: list[Difference] = []
    # Everybody waits for this transaction, so it is limited by its work, not only by the number of requests.
    named = sum(len(each.scopes_within) + len(each.only_scopes) for each in rules)
    judged, work, end = 0, 0, ""
    for each in past:
        if work > TRY_BOUND:
            break
        end = each.id
        if each.asked_at < since:
            continue
        judged += 1
        work += named * len(each.facts.scopes)
        # As it was then: what the app may have and whether it was installed are not looked up again.
        left = tuple(obstacle for obstacle in each.facts.obstacles if obstacle not in OF_RULES)
        verdict = policy.decide_request(replace(each.facts, obstacles=left), tried)
        if _effect(verdict) != _effect(each.verdict):
            differences.append(Difference(each, verdict, each.state))
    more = len(past) == limit or (bool(past) and end != past[-1].id)
    return Tried(judged, tuple(differences), end if more else "")


def _effect(verdict: Verdict) -> tuple[object, ...]:
    # The deciding rule and its wording do not matter.
    return verdict.action, verdict.grant, verdict.to


def approver_of(ctx: Context, rules: RuleSet) -> Actor | None:
    """Return who put rules in force as an actor, if they may still approve: active, an administrator there, not stopped since."""
    person = identity.find_person(ctx, rules.approver) if rules.approver else None
    if person is None or not may_decide_at(person, rules.tenant):
        return None
    # As of when the rules were put in force: a full stop since then ends them, also once it is released.
    if identity.bar_on(ctx, person, issued_at=rules.in_force_at, writing=True) is not None:
        return None
    return signin_policy.actor_of(person)


def may_decide_at(person: Person, tenant: TenantId) -> bool:
    """Check whether a person is an active administrator of a hospital."""
    return person.active and person.tenant == tenant and person.role == TENANT_ADMINISTRATOR


def end_all(ctx: Context) -> list[RuleSet]:
    """Put empty rules in force wherever there are any, after a restore, and return them.

    The rules of the backup may have been replaced by stricter ones since.
    """
    found = [each for each in store.list_newest_rules(ctx.tx) if each.rules]
    empty = [
        RuleSet(each.tenant, each.version + 1, (), "after a restore", RESTORED, ctx.now) for each in found
    ]
    for rules in empty:
        store.add_rules(ctx.tx, rules)
    return empty


def _require_administrator_of_rules(ctx: Context, tenant: TenantId | None, action: str) -> TenantId:
    """Check that the actor is a person who administers this hospital, or their own: the rules act under a person's name."""
    tenant = own(ctx, tenant)
    if ctx.actor.tenant is not None and ctx.actor.tenant != tenant:
        raise NotFound("tenant_not_found", "There is no such hospital.")
    if ctx.actor.kind is not ActorKind.PERSON or not may_install(ctx.actor, tenant):
        raise audit.refusal(ctx, Event(action, tenant=tenant))
    return tenant


def _require_reader(ctx: Context, tenant: TenantId | None) -> TenantId:
    tenant = own(ctx, tenant)
    if not (ctx.actor.is_platform or may_install(ctx.actor, tenant)):
        raise NotFound("tenant_not_found", "There is no such hospital.")
    return identity.get_tenant(ctx, tenant).id


def own(ctx: Context, tenant: TenantId | None) -> TenantId:
    """Return the hospital that was named, else the actor's own; for an actor of none, one that does not exist."""
    return tenant or ctx.actor.tenant or NOWHERE


def _require_valid(ctx: Context, tenant: TenantId, rules: tuple[Rule, ...], *, note: str) -> None:
    book = policies.current(ctx).book_at(tenant, ctx.now)
    faults = matching.rules_faults(rules, book.categories)
    if len(note) > REASON_BOUND:
        faults["note"] = too_long(REASON_BOUND)
    named = {PersonId(each.to) for each in rules if each.to}
    people = identity.find_people(ctx, named) if named and not faults else {}
    for n, rule in enumerate(rules):
        person = people.get(PersonId(rule.to))
        if rule.to and (person is None or not may_decide_at(person, tenant)):
            faults[f"rules.{n}.to"] = "person_no_administrator"
    if faults:
        raise Invalid("rules_invalid", "The rules are invalid; see fields.", fields=faults)
