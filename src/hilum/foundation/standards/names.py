"""Detects names that people would confuse: look-alike letters and near spellings. Pure.

Source: Unicode Technical Standard 39 section 4 (confusable detection), for the idea of a skeleton; the table here has the part of its
confusables with which product names are imitated.
"""

import unicodedata
from functools import lru_cache

SKELETON_BOUND = 64
NEAR_FROM = 5
"""Skeletons of fewer letters are compared exactly: too many unrelated short words are one letter apart."""
PART_FROM = 10
"""A skeleton of at least this length counts as used if it is part of another name."""
_CACHED = 50_000
_LOOK_ALIKE = str.maketrans(
    {
        # Cyrillic
        "а": "a", "в": "b", "с": "c", "ԁ": "d", "е": "e", "һ": "h", "і": "i", "ј": "j", "к": "k", "ӏ": "l", "м": "m", "н": "h", "о": "o",
        "р": "p", "ԛ": "q", "ѕ": "s", "т": "t", "у": "y", "х": "x", "ԝ": "w", "г": "r", "п": "n", "и": "u",
        # Greek
        "α": "a", "β": "b", "γ": "y", "ε": "e", "η": "n", "ι": "i", "κ": "k", "μ": "u", "ν": "v", "ο": "o", "ρ": "p", "σ": "o", "τ": "t",
        "υ": "u", "χ": "x", "ω": "w",
        # Latin and digits
        "ı": "i", "ł": "l", "ø": "o", "đ": "d", "ß": "b", "ɡ": "g", "ɑ": "a", "0": "o", "1": "l", "3": "e", "5": "s", "8": "b", "|": "l",
        "!": "l", "$": "s", "@": "a",
    }
)  # fmt: skip
_PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"), ("i", "l"))
"""Letters that look alike in many typefaces. They are replaced in both names, so that names which differ only in these are equal."""
_LEGAL_FORMS = frozenset({"inc", "ltd", "llc", "gmbh", "corp", "co", "sa", "bv", "ag", "plc", "kg"})


@lru_cache(maxsize=_CACHED)
def skeleton(name: str) -> str:
    """Return a name without accents, case, spaces, punctuation and legal form (Inc, GmbH), and with look-alike letters unified."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    words = "".join(" " if each.isspace() else each for each in plain).split()
    distinctive = [word for word in words if word.strip(".,") not in _LEGAL_FORMS] or words
    text = unicodedata.normalize("NFKD", "".join(distinctive).translate(_LOOK_ALIKE)).casefold()
    letters = "".join(each for each in text if each.isalnum())
    for look_alike, letter in _PAIRS:
        letters = letters.replace(look_alike, letter)
    return letters[:SKELETON_BOUND]


def forms(name: str) -> frozenset[str]:
    """Return the index keys of a name: its skeleton, and the skeleton without each one of its letters.

    Names that resemble each other share a key, so a look-up by key finds all candidates without reading every name.
    """
    whole = skeleton(name)
    if len(whole) < NEAR_FROM:
        return frozenset({whole})
    return frozenset({whole, *(whole[:at] + whole[at + 1 :] for at in range(len(whole)))})


def resembles(name: str, other: str) -> bool:
    """Check whether people would confuse two names: equal skeletons, or one letter added, omitted, replaced or swapped."""
    one, two = skeleton(name), skeleton(other)
    if one == two:
        return bool(one) or name == other
    if min(len(one), len(two)) < NEAR_FROM or abs(len(one) - len(two)) > 1:
        return False
    shorter, longer = sorted((one, two), key=len)
    at = next((n for n, (a, b) in enumerate(zip(shorter, longer, strict=False)) if a != b), len(shorter))
    # One of them has one letter more: the rest is equal.
    if len(shorter) < len(longer):
        return shorter[at:] == longer[at + 1 :]
    # They are equally long: two neighbours are swapped, or one letter is replaced.
    swapped = shorter[at : at + 2][::-1] == longer[at : at + 2] and shorter[at + 2 :] == longer[at + 2 :]
    return swapped or shorter[at + 1 :] == longer[at + 1 :]


def uses(name: str, other: str) -> bool:
    """Check whether ``name`` resembles ``other``, or contains it where that is long enough (PART_FROM) to be recognized."""
    whole = skeleton(other)
    return resembles(name, other) or (len(whole) >= PART_FROM and whole in skeleton(name))
