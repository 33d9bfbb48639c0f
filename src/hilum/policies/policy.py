"""The risk tier of an app, what a book admits of it, and which book decides about it where. Pure.

Every scope has a tier of its own, and is judged in the cell of that tier. So an app that asks for more keeps what it had, and what is
withheld is exactly what the book, the certificate or the way the client authenticates does not allow (C18, C21).
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime, time
from functools import lru_cache

from hilum.kernel.ids import AppId, TenantId
from hilum.policies.models import (
    ANY,
    NAMES_BOUND,
    NO_BOOK,
    STAGES_BOUND,
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
from hilum.policies.override_models import Level, Override
from hilum.policies.product_models import WORKFLOW_SCOPE, Expansion, ScopeProduct, ScopeStatus
from hilum.policies.products import Coverage, ended_by, part_in_force
from hilum.standards.smart import scopes as smart
from hilum.standards.smart.scopes import (
    ANY_TYPE,
    SPECIAL,
    ClinicalScope,
    Prefix,
    Scope,
    SpecialScope,
    all_covered,
    intersect,
    letters_of,
    parse_stored,
    render,
    types_of,
)

OVERRIDDEN_BOUND = 1_000
"""Books without the rules that are overridden for an app that are kept: one for each set of rules and book."""
CELLS_BOUND = 500
"""Cells whose lists are kept parsed: those of a few books; one has at most 150."""
NOTICES_BOUND = 10_000
"""Sets of scopes whose notice is kept: those of the tokens in use."""
SHOWN = 3
"""How many scopes of a successor a sentence names."""
_BITS = (1, 2, 4, 8, 16)


# --- the risk tier -------------------------------------------------------------------------------------------------------------


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
    return Assessment(
        highest((Tier.LOW, *(each.tier for each in reasons))),
        tuple(sorted(reasons, key=lambda each: -each.tier.rank)),
        tuple(advice),
    )


def _concerns(rule: TierRule, applicant: Applicant) -> bool:
    """Check the conditions of a rule that are not about scopes. How a client authenticates counts as named while it is not known."""
    return (
        (not rule.categories or applicant.category in rule.categories)
        and (not rule.clients or applicant.authentication in {None, *rule.clients})
        and (not rule.workflows or _declares(applicant.workflows, rule.workflows))
        and (not rule.placements or _declares(applicant.placements, rule.placements))
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
        and (not rule.types or not rule.types.isdisjoint({ANY, scope.type}) or scope.type == ANY_TYPE)
        and (not rule.letters or not set(rule.letters).isdisjoint(letters_of(scope.letters)))
    )


def _reason(rule: TierRule, applicant: Applicant, scope: Scope | None) -> TierReason:
    text = "" if scope is None else render(scope)
    type_ = scope.type if isinstance(scope, ClinicalScope) else text
    words = {
        "{type}": "every resource type" if type_ == ANY_TYPE else type_,
        "{scope}": text,
        "{workflow}": _first(applicant.workflows, rule.workflows),
        "{placement}": _first(applicant.placements, rule.placements),
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
    return f" (its {' and '.join(assumed)} are not declared)" if assumed else ""


def tier_judge(book: Book, applicant: Applicant) -> Callable[[Scope], Tier]:
    """Return a function from one scope of an app to its tier. A scope over several types or letters has the highest of their tiers."""
    rules = [rule for rule in book.binding_rules if _concerns(rule, applicant)]
    category = book.categories.get(applicant.category)
    fixed = [rule.tier for rule in rules if not rule.names_scopes]
    base = highest((Tier.LOW if category is None else category.floor, *fixed))
    varying = [rule for rule in rules if rule.names_scopes]
    return lambda scope: highest((base, *(rule.tier for rule in varying if meets(rule, scope))))


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
    if applicant.certified_category not in {"", applicant.category}:
        return _admit_moved(book, applicant)
    if book.without_overrides is not None:
        return _admit_overridden(book, book.without_overrides, applicant)
    assessment = assess(book, applicant)
    category = book.categories.get(applicant.category)
    tier_of = tier_judge(book, applicant)
    admitted: dict[object, Scope] = {}
    withheld: list[Withheld] = []
    acting = [Tier.LOW]
    for scope in parse_stored(applicant.scopes):
        covered = part_in_force(book, scope)
        reasons: dict[Withholding, None] = {}
        if covered != (scope,):
            reasons[Withholding.SCOPE if ended_by(book, scope) is None else Withholding.PRODUCT] = None
        for piece in covered:
            parts, why, tier = _judged(category, applicant, _by_tier(book, tier_of, piece), piece)
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
    before = admit(book, certified).scopes
    found = admit(book, replace(applicant, scopes=before, certified_category=""))
    moved = [
        Withheld(text, Withholding.MOVED) for text in applicant.scopes if not all_covered((text,), before)
    ]
    return replace(found, assessment=assess(book, applicant), withheld=(*moved, *found.withheld))


def _admit_overridden(book: Book, strict: Book, applicant: Applicant) -> Admission:
    """Admit an app for which rules are overridden: what is admitted with the rules, and what is admitted without them (C207).

    Both, because a scope whose tier falls is judged in the cell of the lower tier, which may not list it: an override takes nothing away.
    """
    before = admit(strict, applicant)
    found = admit(replace(book, without_overrides=None), applicant)
    still = {each.scope for each in before.withheld}
    acting = max((before, found), key=lambda each: -1 if each.tier is None else each.tier.rank)
    return Admission(
        found.assessment,
        acting.tier,
        acting.cell,
        tuple(dict.fromkeys((*before.scopes, *found.scopes))),
        tuple(each for each in found.withheld if each.scope in still),
    )


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
        within = listed(category.cells[tier])
        for piece in pieces:
            left = intersect((piece,), within)
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


def _cell_fault(category: Category, tier: Tier, applicant: Applicant) -> Withholding | None:
    """Return why nothing of a tier is admitted; None if its cell decides scope by scope."""
    if applicant.certified_tier is None or tier.rank > applicant.certified_tier.rank:
        return Withholding.CERTIFICATE
    cell = category.cells.get(tier)
    if cell is None:
        return Withholding.TIER
    return None if applicant.authentication in cell.client_authentication else Withholding.CLIENT


def _by_tier(book: Book, tier_of: Callable[[Scope], Tier], scope: Scope) -> dict[Tier, list[Scope]]:
    """Divide a scope into parts, each of one tier; a scope that is of one tier throughout stays whole.

    INVARIANT: the parts reach no more than the scope: a wildcard is divided over the types that it reaches (`standards.smart`).
    """
    if isinstance(scope, SpecialScope):
        return {tier_of(scope): [scope]}
    named = {type_ for rule in book.binding_rules for type_ in rule.types}
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


@lru_cache(maxsize=CELLS_BOUND)
def _limit(scopes: tuple[str, ...]) -> tuple[str, ...]:
    return (*scopes, *sorted(SPECIAL))


# --- what is in force where ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    """The rule books in force, by tenant. Before they are read, one that allows nothing.

    ``last`` and ``head`` are the number and digest of the last application. ``overrides``: by app, those that had not ended when they
    were read.
    """

    everywhere: Book = NO_BOOK
    at: Mapping[TenantId, Book] = field(default_factory=dict)
    last: int = 0
    head: str = ""
    overrides: Mapping[AppId, tuple[Override, ...]] = field(default_factory=dict)

    def book_at(self, tenant: TenantId, now: datetime, app: AppId | None = None) -> Book:
        """Return the book in force at a tenant, in which the scope products whose sunset is past are retired.

        For an app also without the rules that are overridden for it there now.
        """
        book = self.at.get(tenant, self.everywhere)
        book = as_of(book, now) if book.sunsets else book
        overrides = self.overrides.get(app, ()) if app else ()
        return overridden(book, rules_overridden(book, overrides, tenant, now)) if overrides else book

    def books(self) -> tuple[Book, ...]:
        """Return every book that is in force anywhere, the one everywhere first."""
        return tuple(dict.fromkeys((self.everywhere, *self.at.values())))


def as_of(book: Book, now: datetime) -> Book:
    """Return a book in which the scope products whose sunset is past are retired."""
    today = now.astimezone(UTC).date()
    past = [day for day in book.sunsets if day <= today]
    return _with_retired(book, past[-1]) if past else book


@lru_cache(maxsize=STAGES_BOUND)
def _with_retired(book: Book, day: date) -> Book:
    # Cached, so that a book between two sunsets is one object: what it admits is cached by it.
    assert book.products is not None, "only products have a sunset"
    ended = {
        each.name: replace(each, status=ScopeStatus.RETIRED)
        for each in book.products.values()
        if each.in_force and each.sunset is not None and each.sunset <= day
    }
    return replace(book, products={**book.products, **ended})


# --- overrides (C207) ----------------------------------------------------------------------------------------------------------


def rules_overridden(
    book: Book, overrides: Collection[Override], tenant: TenantId | None, now: datetime
) -> frozenset[str]:
    """Return the rules of a book that some overrides of an app set aside now at a tenant; None: everywhere."""
    return frozenset(each.rule for each in overrides if override_fault(each, book, tenant, now) == "")


def override_fault(override: Override, book: Book, tenant: TenantId | None, now: datetime) -> str:
    """Return why an override sets nothing aside under a book at a tenant; empty if it does.

    INVARIANT: whatever is over, changed or not known closes to deny, and needs no job to do so.
    """
    if override.tenant not in {None, tenant}:
        return "elsewhere"
    if override.ended_at is not None:
        return "ended"
    # The book in force may allow overrides less time than the one by which it was agreed to.
    if now >= min(override.ends_at, override.agreed_at + book.longest_override):
        return "expired"
    rule = next((each for each in book.tier_rules if each.name == override.rule), None)
    if rule is None or rule.level is not Level.OVERRIDABLE:
        return "not_overridable"
    return "" if rule_digest(rule) == override.rule_digest else "rule_changed"


@lru_cache(maxsize=NAMES_BOUND)
def rule_digest(rule: TierRule) -> str:
    """Return the digest of a tier rule: of its name, sentence, conditions and level."""
    # Without what is left out, so that a condition which a later release adds changes no digest.
    stated = {
        each.name: getattr(rule, each.name)
        for each in fields(rule)
        if getattr(rule, each.name) != each.default
    }
    plain = {name: sorted(value) if isinstance(value, frozenset) else value for name, value in stated.items()}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=OVERRIDDEN_BOUND)
def overridden(book: Book, rules: frozenset[str]) -> Book:
    """Return a book without some rules; the same object each time, since what it admits is cached by it."""
    if not rules:
        return book
    kept = tuple(rule for rule in book.tier_rules if rule.name not in rules)
    return replace(book, tier_rules=kept, without_overrides=book)
