"""The grammar of search values: escapes, alternatives, prefixes, numbers, folded text."""

import math
import re
import unicodedata
from decimal import Decimal
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

PREFIXES = frozenset({"eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"})
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_NUMBER = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?(?:[eE][+-]?[0-9]{1,3})?")


# Folded as their readers type them without a special keyboard.
_UNDIVIDED = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ħ": "h", "ı": "i"}
)
"""Letters that Unicode does not decompose into a letter and a mark."""


def is_id(text: str) -> bool:
    """Check whether a text can be the id of a resource.

    Source: FHIR R4 datatypes.html#id
    """
    return ID.fullmatch(text) is not None


def split(text: str, separator: str) -> list[str]:
    r"""Split at separators that are not escaped; the parts stay escaped.

    Source: FHIR R4 search.html#escaping
    """
    if "\\" not in text:
        return text.split(separator)
    parts, start, index = [], 0, 0
    # The character after a backslash is skipped, whatever it is: "\\," is an escaped backslash before a separator.
    while index < len(text):
        if text[index] == "\\":
            index += 1
        elif text[index] == separator:
            parts.append(text[start:index])
            start = index + 1
        index += 1
    return [*parts, text[start:]]


def unescape(text: str) -> str:
    r"""Replace ``\,`` ``\|`` ``\$`` and ``\\`` by their second character."""
    return re.sub(r"\\([,|$\\])", r"\1", text) if "\\" in text else text


def escape(text: str) -> str:
    """Escape a value: ``split`` does not divide it, and ``unescape`` returns the original."""
    return re.sub(r"([,|$\\])", r"\\\1", text)


def split_prefix(text: str) -> tuple[str, str]:
    """Split an ordered value into its prefix (``eq`` by default) and the rest."""
    # No value that takes a prefix begins with a letter, so "ap" is never part of it.
    return (text[:2], text[2:]) if text[:2] in PREFIXES else ("eq", text)


def fold(text: str) -> str:
    """Fold text for comparison: without case, accents and repeated spaces.

    Source: FHIR R4 search.html#string
    """
    if text.isascii():
        return " ".join(text.lower().split())
    # Decomposed first, so that "é" and "e" with an accent are one letter.
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(bare.casefold().translate(_UNDIVIDED).split())


def parse_pairs(query: bytes) -> list[tuple[str, str]]:
    """Split a query or a form body into decoded pairs. Raises ValueError where escapes are broken or not UTF-8."""
    try:
        text = query.decode("ascii")
        # unquote leaves a broken escape as it is, so two spellings would mean one value.
        if _BAD_ESCAPE.search(text):
            raise ValueError("it has a malformed percent escape")
        parts = [part.partition("=") for part in text.replace("+", " ").split("&") if part]
        return [
            (unquote_to_bytes(name).decode(), unquote_to_bytes(value).decode()) for name, _, value in parts
        ]
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 in percent escapes") from None


class Number(NamedTuple):
    """A number in a search: its value, and the range that its precision implies."""

    value: float
    low: float
    high: float


def parse_number(text: str) -> Number | None:
    """Parse a number with its implied precision: 100 means [99.5, 100.5), 1e2 means [95, 105).

    Source: FHIR R4 search.html#number
    """
    if _NUMBER.fullmatch(text) is None:
        return None
    exact = Decimal(text)
    exponent = int(exact.as_tuple().exponent)
    # Half of the last significant digit on either side (FHIR R4 search.html#number).
    half = Decimal(5).scaleb(exponent - 1 if exponent <= 0 else exponent - 2)
    number = Number(float(exact), float(exact - half), float(exact + half))
    return number if all(map(math.isfinite, number)) else None
