"""JSON that passes through. Source: FHIR R4 datatypes.html#decimal, json.html."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.foundation.standards.fhir.requests import PLAIN
from hilum.foundation.standards.fhir.shaping import dump, has_unique_names, load
from tests.effort import effort


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


NAMES = st.sampled_from(("a", "b", 'q":', "ü", "a:", " "))
VALUES = st.recursive(
    st.one_of(st.integers(0, 9), st.sampled_from(("", 'x":y', ":", "é", "\\", "a :b"))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.lists(st.tuples(NAMES, inner), max_size=4).map(tuple)
    ),
    max_leaves=10,
)


def written(value: Any, gap: str, *, escaped: bool) -> str:
    """Write JSON in which a tuple of pairs is an object, names doubled or not."""
    if isinstance(value, tuple):
        pairs = (
            f"{json.dumps(name, ensure_ascii=escaped)}{gap}:{written(inner, gap, escaped=escaped)}"
            for name, inner in value
        )
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(inner, gap, escaped=escaped) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=escaped)


def doubled(value: Any) -> bool:
    if isinstance(value, tuple):
        return len({name for name, _ in value}) < len(value) or any(doubled(inner) for _, inner in value)
    return isinstance(value, list) and any(map(doubled, value))


@settings(max_examples=effort(70, 10_000), deadline=None)
@given(value=VALUES, gap=st.sampled_from(("", "", " ", "\n")), escaped=st.booleans())
def test_a_name_that_stands_twice_is_always_found(value: Any, gap: str, escaped: bool) -> None:
    """C74: exactly, though it is only counted."""
    body = written(value, gap, escaped=escaped).encode()

    assert has_unique_names(body, orjson.loads(body)) is not doubled(value)
