"""Dates as ranges. Source: FHIR R4 datatypes.html#dateTime, search.html#date, search.html#prefix."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.foundation.kernel.times import to_micros
from hilum.foundation.standards.fhir.dates import (
    DAY,
    OPEN_HIGH,
    OPEN_LOW,
    SECOND,
    Range,
    element_range,
    parse_range,
    render_instant,
)
from tests.effort import effort
from tests.unit.fhirserver.prefixes import matches

RANGES = st.tuples(st.integers(-(10**15), 10**15), st.integers(1, 10**14)).map(
    lambda t: Range(t[0], t[0] + t[1])
)


def at(*parts: int) -> int:
    return to_micros(datetime(*parts, tzinfo=UTC))  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2026", at(2026, 1, 1), at(2027, 1, 1)),
        ("2026-03", at(2026, 3, 1), at(2026, 4, 1)),
        ("2024-02", at(2024, 2, 1), at(2024, 3, 1)),
        ("2026-03-02", at(2026, 3, 2), at(2026, 3, 3)),
        ("2026-03-02T09:30", at(2026, 3, 2, 9, 30), at(2026, 3, 2, 9, 31)),
        ("2026-03-02T09:30:15Z", at(2026, 3, 2, 9, 30, 15), at(2026, 3, 2, 9, 30, 16)),
        ("2026-03-02T09:30:15+02:00", at(2026, 3, 2, 7, 30, 15), at(2026, 3, 2, 7, 30, 16)),
        ("2026-03-02T00:30:15-05:30", at(2026, 3, 2, 6, 0, 15), at(2026, 3, 2, 6, 0, 16)),
        ("2026-03-02T09:30:15.250Z", at(2026, 3, 2, 9, 30, 15, 250_000), at(2026, 3, 2, 9, 30, 15, 251_000)),
        ("9999", at(9999, 1, 1), at(9999, 12, 31) + DAY),
    ],
)
def test_a_date_covers_what_its_precision_leaves_open(text: str, low: int, high: int) -> None:
    """FHIR R4 search.html#date: a date has an implicit range."""
    assert parse_range(text) == Range(low, high)


@pytest.mark.parametrize(
    "text",
    [
        "", "20", "202", "20260", "0000", "2026-00", "2026-13", "2026-1", "2026-02-30", "2025-02-29", "2026-04-31",
        "2026-03-00", "2026-03-2", "2026-3-02", "2026/03/02", "2026-03-02T", "2026-03-02T9", "2026-03-02T24:00",
        "2026-03-02T09:60", "2026-03-02T09:30:61Z", "2026-03-02T09:30:15+15:00", "2026-03-02T09:30:15 02:00",
        "2026-03-02 09:30", "2026-03-02T09:30:15.Z", "2026-03-02T09:30:15z", "today", " 2026", "2026 ", "٢٠٢٦",
        "2026-03-02T09:30:15Z\n", "-2026", "+2026", "2026-03-02T09:30:15.1234567890Z",
    ],
)  # fmt: skip
def test_what_is_no_date_is_refused(text: str) -> None:
    assert parse_range(text) is None


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)), st.integers(-14, 14))
@settings(max_examples=effort(70, 5000))
def test_an_instant_means_the_same_moment_in_every_zone(moment: datetime, hours: int) -> None:
    moment = moment.replace(microsecond=0)
    zone = f"{'-' if hours < 0 else '+'}{abs(hours):02d}:00"

    found = parse_range(moment.isoformat(timespec="seconds") + zone)

    low = to_micros((moment - timedelta(hours=hours)).replace(tzinfo=UTC))
    assert found == Range(low, low + SECOND)


@given(st.integers(at(1, 1, 2), at(9999, 12, 30)))
@settings(max_examples=effort(70, 5000))
def test_a_rendered_instant_reads_back_to_its_millisecond(moment: int) -> None:
    found = parse_range(render_instant(moment))

    assert found is not None
    assert found.low == moment // 1000 * 1000


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("Period", {"start": "2026-03-02"}, Range(at(2026, 3, 2), OPEN_HIGH)),
        ("Period", {"end": "2026-03-02"}, Range(OPEN_LOW, at(2026, 3, 3))),
        ("Period", {"start": "2026", "end": "2026-03"}, Range(at(2026, 1, 1), at(2026, 4, 1))),
        ("Period", {}, None),
        ("Period", {"start": "no"}, None),
        ("Timing", {"event": ["2026-03-02", "2026-03-05"]}, Range(at(2026, 3, 2), at(2026, 3, 6))),
        ("Timing", {"repeat": {"boundsPeriod": {"start": "2026-03-02"}}}, Range(at(2026, 3, 2), OPEN_HIGH)),
        ("Timing", {"code": {"text": "BID"}}, None),
        ("Age", {"value": 3}, None),
        ("dateTime", 3, None),
    ],
)
def test_an_element_is_read_by_its_type(kind: str, value: object, expected: Range | None) -> None:
    assert element_range(kind, value) == expected


DAY_2 = Range(2 * DAY, 3 * DAY)


@pytest.mark.parametrize(
    ("prefix", "target", "expected"),
    [
        ("eq", DAY_2, True), ("eq", Range(2 * DAY, 2 * DAY + 1), True), ("eq", Range(2 * DAY, 3 * DAY + 1), False),
        ("eq", Range(OPEN_LOW, 3 * DAY), False), ("ne", DAY_2, False), ("ne", Range(0, DAY), True),
        ("gt", DAY_2, False), ("gt", Range(2 * DAY, 3 * DAY + 1), True), ("gt", Range(0, OPEN_HIGH), True),
        ("lt", DAY_2, False), ("lt", Range(2 * DAY - 1, 3 * DAY), True), ("lt", Range(3 * DAY, 4 * DAY), False),
        ("ge", DAY_2, True), ("ge", Range(DAY, 2 * DAY), False), ("ge", Range(DAY, 3 * DAY), False),
        ("le", DAY_2, True), ("le", Range(3 * DAY, 4 * DAY), False), ("le", Range(0, DAY), True),
        ("sa", Range(3 * DAY, 4 * DAY), True), ("sa", Range(3 * DAY - 1, 4 * DAY), False),
        ("eb", Range(DAY, 2 * DAY), True), ("eb", Range(DAY, 2 * DAY + 1), False),
        ("ap", DAY_2, True), ("ap", Range(40 * DAY, 41 * DAY), False),
    ],
)  # fmt: skip
def test_a_comparison_follows_the_table_of_prefixes(prefix: str, target: Range, expected: bool) -> None:
    """FHIR R4 search.html#prefix."""
    assert matches(prefix, DAY_2, target, now=10 * DAY) is expected


def test_a_prefix_that_does_not_exist_is_a_bug() -> None:
    with pytest.raises(ValueError, match="zz"):
        matches("zz", DAY_2, DAY_2)


@given(RANGES, RANGES)
@settings(max_examples=effort(50, 10_000))
def test_prefixes_keep_their_relations(asked: Range, target: Range) -> None:
    found = {p: matches(p, asked, target) for p in ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb")}

    assert found["eq"] != found["ne"]
    assert found["ge"] == (found["gt"] or found["eq"])
    assert found["le"] == (found["lt"] or found["eq"])
    assert not found["sa"] or found["gt"]
    assert not found["eb"] or found["lt"]
    assert not (found["sa"] and found["eb"])
    assert found["gt"] or found["lt"] or found["eq"]
