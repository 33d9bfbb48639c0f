"""Line charts as geometry."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from hilum.foundation.web.charts import POINTS_BOUND, Series, line_chart

START = datetime(2026, 3, 2, tzinfo=UTC)


def series(*values: float, name: str = "Weight") -> Series:
    return Series(name, tuple((START + timedelta(days=30 * n), value) for n, value in enumerate(values)))


def test_without_a_point_there_is_no_chart() -> None:
    assert line_chart([]) is None
    assert line_chart([Series("Weight", ())]) is None


def test_a_higher_value_stands_higher_and_a_later_one_to_the_right() -> None:
    chart = line_chart([series(60, 70, 65)], unit="kg")

    assert chart is not None
    first, second, third = chart.lines[0].dots
    assert first.x < second.x < third.x
    assert second.y < third.y < first.y


def test_points_are_put_in_order() -> None:
    mixed = Series("Weight", tuple(reversed(series(60, 70, 65).points)))

    assert line_chart([mixed]) == line_chart([series(60, 70, 65)])


def test_the_summary_says_what_a_reader_of_the_screen_needs() -> None:
    chart = line_chart([series(60, 70.5)], unit="kg")

    assert chart is not None
    assert chart.summary == "Weight: 2 values, last 70.5 kg on 1 Apr 2026, first 60."


def test_a_single_point_stands_in_the_middle() -> None:
    chart = line_chart([series(60)])

    assert chart is not None
    assert chart.left < chart.lines[0].dots[0].x < chart.right
    assert len(chart.dates) == 1


@given(
    st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=30),
    st.none() | st.tuples(st.floats(0, 100), st.floats(100.5, 300)),
)
def test_every_point_and_rule_lies_inside(values: list[float], usual: tuple[float, float] | None) -> None:
    chart = line_chart([series(*values)], usual=usual)

    assert chart is not None
    for dot in chart.lines[0].dots:
        assert chart.left - 0.1 <= dot.x <= chart.right + 0.1
        assert -0.1 <= dot.y <= chart.height + 0.1
    assert 2 <= len(chart.rules) <= 12
    if chart.band:
        assert chart.band[1] > 0


def test_a_long_series_keeps_its_newest_points() -> None:
    chart = line_chart([series(*range(POINTS_BOUND + 50))])

    assert chart is not None
    assert len(chart.lines[0].dots) == POINTS_BOUND
