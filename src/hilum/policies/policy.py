"""The risk tier of an app, what a book admits of it, and which book decides about it where. Pure.

Every scope has a tier of its own, and is judged in the cell of that tier. So an app that asks for more keeps what it had, and what is
withheld is exactly what the book, the certificate or the way the client authenticates does not allow (C18, C21).
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time
from functools import lru_cache, partial

from hilum.policies.exception_models import Autonomy, Population
from hilum.policies.in_force import PolicyFacts, Succession, as_enforced, as_of, still_observed
from hilum.policies.mending import longest_grace
from hilum.policies.models import (
    ANY,
    NEVER_BELOW_HIGH,
    Admission,
    Applicant,
    Assessment,
    Book,
    Category,
    Cell,
    ClientAuthentication,
    Tier,
    TierReason,
    TierRule,
    Withheld,
    Withholding,
)
from hilum.policies.override_models import Level
from hilum.policies.product_models import WORKFLOW_SCOPE, Expansion, ScopeProduct
from hilum.policies.products import Coverage, ended_by, part_in_force
from hilum.policies.requirements import binds, set_aside, stated
from hilum.policies.strictness import WRITES, under_raised_tier, without_writes, writes
from hilum.standards.smart import scopes as smart
from hilum.standards.smart.scopes import (
    ANY_TYPE,
    LETTERS,
    SPECIAL,
    ClinicalScope,
    Prefix,
    Scope,
    SpecialScope,
    all_covered,
    intersect,
    parse_stored,
    render,
    types_of,
)

__all__ = [
    "Coverage",
    "PolicyFacts",
    "Succession",
    "as_enforced",
    "as_of",
    "binds",
    "longest_grace",
    "set_aside",
    "stated",
    "still_observed",
    "writes",
]

OVERRIDDEN_BOUND = 1_000
"""Books without the rules that are overridden for an app that are kept: one for each set of rules and book."""
CELLS_BOUND = 500
"""Cells whose lists are kept parsed: those of a few books; one has at most 150."""
DIVIDED_BOUND = 10_000
"""Scopes of which it is kept of which tiers they are, and what of them a cell lists."""
NOTICES_BOUND = 10_000
"""Sets of scopes whose notice is kept: those of the tokens in use."""
RAISED = "raised-by-a-reviewer"
"""Stands where a reason for a tier has the name of its rule."""
SHOWN = 3
"""How many scopes of a successor a sentence names."""
_BITS = (1, 2, 4, 8, 16)


# --- the risk tier -------------------------------------------------------------------------------------------------------------


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
    advice: list[TierReason] = []
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
        into = advice if rule.level is Level.ADVISORY else reasons
        into.append(_reason(rule, applicant, found))
    tier, computed = highest((Tier.LOW, *(each.tier for each in reasons))), None
    if applicant.raised is not None and applicant.raised.rank > tier.rank:
        reasons.append(TierReason(RAISED, applicant.raised, applicant.raised_because))
        tier, computed = applicant.raised, tier
    return Assessment(tier, tuple(sorted(reasons, key=lambda each: -each.tier.rank)), tuple(advice), computed)


def _concerns(rule: TierRule, applicant: Applicant) -> bool:
    """Check the conditions of a rule that are not about scopes. How a client authenticates counts as named while it is not known."""
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
    """Return the mask of letters in any order. A whole book is judged scope by scope, so it is kept."""
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
    """Return what to add to the sentence of a rule that counts only because its condition was not declared."""
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
    rules = [rule for rule in book.binding_rules if _concerns(rule, applicant)]
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


# --- admission -----------------------------------------------------------------------------------------------------------------


def admit(book: Book, applicant: Applicant) -> Admission:
    """Return what a book admits of an app, and why it withholds the rest.

    The app acts at the highest tier of what is admitted, and that cell has its limits. Nothing is admitted of a client whose way to
    authenticate is not known. A scope of which a part is withheld is divided; the parts of all divided scopes are joined by type.
    INVARIANT: what is admitted is within the app's scopes; each scope is judged as if it were the only one.
    Source: C20, C21, C179
    """
    # Nothing is cached here: whoever asks about an app that does not exist must not displace what the gateway
    # uses. It caches by client (`clients.policy.admission`).
    found = _admit(book, applicant)
    if applicant.autonomy is Autonomy.ACTS_ALONE and applicant.version not in book.autonomous:
        found = without_writes(found)
    if applicant.raised is None:
        return found
    # Last, so that it takes away from whatever was admitted: a raised tier never widens anything.
    category, tier_of = book.categories.get(applicant.category), tier_judge(book, applicant)
    divide = partial(_by_tier, book, tier_of)
    return under_raised_tier(found, applicant.raised, category, applicant.authentication, divide)


def _admit(book: Book, applicant: Applicant) -> Admission:
    """Admit an app by what was computed, and by the exceptions that lower it."""
    if applicant.certified_category not in {"", applicant.category}:
        return _admit_moved(book, applicant)
    if book.without_overrides is not None:
        return _admit_overridden(book, book.without_overrides, applicant)
    if (lowest := _lowered_to(book, applicant)) is not None:
        return _admit_lowered(book, lowest, applicant)
    assessment = assess(book, applicant)
    category = book.categories.get(applicant.category)
    about = _about_tiers(applicant)
    admitted: dict[object, Scope] = {}
    withheld: list[Withheld] = []
    acting = [Tier.LOW]
    for scope in parse_stored(applicant.scopes):
        covered = part_in_force(book, scope)
        reasons: dict[Withholding, None] = {}
        if covered != (scope,):
            reasons[Withholding.SCOPE if ended_by(book, scope) is None else Withholding.PRODUCT] = None
        for piece in covered:
            parts, why, tier = _judged(category, applicant, _divided(book, about, piece), piece)
            for part in parts:
                _join(admitted, part, whole=part is scope)
            reasons |= dict.fromkeys(why)
            acting += [tier] if parts else []
        withheld += [Withheld(render(scope), each) for each in reasons]
    if category is None or not admitted:
        return Admission(assessment, None, None, (), tuple(withheld))
    tier = highest(acting)
    scopes = tuple(dict.fromkeys(map(render, admitted.values())))
    return Admission(assessment, tier, category.cells[tier], scopes, tuple(withheld))


def _admit_moved(book: Book, applicant: Applicant) -> Admission:
    """Admit an app that has moved to another category since it was certified: only what both categories allow (C21).

    So a move takes away at once what the new category does not allow, and adds nothing before review certified it there.
    """
    certified = replace(applicant, category=applicant.certified_category, certified_category="")
    before = _admit(book, certified).scopes
    found = _admit(book, replace(applicant, scopes=before, certified_category=""))
    moved = [
        Withheld(text, Withholding.MOVED) for text in applicant.scopes if not all_covered((text,), before)
    ]
    return replace(found, assessment=assess(book, applicant), withheld=(*moved, *found.withheld))


def _admit_overridden(book: Book, strict: Book, applicant: Applicant) -> Admission:
    """Admit an app for which rules are overridden: what is admitted with the rules, and what is admitted without them (C207).

    Both, because a scope whose tier falls is judged in the cell of the lower tier, which may not list it: an override takes nothing away.
    """
    before = _admit(strict, applicant)
    return _both(before, _admit(replace(book, without_overrides=None), applicant))


def _both(before: Admission, found: Admission) -> Admission:
    """Return what either of two admissions admits, in the cell of the higher tier."""
    still = {each.scope for each in before.withheld}
    acting = max((before, found), key=lambda each: -1 if each.tier is None else each.tier.rank)
    return Admission(
        found.assessment,
        acting.tier,
        acting.cell,
        tuple(dict.fromkeys((*before.scopes, *found.scopes))),
        tuple(each for each in found.withheld if each.scope in still),
    )


def _lowered_to(book: Book, applicant: Applicant) -> Tier | None:
    """Return the tier to which an exception lowers an app; None if none does, or if it is not about what makes its tier now (C19)."""
    found = None if applicant.version is None else book.lowered.get(applicant.version)
    if found is None or applicant.at_most is not None or applicant.category != found.category:
        return None
    raising = raising_rules(assess(book, applicant), found.tier)
    return found.tier if raising and raising <= found.rules else None


def raising_rules(assessment: Assessment, above: Tier) -> frozenset[str]:
    """Return the rules that make an app's tier higher than another one; those that a reviewer's raise adds are not among them."""
    return frozenset(
        each.rule for each in assessment.reasons if each.tier.rank > above.rank and each.rule != RAISED
    )


def _admit_lowered(book: Book, lowest: Tier, applicant: Applicant) -> Admission:
    """Admit an app whose tier two people lowered: what it had, and what its scopes may in the cell of the lower tier.

    It acts at the lower tier if that alone admits all that it had.
    """
    plain = replace(book, lowered={})
    before, found = _admit(plain, applicant), _admit(plain, replace(applicant, at_most=lowest))
    if not all_covered(before.scopes, found.scopes):
        found = _both(before, found)
    computed = before.assessment
    return replace(found, assessment=replace(computed, tier=lowest, computed=computed.tier))


def _join(admitted: dict[object, Scope], part: Scope, *, whole: bool) -> None:
    """Add a scope as it was written, or a part of one to the other parts of the same type and constraints.

    So an admission has at most the app's own scopes and, for each prefix and type, one more, however many wildcards are divided.
    """
    if whole or isinstance(part, SpecialScope):
        admitted.setdefault(part, part)
        return
    key = part.prefix, part.type, frozenset(part.constraints)
    joined = admitted.setdefault(key, part)
    assert isinstance(joined, ClinicalScope), "only parts have such a key"
    admitted[key] = replace(joined, letters=joined.letters | part.letters)


def _judged(
    category: Category | None, applicant: Applicant, by_tier: Mapping[Tier, list[Scope]], scope: Scope
) -> tuple[tuple[Scope, ...], tuple[Withholding, ...], Tier]:
    """Return what is admitted of one scope, why any of it is withheld, and the highest tier of what is admitted."""
    if category is None:
        return (), (Withholding.CATEGORY,), Tier.LOW
    admitted: list[Scope] = []
    withheld: dict[Withholding, None] = {}
    acting = [Tier.LOW]
    for tier, pieces in by_tier.items():
        if (why := _cell_fault(category, tier, applicant)) is not None:
            withheld[why] = None
            continue
        cell = category.cells[tier]
        for piece in pieces:
            left = _within(cell.scopes, cell.session_scopes, piece)
            admitted += left
            acting += [tier] if left else []
            withheld |= {} if left == (piece,) else {Withholding.SCOPE: None}
    return tuple(admitted) if withheld else (scope,), tuple(withheld), highest(acting)


@lru_cache(maxsize=CELLS_BOUND)
def _listed(texts: tuple[str, ...]) -> tuple[Scope, ...]:
    return parse_stored(texts)


def listed(cell: Cell) -> tuple[Scope, ...]:
    """Return the scopes that a cell lists, parsed."""
    return _listed((*cell.scopes, *cell.session_scopes))


@lru_cache(maxsize=DIVIDED_BOUND)
def _within(scopes: tuple[str, ...], session_scopes: tuple[str, ...], piece: Scope) -> tuple[Scope, ...]:
    return intersect((piece,), _listed((*scopes, *session_scopes)))


def _cell_fault(category: Category, tier: Tier, applicant: Applicant) -> Withholding | None:
    """Return why nothing of a tier is admitted; None if its cell decides scope by scope."""
    if applicant.certified_tier is None or tier.rank > applicant.certified_tier.rank:
        return Withholding.CERTIFICATE
    cell = category.cells.get(tier)
    if cell is None:
        return Withholding.TIER
    return None if applicant.authentication in cell.client_authentication else Withholding.CLIENT


def _about_tiers(applicant: Applicant) -> Applicant:
    """Return an applicant with nothing but what the tier of one of its scopes depends on (``tier_judge``)."""
    return Applicant(
        applicant.category,
        (),
        applicant.authentication,
        applicant.workflows,
        applicant.placements,
        certified_tier=None,
        autonomy=applicant.autonomy,
        population=applicant.population,
        at_most=applicant.at_most,
    )


@lru_cache(maxsize=DIVIDED_BOUND)
def _divided(book: Book, about: Applicant, scope: Scope) -> Mapping[Tier, list[Scope]]:
    # Apps of one category ask for the same few scopes: a dry run asks of ten thousand apps, twice.
    return _by_tier(book, tier_judge(book, about), scope)


def _by_tier(book: Book, tier_of: Callable[[Scope], Tier], scope: Scope) -> dict[Tier, list[Scope]]:
    """Divide a scope into parts, each of one tier; a scope that is of one tier throughout stays whole.

    INVARIANT: the parts reach no more than the scope: a wildcard is divided over the types that it reaches (`standards.smart`).
    """
    if isinstance(scope, SpecialScope):
        return {tier_of(scope): [scope]}
    named = {type_ for rule in book.binding_rules for type_ in rule.types} | NEVER_BELOW_HIGH
    tiers: dict[tuple[str, int], Tier] = {}
    masks: dict[tuple[Tier, str], int] = {}
    for type_ in types_of(scope.prefix) if scope.type == ANY_TYPE else (scope.type,):
        for bit in (each for each in _BITS if scope.letters & each):
            # Types that no rule names are of one tier.
            alike = type_ if type_ in named else ""
            if (alike, bit) not in tiers:
                tiers[alike, bit] = tier_of(replace(scope, type=type_, letters=bit))
            tier = tiers[alike, bit]
            masks[tier, type_] = masks.get((tier, type_), 0) | bit
    if len(set(tiers.values())) == 1:
        return {next(iter(tiers.values())): [scope]}
    divided: dict[Tier, list[Scope]] = {}
    for (tier, type_), mask in masks.items():
        divided.setdefault(tier, []).append(replace(scope, type=type_, letters=mask))
    return divided


# --- questions of the rooms above ----------------------------------------------------------------------------------------------


def tiers_to_certify(book: Book, version: Applicant) -> dict[ClientAuthentication, Assessment]:
    """Return the tier at which a version is certified for each way to authenticate, except those whose tier its category does not allow.

    One for each, because the clients of a version may authenticate differently: a rule about one way must neither refuse the others nor
    count in their favour when their tier rises later (C21). Empty: the version cannot be certified.
    """
    found = {way: assess(book, replace(version, authentication=way)) for way in ClientAuthentication}
    return {
        way: assessment
        for way, assessment in found.items()
        if cell_of(book, version.category, assessment.tier) is not None
    }


def cell_of(book: Book, category: str, tier: Tier) -> Cell | None:
    """Return a cell; None if the book does not allow the category or the tier in it."""
    found = book.categories.get(category)
    return None if found is None else found.cells.get(tier)


# --- the end of a scope --------------------------------------------------------------------------------------------------------


def ended_sentence(book: Book, scope: Scope) -> str:
    """Return the sentence that a scope is not granted any more, and what to ask for instead; empty if any of it still is."""
    if part_in_force(book, scope) or (product := ended_by(book, scope)) is None:
        return ""
    return f"{render(scope)} ended on {product.sunset}. {_instead(book, product)}"


def first_ended(book: Book, scopes: Iterable[Scope]) -> str:
    """Return the sentence of the first of some scopes that is not granted any more; empty if there is none."""
    return next(filter(None, (ended_sentence(book, scope) for scope in scopes)), "")


def _instead(book: Book, product: ScopeProduct) -> str:
    successor = (book.products or {}).get(product.successor)
    if successor is None:
        return product.no_successor
    more = ", ..." if len(successor.covers) > SHOWN else ""
    return f"Its successor is {successor.name}: ask for {', '.join(successor.covers[:SHOWN])}{more}"


@lru_cache(maxsize=NOTICES_BOUND)
def notice_of(book: Book, scopes: tuple[str, ...]) -> ScopeProduct | None:
    """Return the deprecated product with the earliest sunset that covers any of these scopes; None if none does (C62)."""
    parsed = parse_stored(scopes)
    found = [each for each in book.notices if any(map(Coverage(each.covers).meets, parsed))]
    return min(found, key=lambda each: each.sunset or date.max, default=None)


def notice_headers(product: ScopeProduct) -> dict[str, str]:
    """Return the headers that announce a sunset. Source: RFC 9745 section 2; RFC 8594 section 3."""
    assert product.deprecated_from, "a product without this date is not deprecated"
    assert product.sunset, "a product without a sunset is not deprecated"
    since = datetime.combine(product.deprecated_from, time(), UTC)
    return {
        "Deprecation": f"@{int(since.timestamp())}",
        "Sunset": product.sunset.strftime("%a, %d %b %Y 00:00:00 GMT"),
    }


# --- workflows -----------------------------------------------------------------------------------------------------------------


def expand(book: Book, text: str, prefixes: Collection[Prefix]) -> Expansion:
    """Replace each workflow's scope in a scope parameter by the scopes of these prefixes that it expands into (C63)."""
    if WORKFLOW_SCOPE not in text:
        return Expansion(text)
    found: dict[str, None] = {}
    for word in smart.words_of(text):
        if not word.startswith(WORKFLOW_SCOPE):
            found[word] = None
            continue
        name = word.removeprefix(WORKFLOW_SCOPE)
        workflow = book.workflows.get(name)
        if workflow is None or workflow.scopes is None:
            return Expansion("", name)
        scopes = (each for each in parse_stored(workflow.scopes) if isinstance(each, ClinicalScope))
        found |= dict.fromkeys(render(each) for each in scopes if each.prefix in prefixes)
    return Expansion(" ".join(found))


