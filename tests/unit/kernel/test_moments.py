"""A judgement comes out the same until the moment that the present has noted, whatever it did with it."""

import operator
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.kernel.moments import WatchedMoment
from tests.effort import effort

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge]
MOMENTS = st.integers(-3, 3).map(lambda seconds: NOW + timedelta(seconds=seconds))
ASKED = st.lists(st.tuples(st.sampled_from(COMPARISONS), MOMENTS, st.booleans()), max_size=6)


def judged(asked: list[Any], now: datetime) -> list[bool]:
    """Compare the present with moments, on either side of each comparison."""
    return [compare(at, now) if turned else compare(now, at) for compare, at, turned in asked]


@given(asked=ASKED, later=st.integers(0, 4_000_000))
@settings(max_examples=effort(100, 20_000), deadline=None)
def test_until_the_noted_moment_each_comparison_comes_out_the_same(asked: list[Any], later: int) -> None:
    now, then = WatchedMoment.of(NOW), NOW + timedelta(microseconds=later)

    first = judged(asked, now)

    assert first == judged(asked, NOW)
    if now.until is None or then < now.until:
        assert judged(asked, then) == first


@given(asked=ASKED)
@settings(max_examples=effort(40, 5_000), deadline=None)
def test_the_noted_moment_is_the_first_that_is_still_to_come(asked: list[Any]) -> None:
    now = WatchedMoment.of(NOW)

    judged(asked, now)

    assert now.until == min((at for _, at, _ in asked if at >= NOW), default=None)


OTHERWISE: dict[str, Callable[[datetime], Any]] = {
    "its date": lambda now: now.astimezone(UTC).date(),
    "its text": str,
    "its digits": repr,
    "a format": lambda now: f"{now:%H}",
    "a sum": lambda now: now + timedelta(hours=1),
    "a sum, turned": lambda now: timedelta(hours=1) + now,
    "an hour before": lambda now: now - timedelta(hours=1),
    "since": lambda now: now - NOW,
    "until": lambda now: NOW - now,
    "equality": lambda now: now == NOW,
    "inequality": lambda now: now != NOW,
    "a key": lambda now: {NOW: 1}[now],
    **{name: operator.attrgetter(name) for name in dir(datetime) if not name.startswith("_")},
}


@pytest.mark.parametrize("use", OTHERWISE)
def test_any_other_use_holds_for_no_later_moment(use: str) -> None:
    now = WatchedMoment.of(NOW)

    found, expected = OTHERWISE[use](now), OTHERWISE[use](NOW)

    assert found == expected or callable(found)
    assert now.until == NOW


def test_a_moment_that_is_over_ends_nothing() -> None:
    now = WatchedMoment.of(NOW)

    assert now > NOW - timedelta(days=1)
    assert now.until is None
