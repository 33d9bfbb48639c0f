"""Small PNG files, whole and broken, written by hand."""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    side: int = 32,
    *,
    depth: int = 8,
    colour: int = 2,
    interlace: int = 0,
    pixels: bytes | None = None,
    before: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """Return a square of one colour. ``before``: chunks before the pixels; ``after``: what follows the end."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
    row = b"\0" + b"\x0b" * ((side * samples * depth + 7) // 8)
    header = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, interlace)
    data = zlib.compress(row * side) if pixels is None else pixels
    return SIGNATURE + chunk(b"IHDR", header) + before + chunk(b"IDAT", data) + chunk(b"IEND", b"") + after
