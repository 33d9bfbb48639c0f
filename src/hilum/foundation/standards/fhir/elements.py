"""Converts elements, by their types, to the values that search compares: tokens, strings, quantities, URIs."""

import re
from collections.abc import Iterator
from typing import Any

from hilum.foundation.standards.fhir.definitions import resource_types
from hilum.foundation.standards.fhir.paths import Leaf

OPEN = 1e300
PRESENT = ""
"""Marks an element that is present but has no comparable value (``:missing``). No search value is empty."""
URIS = frozenset({"uri", "url", "canonical", "oid", "uuid"})
_QUANTITIES = frozenset({"Quantity", "SimpleQuantity", "Age", "Count", "Distance", "Duration", "Money"})
_REFERENCE = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")
_NAME_PARTS = ("text", "family", "given", "prefix", "suffix")
_ADDRESS_PARTS = ("text", "line", "city", "district", "state", "postalCode", "country")


# R4 leaves case sensitivity to the code system, so the index folds codes; constraints of scopes are judged
# with their case, in `matching`.
def tokens(leaf: Leaf, value: Any) -> Iterator[tuple[str, str]]:
    """Yield an element's (case-folded code, system) pairs. Source: FHIR R4 search.html#token."""
    match leaf.type:
        case "CodeableConcept":
            codings = [c for c in value.get("coding", ()) if c.get("code")]
            for coding in codings:
                yield coding["code"].casefold(), coding.get("system", "")
            # A concept of text only is still present: `:missing=true` must not find it.
            if not codings:
                yield PRESENT, ""
        case "Coding":
            yield value.get("code", PRESENT).casefold(), value.get("system", "")
        case "Identifier" | "ContactPoint":
            yield value.get("value", PRESENT).casefold(), value.get("system", "")
        case "boolean":
            yield ("true" if value else "false"), ""
        case _ if isinstance(value, str):
            yield value.casefold(), leaf.system
        case _ if isinstance(value, int | float):
            yield str(value), ""
        case _:
            yield PRESENT, ""


def texts(leaf: Leaf, value: Any) -> Iterator[str]:
    """Yield the texts of an element that a string search compares. Source: FHIR R4 search.html#string."""
    if isinstance(value, str):
        yield value
        return
    parts = {"HumanName": _NAME_PARTS, "Address": _ADDRESS_PARTS}.get(leaf.type, ("text",))
    for part in parts:
        inner = value.get(part) if isinstance(value, dict) else None
        if isinstance(inner, str):
            yield inner
        elif isinstance(inner, list):
            yield from (text for text in inner if isinstance(text, str))


def quantities(leaf: Leaf, value: Any) -> Iterator[tuple[float, float, str, str, str]]:
    """Yield an element's (low, high, code, system, unit). Source: FHIR R4 search.html#quantity."""
    if isinstance(value, int | float):
        # Integers and decimals have no unit, so they match quantities only without one.
        yield float(value), float(value), "", "", ""
    elif leaf.type == "Range":
        low, high = value.get("low", {}), value.get("high", {})
        unit = low or high
        yield (
            float(low.get("value", -OPEN)),
            float(high.get("value", OPEN)),
            unit.get("code", ""),
            unit.get("system", ""),
            unit.get("unit", ""),
        )
    elif leaf.type in _QUANTITIES and "value" in value:
        amount = float(value["value"])
        comparator = value.get("comparator", "")
        # "<5" covers everything below 5, and a search for less than 3 may be about it
        # (FHIR R4 search.html#quantity).
        low_end = -OPEN if comparator.startswith("<") else amount
        high_end = OPEN if comparator.startswith(">") else amount
        if leaf.type == "Money":
            yield low_end, high_end, value.get("currency", ""), "urn:iso:std:iso:4217", ""
        else:
            yield low_end, high_end, value.get("code", ""), value.get("system", ""), value.get("unit", "")


def uris(leaf: Leaf, value: Any) -> Iterator[str]:
    """Yield a URI; a canonical with a version also without the version."""
    if isinstance(value, str):
        yield value
        if leaf.type == "canonical" and "|" in value:
            yield value.partition("|")[0]


def split_reference(reference: str, base_url: str) -> tuple[str, str]:
    """Split a literal reference into (type, id); one to another server has the type '' and the whole URL as id."""
    local = reference.removeprefix(base_url + "/")
    match = _REFERENCE.fullmatch(local)
    if match and match.group(1) in resource_types():
        return match.group(1), match.group(2)
    return "", reference
