"""What a policy admits of an app. Pure.

Every scope has a tier of its own, and is judged in the entry of that tier. So an app that asks for more keeps what it had, and what is
withheld is exactly what the policy, the certificate or the way the client authenticates does not allow (C18, C21).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial

from hilum.foundation.standards.smart.scopes import (
    ANY_TYPE,
    ClinicalScope,
    Scope,
    SpecialScope,
    all_covered,
    intersect,
    parse_stored,
    render,
    types_of,
)
from hilum.policy.matrix.exception_models import Autonomy
from hilum.policy.matrix.models import (
    NEVER_BELOW_HIGH,
    Admission,
    Applicant,
    Assessment,
    Book,
    Category,
    PolicyEntry,
    Tier,
    Withheld,
    Withholding,
)
from hilum.policy.matrix.products import ended_by, part_in_force
from hilum.policy.matrix.strictness import under_raised_tier, without_writes
from hilum.policy.matrix.tiers import RAISED, assess, highest, raise_of, tier_judge

ENTRIES_BOUND = 500
"""How many entries' parsed lists are cached: those of a few policies, with at most 150 entries each."""
DIVIDED_BOUND = 10_000
"""How many scopes have their tiers, and the part that an entry lists, cached."""
_BITS = (1, 2, 4, 8, 16)


def admit(book: Book, applicant: Applicant) -> Admission:
    """Return what a policy admits of an app, and why it withholds the rest.

    The app acts at the highest tier of what is admitted, and that entry has its limits. Nothing is admitted of a client whose way to
    authenticate is not known. A scope of which a part is withheld is divided; the parts of all divided scopes are joined by type.
    INVARIANT: what is admitted is within the app's scopes; each scope is judged as if it were the only one.
    Source: C20, C21, C179
    """
    # Nothing is cached here: questions about apps that do not exist must not displace what the gateway
    # uses. The cache is by client (`clients.policy.admission`).
    found = _admit(book, applicant)
    if applicant.autonomy is Autonomy.ACTS_ALONE and applicant.version not in book.autonomous:
        found = without_writes(found)
    if (raised := raise_of(book, applicant)) is None:
        return found
    # Last, so that a raised tier only removes from what was admitted.
    category, tier_of = book.categories.get(applicant.category), tier_judge(book, applicant)
    divide = partial(_by_tier, book, tier_of)
    return under_raised_tier(found, raised.tier, category, applicant.authentication, divide)


def _admit(book: Book, applicant: Applicant) -> Admission:
    """Admit an app by its computed tier and the exceptions that lower it."""
    if applicant.certified_category not in {"", applicant.category}:
        return _admit_moved(book, applicant)
    if (lowest := _lowered_to(book, applicant)) is not None:
        return _admit_lowered(book, lowest, applicant)
    assessment = assess(book, applicant)
    category = book.categories.get(applicant.category)
    about = _about_tiers(applicant)
    admitted: dict[object, Scope] = {}
    withheld: list[Withheld] = []
    # The tiers of what is admitted. The highest decides the entry, with its lifetimes and quota; a scope
    # that is withheld does not count.
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
    return Admission(assessment, tier, category.entries[tier], scopes, tuple(withheld))


def _admit_moved(book: Book, applicant: Applicant) -> Admission:
    """Admit an app that has moved to another category since it was certified: only what both categories allow (C21).

    So a move removes at once what the new category does not allow, and adds nothing before review certifies it there.
    """
    certified = replace(applicant, category=applicant.certified_category, certified_category="")
    before = _admit(book, certified).scopes
    found = _admit(book, replace(applicant, scopes=before, certified_category=""))
    moved = [
        Withheld(text, Withholding.MOVED) for text in applicant.scopes if not all_covered((text,), before)
    ]
    return replace(found, assessment=assess(book, applicant), withheld=(*moved, *found.withheld))


def _both(before: Admission, found: Admission) -> Admission:
    """Return what either of two admissions admits, in the entry of the higher tier."""
    still = {each.scope for each in before.withheld}
    acting = max((before, found), key=lambda each: -1 if each.tier is None else each.tier.rank)
    return Admission(
        found.assessment,
        acting.tier,
        acting.entry,
        tuple(dict.fromkeys((*before.scopes, *found.scopes))),
        tuple(each for each in found.withheld if each.scope in still),
    )


def _lowered_to(book: Book, applicant: Applicant) -> Tier | None:
    """Return the tier to which an exception lowers an app; None without one, or if other rules make its present tier (C19)."""
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
    """Admit an app whose tier two people lowered: what it had, and what its scopes may in the entry of the lower tier.

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
        if (why := _entry_fault(category, tier, applicant)) is not None:
            withheld[why] = None
            continue
        entry = category.entries[tier]
        for piece in pieces:
            left = _within(entry.scopes, entry.session_scopes, piece)
            admitted += left
            acting += [tier] if left else []
            withheld |= {} if left == (piece,) else {Withholding.SCOPE: None}
    return tuple(admitted) if withheld else (scope,), tuple(withheld), highest(acting)


@lru_cache(maxsize=ENTRIES_BOUND)
def _listed(texts: tuple[str, ...]) -> tuple[Scope, ...]:
    return parse_stored(texts)


def listed(entry: PolicyEntry) -> tuple[Scope, ...]:
    """Return the scopes that an entry lists, parsed."""
    return _listed((*entry.scopes, *entry.session_scopes))


@lru_cache(maxsize=DIVIDED_BOUND)
def _within(scopes: tuple[str, ...], session_scopes: tuple[str, ...], piece: Scope) -> tuple[Scope, ...]:
    return intersect((piece,), _listed((*scopes, *session_scopes)))


def _entry_fault(category: Category, tier: Tier, applicant: Applicant) -> Withholding | None:
    """Return why nothing of a tier is admitted; None if its entry decides scope by scope."""
    if applicant.certified_tier is None or tier.rank > applicant.certified_tier.rank:
        return Withholding.CERTIFICATE
    entry = category.entries.get(tier)
    if entry is None:
        return Withholding.TIER
    return None if applicant.authentication in entry.client_authentication else Withholding.CLIENT


def _about_tiers(applicant: Applicant) -> Applicant:
    """Return an applicant with only the facts that a scope's tier depends on (``tier_judge``)."""
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
    # Apps of a category request the same few scopes, and a dry run judges ten thousand apps twice.
    return _by_tier(book, tier_judge(book, about), scope)


def _by_tier(book: Book, tier_of: Callable[[Scope], Tier], scope: Scope) -> dict[Tier, list[Scope]]:
    """Divide a scope into parts of one tier each; a scope with a single tier stays whole.

    INVARIANT: the parts reach no more than the scope: a wildcard is divided over the types that it reaches (`standards.smart`).
    """
    if isinstance(scope, SpecialScope):
        return {tier_of(scope): [scope]}
    named = {type_ for rule in book.tier_rules for type_ in rule.types} | NEVER_BELOW_HIGH
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
