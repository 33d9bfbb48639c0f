"""The limits of a cell and of a book: read from a document, rendered, and compared. Pure."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import astuple, fields
from datetime import timedelta
from itertools import pairwise
from typing import Any

from hilum.policy.matrix.limit_models import (
    AUTOMATION,
    FIX_DAYS,
    GRACE_DAYS_BOUND,
    LADDER_DAYS,
    LATENCY_BOUND_MS,
    SERVICE,
    Automation,
    Criteria,
    within,
)
from hilum.policy.matrix.models import (
    ACCESS_TOKEN_BOUND,
    ALL_PLACES,
    BACKEND_TOKEN_BOUND,
    LIFE_BOUND,
    Book,
    Cell,
    Expiry,
    Fault,
    Lifetimes,
    TrafficClass,
    Widening,
    WideningSeverity,
)
from hilum.policy.matrix.tables import Table, duration_text

_REQUIRED = {
    "access_token": ACCESS_TOKEN_BOUND,
    "backend_token": BACKEND_TOKEN_BOUND,
    "refresh_token": LIFE_BOUND,
    "session_refresh_token": LIFE_BOUND,
    "authorization": LIFE_BOUND,
}
NONE = "none"
LONGEST = timedelta.max
"""Represents a missing limit in comparisons."""


def read_lifetimes(table: Table) -> Lifetimes:
    """Read lifetimes. By default newer limits do not apply, and agreements are rolling."""
    lives = {name: table.duration(name, bound) for name, bound in _REQUIRED.items()}
    idle, absolute = (_limit(table, name) for name in ("idle", "absolute"))
    expiry = Expiry(table.word("expiry", tuple(Expiry))) if table.has("expiry") else Expiry.ROLLING
    table.close()
    return Lifetimes(**lives, idle=idle, absolute=absolute, expiry=expiry)


def _limit(table: Table, name: str) -> timedelta | None:
    """Read an optional limit: missing, or ``none`` to override the base."""
    if table.raw.get(name) == NONE:
        table.skip(name)
        return None
    return table.duration(name, LIFE_BOUND) if table.has(name) else None


def rendered_lifetimes(lives: Lifetimes) -> dict[str, str]:
    """Return lifetimes for a document, omitting missing limits so that older books keep their digests."""
    written = {name: duration_text(getattr(lives, name)) for name in _REQUIRED}
    for name, limit in (("idle", lives.idle), ("absolute", lives.absolute)):
        if limit is not None:
            written[name] = duration_text(limit)
    return written if lives.expiry is Expiry.ROLLING else written | {"expiry": lives.expiry.value}


def longer_fields(below: Lifetimes, above: Lifetimes) -> Iterator[str]:
    """Yield the fields that are longer than in other lifetimes."""
    for name in (*_REQUIRED, "idle", "absolute"):
        lower, higher = getattr(below, name), getattr(above, name)
        if (LONGEST if higher is None else higher) > (LONGEST if lower is None else lower):
            yield f"lifetimes.{name}"
    if above.expiry.rank > below.expiry.rank:
        yield "lifetimes.expiry"


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


_SERVICE_BOUNDS = {
    "service_unavailable_percent": (1, 100),
    "service_errors_percent": (1, 100),
    "service_latency_ms_p95": (1, LATENCY_BOUND_MS),
    "service_least_calls": (100, 1_000_000),
    "service_grace_days": (0, 365),
}


def read_criteria(table: Table) -> dict[str, Any]:
    """Read the criteria. A missing one requires nothing."""
    return {
        name: table.integer(name, *_SERVICE_BOUNDS[name]) if table.has(name) else nothing
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


LONGEST_BOUND = timedelta(days=366)
"""The longest that any book may let an exception last."""
SHARE_LEAST, SHARE_MOST = 10, 100
"""With less than the least share a class could not work at all; an app that may not act has no cell."""
_CLASSES = tuple(TrafficClass)


def read_exceptions(top: Table, requirements: Collection[str]) -> tuple[timedelta, frozenset[str]]:
    """Read how long an exception may last, and which of the requirements may be waived. By default there are none."""
    if not top.has("exceptions"):
        return timedelta(0), frozenset()
    table = top.table("exceptions")
    longest, waivable = (
        table.duration("longest", LONGEST_BOUND),
        table.words("waivable", requirements, optional=True),
    )
    table.close()
    return longest, frozenset(waivable)


def read_shares(top: Table) -> tuple[int, ...]:
    """Read the shares of the traffic classes. A class that is not named has the share of the one above it, and the first has every place.

    A class is counted together with those below it, so a share that is larger than that of a class above would never be reached.
    """
    if not top.has("traffic"):
        return ALL_PLACES
    table, found = top.table("traffic"), [SHARE_MOST]
    for each in _CLASSES[1:]:
        share = table.integer(each, SHARE_LEAST, SHARE_MOST) if table.has(each) else found[-1]
        if share > found[-1]:
            table.fault(each, "contradictory", f"The class above has {found[-1]}, and counts this one in.")
        found.append(min(share, found[-1]))
    table.close()
    return tuple(found)


def rendered_bounds(book: Book) -> dict[str, Any]:
    """Return these tables of a document, omitting defaults so that older books keep their digests."""
    found: dict[str, Any] = {}
    if book.longest_exception:
        found["exceptions"] = {"longest": duration_text(book.longest_exception)}
        if book.waivable:
            found["exceptions"]["waivable"] = sorted(book.waivable)
    named = zip(_CLASSES[1:], pairwise(book.shares), strict=True)
    if shares := {each.value: share for each, (above, share) in named if share != above}:
        found["traffic"] = shares
    return found


def shares_widened(before: Book, after: Book) -> Iterator[Widening]:
    """Yield the traffic classes that may hold more of the places at a FHIR server than before (C133)."""
    for each, old, new in zip(_CLASSES, before.shares, after.shares, strict=True):
        if new > old:
            sentence = f"Apps of this class and below may hold {new} % of the places at a FHIR server instead of {old} %."
            yield Widening(f"traffic.{each}", sentence, WideningSeverity.LIMIT)


def share_sentence(book: Book, traffic: TrafficClass) -> str:
    """Return the sentence about a traffic class's share of the places."""
    share = book.shares[traffic.rank]
    if share == SHARE_MOST:
        return (
            f"Traffic class {traffic} may hold every place at the FHIR server; the classes above it go first."
        )
    return f"Traffic class {traffic}, with the classes below it, may hold {share} % of the places at the FHIR server."
