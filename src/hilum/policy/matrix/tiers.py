"""The risk tier of an app, and of each of its scopes. Pure."""

from collections.abc import Callable, Iterable
from functools import lru_cache

from hilum.foundation.standards.smart.scopes import (
    ANY_TYPE,
    LETTERS,
    WRITES,
    ClinicalScope,
    Scope,
    SpecialScope,
    parse_stored,
    render,
)
from hilum.policy.matrix.exception_models import Population
from hilum.policy.matrix.models import (
    ANY,
    NEVER_BELOW_HIGH,
    Applicant,
    Assessment,
    Book,
    Raise,
    Tier,
    TierReason,
    TierRule,
)

RAISED = "raised-by-a-reviewer"
"""Stands where a reason for a tier has the name of its rule."""
POPULATIONS = {
    Population.ONE: "one patient at a time",
    Population.UP_TO_1000: "up to 1,000 patients",
    Population.UP_TO_100000: "up to 100,000 patients",
    Population.ALL: "every patient of the hospital",
}
"""How the sentence of a tier says how many patients an app reaches."""


def assess(book: Book, applicant: Applicant) -> Assessment:
    """Return the tier of an app with every reason for it.

    INVARIANT: more scopes, workflows or placements never lower the tier.
    Source: C18, C20, C22
    """
    reasons: list[TierReason] = []
    category = book.categories.get(applicant.category)
    if category is not None and category.floor is not Tier.LOW:
        sentence = f"its category is {category.title.lower()}"
        reasons.append(TierReason("category", category.floor, sentence))
    scopes = parse_stored(applicant.scopes)
    for rule in book.tier_rules:
        if not _concerns(rule, applicant):
            continue
        found = next((scope for scope in scopes if meets(rule, scope)), None) if rule.names_scopes else None
        if found is None and rule.names_scopes:
            continue
        reasons.append(_reason(rule, applicant, found))
    tier, computed = highest((Tier.LOW, *(each.tier for each in reasons))), None
    raised = raise_of(book, applicant)
    if raised is not None and raised.tier.rank > tier.rank:
        reasons.append(TierReason(RAISED, raised.tier, raised.reason))
        tier, computed = raised.tier, tier
    return Assessment(tier, tuple(sorted(reasons, key=lambda each: -each.tier.rank)), computed)


def raise_of(book: Book, applicant: Applicant) -> Raise | None:
    """Return how a reviewer raised the tier of an app's version; None if nobody did."""
    return None if applicant.version is None else book.raised.get(applicant.version)


def _concerns(rule: TierRule, applicant: Applicant) -> bool:
    """Check the conditions of a rule that are not about scopes. While it is not known how a client authenticates, the condition is met."""
    return (
        (not rule.categories or applicant.category in rule.categories)
        and (not rule.clients or applicant.authentication in {None, *rule.clients})
        and (not rule.workflows or _declares(applicant.workflows, rule.workflows))
        and (not rule.placements or _declares(applicant.placements, rule.placements))
        and (not rule.autonomy or applicant.autonomy in rule.autonomy)
        and (not rule.populations or applicant.population in {None, *rule.populations})
    )


def _declares(declared: tuple[str, ...], named: frozenset[str]) -> bool:
    """Check whether any of some workflows or placements is declared. Those of a version that declares none count as every one."""
    return ANY in declared or not named.isdisjoint(declared)


def meets(rule: TierRule, scope: Scope) -> bool:
    """Check whether a scope, or any part of it, meets the conditions on scopes of a rule that has some."""
    if isinstance(scope, SpecialScope):
        return scope.name in rule.special
    return (
        not rule.special
        and (not rule.prefixes or scope.prefix in rule.prefixes)
        and (not rule.types or scope.type in rule.types or ANY in rule.types or scope.type == ANY_TYPE)
        and (not rule.letters or bool(_mask(rule.letters) & scope.letters))
    )


@lru_cache(256)
def _mask(letters: str) -> int:
    """Return the mask of letters in any order. A whole policy is judged scope by scope, so it is kept."""
    return sum(1 << n for n, letter in enumerate(LETTERS) if letter in letters)


def _reason(rule: TierRule, applicant: Applicant, scope: Scope | None) -> TierReason:
    text = "" if scope is None else render(scope)
    type_ = scope.type if isinstance(scope, ClinicalScope) else text
    words = {
        "{type}": "every resource type" if type_ == ANY_TYPE else type_,
        "{scope}": text,
        "{workflow}": _first(applicant.workflows, rule.workflows),
        "{placement}": _first(applicant.placements, rule.placements),
        "{population}": POPULATIONS[applicant.population or _widest(rule)] if rule.populations else "",
        "{autonomy}": "" if applicant.autonomy is None else applicant.autonomy.replace("_", " "),
    }
    sentence = rule.because
    for placeholder, word in words.items():
        sentence = sentence.replace(placeholder, word)
    return TierReason(rule.name, rule.tier, sentence + _assumed(rule, applicant), text)


def _first(declared: tuple[str, ...], named: frozenset[str]) -> str:
    """Return the first declared name that a rule names; of a version that declares none, the first that the rule names."""
    return next((each for each in declared if each in named), min(named, default=""))


def _assumed(rule: TierRule, applicant: Applicant) -> str:
    """Return what to add to the sentence of a rule that applies only because its condition was not declared."""
    assumed = [
        name
        for name, named, declared in (
            ("workflows", rule.workflows, applicant.workflows),
            ("placements", rule.placements, applicant.placements),
        )
        if named and named.isdisjoint(declared)
    ]
    if rule.populations and applicant.population is None:
        assumed.append("patients")
    return f" (its {' and '.join(assumed)} are not declared)" if assumed else ""


def _widest(rule: TierRule) -> Population:
    """Return the widest population that a rule names."""
    return max((each for each in Population if each in rule.populations), key=list(Population).index)


def tier_judge(book: Book, applicant: Applicant) -> Callable[[Scope], Tier]:
    """Return a function from one scope of an app to its tier. A scope over several types or letters has the highest of their tiers."""
    rules = [rule for rule in book.tier_rules if _concerns(rule, applicant)]
    category = book.categories.get(applicant.category)
    fixed = [rule.tier for rule in rules if not rule.names_scopes]
    base = highest((Tier.LOW if category is None else category.floor, *fixed))
    above = [rule for rule in rules if rule.names_scopes and rule.tier.rank > base.rank]
    # Highest first: the first one that a scope meets decides.
    varying = sorted(above, key=lambda rule: -rule.tier.rank)
    most = applicant.at_most

    def judge(scope: Scope) -> Tier:
        tier = next((rule.tier for rule in varying if meets(rule, scope)), base)
        # INVARIANT: nobody puts writing orders, medications and notes below the high tier (C22).
        lowered = most is not None and tier.rank > most.rank and not _never_below_high(scope)
        return most if lowered and most is not None else tier

    return judge


def _never_below_high(scope: Scope) -> bool:
    return (
        isinstance(scope, ClinicalScope)
        and bool(scope.letters & WRITES)
        and (scope.type == ANY_TYPE or scope.type in NEVER_BELOW_HIGH)
    )


def highest(tiers: Iterable[Tier]) -> Tier:
    """Return the highest of some tiers."""
    return max(tiers, key=lambda tier: tier.rank)
