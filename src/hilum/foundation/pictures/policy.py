"""Accept pictures: decoded and encoded again, so that what is served contains pixels and nothing else (ADR 14)."""

import base64
import binascii
import hashlib
import warnings
from io import BytesIO

from PIL import Image

from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.pictures.models import (
    BYTES_BOUND,
    FORMATS,
    NO_PICTURE,
    SIDE_MAX,
    SIDE_MIN,
    STORED_BOUND,
    Picture,
)

UNREADABLE = "picture_unreadable"
MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK"})
"""The modes of Pillow that become RGBA without losing their range; others, such as 16-bit grey, are refused."""
LEVEL = 6
"""Of compression. At a higher one pixels can be chosen that take seconds to encode."""
Image.MAX_IMAGE_PIXELS = SIDE_MAX * SIDE_MAX
# Pillow only warns of up to twice as many pixels. Set once: the filters of warnings are the process's, not a thread's.
warnings.simplefilter("error", Image.DecompressionBombWarning)


def decoded(text: str, field: str) -> Picture:
    """Return the picture in a base64 text; of an empty one, none. Raises Invalid."""
    if not text:
        return NO_PICTURE
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("picture_invalid", "This is not base64.", fields={field: UNREADABLE}) from None
    return read(data, field)


def read(data: bytes, field: str) -> Picture:
    """Return the picture in a PNG or JPEG file, encoded again as PNG. Raises Invalid, which names ``field``."""
    if len(data) > BYTES_BOUND:
        raise _invalid(field, "picture_too_large")
    try:
        encoded = _encoded_again(data)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        encoded = "picture_wrong_size"
    except Exception:  # noqa: BLE001 - a decoder's edge: a malformed file may raise anything
        encoded = UNREADABLE
    if isinstance(encoded, str):
        raise _invalid(field, encoded)
    return Picture(hashlib.sha256(encoded).hexdigest(), encoded)


def _invalid(field: str, code: str) -> Invalid:
    return Invalid("picture_invalid", "The picture cannot be used; see fields.", fields={field: code})


def _encoded_again(data: bytes) -> bytes | str:
    """Return a PNG of the same pixels, or the code of its fault. Raises whatever Pillow raises of a malformed file."""
    with Image.open(BytesIO(data), formats=FORMATS) as header:
        if not all(SIDE_MIN <= side <= SIDE_MAX for side in header.size):
            return "picture_wrong_size"
        # Checks the whole file, without decoding the pixels; the picture cannot be used afterwards.
        header.verify()
    with Image.open(BytesIO(data), formats=FORMATS) as picture:
        if picture.mode not in MODES:
            return UNREADABLE
        pixels = picture.convert("RGBA")
    # Without this Pillow would write the metadata of the original.
    pixels.info.clear()
    png = BytesIO()
    pixels.save(png, "PNG", compress_level=LEVEL)
    return png.getvalue() if png.tell() <= STORED_BOUND else "picture_too_large"
