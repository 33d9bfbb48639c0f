"""What a cell says of findings and of the end of a certification, in a document: days, and how far the platform goes by itself. Pure."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from hilum.policy.matrix.models import Book, Cell
from hilum.policy.matrix.remediation_models import (
    AUTOMATION,
    FIX_DAYS,
    GRACE_DAYS_BOUND,
    LADDER_DAYS,
    Automation,
)
from hilum.policy.matrix.tables import Table

_DAYS_BOUND = 365
DAYS = {**FIX_DAYS, **LADDER_DAYS, "grace_days": 0}
"""What each of these days is where a cell does not state it: as before there were any."""
_BOUNDS = {"grace_days": GRACE_DAYS_BOUND}


def read_remediation(table: Table) -> dict[str, Any]:
    """Read these fields. Where one is not stated it is as it was before there were any."""
    found: dict[str, Any] = {
        name: table.integer(name, 1 if name in FIX_DAYS else 0, _BOUNDS.get(name, _DAYS_BOUND))
        if table.has(name)
        else days
        for name, days in DAYS.items()
    }
    if found["withdraw_days"] < found["suspend_days"]:
        table.fault("withdraw_days", "contradictory", "Nothing is withdrawn before it is suspended.")
    stated = table.has("automation")
    found["automation"] = Automation(table.word("automation", tuple(Automation))) if stated else AUTOMATION
    return found


def rendered_remediation(cell: Cell) -> dict[str, Any]:
    """Return these fields as a document has them. What is the default is left out, so that older books keep their digests."""
    days = {name: getattr(cell, name) for name in DAYS if getattr(cell, name) != DAYS[name]}
    return days if cell.automation is AUTOMATION else days | {"automation": cell.automation.value}


def stricter_remediation(one: Cell, other: Cell) -> dict[str, Any]:
    """Return these fields such that none is looser than in either cell."""
    days = {name: min(getattr(one, name), getattr(other, name)) for name in DAYS}
    return {**days, "automation": max(one.automation, other.automation, key=lambda each: each.rank)}


def looser_remediation(below: Cell, above: Cell) -> Iterator[str]:
    """Yield those of these fields that are looser in ``above``."""
    for name in DAYS:
        if getattr(above, name) > getattr(below, name):
            yield name
    if above.automation.rank < below.automation.rank:
        yield "automation"


def longest_grace(books: Iterable[Book], category: str) -> timedelta:
    """Return the longest grace that any of some books gives apps of a category."""
    found = (each.categories.get(category) for each in books)
    days = (cell.grace_days for of in found if of is not None for cell in of.cells.values())
    return timedelta(days=max(days, default=0))
