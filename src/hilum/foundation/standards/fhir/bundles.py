"""Reading Bundles and resources from another server, however malformed.

Source: FHIR R4 bundle.html, references.html
"""

from collections.abc import Iterator
from typing import Any

from hilum.foundation.standards.fhir.visibility import local_reference


def is_bundle(value: object) -> bool:
    """Check whether a value is a Bundle."""
    return isinstance(value, dict) and value.get("resourceType") == "Bundle"


def resources_of(bundle: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the resources of a Bundle's entries."""
    for entry in entries_of(bundle):
        resource = entry.get("resource")
        if isinstance(resource, dict):
            yield resource


def entries_of(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    """List a Bundle's entries, without malformed ones."""
    entries = bundle.get("entry")
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def references_in(value: object, bases: tuple[str, ...]) -> set[str]:
    """Return the resources of this server that a value refers to, as ``Type/id``."""
    references: set[str] = set()
    # A list of pending nodes instead of recursion: the depth comes from another server.
    pending: list[object] = [value]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending.extend(node)
        elif isinstance(node, dict):
            reference = local_reference(node, bases)
            if reference is not None:
                references.add(str(reference))
            pending.extend(inner for inner in node.values() if isinstance(inner, dict | list))
    return references


def rebased(entry: dict[str, Any], base: str) -> dict[str, Any]:
    """Build a searchset entry with its ``fullUrl`` below ``base``, its resource and its mode; other members are dropped."""
    resource = entry["resource"]
    mode = entry.get("search", {}).get("mode", "match")
    id_ = resource.get("id")
    # The server's own fullUrl would disclose its address.
    full_url = {"fullUrl": f"{base}/{resource['resourceType']}/{id_}"} if id_ else {}
    return {**full_url, "resource": resource, "search": {"mode": mode}}


def without_duplicates(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Remove duplicate entries, which several of the server's pages may include."""
    by_identity: dict[tuple[Any, Any, Any], dict[str, Any]] = {}
    for n, entry in enumerate(entries):
        resource = entry["resource"]
        # An OperationOutcome entry has no id; such entries are kept, since they cannot be compared.
        id_ = resource.get("id")
        by_identity.setdefault((resource.get("resourceType"), id_, n if id_ is None else None), entry)
    return list(by_identity.values())
