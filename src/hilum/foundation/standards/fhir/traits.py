"""What a resource says of itself by which it is judged: whose it is, whether a label restricts it, what it is about, what it contains.

It is read here, in one place; whether a grant reaches it is then decided without its JSON (``gateway.resource_access``).
Source: security decisions 10 and 12
"""

from dataclasses import dataclass
from typing import Any

from hilum.foundation.standards.fhir.labels import is_restricted
from hilum.foundation.standards.fhir.visibility import Belonging, Reference, rule_of, subjects_of, targets_of


# Not frozen, since one is built for each resource that passes.
@dataclass(slots=True)
class RecordTraits:
    """A resource with what is judged of it.

    ``belonging``: None for a type that is not listed, which nobody may see. ``patients``: as ``subjects_of`` returns them. ``targets``: of
    a type that is judged by its targets, as ``targets_of`` returns them. ``contained``: its contained resources; one that cannot be judged
    is among them, and belongs to no listed type.
    """

    resource: dict[str, Any]
    belonging: Belonging | None = None
    patients: frozenset[str] | None = None
    is_restricted: bool = True
    targets: tuple[Reference, ...] | None = None
    contained: "tuple[RecordTraits, ...]" = ()


def traits_of(resource: object, bases: tuple[str, ...] = ()) -> RecordTraits:
    """Return the traits of a resource. ``bases``: the addresses, each ending in a slash, below which a reference is one to this server."""
    if not isinstance(resource, dict):
        return RecordTraits({})
    type_ = resource.get("resourceType")
    rule = rule_of(type_) if isinstance(type_, str) else None
    if rule is None:
        return RecordTraits(resource)
    return RecordTraits(
        resource,
        rule.belonging,
        subjects_of(resource, bases),
        is_restricted(resource),
        targets_of(resource, bases) if rule.belonging is Belonging.TARGETS else None,
        _contained(resource["contained"], bases) if "contained" in resource else (),
    )


def _contained(parts: object, bases: tuple[str, ...]) -> tuple[RecordTraits, ...]:
    if not isinstance(parts, list):
        return (RecordTraits({}),)
    # A contained resource contains no others (FHIR R4 references.html#contained); one that does is not judged.
    return tuple(
        RecordTraits({}) if isinstance(part, dict) and "contained" in part else traits_of(part, bases)
        for part in parts
    )
