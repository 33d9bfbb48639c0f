"""What is left of an admission under a raised tier, and without writes of an AI that acts alone. Pure.

Each function returns a part of the admission that it was given, with limits that are no looser.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from hilum.foundation.standards.smart.scopes import (
    WRITES,
    ClinicalScope,
    Scope,
    intersect,
    parse_stored,
    render,
)
from hilum.policy.matrix.exceptions import binds
from hilum.policy.matrix.limits import SETS_THAT_REQUIRE, looser, with_limits
from hilum.policy.matrix.models import (
    ANY,
    Admission,
    Category,
    ClientAuthentication,
    PolicyEntry,
    Tier,
    Withheld,
    Withholding,
)

Divide = Callable[[Scope], dict[Tier, list[Scope]]]
"""Divides a scope into parts, each of one tier."""


def stricter(one: PolicyEntry, other: PolicyEntry) -> PolicyEntry:
    """Return an entry with the stricter of two entries' limits. It lists what ``other`` lists, and has its review clocks.

    INVARIANT: none of its limits is looser than in either entry.
    """
    tighter = with_limits(other, one, looser(one, other))
    return replace(
        tighter,
        client_authentication=one.client_authentication & other.client_authentication,
        workflows=_both(one.workflows, other.workflows),
        placements=_both(one.placements, other.placements),
        waived=frozenset(
            each for each in one.waived | other.waived if not binds(one, each) and not binds(other, each)
        ),
        **{name: getattr(one, name) | getattr(other, name) for name in SETS_THAT_REQUIRE},
    )


def _both(one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    if ANY in one:
        return other
    return one if ANY in other else one & other


def under_raised_tier(
    found: Admission,
    raised: Tier,
    category: Category | None,
    authentication: ClientAuthentication | None,
    divide: Divide,
) -> Admission:
    """Return what is left of an admission when a reviewer raised the tier: what the higher entry allows too (C19).

    What is of that tier or a higher one anyway stays as it is. The certificate still counts: the reviewer did not withdraw it.
    """
    if category is None or found.entry is None or found.tier is None:
        return found
    above = category.entries.get(raised)
    fault = _entry_fault(above, authentication)
    listed = () if above is None else parse_stored((*above.scopes, *above.session_scopes))
    scopes: list[str] = []
    withheld: list[Withheld] = []
    for scope in parse_stored(found.scopes):
        parts = divide(scope)
        # Pieces of the raised tier or above were judged by their own entry already. Those below are reduced
        # to what the raised tier's entry lists; nothing of them is left if there is no such entry, or it
        # refuses how the client authenticates.
        left = {
            tier: pieces
            if tier.rank >= raised.rank
            else [part for piece in pieces if fault is None for part in intersect((piece,), listed)]
            for tier, pieces in parts.items()
        }
        if left == parts:
            scopes.append(render(scope))
            continue
        scopes += [render(piece) for pieces in left.values() for piece in pieces]
        withheld.append(Withheld(render(scope), fault or Withholding.SCOPE))
    if not scopes:
        return replace(found, tier=None, entry=None, scopes=(), withheld=(*found.withheld, *withheld))
    lower = found.tier.rank < raised.rank
    return replace(
        found,
        tier=raised if lower else found.tier,
        entry=found.entry if above is None or not lower else stricter(found.entry, above),
        scopes=tuple(dict.fromkeys(scopes)),
        withheld=(*found.withheld, *withheld),
    )


def _entry_fault(
    entry: PolicyEntry | None, authentication: ClientAuthentication | None
) -> Withholding | None:
    if entry is None:
        return Withholding.TIER
    return None if authentication in entry.client_authentication else Withholding.CLIENT


def without_writes(found: Admission) -> Admission:
    """Return an admission without anything that writes: of an AI that acts alone, at a hospital without an exception (C23)."""
    scopes = [_read_part(scope) for scope in parse_stored(found.scopes)]
    texts = tuple(render(scope) for scope in scopes if scope is not None)
    if texts == found.scopes:
        return found
    lost = (
        text for text, left in zip(found.scopes, scopes, strict=True) if left is None or render(left) != text
    )
    withheld = (*found.withheld, *(Withheld(text, Withholding.AUTONOMY) for text in lost))
    if not texts:
        return replace(found, tier=None, entry=None, scopes=(), withheld=withheld)
    return replace(found, scopes=texts, withheld=withheld)


def _read_part(scope: Scope) -> Scope | None:
    if not isinstance(scope, ClinicalScope):
        return scope
    letters = scope.letters & ~WRITES
    return replace(scope, letters=letters) if letters else None


def writes(scopes: Iterable[str]) -> tuple[str, ...]:
    """Return those of some scopes that write."""
    return tuple(
        render(each)
        for each in parse_stored(tuple(scopes))
        if isinstance(each, ClinicalScope) and each.letters & WRITES
    )
