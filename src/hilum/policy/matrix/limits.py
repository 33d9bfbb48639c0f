"""The limits of an entry and of a policy: each with its order, by which policies are compared and the stricter of two entries is found. Pure."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, fields, replace
from datetime import timedelta
from operator import attrgetter
from typing import Any

from hilum.policy.matrix.fields import duration_text
from hilum.policy.matrix.limit_models import ESCALATION_DAYS, FIX_DAYS, SERVICE, Criteria, within
from hilum.policy.matrix.models import (
    Book,
    Expiry,
    Fault,
    PolicyEntry,
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
    """A limit of an entry. A greater measure allows more; ``show`` renders the value."""

    value: Callable[[PolicyEntry], Any]
    show: Callable[[Any], str] = str
    order: Callable[[Any], Any] = lambda value: value

    def measure(self, entry: PolicyEntry) -> Any:
        return self.order(self.value(entry))

    def text(self, entry: PolicyEntry) -> str:
        return self.show(self.value(entry))


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
"""Every limit of an entry by its path. Review clocks bind the platform, not apps."""


def looser(below: PolicyEntry, above: PolicyEntry) -> Iterator[str]:
    """Yield the limits that are looser in ``above``."""
    return (name for name, limit in LIMITS.items() if limit.measure(above) > limit.measure(below))


def with_limits(entry: PolicyEntry, of: PolicyEntry, paths: Iterable[str]) -> PolicyEntry:
    """Return an entry with some of the limits of another one."""
    values: dict[str, Any] = {}
    for path in paths:
        name, _, inner = path.partition(".")
        if inner:
            own = values.get(name, getattr(entry, name))
            values[name] = replace(own, **{inner: getattr(getattr(of, name), inner)})
        else:
            values[name] = getattr(of, name)
    return replace(entry, **values)


def lifetime_faults(book: Book) -> Iterator[Fault]:
    """Find limits shorter than an access token's life, under which an app could not refresh in time."""
    for category in book.categories.values():
        for tier, entry in category.entries.items():
            for name, limit in (("idle", entry.lifetimes.idle), ("absolute", entry.lifetimes.absolute)):
                if limit is not None and limit < entry.lifetimes.access_token:
                    path = f"categories.{category.name}.entries.{tier}.lifetimes.{name}"
                    least = duration_text(entry.lifetimes.access_token)
                    yield Fault(path, "too_short", f"It is shorter than an access token lives: {least}.")


def refreshed_for(entry: PolicyEntry) -> timedelta:
    """Return the time for which an idle app can certainly refresh: the life of a refresh token, or a shorter limit."""
    lives = entry.lifetimes
    shortest = within(within(lives.refresh_token, lives.idle), lives.absolute)
    if entry.dormant_ends:
        shortest = within(shortest, timedelta(days=entry.dormant_days))
    if lives.expiry is not Expiry.ROLLING:
        shortest = within(shortest, lives.authorization)
    if lives.expiry is Expiry.ONE_TIME:
        shortest = within(shortest, lives.access_token)
    assert shortest is not None, "a refresh token has a life"
    return shortest


def longest_grace(books: Iterable[Book], category: str) -> timedelta:
    """Return the longest grace that any of some policies gives apps of a category."""
    found = (each.categories.get(category) for each in books)
    days = (entry.grace_days for of in found if of is not None for entry in of.entries.values())
    return timedelta(days=max(days, default=0))


def criteria_of(entry: PolicyEntry) -> Criteria:
    """Return an entry's criteria."""
    return Criteria(**{each.name: getattr(entry, f"service_{each.name}") for each in fields(Criteria)})


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
