"""Attachments: which elements hold them, and which Binaries they refer to.

Derived once from HL7's definitions for every type in the visibility table, at every depth, recursive elements included. Attachments in
extensions and contained resources are not the record's own and do not count.
Source: FHIR R4 datatypes.html#Attachment, binary.html
"""

from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from hilum.standards.fhir.definitions import elements
from hilum.standards.fhir.visibility import VISIBILITY, parse_reference

_ATTACHMENT = "Attachment"
_NOT_OWN = frozenset({"Extension", "Resource"})
_FIRST = ("DocumentReference", "DiagnosticReport", "Media")


@cache
def holders(type_name: str) -> Mapping[str, str]:
    """Map each JSON key of a type at or below which an Attachment may be to the type of its element."""
    return MappingProxyType({key: name for key, name in _kinds(type_name) if _holds_attachments(name)})


@cache
def _kinds(type_name: str) -> tuple[tuple[str, str], ...]:
    return tuple((kind.key, kind.name) for each in elements(type_name).values() for kind in each.types)


@cache
def _holds_attachments(name: str) -> bool:
    """Check whether an Attachment may be at or below an element of this type. Types may be recursive (Questionnaire items)."""
    left, seen = [name], {name, *_NOT_OWN}
    while left:
        above = left.pop()
        if above == _ATTACHMENT:
            return name not in _NOT_OWN
        fresh = {inner for _, inner in _kinds(above)} - seen
        seen |= fresh
        left.extend(fresh)
    return False


@cache
def referrer_types() -> tuple[str, ...]:
    """List the types whose attachments may refer to a Binary, the most common ones first."""
    found = [type_ for type_ in VISIBILITY if holders(type_)]
    return (*_FIRST, *(type_ for type_ in found if type_ not in _FIRST))


@cache
def attachment_keys(*types: str) -> frozenset[str]:
    """Return every JSON key that may hold an Attachment in records of these types, by default of all; extensions included."""
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
    """Yield every attachment of a record of a permitted type, except in extensions and contained resources."""
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
    """Return the ids of this server's Binaries that a record's attachments refer to."""
    references = (parse_reference(each.get("url"), bases) for each in attachments_of(resource))
    return frozenset(each.id for each in references if each is not None and each.type == "Binary")
