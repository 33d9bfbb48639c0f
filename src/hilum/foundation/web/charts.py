"""Lays out line charts over time; a template renders them as SVG, so they need neither script nor inline style. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hilum.foundation.kernel.lists import counted

POINTS_BOUND = 400
SERIES_BOUND = 3
SIZE = 340.0, 150.0
LEFT, RIGHT, TOP, BOTTOM = 38.0, 8.0, 8.0, 20.0
TICKS = 4
SPREAD_MIN = 0.1
"""Without a usual range the axis spans at least this share of the value, so that a small change does not look like a large one."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line. Points need not be in order."""

    name: str
    points: tuple[tuple[datetime, float], ...]


@dataclass(frozen=True, slots=True)
class Dot:
    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    path: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart in pixels. ``rules`` are (y, label), ``dates`` (x, label, anchor), ``band`` the usual range as (y, height).

    ``usual`` is that range in words.
    """

    width: float
    height: float
    left: float
    right: float
    lines: tuple[Line, ...]
    rules: tuple[tuple[float, str], ...]
    dates: tuple[tuple[float, str, str], ...]
    band: tuple[float, float] | None
    summary: str
    usual: str = ""


def line_chart(
    series: Sequence[Series],
    *,
    unit: str = "",
    usual: tuple[float, float] | None = None,
    usual_name: str = "Usual range",
) -> Chart | None:
    """Lay out lines over time; return None without a point. ``usual`` is the range shown as a band, in the values' unit."""
    drawn = [Series(each.name, _newest(each.points)) for each in series[:SERIES_BOUND] if each.points]
    points = [point for each in drawn for point in each.points]
    if not points:
        return None
    width, height = SIZE
    low, high, step = _scale([value for _, value in points], usual)
    first, last = min(at for at, _ in points), max(at for at, _ in points)
    seconds = (last - first).total_seconds() or 1.0
    # A single moment has no width, so it is drawn in the middle.
    is_one_moment = first == last

    def x(at: datetime) -> float:
        share = 0.5 if is_one_moment else (at - first).total_seconds() / seconds
        return round(LEFT + share * (width - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(TOP + (high - value) / (high - low) * (height - TOP - BOTTOM), 1)

    lines = []
    for each in drawn:
        dots = tuple(
            Dot(x(at), y(value), f"{_day(at)}: {_number(value)} {unit}".strip()) for at, value in each.points
        )
        path = "M" + " L".join(f"{dot.x:g} {dot.y:g}" for dot in dots)
        lines.append(Line(each.name, path, dots))
    count = round((high - low) / step)
    rules = tuple((y(low + n * step), _number(low + n * step)) for n in range(count + 1))
    dates: tuple[tuple[float, str, str], ...] = (
        (x(first), _month(first), "middle" if is_one_moment else "start"),
    )
    if not is_one_moment:
        dates += ((x(last), _month(last), "end"),)
    band = None
    if usual is not None:
        top, bottom = y(min(usual[1], high)), y(max(usual[0], low))
        band = (top, round(bottom - top, 1)) if bottom > top else None
    usual_text = ""
    if usual is not None and band is not None:
        usual_text = f"{usual_name}: {_number(usual[0])}–{_number(usual[1])} {unit}".strip()
    return Chart(
        width,
        height,
        LEFT,
        width - RIGHT,
        tuple(lines),
        rules,
        dates,
        band,
        _summary(drawn, unit),
        usual_text,
    )


def _newest(points: tuple[tuple[datetime, float], ...]) -> tuple[tuple[datetime, float], ...]:
    return tuple(sorted(points)[-POINTS_BOUND:])


def _scale(values: Sequence[float], usual: tuple[float, float] | None) -> tuple[float, float, float]:
    """Return round ends and a round step of the axis, for the values and the part of the usual range that is near them."""
    low, high = min(values), max(values)
    spread = (high - low) or abs(high) * SPREAD_MIN or 1.0
    if usual is None:
        missing = abs(low + high) / 2 * SPREAD_MIN - (high - low)
        low, high = low - max(missing, 0) / 2, high + max(missing, 0) / 2
    else:
        # The band is drawn only as far as it is near the values: a wide usual range would flatten the line.
        low = min(low, max(usual[0], low - spread))
        high = max(high, min(usual[1], high + spread))
    raw = ((high - low) or spread) / TICKS
    magnitude: float = 10.0 ** math.floor(math.log10(raw))
    # Steps that a person reads without calculating.
    step: float = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw)
    bottom, top = math.floor(low / step) * step, math.ceil(high / step) * step
    if top == bottom:
        bottom, top = bottom - step, top + step
    return bottom, top, step


def _number(value: float) -> str:
    return f"{round(value, 2):g}"


def _day(at: datetime) -> str:
    return f"{at.day} {at:%b %Y}"


def _month(at: datetime) -> str:
    return f"{at:%b %Y}"


def _summary(series: Sequence[Series], unit: str) -> str:
    parts = []
    for each in series:
        (_, first), (at, last) = each.points[0], each.points[-1]
        part = f"{each.name}: {counted(len(each.points), 'value')}, last {_number(last)} {unit}".rstrip()
        part += f" on {_day(at)}"
        if len(each.points) > 1:
            part += f", first {_number(first)}"
        parts.append(part)
    return ". ".join(parts) + "."