def launch_workflow(book: Book, applicant_may: Collection[str], *, intent: str, placement: str) -> str:
    """Return the workflow that a launch is for; empty if it states none (C190).

    Its intent decides: the name of a workflow, or one of its intents. Without one that is known, the place from which it was opened does,
    if it belongs to one workflow only of those that the app may do.
    """
    for each in book.workflows.values():
        if intent and each.scopes is not None and intent in {each.name, *each.intents}:
            return each.name
    here = [
        each.name
        for each in book.workflows.values()
        if placement and placement in each.placements and each.name in applicant_may
    ]
    return here[0] if len(here) == 1 else ""


def workflow_limit(book: Book, name: str) -> tuple[str, ...] | None:
    """Return the most that may be granted for a workflow: its scopes, and those of identity, launch and session; None if it limits nothing.

    A workflow that the rule book does not have permits nothing.
    """
    if not name:
        return None
    workflow = book.workflows.get(name)
    if workflow is None:
        return ()
    return None if workflow.scopes is None else _limit(workflow.scopes)


def excess_scopes(book: Book, workflows: tuple[str, ...], scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the scopes on records that none of the declared workflows needs, as far as they are not needed whole (C64).

    What names no workflow has none to exceed; its tier counts it as for every one, or it is launched for none. A book of format 1 does not say what workflows need.
    """
    declared = [book.workflows[name] for name in workflows if name in book.workflows]
    if ANY in workflows or not declared or any(each.scopes is None for each in declared):
        return ()
    needed = tuple(scope for each in declared for scope in each.scopes or ())
    clinical = (text for text in scopes if text not in SPECIAL)
    return tuple(text for text in dict.fromkeys(clinical) if not all_covered((text,), needed))


@lru_cache(maxsize=CELLS_BOUND)
def _limit(scopes: tuple[str, ...]) -> tuple[str, ...]:
    return (*scopes, *sorted(SPECIAL))
