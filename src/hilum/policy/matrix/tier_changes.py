"""Which scopes are of another tier in one policy than in another, and what that opens to them. Pure.

Rules are compared as sets: a situation is one way of authenticating, with at most one workflow, one placement and one
autonomy of an AI, and a set of situations is the bits of one integer. So the time does not depend on how many situations the rules of two policies distinguish.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

from hilum.foundation.standards.fhir.definitions import resource_types
from hilum.foundation.standards.smart import scopes as smart
from hilum.foundation.standards.smart.scopes import (
    SPECIAL,
    ClinicalScope,
    Prefix,
    Scope,
    SpecialScope,
    intersect,
)
from hilum.policy.matrix.admission import listed
from hilum.policy.matrix.exception_models import Population
from hilum.policy.matrix.models import (
    ANY,
    TIERS,
    Book,
    Category,
    ClientAuthentication,
    PolicyEntry,
    Tier,
    TierRule,
)
from hilum.policy.matrix.tiers import highest, meets

_LETTERS = (smart.CREATE, smart.READ, smart.UPDATE, smart.DELETE, smart.SEARCH)
_CLIENTS = tuple(ClientAuthentication)
_LOW, _MODERATE, _HIGH = TIERS
Pairs = Mapping[ClientAuthentication, frozenset[tuple[Tier, Tier]]]
"""The former and present tier of a scope, by client authentication, whatever workflows and placements an app declares."""


@dataclass(frozen=True, slots=True)
class TierFall:
    """Scopes whose tier falls in some categories, and the rules that kept them up before; none: the floor of the category."""

    rules: tuple[str, ...]
    was: Tier
    now: Tier
    categories: tuple[str, ...]
    scopes: tuple[Scope, ...]


@dataclass(frozen=True, slots=True)
class TierRise:
    """Scopes of a category whose tier rises into an entry that lists them. ``gained``: the part that their entry did not list before."""

    category: str
    was: Tier
    now: Tier
    gained: tuple[Scope, ...]


@dataclass(frozen=True, eq=False)
class TierChanges:
    """The comparison of the tier rules and floors of two books."""

    before: Book
    after: Book

    def found(self) -> tuple[tuple[TierFall, ...], tuple[TierRise, ...]]:
        """Return what falls, folded by rule, and what rises, folded by category."""
        fallen: dict[tuple[tuple[str, ...], Tier, Tier], dict[str, dict[Scope, None]]] = {}
        risen: dict[tuple[str, Tier, Tier], dict[Scope, None]] = {}
        for name, new in self.after.categories.items():
            old = self.before.categories.get(name)
            for key, atoms in () if old is None else self._differing(old, new):
                assert old is not None, "a new category has no tiers to compare"
                pairs = self._pairs(key, old.floor, new.floor)
                for was, now in sorted({pair for each in pairs.values() for pair in each}):
                    if now.rank < was.rank:
                        by_category = fallen.setdefault((self._kept_up(key, was), was, now), {})
                        by_category.setdefault(name, {}).update(dict.fromkeys(atoms))
                    elif now.rank > was.rank:
                        clients = [client for client, each in pairs.items() if (was, now) in each]
                        opened = self._opened(old.entries.get(was), new.entries.get(now), clients, atoms)
                        if opened is not None:
                            risen.setdefault((name, was, now), {}).update(dict.fromkeys(opened))
        falls = (
            TierFall(rules, was, now, tuple(names), atoms)
            for (rules, was, now), by_category in fallen.items()
            for atoms, names in _folded(by_category).items()
        )
        return tuple(falls), tuple(TierRise(*key, tuple(gained)) for key, gained in risen.items())

    # --- the rules of both policies, each once, numbered ---------------------------------------------------------------------------

    @cached_property
    def rules(self) -> tuple[TierRule, ...]:
        """The rules of both policies without names and sentences, which decide nothing; equal ones once."""
        return tuple(dict.fromkeys(map(_bare, (*self.before.tier_rules, *self.after.tier_rules))))

    @cached_property
    def _numbers(self) -> dict[TierRule, int]:
        return {rule: n for n, rule in enumerate(self.rules)}

    def _of(self, rules: Iterable[TierRule]) -> int:
        """Return a set of rules as bits."""
        return _union(1 << self._numbers[_bare(rule)] for rule in rules)

    @cached_property
    def _before(self) -> int:
        return self._of(self.before.tier_rules)

    @cached_property
    def _after(self) -> int:
        return self._of(self.after.tier_rules)

    def _numbered(self, rules: int) -> list[int]:
        return [n for n in range(len(self.rules)) if rules >> n & 1]

    def _differing(self, old: Category, new: Category) -> Iterator[tuple[int, list[Scope]]]:
        """Yield each set of rules that some scopes of a category meet, with these scopes, if one of the rules or the floor differs."""
        concerning = self._of(
            rule for rule in self.rules if not rule.categories or new.name in rule.categories
        )
        differing, floor_differs = self._before ^ self._after, old.floor is not new.floor
        if not (floor_differs or concerning & differing):
            return
        groups: dict[int, list[Scope]] = {}
        for met, atoms in self._atoms_by_rules.items():
            if floor_differs or met & concerning & differing:
                groups.setdefault(met & concerning, []).extend(atoms)
        yield from groups.items()

    @cached_property
    def _atoms_by_rules(self) -> dict[int, list[Scope]]:
        """Every atom by the set of rules whose conditions on scopes it meets."""
        found: dict[int, list[Scope]] = {}
        always = self._of(rule for rule in self.rules if not rule.names_scopes)
        varying = [(1 << n, rule) for n, rule in enumerate(self.rules) if rule.names_scopes]
        for atom in self.atoms:
            met = always | _union(bit for bit, rule in varying if meets(rule, atom))
            found.setdefault(met, []).append(atom)
        return found

    # --- scopes ------------------------------------------------------------------------------------------------------------------

    @cached_property
    def stand_in(self) -> str:
        """A type that neither policy names, which stands for all of them; preferably one that ``patient/*`` reaches."""
        rest = resource_types() - self._named_types
        return min(
            rest, key=lambda name: (not smart.wildcard_reaches(Prefix.PATIENT, name), name), default=""
        )

    @cached_property
    def _named_types(self) -> frozenset[str]:
        named = {type_ for rule in self.rules for type_ in rule.types}
        for book in (self.before, self.after):
            for category in book.categories.values():
                for entry in category.entries.values():
                    named |= {scope.type for scope in listed(entry) if isinstance(scope, ClinicalScope)}
        return frozenset(named - {ANY})

    @cached_property
    def types(self) -> tuple[str, ...]:
        return (*sorted(self._named_types), *filter(None, (self.stand_in,)))

    @cached_property
    def atoms(self) -> tuple[Scope, ...]:
        """Every scope of one letter, of each type that a policy names and of one that none does, and every special scope."""
        clinical = (ClinicalScope(*each) for each in product(Prefix, self.types, _LETTERS))
        return (*clinical, *map(SpecialScope, sorted(SPECIAL)))

    # --- situations ----------------------------------------------------------------------------------------------------------------

    @cached_property
    def _situations(self) -> "_Situations":
        return _Situations(self.rules)

    @cached_property
    def _pairs_found(self) -> dict[tuple[int, Tier, Tier], Pairs]:
        return {}

    def _pairs(self, met: int, floor_before: Tier, floor_after: Tier) -> Pairs:
        """Return the tiers that a scope which meets these rules can have in both books."""
        key = met, floor_before, floor_after
        if key not in self._pairs_found:
            was = self._tiers(met & self._before, floor_before)
            now = self._tiers(met & self._after, floor_after)
            self._pairs_found[key] = {
                client: _joined({(b, a) for b, a in product(TIERS, TIERS) if was[b] & now[a] & situations})
                for client, situations in self._situations.of_client.items()
            }
        return self._pairs_found[key]

    def _tiers(self, rules: int, floor: Tier) -> dict[Tier, int]:
        """Return the situations in which a scope is of each tier."""
        masks = dict.fromkeys(TIERS, 0) | {floor: self._situations.all}
        for n in self._numbered(rules):
            masks[self.rules[n].tier] |= self._situations.of_rule[n]
        above = 0
        for tier in reversed(TIERS):
            masks[tier], above = masks[tier] & ~above, above | masks[tier]
        return {**masks, _LOW: masks[_LOW] | (self._situations.all & ~above)}

    # --- what differs ----------------------------------------------------------------------------------------------------------------

    def _kept_up(self, met: int, was: Tier) -> tuple[str, ...]:
        """Return the names of the rules of the first policy that put a scope into a tier and are not in the second."""
        key = met & self._before & ~self._after, was
        if key not in self._kept_up_by:
            self._kept_up_by[key] = tuple(
                rule.name for bit, rule in self._named_before if key[0] & bit and rule.tier is was
            )
        return self._kept_up_by[key]

    @cached_property
    def _kept_up_by(self) -> dict[tuple[int, Tier], tuple[str, ...]]:
        return {}

    @cached_property
    def _named_before(self) -> tuple[tuple[int, TierRule], ...]:
        return tuple((self._of((rule,)), rule) for rule in self.before.tier_rules)

    def _opened(
        self,
        below: PolicyEntry | None,
        above: PolicyEntry | None,
        clients: Iterable[ClientAuthentication],
        atoms: Iterable[Scope],
    ) -> tuple[Scope, ...] | None:
        """Return what an entry lists of some scopes that the entry of their tier before did not; None if it lists none of them at all."""
        if above is None:
            return None
        before, after = self._index(below), self._index(above)
        pairs = {
            (
                client in above.client_authentication,
                below is not None and client in below.client_authentication,
            )
            for client in clients
        }
        lists, gained = False, dict[Scope, None]()
        for atom in atoms if any(now for now, _ in pairs) else ():
            now = intersect((atom,), after(atom))
            lists = lists or bool(now)
            for _, was_allowed in (pair for pair in pairs if pair[0]):
                was = intersect((atom,), before(atom)) if was_allowed else ()
                gained |= dict.fromkeys(piece for piece in now if intersect((piece,), was) != (piece,))
        return tuple(gained) if lists else None

    @cached_property
    def _indexes(self) -> dict[int, "Index"]:
        return {}

    def _index(self, entry: PolicyEntry | None) -> "Index":
        # By identity: entries live as long as their policies, and an entry is slow to hash.
        if id(entry) not in self._indexes:
            self._indexes[id(entry)] = index_of(() if entry is None else listed(entry))
        return self._indexes[id(entry)]


Index = Callable[[Scope], tuple[Scope, ...]]
"""Returns those of a list of scopes that can have anything in common with a scope."""


def index_of(scopes: Iterable[Scope]) -> Index:
    """Index a list of scopes by prefix and type, so that comparing two long lists takes no time for each pair."""
    found: dict[object, list[Scope]] = {}
    for scope in scopes:
        key = (scope.prefix, scope.type) if isinstance(scope, ClinicalScope) else scope
        found.setdefault(key, []).append(scope)
        if isinstance(scope, ClinicalScope):
            found.setdefault(scope.prefix, []).append(scope)

    def near(scope: Scope) -> tuple[Scope, ...]:
        if isinstance(scope, SpecialScope):
            return tuple(found.get(scope, ()))
        if scope.type == smart.ANY_TYPE:
            return tuple(found.get(scope.prefix, ()))
        return (
            *found.get((scope.prefix, scope.type), ()),
            *found.get((scope.prefix, smart.ANY_TYPE), ()),
        )

    return near


class _Situations:
    """The situations that some rules distinguish, and in which of them each rule holds: sets as the bits of integers."""

    def __init__(self, rules: tuple[TierRule, ...]) -> None:
        # None stands for the workflows and placements that no rule names.
        workflows = (None, *sorted({name for rule in rules for name in rule.workflows}))
        placements = (None, *sorted({name for rule in rules for name in rule.placements}))
        masks: dict[tuple[str, object], int] = {}
        # A version declares at most one; None: it uses no AI.
        autonomy = (None, *sorted({name for rule in rules for name in rule.autonomy}))
        # None: it declares nothing of it, and meets every condition on it. Only distinguished where a rule asks.
        asked = any(rule.populations for rule in rules)
        populations = (None, *Population) if asked else (None,)
        named = ("client", "workflow", "placement", "autonomy", "population")
        for n, situation in enumerate(product(_CLIENTS, workflows, placements, autonomy, populations)):
            for key in zip(named, situation, strict=True):
                masks[key] = masks.get(key, 0) | 1 << n
        self.of_client = {client: masks["client", client] for client in _CLIENTS}
        self.all = _union(self.of_client.values())

        def holds(what: str, names: Iterable[str | None]) -> int:
            return _union(masks[what, name] for name in names) or self.all

        self.of_rule = [
            holds("client", rule.clients)
            & holds("workflow", rule.workflows)
            & holds("placement", rule.placements)
            & holds("autonomy", rule.autonomy)
            & holds("population", (None, *rule.populations) if rule.populations else ())
            for rule in rules
        ]


def _joined(pairs: set[tuple[Tier, Tier]]) -> frozenset[tuple[Tier, Tier]]:
    """Add the pairs of an app that declares several workflows or placements: in each policy the highest tier of any of them."""
    return frozenset(
        (highest((b, other_b)), highest((a, other_a))) for b, a in pairs for other_b, other_a in pairs
    )


def _folded(by_category: Mapping[str, Mapping[Scope, None]]) -> dict[tuple[Scope, ...], list[str]]:
    """Return the categories of each list of scopes."""
    folded: dict[tuple[Scope, ...], list[str]] = {}
    for name, atoms in by_category.items():
        folded.setdefault(tuple(sorted(atoms, key=smart.render)), []).append(name)
    return folded


def _bare(rule: TierRule) -> TierRule:
    return replace(rule, name="", because="")


def _union(masks: Iterable[int]) -> int:
    union = 0
    for mask in masks:
        union |= mask
    return union
