"""What may be a logo: pixels, and nothing else that a file can carry (house rule 13, ADR 14)."""

import struct
import zlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.pictures import policy
from hilum.foundation.pictures.models import BYTES_BOUND, Picture
from hilum.foundation.standards.colours import brand_rules, colour_fault, contrast
from tests.sim.pictures import SIGNATURE, chunk, png

PALETTE = chunk(b"PLTE", b"\1\2\3" * 16)
NO_PICTURES = ("picture_unreadable", "picture_wrong_size")
BOMB = zlib.compress(b"\0" * 5_000_000)


def result(data: bytes) -> Picture | str:
    """Return the picture, or why there is none."""
    try:
        return policy.read(data, "logo")
    except Invalid as refused:
        return (refused.fields or {})["logo"]


def saved(kind: str, mode: str = "RGB", side: int = 32, **options: object) -> bytes:
    file = BytesIO()
    Image.new(mode, (side, side), 11).save(file, kind, **options)
    return file.getvalue()


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
        saved("JPEG"),
        saved("JPEG", "L", 512, progressive=True),
        saved("JPEG", "CMYK"),
    ],
)
def test_usual_pictures_are_taken_and_taken_again_they_are_the_same(data: bytes) -> None:
    once = policy.read(data, "logo")

    assert once.content.startswith(SIGNATURE)
    assert policy.read(once.content, "logo") == once


def test_pixels_and_transparency_stay() -> None:
    drawn = Image.linear_gradient("L").resize((64, 48)).convert("RGBA")
    drawn.putalpha(Image.radial_gradient("L").resize((64, 48)))
    file = BytesIO()
    drawn.save(file, "PNG")

    with Image.open(BytesIO(policy.read(file.getvalue(), "logo").content)) as stored:
        assert (stored.mode, stored.size, stored.tobytes()) == ("RGBA", (64, 48), drawn.tobytes())


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
    exif = Image.Exif()
    exif[0x010E] = "<script>"
    told = PngImagePlugin.PngInfo()
    told.add_itxt("Comment", "<script>")
    for data in (
        saved("JPEG", exif=exif, comment=b"<script>", icc_profile=b"<script>"),
        saved("PNG", exif=exif, pnginfo=told, icc_profile=b"<script>"),
    ):
        assert b"<script>" in data
        served = policy.read(data, "logo").content
        assert [kind for kind in (b"tEXt", b"iTXt", b"eXIf", b"iCCP") if kind in served] == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "picture_unreadable"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "picture_unreadable"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "picture_unreadable"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 100, "picture_unreadable"),
        (saved("JPEG", side=512)[:400], "picture_unreadable"),
        *((saved(kind), "picture_unreadable") for kind in ("GIF", "BMP", "TIFF", "WEBP", "ICO", "PPM")),
        (png()[:40] + b"\0" + png()[41:], "picture_unreadable"),
        (png(before=b"\xff\xff\xff\xffIDAT"), "picture_unreadable"),
        (png(pixels=b"no stream"), "picture_unreadable"),
        (png(pixels=zlib.compress(b"\0" * 10)), "picture_unreadable"),
        (png(before=chunk(b"zTXt", b"k\0\0" + BOMB)), "picture_unreadable"),
        (png(depth=16, colour=0), "picture_unreadable"),
        (png(colour=5), "picture_unreadable"),
        (png(15), "picture_wrong_size"),
        (png(513), "picture_wrong_size"),
        (saved("JPEG", side=513), "picture_wrong_size"),
        (saved("JPEG", side=800), "picture_wrong_size"),
        (png(after=b"\0" * BYTES_BOUND), "picture_too_large"),
    ],
)
def test_what_is_no_usual_picture_is_refused_by_name(data: bytes, code: str) -> None:
    assert result(data) == code


def test_a_picture_of_huge_sides_is_refused_before_it_is_decoded() -> None:
    header = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 6, 0, 0, 0)

    data = SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", BOMB) + chunk(b"IEND", b"")

    assert result(data) == "picture_wrong_size"


def test_more_pixels_than_there_are_is_no_bomb() -> None:
    """The rest of the stream is not inflated."""
    assert policy.read(png(pixels=BOMB), "logo") == policy.read(
        png(pixels=zlib.compress(b"\0" * 97 * 32)), "logo"
    )


@given(at=st.integers(0, len(png()) - 1), flip=st.integers(1, 255))
def test_a_picture_with_any_byte_changed_is_refused_or_the_same(at: int, flip: int) -> None:
    """What is not checked is the chunk that ends the file: it holds nothing."""
    data = bytearray(png())
    data[at] ^= flip

    if at < len(png()) - 12:
        assert result(bytes(data)) in NO_PICTURES
    else:
        assert result(bytes(data)) in {*NO_PICTURES, result(png())}


@given(st.binary(max_size=2_000), st.sampled_from([SIGNATURE, b"\xff\xd8\xff", b""]))
def test_whatever_is_sent_is_a_picture_or_refused(data: bytes, first: bytes) -> None:
    assert result(first + data) in NO_PICTURES


@given(at=st.integers(0, 900), flip=st.integers(1, 255))
def test_a_damaged_jpeg_is_a_picture_or_refused(at: int, flip: int) -> None:
    data = bytearray(saved("JPEG"))
    data[at % len(data)] ^= flip

    found = result(bytes(data))

    assert found in NO_PICTURES if isinstance(found, str) else found.content.startswith(SIGNATURE)


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
