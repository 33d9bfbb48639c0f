"""Formats numbers of things and long lists in English text. A list that is cut states how many entries it leaves out."""

from collections.abc import Sequence


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: 1 record, 2,000 records. ``many``: the plural, if it is not ``one`` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def and_more(number: int) -> str:
    """Return the text for the entries that a list leaves out: and 3 more."""
    return f"and {number:,} more"


def listed(entries: Sequence[str], most: int, separator: str = ", ") -> str:
    """Join the first ``most`` entries, and state how many more there are. A separator other than a comma precedes that count too."""
    shown = separator.join(entries[:most])
    if len(entries) <= most:
        return shown
    return f"{shown}{' ' if separator == ', ' else separator}{and_more(len(entries) - most)}"
