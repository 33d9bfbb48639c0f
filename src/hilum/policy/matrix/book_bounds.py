"""Settings of a rule book for all apps: how long exceptions last, how places are shared. Pure."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

from hilum.policy.matrix.models import ALL_PLACES, Book, TrafficClass, Widening, WideningSeverity
from hilum.policy.matrix.tables import Table, duration_text

LONGEST_BOUND = timedelta(days=366)
"""The longest that any book may let overrides and exceptions last."""
SHARE_LEAST, SHARE_MOST = 10, 100
"""With less than the least share a class could not work at all; an app that may not act has no cell."""
_CLASSES = tuple(TrafficClass)


def read_longest(top: Table, name: str) -> timedelta:
    """Read how long an override or an exception may last. By default there are none."""
    if not top.has(name):
        return timedelta(0)
    table = top.table(name)
    found = table.duration("longest", LONGEST_BOUND)
    table.close()
    return found


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
    bounds = {"overrides": book.longest_override, "exceptions": book.longest_exception}
    found: dict[str, Any] = {
        name: {"longest": duration_text(bound)} for name, bound in bounds.items() if bound
    }
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
