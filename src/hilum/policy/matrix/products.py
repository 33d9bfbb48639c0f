"""Scope products: the part of a scope that they cover, their checks, and the effect of changes. Pure.

Source: C61, C62, C65
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date
from functools import cache, lru_cache, partial

from hilum.foundation.standards.smart.scopes import (
    ANY_TYPE,
    ClinicalScope,
    Prefix,
    Scope,
    ScopeError,
    SpecialScope,
    intersect,
    parse_scope,
    parse_stored,
    render,
    types_of,
)
from hilum.policy.matrix.models import STAGES_BOUND, Book, Fault, PrivilegeIncrease
from hilum.policy.matrix.product_models import NOTICE, ScopeProduct, ScopeStatus, Workflow

SHOWN = 3
"""How many scopes of a successor a sentence names."""


PARTS_BOUND = 10_000
"""How many scopes have their covered part cached: those of a few hundred kinds of apps."""


class Coverage:
    """What some scopes cover together, looked up by type."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._special: set[Scope] = set()
        self._by_type: dict[tuple[Prefix, str], list[ClinicalScope]] = {}
        for scope in parse_stored(texts):
            if isinstance(scope, SpecialScope):
                self._special.add(scope)
            else:
                self._by_type.setdefault((scope.prefix, scope.type), []).append(scope)

    def part(self, scope: Scope) -> tuple[Scope, ...]:
        """Return the covered part of a scope: the scope itself if all of it is covered; for a wildcard otherwise its parts by type."""
        if isinstance(scope, SpecialScope):
            return (scope,) if scope in self._special else ()
        found = self._of_type(scope)
        if scope.type != ANY_TYPE or found == (scope,):
            return found
        asked = tuple(replace(scope, type=type_) for type_ in types_of(scope.prefix))
        parts = tuple(part for each in asked for part in self._of_type(each))
        return (scope,) if parts == asked else parts

    def covers(self, scope: Scope) -> bool:
        """Check whether all of a scope is covered."""
        return self.part(scope) == (scope,)

    def meets(self, scope: Scope) -> bool:
        """Check whether any of a scope is covered."""
        if isinstance(scope, ClinicalScope) and scope.type == ANY_TYPE:
            return any(intersect((scope,), found) for found in self._by_type.values())
        return bool(self.part(scope))

    def _of_type(self, scope: ClinicalScope) -> tuple[Scope, ...]:
        wildcards = self._by_type.get((scope.prefix, ANY_TYPE), [])
        named = [] if scope.type == ANY_TYPE else self._by_type.get((scope.prefix, scope.type), [])
        return intersect((scope,), (*named, *wildcards)) if named or wildcards else ()


@lru_cache(maxsize=STAGES_BOUND)
def in_force(book: Book) -> Coverage:
    """Return what the products in force cover."""
    return Coverage(text for each in book.products.values() if each.in_force for text in each.covers)


@lru_cache(maxsize=PARTS_BOUND)
def part_in_force(book: Book, scope: Scope) -> tuple[Scope, ...]:
    """Return the part of a scope that products in force cover."""
    part = in_force(book).part(scope)
    # The scope itself, also where it was put together again: its constraints stay as they were written.
    return (scope,) if part == (scope,) else part


@lru_cache(maxsize=STAGES_BOUND)
def _ended(book: Book) -> tuple[tuple[ScopeProduct, Coverage], ...]:
    products = book.products.values()
    return tuple((each, Coverage(each.covers)) for each in products if each.status is ScopeStatus.RETIRED)


def ended_by(book: Book, scope: Scope) -> ScopeProduct | None:
    """Return the retired product that took a scope, or a part of it, out of force; None if none did."""
    if part_in_force(book, scope) == (scope,):
        return None
    return next((product for product, coverage in _ended(book) if coverage.meets(scope)), None)


def product_of(book: Book, scope: str) -> ScopeProduct | None:
    """Return the first product in force that covers a scope, or a part of it; None if none does."""
    parsed = parse_stored((scope,))
    in_force_now = (each for each in book.products.values() if each.in_force)
    return next((each for each in in_force_now if any(map(Coverage(each.covers).meets, parsed))), None)


# --- notice --------------------------------------------------------------------------------------------------------------------


