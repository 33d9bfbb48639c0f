"""A cell's criteria for the service of its apps, in a document (C228). Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import astuple, fields
from typing import Any

from hilum.policy.matrix.criteria_models import LATENCY_BOUND_MS, SERVICE, Criteria
from hilum.policy.matrix.models import Cell
from hilum.policy.matrix.tables import Table

_BOUNDS = {
    "service_unavailable_percent": (1, 100),
    "service_errors_percent": (1, 100),
    "service_latency_ms_p95": (1, LATENCY_BOUND_MS),
    "service_least_calls": (100, 1_000_000),
    "service_grace_days": (0, 365),
}


def read_criteria(table: Table) -> dict[str, Any]:
    """Read the criteria. A missing one requires nothing."""
    return {
        name: table.integer(name, *_BOUNDS[name]) if table.has(name) else nothing
        for name, nothing in SERVICE.items()
    }


def rendered_criteria(cell: Cell) -> dict[str, Any]:
    """Return the criteria for a document, omitting those that require nothing so that older books keep their digests."""
    return {name: getattr(cell, name) for name, nothing in SERVICE.items() if getattr(cell, name) != nothing}


def criteria_of(cell: Cell) -> Criteria:
    """Return a cell's criteria."""
    return Criteria(**{each.name: getattr(cell, f"service_{each.name}") for each in fields(Criteria)})


def strictest_criteria(found: Iterable[Criteria]) -> Criteria:
    """Return the strictest of several limits, field by field."""
    return Criteria(*map(min, zip(*map(astuple, found), strict=True)))


def stricter_criteria(one: Cell, other: Cell) -> dict[str, Any]:
    """Return the stricter criteria of two cells, field by field."""
    return {name: min(getattr(one, name), getattr(other, name)) for name in SERVICE}


def looser_criteria(below: Cell, above: Cell) -> Iterator[str]:
    """Yield the criteria that are looser in ``above``."""
    return (name for name in SERVICE if getattr(above, name) > getattr(below, name))
