"""Cells whose tightening is observed until a day: fill in the earlier cell from the version in force (C209). Pure."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from hilum.policy.matrix.limits import LIMITS, SETS_THAT_ALLOW, SETS_THAT_REQUIRE, with_limits
from hilum.policy.matrix.models import ANY, Book, Cell, Fault, Observation

CELL_LIMITS = ("scopes", "session_scopes", *SETS_THAT_ALLOW, *SETS_THAT_REQUIRE, *LIMITS)
"""What can be tighter in a cell."""
OBSERVE_BOUND = timedelta(days=90)
"""How long a cell may be observed before it is enforced: as long as a dry run looks back (C209)."""
CurrentBook = Callable[[], Book]
"""Returns the book that is in force."""
OBSERVED_DAYS_BOUND = 3
"""How many different days a book may have on which cells are enforced: before each the book must be sound."""


def completed(book: Book, in_force: CurrentBook, faults: list[Fault]) -> Book:
    """Return a book in which each observed cell has its earlier state from the version in force. Appends to ``faults``."""
    if all(each.earlier is not None for _, each in book.observed_cells):
        return book
    against = in_force()
    categories = dict(book.categories)
    for (name, tier), each in book.observed_cells:
        if each.earlier is not None:
            continue
        category = categories[name]
        of = against.categories.get(name)
        was = None if of is None else of.cells.get(tier)
        if was is None:
            sentence = "The version in force has no such cell, so nothing in this one is tighter. Remove it."
            faults.append(Fault(f"categories.{name}.cells.{tier}.observe", "observed_new", sentence))
            continue
        cell = category.cells[tier]
        earlier = _known(with_limits(replace(cell, observe=None), was, each.limits or CELL_LIMITS), book)
        made = replace(cell, observe=Observation(each.until, (), earlier))
        categories[name] = replace(category, cells={**category.cells, tier: made})
    return replace(book, categories=categories)


def _known(cell: Cell, book: Book) -> Cell:
    """Return a cell without names that a book no longer has, since they have no effect."""
    return replace(
        cell,
        workflows=cell.workflows & {*book.workflows, ANY},
        placements=cell.placements & {*book.placements, ANY},
        scenarios=cell.scenarios & {*book.scenarios},
        evidence=cell.evidence & {*book.evidence},
    )
