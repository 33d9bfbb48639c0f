"""Asked, approved, granted and used scopes of an app compared, and what an installation may be narrowed to. Pure.

A scope counts as used if a decision was permitted by it, wholly or in part. Launch, identity and session scopes reach no records, so
that their use is on no record: they are always kept.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from hilum.apps.installations.models import COMPARED_BOUND, Proposal, ScopeUse
from hilum.apps.registry.models import SCOPES_BOUND
from hilum.foundation.standards.smart.scopes import (
    ANY_TYPE,
    ClinicalScope,
    Scope,
    all_covered,
    covers,
    intersect,
    parse_stored,
    render,
)
from hilum.records.audit.models import PermitCount
from hilum.records.audit.policy import permitting_scopes

Scopes = tuple[str, ...]
ByType = Mapping[str, Sequence[tuple[tuple[Scope, ...], PermitCount]]]
"""The permits of each type, with the scopes that gave them."""


def compare(
    asked: Scopes, approved: Scopes, granted: Mapping[Scopes, int], permits: Iterable[PermitCount]
) -> tuple[ScopeUse, ...]:
    """Return a row for each scope that is asked for, approved or granted, at most COMPARED_BOUND.

    ``granted`` counts installations by their scopes; ``permits`` are what was permitted in the time compared.
    """
    named = parse_stored((*asked, *approved, *(each for scopes in granted for each in scopes)))
    scopes = tuple(dict.fromkeys(named))[:COMPARED_BOUND]
    places = _places(scopes, granted)
    within = parse_stored(asked), parse_stored(approved)
    by_type: dict[str, list[tuple[tuple[Scope, ...], PermitCount]]] = {}
    for permit in permits:
        pieces = permitting_scopes(permit.rule, permit.resource_type, permit.interaction)
        by_type.setdefault(permit.resource_type, []).append((pieces, permit))
    found: list[ScopeUse] = []
    for scope in scopes:
        is_asked, is_approved = (_is_within(scope, each) for each in within)
        row = ScopeUse(render(scope), is_asked, is_approved, places[scope])
        found.append(_use(scope, row, by_type))
    return tuple(found)


def _places(scopes: Sequence[Scope], granted: Mapping[Scopes, int]) -> dict[Scope, int]:
    """Return at how many installations each scope is granted in full by one of theirs."""
    found = dict.fromkeys(scopes, 0)
    # Each distinct scope is compared once, however many hospitals have it.
    within: dict[Scope, frozenset[Scope]] = {}
    for texts, number in granted.items():
        reached: set[Scope] = set()
        for wider in parse_stored(texts):
            if wider not in within:
                within[wider] = frozenset(each for each in scopes if covers(wider, each))
            reached |= within[wider]
        for each in reached:
            found[each] += number
    return found


def _is_within(scope: Scope, wider: tuple[Scope, ...]) -> bool:
    """Check whether scopes together cover one, letter by letter."""
    if not isinstance(scope, ClinicalScope):
        return scope in wider
    # Not by intersecting: that takes the square of the scopes of one type, and this is asked of every row.
    bare, letters = replace(scope, letters=0), 0
    for each in wider:
        if isinstance(each, ClinicalScope) and covers(each, bare):
            letters |= each.letters
    return not scope.letters & ~letters


def _use(scope: Scope, row: ScopeUse, by_type: ByType) -> ScopeUse:
    """Return a row with what was used of its scope."""
    if not isinstance(scope, ClinicalScope):
        return replace(row, kept=(row.scope,))
    types = by_type if scope.type == ANY_TYPE else (scope.type,)
    parts: list[Scope] = []
    number, last = 0, None
    for pieces, permit in (each for type_ in types for each in by_type.get(type_, ())):
        if used := intersect(pieces, (scope,)):
            parts += used
            number += permit.number
            last = permit.last if last is None else max(last, permit.last)
    kept = merged(parts)
    return replace(
        row,
        used=number,
        last=last,
        kept=tuple(map(render, kept)),
        unused=tuple(map(render, _unused(scope, kept))),
    )


def merged(parts: Iterable[Scope]) -> tuple[Scope, ...]:
    """Return the same rights in fewer scopes: letters of equal types and constraints joined, and what others cover left out."""
    found: dict[Scope, Scope] = {}
    for each in dict.fromkeys(parts):
        key = replace(each, letters=0) if isinstance(each, ClinicalScope) else each
        held = found.get(key)
        if isinstance(each, ClinicalScope) and isinstance(held, ClinicalScope):
            found[key] = replace(held, letters=held.letters | each.letters)
        else:
            found[key] = each
    whole = tuple(found.values())
    return tuple(each for each in whole if not any(other != each and covers(other, each) for other in whole))


def _unused(scope: ClinicalScope, kept: tuple[Scope, ...]) -> tuple[Scope, ...]:
    """Return what of a scope was not used; of a wildcard the whole, which stands for all that ``kept`` does not name."""
    if scope.type == ANY_TYPE:
        return (scope,)
    letters = scope.letters
    for each in kept:
        if isinstance(each, ClinicalScope) and covers(each, replace(scope, letters=each.letters)):
            letters &= ~each.letters
    return (replace(scope, letters=letters),) if letters else ()


def propose(installed: Scopes, rows: Iterable[ScopeUse]) -> tuple[Proposal, Scopes]:
    """Return what the comparison proposes for an installation, and the scopes to narrow it to (empty unless NARROW)."""
    of = {each.scope: each for each in rows}
    scopes = parse_stored(installed)
    found = [of.get(render(scope)) for scope in scopes]
    # Nothing is proposed for what was not compared.
    compared = [each for each in found if each is not None]
    if len(compared) < len(found):
        return Proposal.KEEP, ()
    clinical = [
        each for each, scope in zip(compared, scopes, strict=True) if isinstance(scope, ClinicalScope)
    ]
    if clinical and not any(each.used for each in clinical):
        return Proposal.UNINSTALL, ()
    left = merged(parse_stored(each for row in compared for each in row.kept))
    texts = tuple(map(render, left))
    if all_covered(installed, texts) or len(texts) > SCOPES_BOUND:
        return Proposal.KEEP, ()
    return Proposal.NARROW, texts


def long_unused(asked: Scopes, rows: Iterable[ScopeUse]) -> Scopes:
    """Return the scopes asked for that were certified and granted in all the time compared, and that permitted nothing in it (C66).

    A part of a scope that was used keeps the whole; what was never certified or granted for so long is new and not unused.
    """
    of = {each.scope: each for each in rows}
    found = []
    for text, scope in zip(asked, parse_stored(asked), strict=True):
        row = of.get(render(scope))
        # What was not compared is not known to be unused.
        if (
            isinstance(scope, ClinicalScope)
            and row is not None
            and row.approved
            and row.granted
            and not row.used
        ):
            found.append(text)
    return tuple(found)