def custom_finding(book: Book) -> str:
    """Return the finding that a policy has more custom scope products than it allows; empty if it does not (C65)."""
    custom = [each.name for each in book.products.values() if each.custom and each.in_force]
    if len(custom) <= book.custom_scopes_at_most:
        return ""
    return (
        f"{len(custom)} custom scope products are in force, and the policy wants at most {book.custom_scopes_at_most}: "
        f"{', '.join(custom)}. Retire those that nobody uses, or raise custom_scopes_at_most."
    )


# --- what must be true ---------------------------------------------------------------------------------------------------------


def product_faults(book: Book) -> list[Fault]:
    """Return the faults of the scope products and workflows of a policy with valid fields."""
    return [
        *(fault for product in book.products.values() for fault in _own_faults(book, product)),
        *(fault for product in book.products.values() for fault in _still_covered(book, product)),
        *_uncovered(book),
        *(fault for workflow in book.workflows.values() for fault in _workflow_faults(book, workflow)),
    ]


def _own_faults(book: Book, product: ScopeProduct) -> Iterator[Fault]:
    path, status = f"scopes.{product.name}", product.status
    if not product.owner and status is not ScopeStatus.DRAFT:
        yield Fault(f"{path}.owner", "owner_missing", "Without an owner it can only be a draft.")
    if not product.covers:
        yield Fault(f"{path}.covers", "empty", "Name the scopes that it covers.")
    if product.custom and not product.demand:
        yield Fault(f"{path}.demand", "demand_missing", "Say who needs this custom scope, and for what.")
    if product.custom and not product.tests:
        yield Fault(f"{path}.tests", "tests_missing", "Name the tests that prove this custom scope.")
    if not product.custom and (product.demand or product.tests):
        yield Fault(f"{path}.custom", "contradictory", "Only a custom scope has a demand and tests.")
    if status in {ScopeStatus.DRAFT, ScopeStatus.ACTIVE}:
        ends = (product.successor, product.no_successor, product.deprecated_from, product.sunset)
        if any(ends):
            sentence = "Only a deprecated or retired one has a successor and dates."
            yield Fault(f"{path}.status", "contradictory", sentence)
        return
    yield from _end_faults(book, product, path)


def _end_faults(book: Book, product: ScopeProduct, path: str) -> Iterator[Fault]:
    if bool(product.successor) == bool(product.no_successor):
        sentence = "Name its successor, or say in no_successor why there is none; not both."
        yield Fault(f"{path}.successor", "successor_missing", sentence)
    successor = book.products.get(product.successor)
    if product.successor and (successor is None or successor is product):
        yield Fault(f"{path}.successor", "successor_unknown", "It is not another scope product of this book.")
    elif successor is not None and product.in_force and not _outlasts(successor, product):
        yield Fault(
            f"{path}.successor",
            "successor_ends",
            "Its successor is not in force, or ends no later than it does.",
        )
    if product.sunset is None:
        yield Fault(f"{path}.sunset", "missing", "Say on which day it ends.")
    elif product.status is ScopeStatus.DEPRECATED:
        if product.deprecated_from is None:
            yield Fault(f"{path}.deprecated_from", "missing", "Say since which day it is deprecated.")
        elif product.sunset < product.deprecated_from + NOTICE:
            sentence = f"It must be at least {NOTICE.days} days after deprecated_from."
            yield Fault(f"{path}.sunset", "notice_too_short", sentence)


def _outlasts(other: ScopeProduct, product: ScopeProduct) -> bool:
    """Check whether another product is in force when this one has ended."""
    ends_later = other.sunset is None or (product.sunset is not None and other.sunset > product.sunset)
    return other.in_force and (ends_later or not product.in_force)


def _still_covered(book: Book, product: ScopeProduct) -> Iterator[Fault]:
    """Find scopes that stay in force when a product ends, because another one covers them too."""
    if product.status in {ScopeStatus.DRAFT, ScopeStatus.ACTIVE}:
        return
    others = (each for each in book.products.values() if each is not product and _outlasts(each, product))
    left = Coverage(text for each in others for text in each.covers)
    for scope in parse_stored(product.covers):
        if left.covers(scope):
            sentence = f"{render(scope)} is covered by another product that stays in force, so its end changes nothing."
            yield Fault(f"scopes.{product.name}.covers", "ends_in_vain", sentence)


