"""Parses a resource's JSON strictly: text that two parsers could read differently is refused. Pure."""

import json
import re
from typing import Any

import orjson

_ELEMENT_KEY = re.compile(r"_?[a-z][A-Za-z0-9]*")
_BASE64_AT_LEAST = 16
_BASE64_TEXT = re.compile(rb"[A-Za-z0-9+/\r\n]+={0,2}")


def parse(body: bytes) -> Any:
    """Parse JSON in UTF-8, without a name twice in an object, with names as elements of FHIR have them. Raises ValueError."""
    # Refuses half a surrogate pair and numbers beyond a double: the gateway could not read them back, and every page with one would fail.
    orjson.loads(body)
    try:
        # Of a name that occurs twice one parser keeps the first value and another
        # the last (C74): a subject could be judged in one and stored from the
        # other. NaN and Infinity are accepted by Python but are no JSON.
        return json.loads(body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name twice")
    for name in members:
        # Case-insensitive servers would accept Subject beside subject, which the visibility table does not look at.
        if not _ELEMENT_KEY.fullmatch(name):
            raise ValueError("not an element name")
    return members


def _constant(_: str) -> Any:
    raise ValueError("not JSON")


def is_deeper(value: object, levels: int) -> bool:
    """Check whether a parsed value is nested deeper than ``levels``."""
    # Level by level and without recursion, because the input decides the depth.
    level: list[Any] = [value]
    for _ in range(levels):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def is_base64(body: bytes) -> bool:
    """Check whether a body is base64 instead of JSON, as some clients send the content of a file."""
    text = body.strip()
    return len(text) >= _BASE64_AT_LEAST and _BASE64_TEXT.fullmatch(text) is not None
