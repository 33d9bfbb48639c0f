"""Permissions of a consent page: what a person can accept or decline by one tick, whichever scopes express it. Pure.

A permission is a resource type, some letters, and a category for types that have categories. The permissions of a request partition its
scopes: letters that the same scopes express are grouped, and no two permissions overlap. So an unticked permission can be removed from
every scope that expresses it: ``user/`` and ``patient/``, v1 and v2, wildcards and granular scopes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from hilum.authorization.consent.words import CATEGORIES
from hilum.foundation.standards.fhir.attachments import referrer_types
from hilum.foundation.standards.fhir.values import split
from hilum.foundation.standards.smart.scopes import (
    ANY_TYPE,
    LETTERS,
    READ,
    ClinicalScope,
    Prefix,
    mask_of,
    parse_scope,
    render,
    types_of,
)

# An entry is a category token as written in a scope or, after "?", any other set of constraints, one a line.
# Neither character occurs in a parsed constraint.
CATEGORY = "category"
_CONSTRAINED, _SEPARATOR = "?", "\n"
_EVERY_LETTER = -1
FILES = "Binary"
"""A Binary is readable exactly if a resource that refers to it is readable, so it is no separate permission."""
Rights = Mapping[str, str]
"""The letters that a role may use, by resource type."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one requested scope covers of one type. ``n`` is its index in the request; ``scope.type`` is the type even for a wildcard."""

    n: int
    text: str
    scope: ClinicalScope
    wild: bool

    @property
    def category(self) -> str:
        """The single category that it is limited to; empty if it is limited to none, or to several."""
        values = [value for name, value in self.scope.constraints if name == CATEGORY]
        # Several values of one parameter are alternatives, several
        # parameters must all match: neither is a single category.
        if len(values) != 1 or len(split(values[0], ",")) != 1 or not _code_of(values[0]):
            return ""
        return values[0]


@dataclass(frozen=True, slots=True)
class Permission:
    """One tick. ``entry`` is its category or constraints, empty for the whole type. ``parts`` are what the requested scopes cover of it.

    ``value`` is a scope string, the value of the checkbox, unique on the page. ``whole`` is the scope string of the type without category.
    """

    type: str
    letters: int
    entry: str
    parts: tuple[Part, ...]
    value: str
    whole: str


def parts_of(asked: Iterable[str], rights: Rights | None = None) -> dict[str, list[Part]]:
    """Split the requested scopes by type. A wildcard is expanded to the types and letters that ``rights`` allow."""
    parts: dict[str, list[Part]] = {}
    for n, text in enumerate(asked):
        scope = parse_scope(text)
        if not isinstance(scope, ClinicalScope):
            continue
        if scope.type != ANY_TYPE:
            parts.setdefault(scope.type, []).append(Part(n, text, scope, wild=False))
            continue
        for type_ in types_of(scope.prefix):
            # Ticks for what the role can never do would only make the page longer.
            letters = scope.letters & _allowed(rights, type_)
            if letters:
                part = Part(n, text, replace(scope, type=type_, letters=letters), wild=True)
                parts.setdefault(type_, []).append(part)
    return parts


def _allowed(rights: Rights | None, type_: str) -> int:
    return _EVERY_LETTER if rights is None else mask_of(rights.get(type_, "")) or 0


def permissions_of(parts: Mapping[str, list[Part]]) -> tuple[Permission, ...]:
    """Partition the requested scopes into permissions, in the order requested."""
    # A file can be read through the resource that refers to it, so a separate tick would offer a choice that
    # does not exist (ADR 17).
    hidden = {FILES} if _reads_referrers(parts) else set()
    first = sorted((type_ for type_ in parts if type_ not in hidden), key=lambda type_: parts[type_][0].n)
    return tuple(each for type_ in first for each in _of_type(type_, parts[type_]))


def _reads_referrers(parts: Mapping[str, list[Part]]) -> bool:
    return any(part.scope.letters & READ for type_ in referrer_types() for part in parts.get(type_, ()))


def _of_type(type_: str, parts: list[Part]) -> list[Permission]:
    """Split a type into entries, and group the letters that the same scopes express in an entry."""
    letters_of: dict[tuple[str, tuple[Part, ...]], int] = {}
    # Letter by letter, because different scopes may request different letters of the same type; letters with
    # the same scopes are joined again at the end.
    for bit in (1 << n for n in range(len(LETTERS))):
        within = [part for part in parts if part.scope.letters & bit]
        # An unconstrained scope covers every category, so each gets a tick.
        whole = any(not part.scope.constraints for part in within)
        entries = _entries(type_, within, whole=whole)
        for entry in entries:
            about = tuple(part for part in within if entry in _entries_of(part, entries, whole=whole))
            letters_of[entry, about] = letters_of.get((entry, about), 0) | bit
    return [_permission(type_, letters, entry, about) for (entry, about), letters in letters_of.items()]


def _entries(type_: str, parts: list[Part], *, whole: bool) -> tuple[str, ...]:
    """Return the entries of a type: its categories, or the whole type if it has none, and one for each other set of constraints."""
    if whole:
        offered = [code for code, _ in CATEGORIES.get(type_, ())]
        return tuple(_with_requested(offered, parts)) if offered else ("",)
    entries = _with_requested([], [part for part in parts if len(part.scope.constraints) == 1])
    # Fewest constraints first: a scope with more of them may lie
    # within one with fewer, and then needs no entry of its own.
    for part in sorted(parts, key=lambda part: len(part.scope.constraints)):
        if not _entries_of(part, tuple(entries), whole=False):
            entries.append(_own_entry(part))
    return tuple(entries)


