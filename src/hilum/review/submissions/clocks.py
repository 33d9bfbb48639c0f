"""Clocks in business days: how much has elapsed, and when they end (C106). Pure, except for reading the calendars.

A business day is a day of the calendar's time zone, from midnight to midnight, that is no weekend and no holiday. A clock that begins in the
middle of one has used the part that is left of it; a day on which clocks are put forward or back is one day like any other. Time in which the
vendor owes an answer does not count.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

from hilum.policy.matrix.models import Book

DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
WEEKEND = frozenset({5, 6})
LONGEST = timedelta(days=3 * 366)
"""The longest time that a clock counts."""
Span = tuple[datetime, datetime | None]
"""From a moment until another; None if still open."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """The working days of a jurisdiction, in a time zone."""

    name: str
    jurisdiction: str
    source: str
    zone: str
    valid_from: date
    valid_until: date
    holidays: frozenset[date]

    def is_business_day(self, day: date) -> bool:
        """Check whether people work on a day."""
        known = self.valid_from <= day < self.valid_until
        return day.weekday() not in WEEKEND and not (known and day in self.holidays)


WEEKDAYS = Calendar("weekdays", "", "", "UTC", date(2000, 1, 1), date(2000, 1, 1), frozenset())
"""For policies without a jurisdiction that has a calendar."""


def read_calendars(raw: Mapping[str, Any]) -> tuple[Calendar, ...]:
    """Read calendars. Raises an error for an unknown time zone."""
    found = [Calendar(**each | {"holidays": frozenset(each["holidays"])}) for each in raw["calendars"]]
    for each in found:
        ZoneInfo(each.zone)
    return tuple(found)


@cache
def shipped_calendars() -> tuple[Calendar, ...]:
    """Return the calendars of this release."""
    return read_calendars(
        tomllib.loads((files("hilum.review.submissions") / "data" / "calendars.toml").read_text("utf-8"))
    )


def calendar_of(book: Book, calendars: Iterable[Calendar]) -> Calendar:
    """Return the calendar of the first of a policy's jurisdictions that has one."""
    by_jurisdiction = {each.jurisdiction: each for each in calendars}
    found = (by_jurisdiction.get(pack.jurisdiction) for pack in book.packs)
    return next((each for each in found if each is not None), WEEKDAYS)


def named(name: str, calendars: Iterable[Calendar]) -> Calendar:
    """Return the calendar with a name, or the plain one if it no longer exists."""
    return next((each for each in calendars if each.name == name), WEEKDAYS)


def elapsed(calendar: Calendar, start: datetime, end: datetime, pauses: Sequence[Span] = ()) -> Fraction:
    """Return the exact number of business days between two moments, without the pauses."""
    total = Fraction(0)
    stops = _merged(pauses, end)
    for begins, ends in _days(calendar, start, min(end, start + LONGEST)):
        worked = _overlap(begins, ends, start, end)
        for stop, resume in stops:
            worked -= _overlap(max(begins, start), min(ends, end), stop, resume)
        total += Fraction(worked // MICROSECOND, (ends - begins) // MICROSECOND)
    return total


def due(calendar: Calendar, start: datetime, days: Fraction) -> datetime:
    """Return the moment so many business days after ``start``; ``start`` itself for none."""
    left = days
    if left <= 0:
        return start
    for begins, ends in _days(calendar, start, start + LONGEST):
        length = (ends - begins) // MICROSECOND
        begun = max(begins, start)
        rest = Fraction((ends - begun) // MICROSECOND, length)
        if rest >= left:
            # Rounded up: a clock never ends early.
            return begun + MICROSECOND * -(-(left * length) // 1)
        left -= rest
    return start + LONGEST


def in_milli(days: Fraction) -> int:
    """Return business days in thousandths, rounded down."""
    return int(days * 1000)


def percentile(values: Sequence[int], percent: int) -> int | None:
    """Return the smallest value that is not below ``percent`` of all (nearest rank); None of none."""
    ordered = sorted(values)
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)] if ordered else None


def _days(calendar: Calendar, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield beginning and end of each business day that overlaps a span."""
    zone = ZoneInfo(calendar.zone)
    day = start.astimezone(zone).date()
    while (begins := _midnight(day, zone)) < end:
        following = day + DAY
        if calendar.is_business_day(day):
            yield begins, _midnight(following, zone)
        day = following


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _overlap(begins: datetime, ends: datetime, start: datetime, end: datetime) -> timedelta:
    return max(min(ends, end) - max(begins, start), timedelta(0))


def _merged(pauses: Sequence[Span], end: datetime) -> list[tuple[datetime, datetime]]:
    """Return pauses in order, none overlapping another, an open one until the end."""
    found: list[tuple[datetime, datetime]] = []
    for start, until in sorted((start, until or end) for start, until in pauses):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], until)
        elif until > start:
            found.append((start, until))
    return found
