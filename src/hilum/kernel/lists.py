"""Lists and numbers of things within a text in English. A list that is long is cut, and says how much it leaves out."""

from collections.abc import Sequence


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number of things in words: 1 record, 2,000 records. ``many``: the plural, where it is not ``one`` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def and_more(number: int) -> str:
    """Return how many more there are than those that are shown."""
    return f"and {number:,} more"


def listed(entries: Sequence[str], most: int, separator: str = ", ") -> str:
    """Return the first entries as a list, and how many more there are. A separator that is stronger than a comma stands before that too."""
    shown = separator.join(entries[:most])
    if len(entries) <= most:
        return shown
    return f"{shown}{' ' if separator == ', ' else separator}{and_more(len(entries) - most)}"
