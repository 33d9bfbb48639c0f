"""Codes of fields that are beyond a bound, each with the bound, so that its sentence says it."""

from typing import Any, Self


class Bounded(str):
    """The code of a fault. It equals the plain code; ``limit`` is the bound in words."""

    __slots__ = ("limit",)
    limit: str

    def __new__(cls, code: str, limit: str) -> Self:
        made = super().__new__(cls, code)
        made.limit = limit
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        # Copied with its bound.
        return type(self), (str(self), self.limit)


def too_long(most: int, code: str = "too_long") -> Bounded:
    """Return the code of a text with more than ``most`` characters."""
    return Bounded(code, f"at most {most:,} characters")


def too_short(least: int, code: str = "too_short") -> Bounded:
    """Return the code of a text with fewer than ``least`` characters."""
    return Bounded(code, f"at least {least:,} characters")


def too_many(most: int, code: str = "too_many") -> Bounded:
    """Return the code of a list with more than ``most`` entries."""
    return Bounded(code, f"at most {most:,}")


def out_of_range(least: int, most: int, unit: str = "") -> Bounded:
    """Return the code of a number or period that is not from ``least`` to ``most``."""
    return Bounded("out_of_range", f"from {least:,} to {most:,} {unit}".rstrip())
