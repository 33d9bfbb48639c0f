"""Clocks in business days: weekends, holidays, daylight saving, pauses and exact figures (C106)."""

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.policy.matrix.shipped import shipped_book
from hilum.review.submissions.clocks import (
    WEEKDAYS,
    Span,
    calendar_of,
    due,
    elapsed,
    in_milli,
    named,
    percentile,
    read_calendars,
    shipped_calendars,
)

CALENDARS = shipped_calendars()
US, DE = named("us-federal", CALENDARS), named("de-federal", CALENDARS)
NEW_YORK = ZoneInfo("America/New_York")


def us(text: str) -> datetime:
    """A moment on a clock on a wall in New York."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(UTC)


@pytest.mark.parametrize(
    ("start", "days", "end"),
    [
        ("2026-11-16T09:00", 1, "2026-11-17T09:00"),
        ("2026-11-13T17:00", 1, "2026-11-16T17:00"),  # over a weekend
        ("2026-11-14T12:00", 1, "2026-11-17T00:00"),  # begun on a Saturday: Monday is the day
        ("2026-11-25T09:00", 1, "2026-11-27T09:00"),  # over Thanksgiving
        ("2026-12-24T09:00", 2, "2026-12-29T09:00"),  # over Christmas and a weekend
        ("2026-03-06T09:00", 1, "2026-03-09T09:00"),  # clocks are put forward on the Sunday
        ("2026-10-30T09:00", 1, "2026-11-02T09:00"),  # and back
        ("2027-12-30T12:00", 1, "2028-01-03T12:00"),  # New Year's Day of a Saturday is kept on the Friday
        ("2026-11-16T09:00", 10, "2026-12-01T09:00"),
        ("2030-07-04T09:00", 1, "2030-07-05T09:00"),  # beyond the years that are known only weekends are free
    ],
)
def test_when_a_clock_ends(start: str, days: int, end: str) -> None:
    assert due(US, us(start), Fraction(days)) == us(end)
    assert elapsed(US, us(start), us(end)) == days


def test_a_day_is_one_day_whatever_its_hours() -> None:
    """In a place where clocks change on a working day, that day counts as one, and half of it as its half."""
    beirut = read_calendars(
        {
            "calendars": [
                {
                    "name": "x",
                    "jurisdiction": "X",
                    "source": "",
                    "zone": "Africa/Cairo",
                    "valid_from": date(2024, 1, 1),
                    "valid_until": date(2025, 1, 1),
                    "holidays": [],
                }
            ]
        }
    )[0]
    zone = ZoneInfo("Africa/Cairo")
    # Friday 2024-04-26: from 00:00 to 01:00.
    begins, ends = (datetime(2024, 4, day, tzinfo=zone).astimezone(UTC) for day in (26, 27))
    short = ends - begins

    assert short == timedelta(hours=23)
    assert elapsed(beirut, begins, ends) == 1
    assert elapsed(beirut, begins, begins + short / 2) == Fraction(1, 2)


def test_a_clock_stops_while_the_vendor_owes_an_answer() -> None:
    start, end = us("2026-11-16T09:00"), us("2026-11-20T09:00")
    pauses: list[Span] = [
        (us("2026-11-17T09:00"), us("2026-11-18T09:00")),
        (us("2026-11-17T21:00"), us("2026-11-18T21:00")),
        (us("2026-11-14T00:00"), us("2026-11-15T00:00")),
    ]

    assert elapsed(US, start, end) == 4
    assert elapsed(US, start, end, pauses) == Fraction(5, 2)
    assert elapsed(US, start, end, [*pauses, (us("2026-11-19T09:00"), None)]) == Fraction(3, 2)


MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2028, 12, 1)).map(lambda at: at.replace(tzinfo=UTC))
CALENDAR = st.sampled_from([US, DE, WEEKDAYS])


@given(CALENDAR, MOMENTS, st.fractions(0, 30, max_denominator=500))
def test_at_its_end_exactly_its_days_have_gone_by(calendar: object, start: datetime, days: Fraction) -> None:
    end = due(calendar, start, days)  # type: ignore[arg-type]

    found = elapsed(calendar, start, end)  # type: ignore[arg-type]
    assert days <= found < days + Fraction(1, 10**9)


@given(CALENDAR, st.lists(MOMENTS, min_size=3, max_size=3), st.lists(st.tuples(MOMENTS, MOMENTS), max_size=3))
def test_time_adds_up_and_a_pause_only_takes_away(
    calendar: object, moments: list[datetime], pauses: list[tuple[datetime, datetime]]
) -> None:
    first, second, third = sorted(moments)
    stops: list[Span] = [(min(each), max(each)) for each in pauses]
    whole = elapsed(calendar, first, third, stops)  # type: ignore[arg-type]

    parts = [elapsed(calendar, *each, stops) for each in ((first, second), (second, third))]  # type: ignore[arg-type]
    assert sum(parts) == whole
    assert 0 <= whole <= elapsed(calendar, first, third)  # type: ignore[arg-type]


def test_the_calendar_is_that_of_the_policies_jurisdiction() -> None:
    assert calendar_of(shipped_book(), CALENDARS) == US
    assert calendar_of(shipped_book(), [DE]) == WEEKDAYS
    assert named("gone", CALENDARS) == WEEKDAYS
    assert all(each.holidays and each.source for each in CALENDARS)
    assert not any(each.weekday() in {5, 6} for each in US.holidays), "days in lieu are listed instead"


def test_figures_are_exact() -> None:
    """K1, K12: the median and the 90th percentile by nearest rank."""
    values = [500, 1_000, 1_500, 2_000, 9_000]

    assert (percentile(values, 50), percentile(values, 90)) == (1_500, 9_000)
    assert (percentile([7], 50), percentile([7], 90), percentile([], 50)) == (7, 7, None)
    assert percentile(list(range(1, 11)), 90) == 9
    assert in_milli(Fraction(5, 3)) == 1_666
