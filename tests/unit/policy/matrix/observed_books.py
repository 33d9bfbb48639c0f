"""Books in which an entry is observed until a day."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from hilum.policy.matrix.comparison import observe_faults
from hilum.policy.matrix.document import read_book
from hilum.policy.matrix.models import Book, PolicyEntry, Tier
from hilum.policy.matrix.shipped import shipped_book
from tests.unit.policy.matrix.books import document

TODAY = date(2026, 3, 2)
DAY = TODAY + timedelta(days=30)
ENTRIES = "categories.scheduling.entries"
LOW = f"{ENTRIES}.low"


def added(
    change: dict[str, Any], *, until: date = DAY, limits: list[str] | None = None, place: str = LOW
) -> tuple[Book | None, list[str]]:
    """Return the policy of a document that observes an entry, as it is added while the shipped policy is in force, and the codes of its faults."""
    observe = {"until": until.isoformat()} | ({} if limits is None else {"limits": limits})
    made, faults = read_book(document({**change, f"{place}.observe": observe}), against=shipped_book)
    found = [*faults, *(() if made is None else observe_faults(made, TODAY))]
    assert all(each.sentence.endswith(".") and each.path for each in found)
    return made, [each.code for each in found]


def observed(change: dict[str, Any], *, until: date = DAY, limits: list[str] | None = None) -> Book:
    made, faults = added(change, until=until, limits=limits)
    assert made is not None, faults
    assert faults == []
    return made


def at(day: date, hour: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def low(of: Book) -> PolicyEntry:
    return of.categories["scheduling"].entries[Tier.LOW]
