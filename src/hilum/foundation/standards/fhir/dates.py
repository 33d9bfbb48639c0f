"""Dates, times and periods as ranges of microseconds.

A date without a time zone is read in UTC. A range is ``[low, high)``; an open side is OPEN_LOW or OPEN_HIGH.
"""

import re
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from hilum.foundation.kernel.times import EPOCH

SECOND = 1_000_000
DAY = 86_400 * SECOND
# Within 64 bits with room to add, since SQLite stores integers in 64 bits.
OPEN_LOW, OPEN_HIGH = -(2**62), 2**62
_EPOCH_DAY = date(1970, 1, 1).toordinal()
# 24:00 is not allowed, second 60 is (FHIR R4 datatypes.html#dateTime). Zones run to +14:00.
_PATTERN = re.compile(
    r"(?P<year>[0-9]{4})(?:-(?P<month>0[1-9]|1[0-2])(?:-(?P<day>0[1-9]|[12][0-9]|3[01])"
    r"(?:T(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9])"
    r"(?::(?P<second>[0-5][0-9]|60)(?:\.(?P<fraction>[0-9]{1,9}))?)?"
    r"(?P<zone>Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9]|[+-]14:00)?)?)?)?"
)


class Range(NamedTuple):
    """Microseconds since 1970, from ``low`` up to, but without, ``high``."""

    low: int
    high: int


# The resources of a chart repeat few distinct dates.
@lru_cache(maxsize=65_536)
def parse_range(text: str) -> Range | None:
    """Parse a date, dateTime or instant of any precision into the range that it covers; None if it is malformed.

    Source: FHIR R4 datatypes.html#dateTime, search.html#date
    """
    match = _PATTERN.fullmatch(text)
    # Python's calendar begins with year 1.
    if match is None or match["year"] == "0000":
        return None
    year, month, day = int(match["year"]), int(match["month"] or 1), int(match["day"] or 1)
    try:
        start = (date(year, month, day).toordinal() - _EPOCH_DAY) * DAY
    except ValueError:
        return None
    if match["hour"] is None:
        return Range(start, start + _days_covered(match, year, month) * DAY)
    start += (int(match["hour"]) * 3600 + int(match["minute"]) * 60) * SECOND - _offset(match["zone"])
    if match["second"] is None:
        return Range(start, start + 60 * SECOND)
    start += int(match["second"]) * SECOND
    fraction = match["fraction"]
    if fraction is None:
        return Range(start, start + SECOND)
    # Beyond microseconds nothing is compared; a moment written with fewer digits covers the range that they leave open.
    digits = fraction[:6]
    start += int(digits.ljust(6, "0"))
    return Range(start, start + 10 ** (6 - len(digits)))


def _days_covered(match: re.Match[str], year: int, month: int) -> int:
    if match["day"] is not None:
        return 1
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if match["month"] is None:
        return 366 if leap else 365
    return (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]


def _offset(zone: str | None) -> int:
    if zone is None or zone == "Z":
        return 0
    minutes = int(zone[1:3]) * 60 + int(zone[4:6])
    return (minutes if zone[0] == "+" else -minutes) * 60 * SECOND


def period_range(period: dict[str, Any]) -> Range | None:
    """Return the range of a Period; a missing end is open."""
    start, end = parse_range(str(period.get("start", ""))), parse_range(str(period.get("end", "")))
    if start is None and end is None:
        return None
    # Where a bound is missing or malformed, the period is open on that side (FHIR R4 search.html#date).
    return Range(start.low if start else OPEN_LOW, end.high if end else OPEN_HIGH)


def timing_range(timing: dict[str, Any]) -> Range | None:
    """Return the outer limits of a Timing: of its events and its repetition's bounds."""
    ranges = [r for r in map(parse_range, map(str, timing.get("event", ()))) if r]
    bounds = timing.get("repeat", {}).get("boundsPeriod")
    limits = period_range(bounds) if isinstance(bounds, dict) else None
    ranges += [limits] if limits else []
    if not ranges:
        return None
    return Range(min(r.low for r in ranges), max(r.high for r in ranges))


def element_range(type_name: str, value: Any) -> Range | None:
    """Return the range of an element of any type that date searches compare."""
    match type_name:
        case "date" | "dateTime" | "instant":
            return parse_range(value) if isinstance(value, str) else None
        case "Period":
            return period_range(value)
        case "Timing":
            return timing_range(value)
        case _:
            return None


def render_instant(microseconds: int) -> str:
    """Format a moment as a FHIR instant in milliseconds, in UTC."""
    moment = EPOCH.replace(tzinfo=None) + timedelta(microseconds=microseconds)
    return moment.isoformat(timespec="milliseconds") + "Z"


def widen(value: Range, now: int) -> Range:
    """Widen a range by a tenth of its distance from now, on both sides, as the prefix ``ap`` recommends.

    Source: FHIR R4 search.html#prefix
    """
    slack = max(abs(now - value.low), abs(now - value.high)) // 10
    return Range(value.low - slack, value.high + slack)
