"""What must be true of a whole policy, beyond its fields. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date
from itertools import pairwise, product

from hilum.foundation.standards.fhir.definitions import resource_types
from hilum.foundation.standards.smart.scopes import (
    CREATE,
    DELETE,
    READ,
    SEARCH,
    UPDATE,
    ClinicalScope,
    Prefix,
    parse_stored,
    render,
    wildcard_reaches,
)
from hilum.policy.matrix.jurisdictions import rules_of
from hilum.policy.matrix.limits import SETS_THAT_REQUIRE, looser
from hilum.policy.matrix.models import (
    ANY,
    NEVER_BELOW_HIGH,
    TIERS,
    Applicant,
    Book,
    Category,
    ClientAuthentication,
    Fault,
    PolicyEntry,
    Tier,
)
from hilum.policy.matrix.tiers import highest, tier_judge

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_WRITES = (CREATE, UPDATE, DELETE)
_LETTERS = (CREATE, READ, UPDATE, DELETE, SEARCH)


def soundness_faults(book: Book) -> list[Fault]:
    """Return what is wrong with a policy whose every field is valid."""
    return [
        *_names_repeated(book),
        *_sentences_unclear(book),
        *_floor_lowered(book),
        *(fault for category in book.categories.values() for fault in _never_used(book, category)),
        *(fault for category in book.categories.values() for fault in _looser_above(category)),
    ]


def _names_repeated(book: Book) -> Iterator[Fault]:
    groups: dict[str, Iterable[str]] = {
        "tier_rules": [rule.name for rule in book.tier_rules],
        "regulated_lane": [step.name for step in book.regulated_lane],
        "packs": [pack.name for pack in book.packs],
    }
    for group, names in groups.items():
        seen: set[str] = set()
        for n, name in enumerate(names):
            if name in seen:
                yield Fault(f"{group}[{n}].name", "repeated", f"There is another one named {name!r}.")
            seen.add(name)


def _sentences_unclear(book: Book) -> Iterator[Fault]:
    """Find placeholders that would stay in a sentence: unknown ones, and those of a condition that the rule does not have."""
    for n, rule in enumerate(book.tier_rules):
        filled = {"type", "scope"} if rule.names_scopes else set()
        filled |= {"workflow"} if rule.workflows else set()
        filled |= {"placement"} if rule.placements else set()
        filled |= {"autonomy"} if rule.autonomy else set()
        filled |= {"population"} if rule.populations else set()
        for word in _PLACEHOLDER.findall(rule.because):
            if word not in filled:
                sentence = f"{{{word}}} cannot be filled in here; this rule has {', '.join(sorted(filled)) or 'none'}."
                yield Fault(f"tier_rules[{n}].because", "placeholder_unknown", sentence)


def _floor_lowered(book: Book) -> Iterator[Fault]:
    """Find writes to orders, medications and notes that are not of the high tier (C22)."""
    writes = [
        ClinicalScope(prefix, type_, letter)
        for type_ in sorted(NEVER_BELOW_HIGH)
        for prefix in Prefix
        for letter in _WRITES
    ]
    for category, client in product(book.categories, ClientAuthentication):
        tier_of = tier_judge(book, Applicant(category, (), client, (), (), certified_tier=None))
        below = [render(write) for write in writes if tier_of(write) is not Tier.HIGH]
        if below:
            sentence = (
                f"Writing orders, medications and notes is always of the high tier. With these rules {below[0]} is"
                f" lower in the category {category}. Add a rule of the high tier."
            )
            yield Fault("tier_rules", "floor_lowered", sentence)
            return


def _never_used(book: Book, category: Category) -> Iterator[Fault]:
    """Find scopes that an entry lists in vain: each scope is judged in the entry of its own tier, and that one does not list it."""
    judges = [
        tier_judge(book, Applicant(category.name, (), client, (), (), certified_tier=None))
        for client in ClientAuthentication
    ]
    covered = _Covered()
    for tier in (tier for tier in TIERS if tier in category.entries):
        entry = category.entries[tier]
        listed = [each for each in parse_stored(entry.scopes) if isinstance(each, ClinicalScope)]
        # Those of the lower entries are listed in this one too, and are decided on there.
        for scope in (each for each in listed if each not in covered):
            for atom in _letters_of(book, scope):
                own = highest(judge(atom) for judge in judges)
                if own.rank < tier.rank and not covered.covers(atom):
                    path = f"categories.{category.name}.entries.{tier}.scopes"
                    sentence = (
                        f"{render(atom)} (in {render(scope)}) is of the {own} tier in this category, so this entry"
                        f" never decides on it. List it in the {own} entry, or add a tier rule."
                    )
                    yield Fault(path, "never_used", sentence)
                    break
        covered.add(listed)


class _Covered:
    """The scopes of the lower entries by what they are on, so that each scope above is compared with few of them."""

    def __init__(self) -> None:
        self._scopes: set[ClinicalScope] = set()
        self._constraints: dict[tuple[Prefix, str, int], set[frozenset[tuple[str, str]]]] = {}

    def __contains__(self, scope: ClinicalScope) -> bool:
        return scope in self._scopes

    def add(self, scopes: Iterable[ClinicalScope]) -> None:
        for scope in scopes:
            self._scopes.add(scope)
            for letter in _letters(scope):
                place = self._constraints.setdefault((scope.prefix, scope.type, letter), set())
                place.add(frozenset(scope.constraints))

    def covers(self, atom: ClinicalScope) -> bool:
        """Check whether a scope of one letter is within the scopes: then one of them covers it alone."""
        own = frozenset(atom.constraints)
        types = [atom.type, ANY] if wildcard_reaches(atom.prefix, atom.type) else [atom.type]
        return any(
            constraints <= own
            for type_ in types
            for constraints in self._constraints.get((atom.prefix, type_, atom.letters), ())
        )


def _letters(scope: ClinicalScope) -> list[int]:
    return [bit for bit in _LETTERS if scope.letters & bit]


def _letters_of(book: Book, scope: ClinicalScope) -> Iterator[ClinicalScope]:
    """Yield the scope letter by letter; for a wildcard of a type that no rule names, which stands for most of what it covers."""
    type_ = scope.type
    if type_ == ANY:
        named = {type_ for rule in book.tier_rules for type_ in rule.types}
        type_ = min(resource_types() - named, default=ANY)
    return (replace(scope, type=type_, letters=bit) for bit in _letters(scope))


def _looser_above(category: Category) -> Iterator[Fault]:
    """Find limits of an entry that are looser than those of a lower tier: then a riskier app would be limited less."""
    entries = [(tier, category.entries[tier]) for tier in TIERS if tier in category.entries]
    for (lower, below), (higher, above) in pairwise(entries):
        for field in _looser_fields(below, above):
            path = f"categories.{category.name}.entries.{higher}.{field}"
            yield Fault(path, "looser_than_lower_tier", f"It is looser than in the {lower} tier.")


def _looser_fields(below: PolicyEntry, above: PolicyEntry) -> Iterator[str]:
    for name in looser(below, above):
        # What a riskier app may ask for in a second is no matter of its tier; and days count only where something ends with them.
        if name.startswith(("quota.", "alerts.")) or name == "traffic_class":
            continue
        if name == "dormant_days" and not (below.dormant_ends and above.dormant_ends):
            continue
        yield name
    if not above.client_authentication <= below.client_authentication:
        yield "client_authentication"
    for name in SETS_THAT_REQUIRE:
        if not getattr(above, name) >= getattr(below, name):
            yield name


def pack_faults(book: Book, on: date) -> tuple[Fault, ...]:
    """Return where a policy breaks the rules of a jurisdiction that bind on a day or later: nobody publishes a policy on their first day."""
    return tuple(
        replace(fault, sentence=f"{fault.sentence} This binds from {pack.valid_from}.")
        if pack.valid_from > on
        else fault
        for pack in book.packs
        if not pack.is_over(on)
        for each in rules_of(book, pack)
        for fault in each.faults
    )
