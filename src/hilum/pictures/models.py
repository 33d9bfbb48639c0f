"""Values of pictures."""

from dataclasses import dataclass
from enum import StrEnum

BYTES_BOUND = 64 * 1024
"""A logo, as it is given and as it is stored."""
SIDE_MIN, SIDE_MAX = 16, 512
ENCODED_BOUND = BYTES_BOUND // 3 * 4 + 8
"""The same in base64."""


class Owners(StrEnum):
    """Whose a picture is."""

    APP = "app"
    HOSPITAL = "hospital"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, re-encoded, with its look (``looks``). Without content it stands for none."""

    digest: str = ""
    content: bytes = b""
    look: str = ""


@dataclass(frozen=True, slots=True)
class Alike:
    """Whose shown pictures look like another one: kind and id. ``whole``: all were compared."""

    owners: tuple[tuple[Owners, str], ...]
    whole: bool


NO_PICTURE = Picture()
