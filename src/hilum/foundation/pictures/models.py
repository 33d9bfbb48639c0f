"""Values of pictures."""

from dataclasses import dataclass
from enum import StrEnum

BYTES_BOUND = 64 * 1024
"""The largest logo, as uploaded."""
STORED_BOUND = 256 * 1024
"""The largest logo, as stored: a JPEG is larger as PNG."""
SIDE_MIN, SIDE_MAX = 16, 512
ENCODED_BOUND = BYTES_BOUND // 3 * 4 + 8
"""The largest logo in base64."""
FORMATS = ("PNG", "JPEG")
"""The decoders of Pillow that are used; no other one sees what a stranger sent."""


class Owners(StrEnum):
    """The owners of pictures."""

    APP = "app"
    HOSPITAL = "hospital"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that was encoded again. Without content it means "no picture"."""

    digest: str = ""
    content: bytes = b""


NO_PICTURE = Picture()
