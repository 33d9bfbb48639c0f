"""What may be stored: R4 structure by fhirkit, and what fhirkit does not look at by our own tables."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import fhirkit
import orjson

from hilum.fhirserver.models import MAX_ISSUES, Issue, Problem, Refused
from hilum.standards.fhir.definitions import Element, ElementType, elements, resource_types, value_set
from hilum.standards.fhir.values import is_id

_LITERAL = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?$")


def structure_issues(body: bytes) -> list[Issue]:
    """List what is wrong with the structure of a resource. The only place that knows fhirkit.

    Raises Refused if the body is not JSON.
    """
    try:
        found = fhirkit.validate(body)
    except ValueError as error:
        raise Refused(Problem.MALFORMED, f"The body is not JSON: {error}") from None
    return [Issue(i.message, i.path, warning=i.severity != "error") for i in found]


def parse_resource(body: bytes) -> dict[str, Any]:
    """Parse and judge a resource. Raises Refused with located issues; what it returns is safe to index.

    Source: FHIR R4 validation.html (structure, cardinality, required bindings, reference targets)
    """
    try:
        resource = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(Problem.MALFORMED, f"The body is not JSON: {error}") from None
    if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
        raise Refused(Problem.STRUCTURE, "A resource is a JSON object with a resourceType.")
    if resource["resourceType"] not in resource_types():
        raise Refused(Problem.STRUCTURE, Issue("This is no R4 resource type.", "resourceType"))
    errors = [issue for issue in structure_issues(body) if not issue.warning]
    if errors:
        raise Refused(Problem.STRUCTURE, *errors[:MAX_ISSUES])
    if "id" in resource and not is_id(resource["id"]):
        where = f"{resource['resourceType']}.id"
        raise Refused(Problem.STRUCTURE, Issue("An id is 1 to 64 letters, digits, '-' and '.'.", where))
    broken = list(rule_issues(resource))
    if broken:
        raise Refused(Problem.RULE, *broken[:MAX_ISSUES])
    return resource


def stamp(body: bytes, *, resource_id: str, version: int, last_updated: str) -> bytes:
    """Write a judged resource with the server's id and meta, keeping every decimal as its author wrote it."""
    try:
        resource = json.loads(body, parse_float=orjson.Fragment)
        meta = {**resource.get("meta", {}), "versionId": str(version), "lastUpdated": last_updated}
        rest = {k: v for k, v in resource.items() if k not in {"resourceType", "id", "meta"}}
        head = {"resourceType": resource["resourceType"], "id": resource_id, "meta": meta}
        return orjson.dumps({**head, **rest})
    except (ValueError, RecursionError, orjson.JSONEncodeError):
        raise Refused(
            Problem.STRUCTURE, "The resource holds a number or a depth that cannot be kept."
        ) from None


@dataclass(frozen=True, slots=True)
class _Node:
    """What to look at in an element: codes of a binding, targets of a reference, and what lies inside."""

    codes: frozenset[str] = frozenset()
    binding: str = ""
    targets: frozenset[str] = frozenset()
    inside: str = ""


@dataclass(frozen=True, slots=True)
class _Level:
    nodes: dict[str, _Node] = field(default_factory=dict)


@cache
def _level(type_name: str) -> _Level:
    """Compile, for one type, the elements that have something to look at."""
    nodes = {t.key: _node(e, t) for e in elements(type_name).values() for t in e.types}
    nodes["extension"] = _Node(inside="Extension")
    nodes["modifierExtension"] = _Node(inside="Extension")
    return _Level({key: node for key, node in nodes.items() if node != _Node()})


def _node(element: Element, kind: ElementType) -> _Node:
    inside = kind.name if elements(kind.name) or kind.name == "Resource" else ""
    if element.binding and kind.name in {"code", "Coding", "CodeableConcept"}:
        expansion = value_set(element.binding)
        return _Node(frozenset().union(*expansion.values()), element.binding, inside=inside)
    if kind.name == "Reference":
        return _Node(targets=frozenset(kind.targets), inside=inside)
    return _Node(inside=inside)


def rule_issues(resource: dict[str, Any]) -> Iterator[Issue]:
    """List codes outside required value sets and references to types that may not stand there."""
    yield from _walk(resource, resource["resourceType"], resource["resourceType"])


def _walk(value: dict[str, Any], type_name: str, path: str) -> Iterator[Issue]:
    nodes = _level(type_name).nodes
    for key, inner in value.items():
        node = nodes.get(key)
        if node is None:
            continue
        if type(inner) is list:
            for index, item in enumerate(inner):
                yield from _judge(item, node, f"{path}.{key}[{index}]")
        else:
            yield from _judge(inner, node, f"{path}.{key}")


def _judge(value: Any, node: _Node, path: str) -> Iterator[Issue]:
    if node.codes and not _is_bound(value, node):
        yield Issue(f"The code is not in the required value set {node.binding}.", path)
    if type(value) is not dict:
        return
    if node.targets and not _may_target(value, node.targets):
        allowed = ", ".join(sorted(node.targets))
        yield Issue(f"The reference may only point to {allowed}.", path)
    if node.inside == "Resource":
        yield from _walk(value, str(value.get("resourceType")), path)
    elif node.inside:
        yield from _walk(value, node.inside, path)


def _is_bound(value: Any, node: _Node) -> bool:
    if isinstance(value, str):
        return value in node.codes
    if not isinstance(value, dict):
        return True
    codings = value.get("coding", ()) if "coding" in value or "text" in value else (value,)
    known = [c["code"] for c in codings if "code" in c and c.get("system", "") in value_set(node.binding)]
    foreign = [c for c in codings if "code" in c]
    return any(code in node.codes for code in known) if foreign else True


def _may_target(reference: dict[str, Any], targets: frozenset[str]) -> bool:
    literal = reference.get("reference")
    match = _LITERAL.search(literal) if isinstance(literal, str) else None
    return match is None or match.group(1) not in resource_types() or match.group(1) in targets
