"""The limits of a cell and of a book: each with its order, by which books are compared and the stricter of two cells is found. Pure."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, fields, replace
from datetime import timedelta
from operator import attrgetter
from typing import Any

from hilum.policy.matrix.fields import duration_text
from hilum.policy.matrix.limit_models import ESCALATION_DAYS, FIX_DAYS, SERVICE, Criteria, within
from hilum.policy.matrix.models import (
    Book,
    Cell,
    Expiry,
    Fault,
    PrivilegeIncrease,
    PrivilegeIncreaseSeverity,
    TrafficClass,
)

LONGEST = timedelta.max
"""Represents a missing limit in comparisons."""
SETS_THAT_ALLOW = ("client_authentication", "workflows", "placements")
SETS_THAT_REQUIRE = ("disciplines", "evidence", "scenarios", "agreements", "proofs")
_CLASSES = tuple(TrafficClass)


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of a cell. A greater measure allows more; ``show`` renders the value."""

    value: Callable[[Cell], Any]
    show: Callable[[Any], str] = str
    order: Callable[[Any], Any] = lambda value: value

    def measure(self, cell: Cell) -> Any:
        return self.order(self.value(cell))

    def text(self, cell: Cell) -> str:
        return self.show(self.value(cell))


def _limit_text(limit: timedelta | None) -> str:
    return "none" if limit is None else duration_text(limit)


def _limit_order(limit: timedelta | None) -> timedelta:
    return LONGEST if limit is None else limit


_LIVES = (
    "access_token",
    "backend_token",
    "refresh_token",
    "session_refresh_token",
    "authorization",
    "idle",
    "absolute",
)
LIMITS: dict[str, Limit] = {
    "certificate_life": Limit(attrgetter("certificate_life"), duration_text),
    **{
        f"lifetimes.{name}": Limit(attrgetter(f"lifetimes.{name}"), _limit_text, _limit_order)
        for name in _LIVES
    },
    "lifetimes.expiry": Limit(attrgetter("lifetimes.expiry"), order=lambda each: each.rank),
    "dormant_days": Limit(attrgetter("dormant_days")),
    "dormant_ends": Limit(
        attrgetter("dormant_ends"), lambda ends: "true" if ends else "false", lambda ends: not ends
    ),
    **{name: Limit(attrgetter(name)) for name in (*FIX_DAYS, *ESCALATION_DAYS, "grace_days", *SERVICE)},
    "automation": Limit(attrgetter("automation"), order=lambda each: -each.rank),
    "quota.rate_per_s": Limit(attrgetter("quota.rate_per_s"), "{:g}".format),
    "quota.burst": Limit(attrgetter("quota.burst")),
    "alerts.refused_percent": Limit(attrgetter("alerts.refused_percent")),
    "alerts.failed_percent": Limit(attrgetter("alerts.failed_percent")),
    "alerts.latency_ms_p95": Limit(attrgetter("alerts.latency_ms_p95")),
    "traffic_class": Limit(attrgetter("traffic_class"), order=lambda each: -_CLASSES.index(each)),
}
"""Every limit of a cell by its path. Review clocks bind the platform, not apps."""


def looser(below: Cell, above: Cell) -> Iterator[str]:
    """Yield the limits that are looser in ``above``."""
    return (name for name, limit in LIMITS.items() if limit.measure(above) > limit.measure(below))


def with_limits(cell: Cell, of: Cell, paths: Iterable[str]) -> Cell:
    """Return a cell with some of the limits of another one."""
    values: dict[str, Any] = {}
    for path in paths:
        name, _, inner = path.partition(".")
        if inner:
            own = values.get(name, getattr(cell, name))
            values[name] = replace(own, **{inner: getattr(getattr(of, name), inner)})
        else:
            values[name] = getattr(of, name)
    return replace(cell, **values)


def lifetime_faults(book: Book) -> Iterator[Fault]:
    """Find limits shorter than an access token's life, under which an app could not refresh in time."""
    for category in book.categories.values():
        for tier, cell in category.cells.items():
            for name, limit in (("idle", cell.lifetimes.idle), ("absolute", cell.lifetimes.absolute)):
                if limit is not None and limit < cell.lifetimes.access_token:
                    path = f"categories.{category.name}.cells.{tier}.lifetimes.{name}"
                    least = duration_text(cell.lifetimes.access_token)
                    yield Fault(path, "too_short", f"It is shorter than an access token lives: {least}.")


def refreshed_for(cell: Cell) -> timedelta:
    """Return the time for which an idle app can certainly refresh: the life of a refresh token, or a shorter limit."""
    lives = cell.lifetimes
    shortest = within(within(lives.refresh_token, lives.idle), lives.absolute)
    if cell.dormant_ends:
        shortest = within(shortest, timedelta(days=cell.dormant_days))
    if lives.expiry is not Expiry.ROLLING:
        shortest = within(shortest, lives.authorization)
    if lives.expiry is Expiry.ONE_TIME:
        shortest = within(shortest, lives.access_token)
    assert shortest is not None, "a refresh token has a life"
    return shortest


def longest_grace(books: Iterable[Book], category: str) -> timedelta:
    """Return the longest grace that any of some books gives apps of a category."""
    found = (each.categories.get(category) for each in books)
    days = (cell.grace_days for of in found if of is not None for cell in of.cells.values())
    return timedelta(days=max(days, default=0))


def criteria_of(cell: Cell) -> Criteria:
    """Return a cell's criteria."""
    return Criteria(**{each.name: getattr(cell, f"service_{each.name}") for each in fields(Criteria)})


def strictest_criteria(found: Iterable[Criteria]) -> Criteria:
    """Return the strictest of several limits, field by field."""
    return Criteria(*map(min, zip(*map(astuple, found), strict=True)))


def shares_widened(before: Book, after: Book) -> Iterator[PrivilegeIncrease]:
    """Yield the traffic classes that may hold more of the places at a FHIR server than before (C133)."""
    for each, old, new in zip(_CLASSES, before.shares, after.shares, strict=True):
        if new > old:
            sentence = f"Apps of this class and below may hold {new} % of the places at a FHIR server instead of {old} %."
            yield PrivilegeIncrease(f"traffic.{each}", sentence, PrivilegeIncreaseSeverity.LIMIT)


def share_sentence(book: Book, traffic: TrafficClass) -> str:
    """Return the sentence about a traffic class's share of the places."""
    share = book.shares[traffic.rank]
    if share == book.shares[0]:
        return (
            f"Traffic class {traffic} may hold every place at the FHIR server; the classes above it go first."
        )
    return f"Traffic class {traffic}, with the classes below it, may hold {share} % of the places at the FHIR server."
