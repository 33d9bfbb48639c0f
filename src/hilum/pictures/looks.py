"""The look of a picture, in few bits: pictures that people would mistake for each other have looks at a small distance (C212). Pure.

A difference hash: the picture without its margin is averaged into a few cells, and each cell is compared with its neighbours. So size, margin, brightness, colours, a few pixels and inverted brightness make no difference.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import log2

from hilum.pictures.models import GREY, GREY_ALPHA, PALETTE, RGB_ALPHA, SAMPLES, SIGNATURE

CELLS = 11
"""Cells a side that are compared with their neighbours; the outer ones are background."""
STEP = 20
"""The difference, of 255, from which neighbours count as different."""
EDGE = 24
"""The difference from the background, of 255, from which a pixel is no margin."""
SPECKS = 1 / 24
"""Up to which share of a line may differ while it is still margin."""
WHITE = 255
_BITS = CELLS * (CELLS - 1) * 2
_ASPECTS = 256
_OCTAVE = 16
"""Steps of the aspect for twice the width."""
_SUB, _UP, _AVERAGE, _PAETH = 1, 2, 3, 4
"""The filters of PNG; 0 changes nothing."""
FAR = _BITS * 2 + 1
"""Greater than the distance of any two looks."""
NEAR = 28
"""The greatest distance of two pictures that people would mistake for each other."""


def look_of(png: bytes) -> str:
    """Return the look of a picture from ``policy.read``; empty if there is nothing to see, as in a single colour.

    It has two parts, for the picture without its margin and for the whole on white: a logo without a margin may be given one.
    """
    rows = _pixels(png)
    # White on nothing is seen on a dark page only.
    for behind in (WHITE, 0):
        grey = [[_grey(pixel, behind) for pixel in row] for row in rows]
        ground = _ground(grey)
        cut = _without_margin(grey, ground)
        if cut is not None:
            return f"{_hashed(cut, ground)}-{_hashed(grey, WHITE)}".removesuffix("-")
    return ""


def distance(one: str, other: str) -> int:
    """Return the smallest distance of two looks, also with one inverted; FAR if they cannot be compared."""
    (cut, whole), (other_cut, other_whole) = _parts(one), _parts(other)
    # Not the wholes with each other: small things on much white would all be near.
    return min(_apart(cut, other_cut), _apart(cut, other_whole), _apart(whole, other_cut))


def _parts(look: str) -> tuple[int, int]:
    cut, _, whole = look.partition("-")
    return int(cut or "0", 16), int(whole or "0", 16)


def _apart(a: int, b: int) -> int:
    if not a or not b or abs((a >> 2 * _BITS) - (b >> 2 * _BITS)) > _OCTAVE // 4:
        return FAR
    mask = (1 << _BITS) - 1
    more, less = a >> _BITS & mask, a & mask
    other_more, other_less = b >> _BITS & mask, b & mask
    same = (more ^ other_more).bit_count() + (less ^ other_less).bit_count()
    turned = (more ^ other_less).bit_count() + (less ^ other_more).bit_count()
    return min(same, turned)


# --- pixels --------------------------------------------------------------------------------------------------------------------


Pixel = tuple[int, int]
"""Luminance and opacity."""


def _pixels(png: bytes) -> list[list[Pixel]]:
    chunks = dict(_chunks(png))
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    samples = SAMPLES[colour]
    length = (width * samples * depth + 7) // 8
    data = zlib.decompress(chunks[b"IDAT"])
    step = max(1, samples * depth // 8)
    before = bytes(length)
    shades = _shades(chunks, colour, depth)
    rows: list[list[Pixel]] = []
    for at in range(0, height * (length + 1), length + 1):
        before = _unfiltered(data[at], bytearray(data[at + 1 : at + 1 + length]), before, step)
        rows.append(_row(before, width, depth, colour, shades))
    return rows


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += 12 + length


def _unfiltered(kind: int, row: bytearray, before: bytes, step: int) -> bytes:
    """Return the bytes of a row, of which ``kind`` is the filter. Source: Portable Network Graphics (third edition) section 9.2."""
    if kind == _SUB:
        for n in range(step, len(row)):
            row[n] = (row[n] + row[n - step]) & 255
    elif kind == _UP:
        for n, up in enumerate(before):
            row[n] = (row[n] + up) & 255
    elif kind == _AVERAGE:
        for n, up in enumerate(before):
            row[n] = (row[n] + ((row[n - step] if n >= step else 0) + up) // 2) & 255
    elif kind == _PAETH:
        for n, up in enumerate(before):
            left, corner = (row[n - step], before[n - step]) if n >= step else (0, 0)
            row[n] = (row[n] + _paeth(left, up, corner)) & 255
    return bytes(row)


def _paeth(left: int, up: int, corner: int) -> int:
    near_left, near_up, near_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    if near_left <= near_up and near_left <= near_corner:
        return left
    return up if near_up <= near_corner else corner


def _shades(chunks: dict[bytes, bytes], colour: int, depth: int) -> list[Pixel]:
    """Return the pixel of each value of a sample, where a pixel has one sample."""
    clear = chunks.get(b"tRNS", b"")
    if colour == PALETTE:
        palette = chunks[b"PLTE"]
        return [
            (_luminance(*palette[n : n + 3]), clear[n // 3] if n // 3 < len(clear) else 255)
            for n in range(0, len(palette), 3)
        ]
    if colour == GREY:
        most = (1 << depth) - 1
        hidden = struct.unpack(">H", clear)[0] if clear else -1
        return [(value * 255 // most, 0 if value == hidden else 255) for value in range(most + 1)]
    return []


def _row(row: bytes, width: int, depth: int, colour: int, shades: Sequence[Pixel]) -> list[Pixel]:
    if shades:
        values: Sequence[int] = row
        if depth < 8:
            mask, each = (1 << depth) - 1, 8 // depth
            values = [byte >> (8 - depth * (n + 1)) & mask for byte in row for n in range(each)][:width]
        # A palette may be shorter than its samples allow: such a pixel is none.
        return [shades[value] if value < len(shades) else (0, 0) for value in values]
    if colour == GREY_ALPHA:
        return list(zip(row[::2], row[1::2], strict=True))
    if colour == RGB_ALPHA:
        return [
            (_luminance(r, g, b), a)
            for r, g, b, a in zip(row[::4], row[1::4], row[2::4], row[3::4], strict=True)
        ]
    return [(_luminance(r, g, b), 255) for r, g, b in zip(row[::3], row[1::3], row[2::3], strict=True)]


def _luminance(red: int, green: int, blue: int) -> int:
    return (red * 299 + green * 587 + blue * 114) // 1000


def _grey(pixel: Pixel, behind: int) -> int:
    light, opacity = pixel
    return light if opacity == 255 else (light * opacity + behind * (255 - opacity)) // 255


# --- cells ---------------------------------------------------------------------------------------------------------------------


def _ground(grey: list[list[int]]) -> int:
    """Return the lightness of the background: that of most corners."""
    corners = [grey[0][0], grey[0][-1], grey[-1][0], grey[-1][-1]]
    return max(corners, key=lambda each: sum(abs(each - other) <= EDGE for other in corners))


def _without_margin(grey: list[list[int]], ground: int) -> list[list[int]] | None:
    """Return what is within the margin, which is as light as the ground; None if everything is. Specks in it are ignored."""
    differs = [[abs(each - ground) > EDGE for each in row] for row in grey]
    by_line, by_column = [sum(row) for row in differs], [sum(column) for column in zip(*differs, strict=True)]
    for specks in (SPECKS, 0):
        lines = [n for n, found in enumerate(by_line) if found > specks * len(by_column)]
        columns = [n for n, found in enumerate(by_column) if found > specks * len(by_line)]
        if lines and columns:
            return [row[columns[0] : columns[-1] + 1] for row in grey[lines[0] : lines[-1] + 1]]
    return None


def _hashed(grey: list[list[int]], ground: int) -> str:
    # In one colour, with ground of the same, there is nothing to see.
    low, high = min(ground, *map(min, grey)), max(ground, *map(max, grey))
    if low == high:
        return ""
    aspect = min(_ASPECTS - 1, max(0, _ASPECTS // 2 + round(_OCTAVE * log2(len(grey[0]) / len(grey)))))
    # With ground around it, so that an outline counts as much as what is in it.
    edge = [float(ground)]
    rows = [edge * CELLS, *(edge + row + edge for row in _averaged(grey, CELLS - 2)), edge * CELLS]
    cells = [[(each - low) * 255 / (high - low) for each in row] for row in rows]
    pairs = [pair for row in cells for pair in pairwise(row)]
    pairs += [pair for upper, lower in pairwise(cells) for pair in zip(upper, lower, strict=True)]
    more = sum(1 << n for n, (a, b) in enumerate(pairs) if a > b + STEP)
    less = sum(1 << n for n, (a, b) in enumerate(pairs) if b > a + STEP)
    found = (aspect << 2 * _BITS) | (more << _BITS) | less
    return f"{found:0{2 + _BITS // 2}x}" if more or less else ""


def _averaged(grey: list[list[int]], side: int) -> list[list[float]]:
    """Return the mean of each of so many cells a side. A picture with fewer pixels has cells of the same pixel."""
    columns = list(_spans(len(grey[0]), side))
    found = []
    for top, bottom in _spans(len(grey), side):
        sums = [sum(column) for column in zip(*grey[top:bottom], strict=True)]
        found.append([sum(sums[left:right]) / ((right - left) * (bottom - top)) for left, right in columns])
    return found


def _spans(length: int, side: int) -> Iterator[tuple[int, int]]:
    for n in range(side):
        start = n * length // side
        yield start, max(start + 1, (n + 1) * length // side)
