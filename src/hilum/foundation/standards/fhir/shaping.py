"""Lossless JSON parsing and serialization of resources, and their reduction: ``_summary``, ``_elements``, ``_pretty``.

Source: FHIR R4 search.html#summary, #elements
"""

import json
from typing import Any

import orjson

from hilum.foundation.standards.fhir.definitions import elements
from hilum.foundation.standards.fhir.requests import PLAIN, Shape, Summary

# With one of these in the body, a name may not end in `":`, and counting would be wrong.
_HIDING = (b"\\u", b" :", b"\t:", b"\n:", b"\r:")
# 2**63 has 19 digits; orjson refuses larger integers.
_SURELY_64_BIT = 18
"""Digits of an integer that survives parsing; longer ones are kept as text."""


def load(body: bytes) -> Any:
    """Parse JSON so that ``dump`` writes every number with its original digits. Raises ValueError if it is malformed.

    Source: FHIR R4 datatypes.html#decimal (precision is kept)
    """
    # Also refuses an unpaired surrogate, which could not be serialized.
    parsed = orjson.loads(body)
    # What is written again as it came has lost no digit, and needs no slower parser.
    if _written(parsed) == body:
        return parsed
    try:
        # Decimals become fragments, which orjson writes back as they came: 5.40 stays 5.40
        # (FHIR R4 datatypes.html#decimal). Python's floats would write 5.4.
        return json.loads(
            body.decode(), parse_float=orjson.Fragment, parse_int=_whole, parse_constant=_refuse
        )
    except RecursionError:
        raise ValueError("nested too deep") from None


def _written(parsed: object) -> bytes | None:
    """Return how a parsed value is written; None if it is nested deeper than that, though not deeper than what is read."""
    try:
        return orjson.dumps(parsed)
    except TypeError:
        return None


def has_unique_names(body: bytes, parsed: object) -> bool:
    """Check that no name occurs twice in any object of a JSON text, given its parsed value; False also if it is nested too deep.

    Exact, and cheap: where no escape and no space can hide one, each name is a quote before a colon, and a name that was dropped while
    reading leaves fewer of them in what is written again.
    """
    written = _written(parsed)
    if written is None:
        return False
    if written == body:
        return True
    # The slow check below parses the body a second time; it runs only where counting could be deceived.
    for sign in _HIDING:
        if sign in body:
            break
    else:
        return body.count(b'":') == written.count(b'":')
    try:
        json.loads(body.decode(), object_pairs_hook=_names_once, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _names_once(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name twice")


def _whole(text: str) -> int | orjson.Fragment:
    return int(text) if len(text) <= _SURELY_64_BIT else orjson.Fragment(text)


def _refuse(word: str) -> Any:
    raise ValueError(word)


def dump(resource: dict[str, Any], shape: Shape) -> bytes:
    """Serialize a resource or Bundle in the requested shape."""
    if shape is not PLAIN and shape.summary is not Summary.COUNT:
        resource = _shaped(resource, shape)
    return orjson.dumps(resource, option=orjson.OPT_INDENT_2 if shape.pretty else 0)


def _shaped(resource: dict[str, Any], shape: Shape) -> dict[str, Any]:
    if shape.summary is Summary.FALSE and not shape.elements:
        return resource
    if resource.get("resourceType") != "Bundle":
        return _cut(resource, shape)
    entries = [
        {**entry, "resource": _cut(entry["resource"], shape)} if _is_cut(entry) else entry
        for entry in resource.get("entry", ())
    ]
    return {**resource, "entry": entries} if entries else resource


def _is_cut(entry: dict[str, Any]) -> bool:
    return "resource" in entry and entry.get("search", {}).get("mode") != "outcome"


def _cut(resource: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """Reduce a resource to the requested elements. Source: FHIR R4 search.html#summary, #elements."""
    definition = elements(str(resource.get("resourceType")))
    if shape.summary is Summary.DATA and not shape.elements:
        # _summary=data removes the narrative only, so nothing has to be looked up in the tables.
        kept = {key for key in resource if key != "text"}
    else:
        # Mandatory elements stay even if not requested: without them the resource would be invalid
        # (FHIR R4 search.html#elements).
        kept = {"resourceType", "id", "meta", "implicitRules", *shape.elements}
        kept |= {element.name for element in definition.values() if element.mandatory}
        if shape.summary is Summary.TRUE:
            kept |= {element.name for element in definition.values() if element.summary}
        if shape.summary is Summary.TEXT:
            kept.add("text")
        # _elements names base elements: `value` keeps valueQuantity and its companion.
        kept |= {
            kind.key for element in definition.values() if element.name in kept for kind in element.types
        }
    meta = resource.get("meta")
    tags = meta.get("tag", []) if isinstance(meta, dict) else []
    cut = {key: value for key, value in resource.items() if key.removeprefix("_") in kept}
    # SUBSETTED warns the client: a cut resource must not be written back as an update
    # (FHIR R4 search.html#summary).
    return {**cut, "meta": {**(meta if isinstance(meta, dict) else {}), "tag": [*tags, _SUBSETTED]}}


_SUBSETTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "Resource encoded in summary mode",
}


def shape_params(shape: Shape) -> tuple[tuple[str, str], ...]:
    """Return the parameters that request a shape."""
    params: list[tuple[str, str]] = []
    if shape.summary is not Summary.FALSE:
        params.append(("_summary", str(shape.summary)))
    if shape.elements:
        params.append(("_elements", ",".join(shape.elements)))
    if shape.pretty:
        params.append(("_pretty", "true"))
    return tuple(params)
