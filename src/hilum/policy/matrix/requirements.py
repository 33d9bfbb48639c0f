"""Levels of what a cell requires: what two people may set aside for one app, and what is only advised (C207). Pure.

A requirement is written ``kind.name`` in its cell, such as ``evidence.security_test``, and in an override by its whole path:
``categories.order_entry.cells.high.evidence.security_test``. Whatever has no level is absolute: scopes, how a client authenticates, lenses,
lives, quotas and every other limit have none (ADR 42).
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from hilum.policy.matrix.models import ANY, TIERS, Book, Cell, Tier
from hilum.policy.matrix.override_models import Level
from hilum.policy.matrix.tables import Table

REQUIRED = ("agreements", "evidence", "proofs", "scenarios")
"""Kinds of which a cell lists what it requires. Each of them may be of any level."""
ALLOWED = ("placements", "workflows")
"""Kinds of which a cell lists what it allows. That one more is refused may be overridable, and is never advisory: then it would be listed."""
BY_HOSPITAL = frozenset({"agreements", *ALLOWED})
"""Kinds that are judged at each hospital. The others are judged once, by review."""
ALWAYS_ABSOLUTE = frozenset({"evidence.automated_checks"})
"""Requirements that no book may loosen: without checks nothing else that review says could be trusted."""
_WRITTEN = MappingProxyType({"advisory": "advised", "overridable": "overridable"})
"""The field of a cell for each level that a document names."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """A requirement of a cell, as an override names it. ``title``: of what it names, in the rule book."""

    path: str
    category: str
    tier: Tier
    name: str
    level: Level
    title: str = ""

    @property
    def kind(self) -> str:
        return self.name.partition(".")[0]


def binds(cell: Cell, name: str) -> bool:
    """Check whether a requirement holds in a cell: what it names is required, or is not allowed."""
    kind, _, named = name.partition(".")
    if kind in REQUIRED:
        return named in getattr(cell, kind)
    return kind in ALLOWED and not {named, ANY} & getattr(cell, kind)


def level_in(cell: Cell, name: str) -> Level:
    """Return the level of a requirement in a cell. INVARIANT: whatever is not known is absolute."""
    if name in cell.advised and not binds(cell, name):
        return Level.ADVISORY
    overridable = name in cell.overridable and name not in ALWAYS_ABSOLUTE and binds(cell, name)
    return Level.OVERRIDABLE if overridable else Level.ABSOLUTE


def stated(cell: Cell, kind: str) -> frozenset[str]:
    """Return what a cell states of a kind, also what it only advises: all that its document lists."""
    return frozenset({*getattr(cell, kind), *named(cell.advised, kind)})


def named(names: Collection[str], kind: str) -> list[str]:
    """Return what requirements of a kind name, in order."""
    return sorted(each.partition(".")[2] for each in names if each.startswith(f"{kind}."))


# --- in a document -------------------------------------------------------------------------------------------------------------


def read_levels(table: Table, cell: Cell, book: Book) -> Cell:
    """Read the levels of a cell whose lists are read. What is advised is taken out of what is required: it blocks nothing.

    A name that the cell does not state is a fault in a new document. In a stored one it changes nothing.
    """
    if not table.has("levels"):
        return cell
    written = table.table("levels")
    found = {level: set(_read(written, level, cell, book)) for level in _WRITTEN}
    written.close()
    both = found["advisory"] & found["overridable"]
    for name in sorted(both):
        written.fault("overridable", "contradictory", f"{name} is advisory already.")
    advised, overridable = frozenset(found["advisory"] - both), frozenset(found["overridable"] - both)
    return replace(_without(cell, advised), advised=advised, overridable=overridable)


def _read(written: Table, level: str, cell: Cell, book: Book) -> Iterator[str]:
    for name in written.words(level, None, optional=True):
        if _may_have(name, level, cell, book):
            yield name
            continue
        sentence = (
            f"{name[:128]!r} is not a requirement of this cell that may be {level}. Name what it lists, such as evidence.security_test, or, to be overridable,"
            " a workflow or placement of the book that it does not list; scopes, lenses, client authentication and limits are absolute."
        )
        written.fault(level, "requirement_unknown", sentence)


def _may_have(name: str, level: str, cell: Cell, book: Book) -> bool:
    kind, _, what = name.partition(".")
    if name in ALWAYS_ABSOLUTE or not binds(cell, name):
        return False
    known: Collection[str] = book.workflows if kind == "workflows" else book.placements
    return kind in REQUIRED or (level == Level.OVERRIDABLE.value and what in known)


def _without(cell: Cell, names: Collection[str]) -> Cell:
    """Return a cell that does not require, or that allows, what some requirements name."""
    values: dict[str, Any] = {}
    for kind in (*REQUIRED, *ALLOWED):
        if what := named(names, kind):
            own = getattr(cell, kind)
            values[kind] = own.difference(what) if kind in REQUIRED else own.union(what)
    return replace(cell, **values)


def rendered_levels(cell: Cell) -> dict[str, Any]:
    """Return the levels of a cell as a document has them. Where all is absolute they are left out, so that older books keep their digests."""
    levels = {level: sorted(getattr(cell, name)) for level, name in _WRITTEN.items() if getattr(cell, name)}
    return {"levels": levels} if levels else {}


# --- between two cells ---------------------------------------------------------------------------------------------------------


def newly_overridable(old: Cell, new: Cell) -> list[str]:
    """Return the requirements that hold in an old cell and can be set aside only in a new one."""
    return sorted(name for name in new.overridable - old.overridable if binds(old, name))


def with_levels_of(cell: Cell, was: Cell, kinds: Collection[str]) -> Cell:
    """Return a cell with the levels that another one gives some kinds of requirements."""

    def mixed(name: str) -> frozenset[str]:
        own = (each for each in getattr(cell, name) if each.partition(".")[0] not in kinds)
        return frozenset({*own, *(each for each in getattr(was, name) if each.partition(".")[0] in kinds)})

    return replace(cell, advised=mixed("advised"), overridable=mixed("overridable"))


def as_stated(cell: Cell, book: Book) -> Cell:
    """Return a cell without the levels of what it no longer states, or the book no longer has."""
    advised = frozenset(each for each in cell.advised if not binds(cell, each) and _is_known(book, each))
    overridable = frozenset(each for each in cell.overridable if binds(cell, each) and _is_known(book, each))
    return replace(cell, advised=advised, overridable=overridable)


def stricter_levels(one: Cell, other: Cell, joined: Cell) -> Cell:
    """Return a cell that joins two others with the stricter of their levels: overridable is only what no one of them holds to."""

    def least(name: str) -> bool:
        return all(name in each.overridable or not binds(each, name) for each in (one, other))

    return replace(
        joined,
        advised=frozenset(each for each in one.advised | other.advised if not binds(joined, each)),
        overridable=frozenset(filter(least, one.overridable | other.overridable)),
        aside=frozenset(each for each in one.aside | other.aside if not binds(joined, each)),
    )


def _is_known(book: Book, name: str) -> bool:
    kind, _, what = name.partition(".")
    known = {"workflows": book.workflows, "placements": book.placements, "scenarios": book.scenarios}
    titles = known | {"evidence": book.evidence}
    return kind not in titles or what in titles[kind]


# --- overrides -----------------------------------------------------------------------------------------------------------------


def find(book: Book, path: str) -> Requirement | None:
    """Find a requirement of a book by its path; None if no cell states it."""
    parts = path.split(".")
    if len(parts) != 6 or (parts[0], parts[2]) != ("categories", "cells") or parts[3] not in set(TIERS):
        return None
    category, tier, name = book.categories.get(parts[1]), Tier(parts[3]), f"{parts[4]}.{parts[5]}"
    cell = None if category is None else category.cells.get(tier)
    if cell is None or not (binds(cell, name) or name in cell.advised) or not _is_known(book, name):
        return None
    return Requirement(path, parts[1], tier, name, level_in(cell, name), _title(book, name))


def is_of_review(book: Book, name: str) -> bool:
    """Check whether a rule is a requirement that review judges once for every hospital, so that it cannot be set aside at one."""
    # A name that is a tier rule's is nothing else.
    found = None if any(rule.name == name for rule in book.tier_rules) else find(book, name)
    return found is not None and found.kind not in BY_HOSPITAL


def _title(book: Book, name: str) -> str:
    kind, _, what = name.partition(".")
    if kind == "workflows":
        return book.workflows[what].title
    titles = {"evidence": book.evidence, "scenarios": book.scenarios, "placements": book.placements}
    return titles.get(kind, {}).get(what, "")


def paths(category: str, tier: Tier, cell: Cell) -> dict[str, tuple[str, ...]]:
    """Return the paths of a cell's requirements and advice, and those that may be overridden."""

    def whole(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(f"categories.{category}.cells.{tier}.{name}" for name in names))

    return {
        "requires": whole(f"{kind}.{what}" for kind in REQUIRED for what in getattr(cell, kind)),
        "advises": whole(cell.advised),
        "overridable": whole(cell.overridable),
    }


def shown(requirement: Requirement) -> dict[str, Any]:
    """Return a requirement as the two people see it who set it aside."""
    return {"name": requirement.path, "level": requirement.level.value, "title": requirement.title}


def digest(requirement: Requirement) -> str:
    """Return the digest of a requirement: of its path, level and title. What two people set aside is what they saw."""
    return hashlib.sha256(json.dumps(shown(requirement), sort_keys=True).encode()).hexdigest()


def without_requirements(book: Book, paths: Collection[str]) -> Book:
    """Return a book for one app, without some requirements. Whatever is not overridable stays, whoever asks.

    INVARIANT: what is absolute, or not known, is never set aside.
    """
    categories = dict(book.categories)
    for path in sorted(paths):
        found = find(book, path)
        if found is None or found.level is not Level.OVERRIDABLE:
            continue
        category = categories[found.category]
        cell = category.cells[found.tier]
        made = replace(_without(cell, [found.name]), aside=cell.aside | {found.name})
        categories[found.category] = replace(category, cells={**category.cells, found.tier: made})
    return book if categories == book.categories else replace(book, categories=categories)
