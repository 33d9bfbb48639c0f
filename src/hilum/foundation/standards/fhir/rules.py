"""Rules beyond structure: required value sets, reference targets, extensions, contained resources, narratives."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from hilum.foundation.standards.fhir.dates import parse_range
from hilum.foundation.standards.fhir.definitions import (
    Element,
    ElementType,
    elements,
    resource_types,
    value_set,
)
from hilum.foundation.standards.fhir.narratives import narrative_fault
from hilum.foundation.standards.fhir.values import is_id

# Matches the end of an absolute URL too: the type of a target on another server is judged as well.
_LITERAL = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?$")


class RuleViolation(NamedTuple):
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
    # Extensions are allowed on every element but listed on none, so they are added to each level.
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

    breaks: list[RuleViolation]
    contained: frozenset[str]

    def within(self, resource: dict[str, Any]) -> "_Findings":
        """Check another resource, which has its own contained resources."""
        # A reference `#x` resolves within the resource that contains it, never across resources of a Bundle
        # (FHIR R4 references.html#contained).
        contained = resource.get("contained", ())
        return _Findings(self.breaks, frozenset(str(each.get("id")) for each in contained))

    def add(self, detail: str, path: _Path) -> None:
        self.breaks.append(RuleViolation(detail, _written(path)))


def rule_issues(resource: dict[str, Any]) -> list[RuleViolation]:
    """List the broken rules, each with its place.

    Source: FHIR R4 terminologies.html#required, references.html, json.html, extensibility.html
    """
    findings = _Findings([], frozenset()).within(resource)
    _walk(resource, resource["resourceType"], (resource["resourceType"],), findings)
    return findings.breaks


def _walk(value: dict[str, Any], type_name: str, path: _Path, findings: _Findings) -> None:
    nodes = _level(type_name)
    for key, inner in value.items():
        # `_birthDate` has no row of its own in the tables; it holds the id and extensions of `birthDate`
        # (FHIR R4 json.html#primitive).
        node = nodes.get(key) or (_BESIDE_A_PRIMITIVE if key.startswith("_") else None)
        if node is None:
            continue
        if type(inner) is list:
            for index, item in enumerate(inner):
                _judge(item, node, (path, key, index), findings)
        else:
            _judge(inner, node, (path, key), findings)


def _judge(value: Any, node: _Node, path: _Path, findings: _Findings) -> None:
    if node.codes and not _is_bound(value, node):
        findings.add(f"The code is not in the required value set {node.binding}.", path)
    # 2026-02-30 has the right form, but no index could order it.
    if node.is_date and isinstance(value, str) and parse_range(value) is None:
        findings.add("The date or time is malformed or does not exist in the calendar.", path)
    if type(value) is not dict:
        return
    if fault := _own_fault(value, node.inside, path[1]):
        findings.add(fault, path)
    if node.targets and not _may_target(value, node.targets):
        allowed = ", ".join(sorted(node.targets))
        findings.add(f"The reference may only point to {allowed}.", path)
    if node.inside == "Reference" and not _is_held(value.get("reference"), findings.contained):
        findings.add("The reference points to a contained resource that does not exist.", path)
    if node.inside == "Resource":
        # References inside a contained resource resolve against its container
        # (FHIR R4 references.html#contained).
        inner = findings if path[1] == "contained" else findings.within(value)
        _walk(value, str(value.get("resourceType")), path, inner)
    elif node.inside:
        _walk(value, node.inside, path, findings)


def _own_fault(value: dict[str, Any], kind: str, key: str) -> str:
    """Return what is wrong with an object by itself; empty if nothing is."""
    if not value:
        return "An object must not be empty; omit the element."
    match kind:
        case "Extension" if ("extension" in value) == any(
            k.removeprefix("_").startswith("value") for k in value
        ):
            return "An extension must have either a value or extensions of its own."
        case "Narrative":
            return narrative_fault(value.get("div"))
        case "Resource" if key == "contained" and "contained" in value:
            return "A contained resource must not contain resources."
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
    # Of a CodeableConcept one coding from the required value set is enough; others may translate it
    # (FHIR R4 terminologies.html#required). A concept of only text passes.
    codings = value.get("coding", ()) if "coding" in value or "text" in value else (value,)
    bound = [c["code"] for c in codings if "code" in c and c.get("system", "") in value_set(node.binding)]
    coded = [c for c in codings if "code" in c]
    return any(code in node.codes for code in bound) if coded else True


def _may_target(reference: dict[str, Any], targets: frozenset[str]) -> bool:
    literal = reference.get("reference")
    # A reference whose type is not evident (urn:uuid, an identifier) cannot contradict the element's targets.
    match = _LITERAL.search(literal) if isinstance(literal, str) else None
    return match is None or match.group(1) not in resource_types() or match.group(1) in targets


def _is_held(literal: object, contained: frozenset[str]) -> bool:
    """Check whether a reference into the resource resolves; ``#`` is the resource itself."""
    return not isinstance(literal, str) or literal[:1] != "#" or literal == "#" or literal[1:] in contained
