"""What pictures look like: different ones are far apart, and the same one is near however it was scaled, moved or coloured (C212)."""

import struct
import zlib
from collections.abc import Callable
from itertools import combinations

import pytest

from hilum.pictures import policy
from hilum.pictures.looks import FAR, NEAR, distance, look_of
from hilum.pictures.models import NO_PICTURE
from tests.sim.pictures import SHAPES, SIGNATURE, WHITE, Rows, chunk, drawn, png, png_of


def look(rows: Rows) -> str:
    return policy.read(png_of(rows), "logo").look


LOOKS = {name: look(drawn(name)) for name in SHAPES}


@pytest.mark.parametrize(("one", "other"), list(combinations(SHAPES, 2)))
def test_different_logos_are_far_apart(one: str, other: str) -> None:
    assert distance(LOOKS[one], LOOKS[other]) > NEAR


@pytest.mark.parametrize("data", [png(), png(16, colour=6), png(colour=4)])
def test_in_one_colour_there_is_nothing_to_see_and_it_is_near_to_nothing(data: bytes) -> None:
    assert policy.read(data, "logo").look == ""
    assert distance("", "") == distance("", LOOKS["ring"]) == distance(LOOKS["ring"], "") == FAR
    assert NO_PICTURE.look == ""


def test_what_is_stretched_is_another_shape() -> None:
    wide = [[pixel for pixel in row for _ in range(2)] for row in drawn("ring")]

    assert distance(LOOKS["ring"], look(wide)) == FAR


def scaled(rows: Rows) -> Rows:
    return [[rows[y * 48 // 131][x * 48 // 131] for x in range(131)] for y in range(131)]


def moved(rows: Rows) -> Rows:
    edge = [WHITE] * (len(rows[0]) + 24)
    return [*[edge] * 3, *([WHITE] * 20 + row + [WHITE] * 4 for row in rows), *[edge] * 21]


def coloured(rows: Rows) -> Rows:
    return [[WHITE if pixel == WHITE else (150, 20, 90) for pixel in row] for row in rows]


def turned(rows: Rows) -> Rows:
    return [[(255 - r, 255 - g, 255 - b) for r, g, b in row] for row in rows]


def speckled(rows: Rows) -> Rows:
    marked = [list(row) for row in rows]
    for n in range(0, 48, 5):
        marked[n][n * 7 % 48] = (128, 128, 128)
    return marked


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    "change", [scaled, moved, coloured, turned, speckled, lambda rows: moved(coloured(rows))]
)
def test_the_same_logo_is_near_however_it_was_changed(name: str, change: Callable[[Rows], Rows]) -> None:
    assert distance(LOOKS[name], look(change(drawn(name)))) <= NEAR


def test_a_white_logo_on_nothing_is_seen_as_the_black_one() -> None:
    rows = drawn("cross")

    def clear(ink: int) -> str:
        data = b"".join(
            b"\0" + bytes(part for pixel in row for part in (ink, 0 if pixel == WHITE else 255))
            for row in rows
        )
        header = struct.pack(">IIBBBBB", 48, 48, 8, 4, 0, 0, 0)
        made = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
        return policy.read(SIGNATURE + made, "logo").look

    assert distance(clear(255), clear(0)) <= NEAR
    assert distance(clear(255), LOOKS["cross"]) <= NEAR


def guessed(kind: int, left: int, up: int, corner: int) -> int:
    """Return what a filter takes from a byte. Source: Portable Network Graphics (third edition) section 9.2."""
    near = min((left, up, corner), key=lambda each: abs(left + up - corner - each))
    return (0, left, up, (left + up) // 2, near)[kind]


def filtered(kind: int, rows: Rows) -> bytes:
    """Return a PNG of pixels by one filter."""
    before, data = bytes(3 * len(rows[0])), b""
    for pixels in rows:
        row = bytes(part for pixel in pixels for part in pixel)
        beside = zip(bytes(3) + row[:-3], before, bytes(3) + before[:-3], strict=True)
        taken = (guessed(kind, *near) for near in beside)
        data += bytes([kind]) + bytes((byte - each) & 255 for byte, each in zip(row, taken, strict=True))
        before = row
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 2, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_how_the_rows_are_filtered_does_not_count(kind: int) -> None:
    assert look_of(policy.read(filtered(kind, drawn("steps")), "logo").content) == LOOKS["steps"]


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_pixels_by_palette_look_as_they_are(depth: int) -> None:
    rows = drawn("wedge", 64)
    palette = chunk(b"PLTE", bytes((20, 60, 140)) + bytes(WHITE))
    packed = []
    for row in rows:
        bits = "".join(f"{int(pixel == WHITE):0{depth}b}" for pixel in row)
        packed.append(b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big"))
    data = zlib.compress(b"".join(packed))
    made = png(64, depth=depth, colour=3, before=palette, pixels=data)

    assert distance(policy.read(made, "logo").look, look(rows)) == 0
