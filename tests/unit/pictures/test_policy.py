"""What may be a logo: pixels, and nothing else that a file can carry (house rule 13, ADR 14)."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.kernel.errors import Invalid
from hilum.pictures import policy
from hilum.pictures.models import BYTES_BOUND
from hilum.standards.colours import brand_rules, colour_fault, contrast
from tests.sim.pictures import chunk, png

PALETTE = chunk(b"PLTE", b"\1\2\3" * 16)
BOMB = zlib.compress(b"\0" * 5_000_000)


def fault(data: bytes) -> str:
    with pytest.raises(Invalid) as refused:
        policy.read(data, "logo")
    return (refused.value.fields or {})["logo"]


@pytest.mark.parametrize(
    "data",
    [
        png(),
        png(16, colour=6),
        png(512, depth=1, colour=0),
        png(colour=3, before=PALETTE),
        png(colour=3, depth=4, before=PALETTE + chunk(b"tRNS", b"\0" * 3)),
        png(colour=4),
        png(colour=2, before=chunk(b"tRNS", b"\0" * 6)),
    ],
)
def test_usual_pictures_are_taken_and_taken_again_they_are_the_same(data: bytes) -> None:
    once = policy.read(data, "logo")

    assert policy.read(once.content, "logo") == once


def test_what_else_a_file_carries_is_not_served() -> None:
    text = chunk(b"tEXt", b"Comment\0<script>alert(1)</script>") + chunk(b"eXIf", b"where it was taken")
    plain = policy.read(png(), "logo")

    for data in (
        png(before=text),
        png(after=b"<html>"),
        png(after=png()),
        png(pixels=zlib.compress((b"\0" + b"\x0b" * 96) * 32, 0)),
        png(pixels=zlib.compress((b"\0" + b"\x0b" * 96) * 32) + b"<script>"),
    ):
        assert policy.read(data, "logo") == plain


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "picture_not_png"),
        (b"GIF89a" + b"\0" * 100, "picture_not_png"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "picture_not_png"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 100, "picture_not_png"),
        (png()[:-1], "picture_not_png"),
        (png().replace(b"IEND", b"IENd"), "picture_not_png"),
        (png()[:40] + b"\0" + png()[41:], "picture_not_png"),
        (png(before=b"\xff\xff\xff\xffIDAT"), "picture_not_png"),
        (png(before=chunk(b"tEXt", b"") * 300), "picture_not_png"),
        (png(pixels=b"no stream"), "picture_not_png"),
        (png(pixels=zlib.compress(b"\0" * 10)), "picture_not_png"),
        (png(pixels=zlib.compress(b"\0" * 97 * 33)), "picture_not_png"),
        (png(pixels=zlib.compress(b"\x09" + b"\0" * (97 * 32 - 1))), "picture_not_png"),
        (png(pixels=BOMB), "picture_not_png"),
        (png(15), "picture_wrong_size"),
        (png(513), "picture_wrong_size"),
        (png(interlace=1), "picture_unusual"),
        (png(depth=16), "picture_unusual"),
        (png(colour=3), "picture_unusual"),
        (png(colour=5), "picture_unusual"),
        (png(before=PALETTE), "picture_unusual"),
        (png(colour=3, before=PALETTE + PALETTE), "picture_unusual"),
        (png(colour=3, before=chunk(b"PLTE", b"\1\2")), "picture_not_png"),
        (png(colour=6, before=chunk(b"tRNS", b"\0")), "picture_not_png"),
        (png(after=b"\0" * BYTES_BOUND), "picture_too_large"),
    ],
)
def test_what_is_no_usual_picture_is_refused_by_name(data: bytes, code: str) -> None:
    assert fault(data) == code


def test_a_picture_of_huge_sides_is_refused_before_it_is_opened() -> None:
    header = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 6, 0, 0, 0)

    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", BOMB) + chunk(b"IEND", b"")

    assert fault(data) == "picture_wrong_size"


@given(at=st.integers(0, len(png()) - 1), flip=st.integers(1, 255))
def test_a_picture_with_any_byte_changed_is_refused(at: int, flip: int) -> None:
    data = bytearray(png())
    data[at] ^= flip

    assert fault(bytes(data))


@pytest.mark.parametrize("text", ["!", "AAAA", "iVBORw0KGgo=\n", "data:image/png;base64,AAAA"])
def test_what_is_no_base64_of_a_picture_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        policy.decoded(text, "logo")
    assert policy.decoded("", "logo").content == b""


# --- colours -------------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 0xFFFFFF))
def test_the_name_on_a_hospitals_colour_can_always_be_read(number: int) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1."""
    colour = f"#{number:06x}"

    letters = brand_rules(colour).rpartition("color: ")[2][:7]

    assert contrast(colour, letters) >= 4.5


@pytest.mark.parametrize(
    "colour", ["red", "#fff", "#GGGGGG", "#0B6B74", "0b6b74", "#0b6b74;}body{display:none", "#0b6b74\n", ""]
)
def test_what_is_no_colour_makes_no_rule(colour: str) -> None:
    assert colour_fault(colour)
    assert brand_rules(colour) == ""


def test_contrast_is_that_of_the_definition() -> None:
    assert round(contrast("#000000", "#ffffff"), 2) == 21
    assert round(contrast("#777777", "#ffffff"), 2) == 4.48
