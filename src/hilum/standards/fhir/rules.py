"""Rules beyond structure: required value sets, reference targets, extensions, contained resources, narratives."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from hilum.standards.fhir.dates import parse_range
from hilum.standards.fhir.definitions import Element, ElementType, elements, resource_types, value_set
from hilum.standards.fhir.narratives import narrative_fault
from hilum.standards.fhir.values import is_id

_LITERAL = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?$")


class Break(NamedTuple):
    """A broken rule and its place (``Patient.contact[0].gender``)."""

    detail: str
    expression: str


@dataclass(frozen=True, slots=True)
class _Node:
    """The checks of an element: codes of a binding, targets of a reference, and its nested elements."""

    codes: frozenset[str] = frozenset()
    binding: str = ""
    targets: frozenset[str] = frozenset()
    inside: str = ""
    is_date: bool = False


_BESIDE_A_PRIMITIVE = _Node(inside="Element")
"""The checks of a primitive's companion such as ``_birthDate``: an id and extensions."""


@cache
def _level(type_name: str) -> dict[str, _Node]:
    """Compile, for one type, the elements that have checks."""
    nodes = {t.key: _node(e, t) for e in elements(type_name).values() for t in e.types}
    nodes["extension"] = _Node(inside="Extension")
    nodes["modifierExtension"] = _Node(inside="Extension")
    return {key: node for key, node in nodes.items() if node != _Node()}


def _node(element: Element, kind: ElementType) -> _Node:
    inside = kind.name if elements(kind.name) or kind.name == "Resource" else ""
    if element.binding and kind.name in {"code", "Coding", "CodeableConcept"}:
        expansion = value_set(element.binding)
        return _Node(frozenset().union(*expansion.values()), element.binding, inside=inside)
    if kind.name == "Reference":
        return _Node(targets=frozenset(kind.targets), inside=inside)
    return _Node(inside=inside, is_date=kind.name in {"date", "dateTime", "instant"})


_Path = tuple[Any, ...]
"""A place as (parent place, key[, index]), rendered as text only when a rule is broken there."""


@dataclass(frozen=True, slots=True)
class _Findings:
    """The broken rules so far, and the ids of the present resource's contained resources."""

    breaks: list[Break]
    contained: frozenset[str]

    def within(self, resource: dict[str, Any]) -> "_Findings":
        """Check another resource, which has its own contained resources."""
        held = resource.get("contained", ())
        return _Findings(self.breaks, frozenset(str(each.get("id")) for each in held))

    def add(self, detail: str, path: _Path) -> None:
        self.breaks.append(Break(detail, _written(path)))


def rule_issues(resource: dict[str, Any]) -> list[Break]:
    """List the broken rules, each with its place.

    Source: FHIR R4 terminologies.html#required, references.html, json.html, extensibility.html
    """
    found = _Findings([], frozenset()).within(resource)
    _walk(resource, resource["resourceType"], (resource["resourceType"],), found)
    return found.breaks


def _walk(value: dict[str, Any], type_name: str, path: _Path, found: _Findings) -> None:
    nodes = _level(type_name)
    for key, inner in value.items():
        node = nodes.get(key) or (_BESIDE_A_PRIMITIVE if key.startswith("_") else None)
        if node is None:
            continue
        if type(inner) is list:
            for index, item in enumerate(inner):
                _judge(item, node, (path, key, index), found)
        else:
            _judge(inner, node, (path, key), found)


def _judge(value: Any, node: _Node, path: _Path, found: _Findings) -> None:
    if node.codes and not _is_bound(value, node):
        found.add(f"The code is not in the required value set {node.binding}.", path)
    if node.is_date and isinstance(value, str) and parse_range(value) is None:
        found.add("There is no such day or time.", path)
    if type(value) is not dict:
        return
    if fault := _own_fault(value, node.inside, path[1]):
        found.add(fault, path)
    if node.targets and not _may_target(value, node.targets):
        allowed = ", ".join(sorted(node.targets))
        found.add(f"The reference may only point to {allowed}.", path)
    if node.inside == "Reference" and not _is_held(value.get("reference"), found.contained):
        found.add("The resource contains nothing with the id that this points to.", path)
    if node.inside == "Resource":
        inner = found if path[1] == "contained" else found.within(value)
        _walk(value, str(value.get("resourceType")), path, inner)
    elif node.inside:
        _walk(value, node.inside, path, found)


def _own_fault(value: dict[str, Any], kind: str, key: str) -> str:
    """Return what is wrong with an object by itself; empty if nothing is."""
    if not value:
        return "An object is never empty; leave the element out."
    match kind:
        case "Extension" if ("extension" in value) == any(
            k.removeprefix("_").startswith("value") for k in value
        ):
            return "An extension has either a value or extensions of its own."
        case "Narrative":
            return narrative_fault(value.get("div"))
        case "Resource" if key == "contained" and "contained" in value:
            return "What is contained contains nothing itself."
        case "Resource" if "id" in value and not is_id(value["id"]):
            return "An id is 1 to 64 letters, digits, '-' and '.'."
    return ""


def _written(path: _Path) -> str:
    if len(path) == 1:
        return str(path[0])
    index = f"[{path[2]}]" if len(path) == 3 else ""
    return f"{_written(path[0])}.{path[1]}{index}"


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


def _is_held(literal: object, contained: frozenset[str]) -> bool:
    """Check whether a reference into the resource resolves; ``#`` is the resource itself."""
    return not isinstance(literal, str) or literal[:1] != "#" or literal == "#" or literal[1:] in contained