def _uncovered(book: Book) -> Iterator[Fault]:
    """Find scopes of entries that no product in force covers."""
    missing = lru_cache(maxsize=None)(lambda text: _missing(book, text))
    for category in book.categories.values():
        for tier, entry in category.entries.items():
            for field, texts in (("scopes", entry.scopes), ("session_scopes", entry.session_scopes)):
                found = next(filter(None, map(missing, texts)), "")
                if found:
                    path = f"categories.{category.name}.entries.{tier}.{field}"
                    yield Fault(path, "scope_without_product", _without(found))


def _without(text: str) -> str:
    return f"No active or deprecated scope product covers {text}. Add it to one, or take it out of here."


def _missing(book: Book, text: str) -> str:
    """Return a scope, or the first part of a wildcard, that no product in force covers; empty if all of it is."""
    scope = parse_scope(text)
    if isinstance(scope, ScopeError) or part_in_force(book, scope) == (scope,):
        return ""
    if isinstance(scope, ClinicalScope) and scope.type == ANY_TYPE:
        parts = (replace(scope, type=type_) for type_ in types_of(scope.prefix))
        return next((render(each) for each in parts if part_in_force(book, each) != (each,)), text)
    return text


def _workflow_faults(book: Book, workflow: Workflow) -> Iterator[Fault]:
    path, scopes = f"workflows.{workflow.name}", workflow.scopes
    if not scopes:
        yield Fault(f"{path}.scopes", "empty", "Name the scopes that it expands into.")
    if missing := next(filter(None, (_missing(book, text) for text in scopes)), ""):
        yield Fault(f"{path}.scopes", "scope_without_product", _without(missing))
    others = [each for each in book.workflows.values() if each is not workflow]
    taken = {word for each in others for word in (each.name, *each.intents)}
    for word in sorted(workflow.intents & taken):
        yield Fault(f"{path}.intents", "repeated", f"{word[:64]!r} means another workflow too.")


# --- what changes --------------------------------------------------------------------------------------------------------------


def _lasting(book: Book, until: date) -> Coverage:
    """Return what is in force at least until a day."""
    products = book.products.values()
    kept = (each for each in products if each.in_force and (each.sunset is None or each.sunset >= until))
    return Coverage(text for each in kept for text in each.covers)


def products_widened(before: Book, after: Book) -> Iterator[PrivilegeIncrease]:
    """List the scopes that are in force longer than before, and what workflows also expand into (C210)."""
    lasting = cache(partial(_lasting, before))
    for product in (each for each in after.products.values() if each.in_force):
        until = product.sunset or date.max
        longer = [render(scope) for scope in parse_stored(product.covers) if not lasting(until).covers(scope)]
        if longer:
            yield PrivilegeIncrease(
                f"scopes.{product.name}", f"In force, or in force longer: {', '.join(longer)}."
            )
    for name, workflow in after.workflows.items():
        old = before.workflows.get(name)
        # A new workflow widens no earlier one.
        if old is None:
            continue
        expanded = Coverage(old.scopes)
        more = [render(scope) for scope in parse_stored(workflow.scopes) if not expanded.covers(scope)]
        if more:
            yield PrivilegeIncrease(f"workflows.{name}.scopes", f"Also expands into {', '.join(more)}.")


def notice_faults(before: Book, after: Book, today: date) -> tuple[Fault, ...]:
    """Return which scopes another policy would end without notice: sooner than in ``NOTICE``, and sooner than was announced (C62)."""
    faults, lasting = [], cache(partial(_lasting, after))
    for product in before.products.values():
        if not product.in_force or (product.sunset is not None and product.sunset <= today):
            continue
        until = min(product.sunset or date.max, today + NOTICE)
        ending = [render(scope) for scope in parse_stored(product.covers) if not lasting(until).covers(scope)]
        if ending:
            faults.append(
                Fault(f"scopes.{product.name}", "notice_too_short", _too_soon(", ".join(ending[:SHOWN])))
            )
    return tuple(faults)


def _too_soon(what: str) -> str:
    return (
        f"{what} would end without notice. Deprecate it with a sunset at least {NOTICE.days} days from today; to stop it at once, engage"
        " a kill switch on the scope."
    )
