"""Codes that a person reads and types: sixty bits, written XXXX-XXXX-XXXX."""

import hashlib
import re

LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base32: no letters that are mistaken for digits."""
GROUPS, GROUP = 3, 4
_PLAIN = re.compile(rf"[{LETTERS}]{{{GROUPS * GROUP}}}")
_MISREAD = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})


def code_from(secret: str) -> str:
    """Build a code from a random secret."""
    raw = hashlib.sha256(secret.encode()).digest()
    # 256 is a multiple of 32, so every letter is equally likely.
    letters = "".join(LETTERS[byte & 31] for byte in raw[: GROUPS * GROUP])
    return "-".join(letters[at : at + GROUP] for at in range(0, len(letters), GROUP))


def plain(typed: str) -> str:
    """Return a typed code in its stored spelling. Case, spaces, dashes and letters mistaken for digits do not matter."""
    return typed.strip().upper().translate(_MISREAD)


def is_code(text: str) -> bool:
    """Check whether a text in its stored spelling can be a code."""
    return _PLAIN.fullmatch(text) is not None
