"""Lists within a text that are cut where they are long, and say how much they leave out."""

from collections.abc import Sequence


def and_more(number: int) -> str:
    """Return how many more there are than those that are shown."""
    return f"and {number:,} more"


def listed(entries: Sequence[str], most: int, separator: str = ", ") -> str:
    """Return the first entries as a list, and how many more there are. A separator that is stronger than a comma stands before that too."""
    shown = separator.join(entries[:most])
    if len(entries) <= most:
        return shown
    return f"{shown}{' ' if separator == ', ' else separator}{and_more(len(entries) - most)}"
