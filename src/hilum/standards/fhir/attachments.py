"""Attachments: where records hold them, and which Binaries they lead to.

Derived once from HL7's definitions for every type that the visibility table permits, at every depth, answers inside answers included.
Extensions and contained resources hold no attachment of the record itself.
Source: FHIR R4 datatypes.html#Attachment, binary.html
"""

from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from hilum.standards.fhir.definitions import elements
from hilum.standards.fhir.visibility import VISIBILITY, parse_reference

_ATTACHMENT = "Attachment"
_NOT_THE_RECORDS_OWN = frozenset({"Extension", "Resource"})
_FIRST = ("DocumentReference", "DiagnosticReport", "Media")


@cache
def holders(type_name: str) -> Mapping[str, str]:
    """Map each JSON key of a type that leads to attachments to the type of what stands there."""
    return MappingProxyType({key: name for key, name in _kinds(type_name) if _leads(name)})


@cache
def _kinds(type_name: str) -> tuple[tuple[str, str], ...]:
    return tuple((kind.key, kind.name) for each in elements(type_name).values() for kind in each.types)


@cache
def _leads(name: str) -> bool:
    """Check whether an attachment stands in or below an element of this type; groups of questions hold groups of questions."""
    left, seen = [name], {name, *_NOT_THE_RECORDS_OWN}
    while left:
        above = left.pop()
        if above == _ATTACHMENT:
            return name not in _NOT_THE_RECORDS_OWN
        fresh = {inner for _, inner in _kinds(above)} - seen
        seen |= fresh
        left.extend(fresh)
    return False


@cache
def referrer_types() -> tuple[str, ...]:
    """List the types whose attachments may lead to a Binary, the usual ones first."""
    found = [type_ for type_ in VISIBILITY if holders(type_)]
    return (*_FIRST, *(type_ for type_ in found if type_ not in _FIRST))


@cache
def attachment_keys(*types: str) -> frozenset[str]:
    """List every JSON key under which an Attachment may stand in records of these types, or of any; extensions included."""
    found = {"valueAttachment"}
    left = list(types or VISIBILITY)
    seen = set(left)
    while left:
        for key, name in holders(left.pop()).items():
            if name == _ATTACHMENT:
                found.add(key)
            elif name not in seen:
                seen.add(name)
                left.append(name)
    return frozenset(found)


def attachments_of(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every attachment that a record of a permitted type holds itself."""
    type_ = resource.get("resourceType")
    if not isinstance(type_, str) or type_ not in VISIBILITY:
        return
    left: list[tuple[str, Any]] = [(type_, resource)]
    while left:
        name, value = left.pop()
        if isinstance(value, list):
            left.extend((name, item) for item in value)
        elif isinstance(value, dict):
            if name == _ATTACHMENT:
                yield value
            else:
                left.extend((inner, value[key]) for key, inner in holders(name).items() if key in value)


def binaries_of(resource: dict[str, Any], bases: tuple[str, ...]) -> frozenset[str]:
    """List, by id, the Binaries of this server that a record's attachments lead to."""
    led_to = (parse_reference(each.get("url"), bases) for each in attachments_of(resource))
    return frozenset(found.id for found in led_to if found is not None and found.type == "Binary")
