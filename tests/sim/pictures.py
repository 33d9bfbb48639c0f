"""Small PNG files, whole and broken, written by hand: the project has no library of pictures."""

import struct
import zlib
from collections.abc import Callable

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


Rows = list[list[tuple[int, int, int]]]
WHITE, INK = (255, 255, 255), (20, 60, 140)
SHAPES: dict[str, Callable[[float, float], bool]] = {
    "disc": lambda x, y: x * x + y * y < 0.8,
    "ring": lambda x, y: 0.35 < x * x + y * y < 0.8,
    "cross": lambda x, y: min(abs(x), abs(y)) < 0.25,
    "wedge": lambda x, y: abs(x) < (y + 1) / 2,
    "lozenge": lambda x, y: abs(x) + abs(y) < 0.9,
    "bars": lambda x, y: abs(x) < 0.9 and int((y + 1) * 2.5) % 2 == 0,
    "corner": lambda x, y: x < -0.4 or y > 0.4,
    "steps": lambda x, y: y > -0.9 + 0.5 * int((1 - x) * 2),
    "two dots": lambda x, y: (abs(x) - 0.5) ** 2 + y * y < 0.2,
}
"""Logos by whether a point between -1 and 1 is of them."""


def drawn(shape: str, side: int = 48) -> Rows:
    """Return the pixels of a logo."""
    inside = SHAPES[shape]
    at = [(2 * n + 1) / side - 1 for n in range(side)]
    return [[INK if inside(x, y) else WHITE for x in at] for y in at]


def png_of(rows: Rows) -> bytes:
    """Return a PNG of pixels."""
    data = zlib.compress(b"".join(b"\0" + bytes(part for pixel in row for part in pixel) for row in rows))
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 2, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
