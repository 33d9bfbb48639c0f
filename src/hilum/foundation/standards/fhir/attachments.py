"""Attachments: which elements hold them, and which Binaries they refer to.

Derived once from HL7's definitions for every type in the visibility table, at every depth, recursive elements included. Attachments in
extensions and contained resources are not the record's own and do not count.
Source: FHIR R4 datatypes.html#Attachment, binary.html
"""

from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from hilum.foundation.standards.fhir.definitions import elements
from hilum.foundation.standards.fhir.visibility import VISIBILITY, parse_reference

_ATTACHMENT = "Attachment"
_NOT_OWN = frozenset({"Extension", "Resource"})
# Searched first, since most Binaries are referred to from these.
# To refuse a Binary takes a search for every type (ADR 27).
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
    # Extension and Resource are excluded from the start: through them every type would hold attachments.
    pending, seen = [name], {name, *_NOT_OWN}
    while pending:
        above = pending.pop()
        if above == _ATTACHMENT:
            return name not in _NOT_OWN
        fresh = {inner for _, inner in _kinds(above)} - seen
        seen |= fresh
        pending.extend(fresh)
    return False


@cache
def referrer_types() -> tuple[str, ...]:
    """List the types whose attachments may refer to a Binary, the most common ones first."""
    return (*_FIRST, *(type_ for type_ in VISIBILITY if holders(type_) and type_ not in _FIRST))


@cache
def attachment_keys(*types: str) -> frozenset[str]:
    """Return every JSON key that may hold an Attachment in records of these types, by default of all; extensions included."""
    # valueAttachment in an extension is included here, because a link in it is withheld like any other,
    # although it opens no Binary.
    keys = {"valueAttachment"}
    pending = list(types or VISIBILITY)
    seen = set(pending)
    while pending:
        for key, name in holders(pending.pop()).items():
            if name == _ATTACHMENT:
                keys.add(key)
            elif name not in seen:
                seen.add(name)
                pending.append(name)
    return frozenset(keys)


def attachments_of(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every attachment of a record of a permitted type, except in extensions and contained resources."""
    type_ = resource.get("resourceType")
    if not isinstance(type_, str) or type_ not in VISIBILITY:
        return
    # Follows the derived tables and not the data: an object that looks like an attachment in an extension or
    # a contained resource does not make this record a referrer (ADR 27).
    pending: list[tuple[str, Any]] = [(type_, resource)]
    while pending:
        name, value = pending.pop()
        if isinstance(value, list):
            pending.extend((name, item) for item in value)
        elif isinstance(value, dict):
            if name == _ATTACHMENT:
                yield value
            else:
                pending.extend((inner, value[key]) for key, inner in holders(name).items() if key in value)


def binaries_of(resource: dict[str, Any], bases: tuple[str, ...]) -> frozenset[str]:
    """Return the ids of this server's Binaries that a record's attachments refer to."""
    references = (parse_reference(each.get("url"), bases) for each in attachments_of(resource))
    return frozenset(each.id for each in references if each is not None and each.type == "Binary")