def _with_requested(offered: list[str], parts: list[Part]) -> list[str]:
    """Return categories with those that are requested beside them."""
    entries = list(offered)
    for part in parts:
        if part.category and not any(_same(part.category, other) for other in entries):
            entries.append(part.category)
    return entries


def _entries_of(part: Part, entries: tuple[str, ...], *, whole: bool) -> tuple[str, ...]:
    """Return the entries that a part covers. A part with more constraints than another falls into the other's entries."""
    if entries == ("",) or (whole and not part.category):
        return entries
    if same := tuple(entry for entry in entries if part.category and _same(part.category, entry)):
        return same
    # More constraints mean fewer resources, so a superset of constraints lies within the entry.
    constraints = set(_own_entry(part)[1:].split(_SEPARATOR))
    return tuple(
        entry
        for entry in entries
        if entry.startswith(_CONSTRAINED) and constraints >= set(entry[1:].split(_SEPARATOR))
    )


def _own_entry(part: Part) -> str:
    """Return the entry of constraints that are not a single category."""
    return _CONSTRAINED + _SEPARATOR.join(sorted(f"{name}={value}" for name, value in part.scope.constraints))


def _same(one: str, other: str) -> bool:
    """Check whether two category tokens may denote the same category; one without a system matches any system."""
    if _code_of(one) != _code_of(other):
        return False
    # `laboratory` and `system|laboratory` may cover the same resources; as two ticks, one could stay ticked and
    # leave open what the other withholds.
    return "|" not in one or "|" not in other or one == other


def _code_of(token: str) -> str:
    return token.rpartition("|")[2]


def may_overlap(one: Permission, other: Permission) -> bool:
    """Check whether a resource may fall under both permissions.

    Constraints that cannot be compared count as overlapping, so that nothing declined stays readable through them.
    """
    if one.type != other.type or not one.letters & other.letters:
        return False
    codes, others = _codes(one.entry), _codes(other.entry)
    return codes is None or others is None or not codes.isdisjoint(others)


def _codes(entry: str) -> frozenset[str] | None:
    """Return the codes of the categories that an entry is limited to; None if it is not limited by category."""
    if not entry.startswith(_CONSTRAINED):
        return frozenset({_code_of(entry)}) if entry else None
    pairs = (each.partition("=") for each in entry[1:].split(_SEPARATOR))
    values = [value for name, _, value in pairs if name == CATEGORY]
    return frozenset(_code_of(each) for each in split(values[0], ",")) if values else None


def _permission(type_: str, letters: int, entry: str, about: tuple[Part, ...]) -> Permission:
    """Build a permission. Its value is derived from the widest of its scopes, of ``patient/`` rather than ``user/``."""
    named = min(
        about, key=lambda part: (len(part.scope.constraints), part.scope.prefix is not Prefix.PATIENT)
    )
    if any(part.scope.prefix is Prefix.PATIENT for part in about):
        # The same value for both prefixes, so that it stays if the app requests the other one next time.
        named = replace(named, scope=replace(named.scope, prefix=Prefix.PATIENT))
    value = _text(named, letters, _within(named, entry))
    return Permission(
        type_,
        letters,
        entry,
        about,
        value,
        _text(named, letters, replace(named.scope, constraints=(), query="")),
    )


def _within(part: Part, entry: str) -> ClinicalScope:
    """Return the scope of a part limited to one of its entries."""
    scope = part.scope
    if not entry or entry.startswith(_CONSTRAINED) or part.category == entry:
        return scope
    return replace(scope, constraints=(*scope.constraints, (CATEGORY, entry)), query="")


def _text(part: Part, letters: int, scope: ClinicalScope) -> str:
    """Render a scope; if it equals the requested one, return the requested string unchanged."""
    rendered = replace(scope, letters=letters)
    # SMART 2.2 #fhir-resource-scope-syntax allows several spellings; the response repeats the app's.
    is_requested = not part.wild and rendered == parse_scope(part.text)
    return part.text if is_requested else render(rendered)


def granted_of(
    part: Part, permissions: Iterable[Permission], ticked: frozenset[str]
) -> tuple[bool, list[str]]:
    """Return whether a part is granted whole, and the scopes that are left of it when only the ticked permissions count."""
    mine = [each for each in permissions if each.type == part.scope.type and part in each.parts]
    left = [each for each in mine if each.value in ticked]
    if len(left) == len(mine):
        return True, [_text(part, part.scope.letters, part.scope)]
    # Letters that are ticked in every entry need no category; the others are granted entry by entry.
    everywhere = part.scope.letters
    for each in mine:
        everywhere &= _EVERY_LETTER if each.value in ticked else ~each.letters
    texts = [_text(part, everywhere, part.scope)] if everywhere else []
    by_entry: dict[str, int] = {}
    for each in left:
        if each.letters & ~everywhere:
            by_entry[each.entry] = by_entry.get(each.entry, 0) | each.letters & ~everywhere
    return False, texts + [_text(part, mask, _within(part, entry)) for entry, mask in by_entry.items()]
