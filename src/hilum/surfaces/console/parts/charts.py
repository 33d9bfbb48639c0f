"""Layout of columns over time; a template renders them as SVG, without script and inline style. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640.0, 150.0
LEFT, BOTTOM, TOP = 44.0, 18.0, 8.0
COLUMNS_BOUND = 100


@dataclass(frozen=True, slots=True)
class Column:
    """One column in pixels. ``bad``: it is drawn as one that went wrong, which its text says too."""

    x: float
    y: float
    width: float
    height: float
    text: str
    bad: bool


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns from left to right. ``rules`` are (y, label)."""

    columns: tuple[Column, ...]
    rules: tuple[tuple[float, str], ...]
    summary: str
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    bottom: float = HEIGHT - BOTTOM


def columns(values: Sequence[tuple[float, str, bool]], *, unit: str, summary: str) -> Columns | None:
    """Lay out (value, text, bad) from left to right on an axis from zero; None without a value. The first COLUMNS_BOUND are drawn."""
    kept = values[:COLUMNS_BOUND]
    if not kept:
        return None
    top = round_up(max(value for value, _, _ in kept))
    span, step = HEIGHT - BOTTOM - TOP, (WIDTH - LEFT) / len(kept)
    drawn = []
    for n, (value, text, bad) in enumerate(kept):
        # A value of nothing is still seen.
        height = max(1.0, round(value / top * span, 1))
        x = round(LEFT + n * step, 1)
        drawn.append(
            Column(x, round(HEIGHT - BOTTOM - height, 1), round(max(1.0, step * 0.8), 1), height, text, bad)
        )
    rules = tuple(
        (round(HEIGHT - BOTTOM - share * span, 1), f"{top * share:g} {unit}") for share in (0.0, 0.5, 1.0)
    )
    return Columns(tuple(drawn), rules, summary)


def round_up(value: float) -> float:
    """Return the next of 1, 2 and 5 times a power of ten."""
    power = 0.01
    while power * 5 < value and power < 1e9:
        power *= 10
    return next((power * each for each in (1, 2, 5) if power * each >= value), power * 10)


def share(ordered: Sequence[float], part: float) -> float:
    """Return the value below which a part of some ordered values lies; 0 for none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0
