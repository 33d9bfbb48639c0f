"""Which names people would take for one another: look-alike letters and near spellings. Pure.

Source: Unicode Technical Standard 39 section 4 (confusable detection), for the idea of a skeleton; the table here is the part that names of
products are imitated with.
"""

import unicodedata
from functools import lru_cache

SKELETON_BOUND = 64
NEAR_FROM = 5
"""Names of fewer letters are compared exactly: too many honest short words are one letter apart."""
PART_FROM = 10
"""From this length on, a name inside another is as good as the name."""
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
"""Letters that look like another in many typefaces; applied to both names, so a pair of honest words loses nothing but its difference."""
_FORMS_OF_COMPANY = frozenset({"inc", "ltd", "llc", "gmbh", "corp", "co", "sa", "bv", "ag", "plc", "kg"})


@lru_cache(maxsize=_CACHED)
def skeleton(name: str) -> str:
    """Return what is left of a name without accents, case, spaces, punctuation, the form of a company, and with look-alikes as one letter."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    words = "".join(" " if each.isspace() else each for each in plain).split()
    kept = [word for word in words if word.strip(".,") not in _FORMS_OF_COMPANY] or words
    text = unicodedata.normalize("NFKD", "".join(kept).translate(_LOOK_ALIKE)).casefold()
    letters = "".join(each for each in text if each.isalnum())
    for seen, as_ in _PAIRS:
        letters = letters.replace(seen, as_)
    return letters[:SKELETON_BOUND]


def forms(name: str) -> frozenset[str]:
    """Return the texts under which a name is found by names like it: its skeleton, and that without each one of its letters.

    Names that resemble each other share a form, so a look-up by form finds all candidates without reading every name.
    """
    whole = skeleton(name)
    if len(whole) < NEAR_FROM:
        return frozenset({whole})
    return frozenset({whole, *(whole[:at] + whole[at + 1 :] for at in range(len(whole)))})


def resembles(name: str, other: str) -> bool:
    """Check whether people would take one name for the other: equal skeletons, or one letter added, left out, replaced or swapped."""
    one, two = skeleton(name), skeleton(other)
    if one == two:
        return bool(one) or name == other
    if min(len(one), len(two)) < NEAR_FROM or abs(len(one) - len(two)) > 1:
        return False
    shorter, longer = sorted((one, two), key=len)
    at = next((n for n, (a, b) in enumerate(zip(shorter, longer, strict=False)) if a != b), len(shorter))
    if len(shorter) < len(longer):
        return shorter[at:] == longer[at + 1 :]
    swapped = shorter[at : at + 2][::-1] == longer[at : at + 2] and shorter[at + 2 :] == longer[at + 2 :]
    return swapped or shorter[at + 1 :] == longer[at + 1 :]


def uses(name: str, other: str) -> bool:
    """Check whether a name resembles another, or has it inside and that is long enough to be recognized."""
    whole = skeleton(other)
    return resembles(name, other) or (len(whole) >= PART_FROM and whole in skeleton(name))
