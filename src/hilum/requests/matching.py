"""Whether a rule's conditions hold for a request, and which rules are valid. Pure."""

import re
from collections.abc import Collection, Iterator, Sequence

from hilum.identity.models import VENDOR_ROLES
from hilum.identity.policy import ROLES
from hilum.kernel.limits import out_of_range, too_long, too_many
from hilum.policies.models import Tier
from hilum.registry.policy import scope_faults
from hilum.requests.models import (
    DAYS_BOUND,
    NAMED_BOUND,
    REASON_BOUND,
    RULE_NAME_BOUND,
    RULE_SCOPES_BOUND,
    RULES_BOUND,
    Action,
    Holds,
    RequestFacts,
    Rule,
    Step,
)
from hilum.standards.smart.scopes import first_beyond

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
ASKERS = (ROLES | VENDOR_ROLES) - {"patient"}
"""The roles that may make requests."""


def judge_rule(rule: Rule, facts: RequestFacts) -> Step:
    """Return whether a rule's conditions hold for a request: NO if one of them does not, else UNKNOWN if one is not known, else YES."""
    unknown = ""
    for holds, sentence in _conditions(rule, facts):
        if holds is Holds.NO:
            return Step(rule.name, Holds.NO, sentence)
        if holds is Holds.UNKNOWN:
            unknown = unknown or sentence
    if unknown:
        return Step(rule.name, Holds.UNKNOWN, unknown)
    return Step(rule.name, Holds.YES, "Every condition holds.")


def _conditions(rule: Rule, facts: RequestFacts) -> Iterator[tuple[Holds, str]]:
    # The author of a rule about an app means requests from colleagues, not from its vendor.
    approves = rule.action in {Action.APPROVE, Action.RESTRICT}
    if approves and not rule.requesters and facts.requester_role in VENDOR_ROLES:
        yield Holds.NO, "The requester is a vendor, and the rule lists no role of a vendor."
    if rule.apps:
        yield _among(facts.app, rule.apps, "The app")
    if rule.vendors:
        yield _among(facts.vendor, rule.vendors, "The vendor")
    if rule.requesters:
        yield _among(facts.requester_role, rule.requesters, "The requester's role")
    if rule.categories:
        yield _among(facts.category, rule.categories, "The category")
    if rule.tier_at_most is not None:
        yield _tier(facts.tier, rule.tier_at_most, above=False)
    if rule.tier_at_least is not None:
        yield _tier(facts.tier, rule.tier_at_least, above=True)
    if rule.scopes_within:
        yield _scopes(facts.scopes, rule.scopes_within)


def _among(value: str, named: Collection[str], what: str) -> tuple[Holds, str]:
    if not value:
        return Holds.UNKNOWN, f"{what} is not known."
    if value in named:
        return Holds.YES, ""
    return Holds.NO, f"{what} is {value}, which the rule does not name."


def _tier(tier: Tier | None, bound: Tier, *, above: bool) -> tuple[Holds, str]:
    side = "least" if above else "most"
    if tier is None:
        return Holds.UNKNOWN, f"The tier is not known, and the rule wants at {side} {bound}."
    if tier.rank >= bound.rank if above else tier.rank <= bound.rank:
        return Holds.YES, ""
    return Holds.NO, f"The tier is {tier}, and the rule wants at {side} {bound}."


def _scopes(asked: Sequence[str], within: Sequence[str]) -> tuple[Holds, str]:
    if not asked:
        return Holds.UNKNOWN, "It is not known which scopes are asked for."
    outside = first_beyond(asked, within)
    return (Holds.YES, "") if outside is None else (Holds.NO, f"The rule's scopes do not cover {outside}.")


# --- what is valid -------------------------------------------------------------------------------------------------------------


def rules_faults(rules: Sequence[Rule], categories: Collection[str]) -> dict[str, str]:
    """Return the error code of each invalid field of a list of rules, such as ``rules.2.to``; ``categories``: those of the rule book."""
    faults: dict[str, str] = {}
    if len(rules) > RULES_BOUND:
        faults["rules"] = too_many(RULES_BOUND)
        return faults
    names = [each.name for each in rules]
    for n, rule in enumerate(rules):
        if names.index(rule.name) != n:
            faults[f"rules.{n}.name"] = "named_twice"
        for name, code in _rule_faults(rule, categories).items():
            faults[f"rules.{n}.{name}"] = code
    return faults


def _rule_faults(rule: Rule, categories: Collection[str]) -> dict[str, str]:
    faults: dict[str, str] = {}
    if not _NAME.fullmatch(rule.name) or len(rule.name) > RULE_NAME_BOUND:
        faults["name"] = "rule_name_malformed"
    if len(rule.because) > REASON_BOUND:
        faults["because"] = too_long(REASON_BOUND)
    elif rule.action is Action.DISMISS and not rule.because.strip():
        faults["because"] = "reason_missing"
    if rule.action is Action.WAIT:
        faults["action"] = "not_an_option"
    for name in ("apps", "vendors", "categories", "requesters"):
        if len(getattr(rule, name)) > NAMED_BOUND:
            faults[name] = too_many(NAMED_BOUND)
    if not rule.categories <= set(categories):
        faults["categories"] = "category_unknown"
    if not rule.requesters <= ASKERS:
        faults["requesters"] = "role_unknown"
    for name in ("scopes_within", "only_scopes"):
        named = getattr(rule, name)
        # Every request is compared with them, in a transaction.
        if len(named) > RULE_SCOPES_BOUND:
            faults[name] = too_many(RULE_SCOPES_BOUND)
        elif found := scope_faults(named or ("openid",)):
            faults[name] = found["scopes"]
    least, most = rule.tier_at_least, rule.tier_at_most
    if least is not None and most is not None and least.rank > most.rank:
        faults["tier_at_least"] = "never_holds"
    return faults | _limit_faults(rule)


def _limit_faults(rule: Rule) -> dict[str, str]:
    """Return the error code of each limit that is invalid, missing, or of another action."""
    faults: dict[str, str] = {}
    limits = {"only_scopes": rule.only_scopes, "only_roles": rule.only_roles, "for_days": rule.for_days}
    if rule.action is Action.RESTRICT:
        if not any(limits.values()):
            faults["only_scopes"] = "limit_missing"
    else:
        faults |= {name: "of_another_action" for name, value in limits.items() if value}
    if rule.to and rule.action is not Action.ESCALATE:
        faults["to"] = "of_another_action"
    if not rule.only_roles <= ROLES:
        faults["only_roles"] = "role_unknown"
    if rule.for_days is not None and not 1 <= rule.for_days <= DAYS_BOUND:
        faults["for_days"] = out_of_range(1, DAYS_BOUND, "days")
    return faults
