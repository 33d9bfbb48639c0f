"""Values of pictures."""

from dataclasses import dataclass
from enum import StrEnum

BYTES_BOUND = 64 * 1024
"""The largest logo, as uploaded and as stored."""
SIDE_MIN, SIDE_MAX = 16, 512
ENCODED_BOUND = BYTES_BOUND // 3 * 4 + 8
"""The same in base64."""
SIGNATURE = b"\x89PNG\r\n\x1a\n"
"""The first bytes of every PNG file."""
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
"""The colour types of PNG."""
SAMPLES = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
"""Samples of a pixel by colour type."""


class Owners(StrEnum):
    """The owners of pictures."""

    APP = "app"
    HOSPITAL = "hospital"


@dataclass(frozen=True, slots=True)
class Picture:
    """A re-encoded picture with its look (``looks``). Without content it means "no picture"."""

    digest: str = ""
    content: bytes = b""
    look: str = ""


@dataclass(frozen=True, slots=True)
class SimilarPictures:
    """The owners, by kind and id, of shown pictures that look like another one. ``whole``: all pictures were compared."""

    owners: tuple[tuple[Owners, str], ...]
    whole: bool


NO_PICTURE = Picture()
