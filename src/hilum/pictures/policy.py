"""Accept PNG pictures: decoded and encoded again, so that they carry nothing else.

Source: Portable Network Graphics (third edition) sections 5, 9, 10 and 11; docs/adr/0014-pages.md.
"""

import base64
import binascii
import hashlib
import struct
import zlib
from collections.abc import Iterator

from hilum.kernel.errors import Invalid
from hilum.pictures.looks import look_of
from hilum.pictures.models import (
    BYTES_BOUND,
    GREY,
    GREY_ALPHA,
    NO_PICTURE,
    PALETTE,
    RGB,
    RGB_ALPHA,
    SAMPLES,
    SIDE_MAX,
    SIDE_MIN,
    SIGNATURE,
    Picture,
)

CHUNKS_BOUND = 200
DEPTHS = {GREY: (1, 2, 4, 8), RGB: (8,), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8,), RGB_ALPHA: (8,)}
FILTERS = 5
LEVEL = 6
"""Of compression. At a higher one pixels can be chosen that take seconds to encode."""
NOT_PNG = "picture_not_png"


def decoded(text: str, field: str) -> Picture:
    """Return the picture in a base64 text; of an empty one, none. Raises Invalid."""
    if not text:
        return NO_PICTURE
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("picture_invalid", "This is not base64.", fields={field: NOT_PNG}) from None
    return read(data, field)


def read(data: bytes, field: str) -> Picture:
    """Return the picture in a PNG file, re-encoded. Raises Invalid, which names ``field``."""
    found = _encoded_again(data) if len(data) <= BYTES_BOUND else "picture_too_large"
    if isinstance(found, str):
        raise Invalid("picture_invalid", "The picture cannot be used; see fields.", fields={field: found})
    return Picture(hashlib.sha256(found).hexdigest(), found, look_of(found))


def _encoded_again(data: bytes) -> bytes | str:
    """Return a PNG of the same pixels, or the code of its fault."""
    chunks = list(_chunks(data))
    if len(chunks) < 3 or chunks[0][0] != b"IHDR" or chunks[-1] != (b"IEND", b"") or len(chunks[0][1]) != 13:
        return NOT_PNG
    header = chunks[0][1]
    width, height, depth, colour, *methods = struct.unpack(">IIBBBBB", header)
    if not (SIDE_MIN <= width <= SIDE_MAX and SIDE_MIN <= height <= SIDE_MAX):
        return "picture_wrong_size"
    # Interlaced and 16-bit pictures are left out: no logo needs them.
    if depth not in DEPTHS.get(colour, ()) or methods != [0, 0, 0]:
        return "picture_unusual"
    palette = [body for kind, body in chunks if kind == b"PLTE"]
    clear = [body for kind, body in chunks if kind == b"tRNS"]
    if len(palette) > 1 or len(clear) > 1 or (colour == PALETTE) != bool(palette):
        return "picture_unusual"
    if any(len(body) % 3 or not 3 <= len(body) <= 768 for body in palette):
        return NOT_PNG
    if clear and len(clear[0]) not in _clear_lengths(colour, palette):
        return NOT_PNG
    row = 1 + (width * SAMPLES[colour] * depth + 7) // 8
    pixels = _inflated(b"".join(body for kind, body in chunks if kind == b"IDAT"), row * height)
    if pixels is None or any(pixels[at] >= FILTERS for at in range(0, len(pixels), row)):
        return NOT_PNG
    kept = [
        (b"IHDR", header),
        *((b"PLTE", body) for body in palette),
        *((b"tRNS", body) for body in clear),
        (b"IDAT", zlib.compress(pixels, LEVEL)),
        (b"IEND", b""),
    ]
    written = SIGNATURE + b"".join(_written(kind, body) for kind, body in kept)
    return written if len(written) <= BYTES_BOUND else "picture_too_large"


def _clear_lengths(colour: int, palette: list[bytes]) -> range:
    """Return the allowed lengths of a list of transparent colours."""
    if colour == PALETTE:
        return range(1, len(palette[0]) // 3 + 1)
    return {GREY: range(2, 3), RGB: range(6, 7)}.get(colour, range(0))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Split a file into its chunks, up to its end or the first malformed one."""
    at = len(SIGNATURE)
    if data[:at] != SIGNATURE:
        return
    for _ in range(CHUNKS_BOUND):
        length, kind = struct.unpack_from(">I4s", data, at) if at + 12 <= len(data) else (0, b"")
        body = data[at + 8 : at + 8 + length]
        at += 12 + length
        if not kind or at > len(data) or struct.unpack_from(">I", data, at - 4)[0] != zlib.crc32(kind + body):
            return
        yield kind, body
        if kind == b"IEND":
            return


def _inflated(stream: bytes, length: int) -> bytes | None:
    """Return the ``length`` bytes of a compressed stream; None if it has another number of bytes, or cannot be read."""
    inflater = zlib.decompressobj()
    try:
        # One more than there may be: a stream that grows without end is stopped there.
        found = inflater.decompress(stream, length + 1)
    except zlib.error:
        return None
    return found if len(found) == length and inflater.eof else None


def _written(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
