"""JSON that passes through. Source: FHIR R4 datatypes.html#decimal, json.html."""

import pytest

from hilum.standards.fhir.requests import PLAIN
from hilum.standards.fhir.shaping import dump, load


@pytest.mark.parametrize(
    "text",
    [
        '{"value":1.10}',
        '{"value":-0.0}',
        '{"value":1.0E+300}',
        '{"value":[0.1,123456789012345678,123456789012345678901234567890]}',
        '{"value":"1.10 Łódź 🩺"}',
    ],
)
def test_what_was_read_is_written_again_as_it_came(text: str) -> None:
    assert dump(load(text.encode()), PLAIN) == text.encode()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"nothing", b'{"value":NaN}', b'{"value":-Infinity}', b'{"value":01}', b'{"value":1.}', b'{"value":.5}',
        b'{"value":"\\ud800"}', b'{"value":"\\udc00\\ud800"}', b'{"value":"\xff"}', b'{"value":"a\nb"}', b"\xef\xbb\xbf{}", b'{"value":1}}',
        b"[" * 100_000, '{"value":1}'.encode("utf-16"),
    ],
)  # fmt: skip
def test_what_could_not_be_written_again_is_not_read(body: bytes) -> None:
    with pytest.raises(ValueError):
        load(body)
