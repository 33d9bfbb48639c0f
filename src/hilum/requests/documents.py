"""Rules, facts and verdicts as JSON: as they are stored, and rules also as the API takes them. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from hilum.kernel.ids import AppId, PersonId, VendorId
from hilum.policies.models import Tier
from hilum.requests.models import Action, Grant, Holds, Obstacle, RequestFacts, Rule, Step, Verdict

UNREADABLE = Rule("unreadable", Action.ESCALATE)
"""Replaces rules that this release cannot read: everything escalates."""


def write_rule(rule: Rule) -> dict[str, Any]:
    """Return a rule as JSON; conditions and limits that are not set are left out."""
    found: dict[str, Any] = {
        "name": rule.name,
        "action": rule.action.value,
        "because": rule.because,
        "apps": sorted(rule.apps),
        "vendors": sorted(rule.vendors),
        "categories": sorted(rule.categories),
        "tier_at_most": rule.tier_at_most and rule.tier_at_most.value,
        "tier_at_least": rule.tier_at_least and rule.tier_at_least.value,
        "scopes_within": list(rule.scopes_within),
        "requesters": sorted(rule.requesters),
        "only_scopes": list(rule.only_scopes),
        "only_roles": sorted(rule.only_roles),
        "for_days": rule.for_days,
        "to": rule.to,
    }
    return {name: value for name, value in found.items() if value}


def read_rule(found: Mapping[str, Any]) -> Rule:
    """Return a rule from JSON. Raises KeyError, TypeError, ValueError for one that this release does not know."""
    known = dict(found)
    known["action"] = Action(known["action"])
    for name in ("tier_at_most", "tier_at_least"):
        known[name] = Tier(known[name]) if known.get(name) else None
    for name in ("apps", "vendors", "categories", "requesters", "only_roles"):
        known[name] = frozenset(known.get(name) or ())
    for name in ("scopes_within", "only_scopes"):
        known[name] = tuple(known.get(name) or ())
    # A field that a rule does not have raises: a condition that was ignored would widen the rule.
    return Rule(**known)


def read_rules(found: Sequence[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """Return stored rules; UNREADABLE alone if this release does not know one of them."""
    try:
        return tuple(map(read_rule, found))
    except (KeyError, TypeError, ValueError):
        return (UNREADABLE,)


def write_facts(facts: RequestFacts) -> dict[str, Any]:
    """Return facts as JSON."""
    return {
        "app": facts.app,
        "vendor": facts.vendor,
        "category": facts.category,
        "tier": facts.tier and facts.tier.value,
        "requester": facts.requester,
        "requester_role": facts.requester_role,
        "roles": sorted(facts.roles),
        "scopes": list(facts.scopes),
        "admitted": list(facts.admitted),
        "only_backend": facts.only_backend,
        "obstacles": [each.value for each in facts.obstacles],
        "needed": list(facts.needed),
    }


def read_facts(found: Mapping[str, Any]) -> RequestFacts:
    """Return facts from JSON."""
    return RequestFacts(
        app=AppId(found["app"]),
        vendor=VendorId(found["vendor"]),
        category=found["category"],
        tier=Tier(found["tier"]) if found["tier"] else None,
        requester=PersonId(found["requester"]),
        requester_role=found["requester_role"],
        roles=frozenset(found["roles"]),
        scopes=tuple(found["scopes"]),
        admitted=tuple(found["admitted"]),
        only_backend=found["only_backend"],
        obstacles=tuple(map(_obstacle, found["obstacles"])),
        # Older requests have none.
        needed=tuple(found.get("needed", ())),
    )


def _obstacle(text: str) -> Obstacle:
    # A newer release's obstacle is still an obstacle.
    return Obstacle(text) if text in set(Obstacle) else Obstacle.UNKNOWN


def write_verdict(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as JSON."""
    grant = verdict.grant
    return {
        "action": verdict.action.value,
        "rule": verdict.rule,
        "because": verdict.because,
        "obstacle": verdict.obstacle and verdict.obstacle.value,
        "to": verdict.to,
        "grant": grant and {"roles": sorted(grant.roles), "scopes": list(grant.scopes), "days": grant.days},
        "steps": [
            {"rule": each.rule, "holds": each.holds.value, "sentence": each.sentence}
            for each in verdict.steps
        ],
    }


def read_verdict(found: Mapping[str, Any]) -> Verdict:
    """Return a verdict from JSON."""
    grant = found["grant"]
    return Verdict(
        action=Action(found["action"]),
        rule=found["rule"],
        because=found["because"],
        obstacle=_obstacle(found["obstacle"]) if found["obstacle"] else None,
        to=found["to"],
        grant=grant and Grant(frozenset(grant["roles"]), tuple(grant["scopes"]), grant["days"]),
        steps=tuple(Step(each["rule"], Holds(each["holds"]), each["sentence"]) for each in found["steps"]),
    )
