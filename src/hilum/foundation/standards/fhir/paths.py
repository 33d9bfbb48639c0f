"""Compile the expressions of R4's search parameters to closures over parsed JSON.

R4's 1,700 expressions use twelve forms of FHIRPath: paths, ``as`` (infix and called), ``ofType``, ``where(k='v')``,
``where(resolve() is T)``, ``where(hasExtension('u'))``, ``extension('u')``, ``[n]``, ``a.exists() and a != false``,
parentheses and unions. Types are settled while compiling, so that running is dictionary look-ups only.

Source: FHIR R4 search.html#expression, fhirpath.html
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from hilum.foundation.standards.fhir.definitions import Element, ElementType, elements, json_keys, value_set


# Compiled once for each expression and type, run for every resource of every search and index: all decisions
# about types happen at compile time.
@dataclass(frozen=True, slots=True)
class Leaf:
    """The element at the end of a path: its type and, for a code bound to one code system, that system."""

    type: str
    system: str = ""


Selected = list[tuple[Leaf, Any]]
Filter = Callable[[list[Any]], list[Any]]
_Steps = tuple[tuple[str, Filter | None], ...]


class UnsupportedExpression(ValueError):
    """The expression uses a form that R4's search parameters do not use."""


@dataclass(frozen=True, slots=True)
class _Route:
    """One path through JSON; each step is a key and a filter for the values under it."""

    type: str
    steps: _Steps = ()
    system: str = ""


# A segment is a name, optionally a call with one level of nested parentheses and quoted text, and an index.
# Anything else is refused, so that no expression is half understood.
_SEGMENT = re.compile(r"(\w+)(\((?:[^()']|'[^']*'|\((?:[^()']|'[^']*')*\))*\))?(?:\[(\d+)\])?(?:\.|$)")
_INFIX_AS = re.compile(r"\(?([\w.]+) as (\w+)\)?((?:\.\w+)*)")
_TRUTH = re.compile(r"([\w.]+)\.exists\(\) and \1 != false")
_IS_TYPE = re.compile(r"resolve\(\) is (\w+)")
_EQUALS = re.compile(r"(\w+)\s*=\s*'([^']*)'")
_HAS_EXTENSION = re.compile(r"hasExtension\('([^']*)'\)")


class Selector:
    """Selects the elements of an expression from a value of one type.

    ``keys`` are the only names at the top of the value that it looks at; None if it must be run whatever is there.
    """

    __slots__ = ("_routes", "_truths", "keys", "types")

    def __init__(self, routes: list[tuple[str, Leaf, _Steps]], truths: list[list[_Route]]) -> None:
        self._routes = routes
        self._truths = truths
        self.types = frozenset(leaf.type for _, leaf, _ in routes)
        """The FHIR types of the elements that it can select."""
        # Lets the index of the embedded server skip a selector whose elements a resource does not have.
        always = truths or any(not first for first, _, _ in routes)
        self.keys = None if always else frozenset(first for first, _, _ in routes)

    def __call__(self, value: dict[str, Any]) -> Selected:
        selected: Selected = []
        for first, leaf, steps in self._routes:
            if first in value or not first:
                for node in _walk(value, steps):
                    selected.append((leaf, node))
        for truth in self._truths:
            selected.append((Leaf("boolean"), _is_true(value, truth)))
        return selected


@lru_cache(maxsize=8192)
def compile_expression(expression: str, type_name: str) -> Selector:
    """Build the function that selects the elements of ``expression`` from a value of ``type_name``.

    Parts of a union that speak of other resource types select nothing. Raises UnsupportedExpression.
    """
    routes: list[tuple[str, Leaf, _Steps]] = []
    truths: list[list[_Route]] = []
    for part in _split_union(expression):
        truth = _TRUTH.fullmatch(part)
        if truth:
            truths.append(list(_follow(truth.group(1), type_name)))
        else:
            followed = _follow(_called_as(part), type_name)
            routes.extend(
                (r.steps[0][0] if r.steps else "", Leaf(r.type, r.system), r.steps) for r in followed
            )
    return Selector(routes, truths)


# Split by hand, because a "|" may stand within quotes or parentheses, where it does not separate.
def _split_union(expression: str) -> list[str]:
    parts, depth, quoted, start = [], 0, False, 0
    for index, char in enumerate(expression):
        if char == "'":
            quoted = not quoted
        elif not quoted:
            depth += (char == "(") - (char == ")")
            if char == "|" and depth == 0:
                parts.append(expression[start:index].strip())
                start = index + 1
    return [*parts, expression[start:].strip()]


def _called_as(part: str) -> str:
    """Rewrite ``(a.b as T).c`` as ``a.b.as(T).c``."""
    infix = _INFIX_AS.fullmatch(part)
    return f"{infix.group(1)}.as({infix.group(2)}){infix.group(3)}" if infix else part


def _follow(path: str, type_name: str) -> Iterator[_Route]:
    routes = [_Route(type_name)]
    position = 0
    while position < len(path):
        match = _SEGMENT.match(path, position)
        if match is None:
            raise UnsupportedExpression(path)
        name, call, index = match.groups()
        if position == 0 and name[0].isupper():
            if name not in {type_name, "Resource", "DomainResource"}:
                return
        elif call is None:
            routes = [step for route in routes for step in _step(route, name)]
        else:
            routes = _apply(routes, name, call[1:-1])
        if index is not None:
            routes = [_filtered(route, _nth(int(index))) for route in routes]
        position = match.end()
    for route in routes:
        # An expression that ends at an extension means its value; value[x] is searched, not the wrapper.
        if route.type == "Extension":
            yield from _step(route, "value")
        else:
            yield route


def _step(route: _Route, name: str) -> Iterator[_Route]:
    by_name = elements(route.type)
    # Every element has these two (FHIR R4 element.html), but the derived tables list them for no type.
    if name in {"extension", "id"} and name not in by_name:
        kind = ElementType(name, "Extension" if name == "extension" else "id")
        yield _extend(route, Element(name, (kind,)), kind)
        return
    element = by_name.get(name)
    if element is not None:
        for kind in element.types:
            yield _extend(route, element, kind)
        return
    chosen = json_keys(route.type).get(name)
    if chosen is not None:
        yield from (_extend(route, chosen, kind) for kind in chosen.types if kind.key == name)


def _extend(route: _Route, element: Element, kind: ElementType) -> _Route:
    system = ""
    if element.binding and kind.name == "code":
        # A code without a system of its own takes that of its required value set (FHIR R4 search.html#token),
        # if there is exactly one.
        systems = list(value_set(element.binding))
        system = systems[0] if len(systems) == 1 else ""
    return _Route(kind.name, (*route.steps, (kind.key, None)), system)


def _apply(routes: list[_Route], name: str, argument: str) -> list[_Route]:
    match name:
        case "as" | "ofType":
            return [route for route in routes if route.type.lower() == argument.lower()]
        case "extension":
            has_url = _matching("url", argument.strip("'"))
            return [_filtered(step, has_url) for route in routes for step in _step(route, "extension")]
        case "where":
            condition = _condition(argument)
            return [_filtered(route, condition) for route in routes]
        case _:
            raise UnsupportedExpression(f"{name}({argument})")


def _condition(argument: str) -> Filter:
    if is_type := _IS_TYPE.fullmatch(argument):
        return _referring_to(is_type.group(1))
    if equals := _EQUALS.fullmatch(argument):
        return _matching(equals.group(1), equals.group(2))
    if extension := _HAS_EXTENSION.fullmatch(argument):
        return _extended_by(extension.group(1))
    raise UnsupportedExpression(f"where({argument})")


def _filtered(route: _Route, keep: Filter) -> _Route:
    key, before = route.steps[-1]
    both = keep if before is None else _one_after_the_other(before, keep)
    return replace(route, steps=(*route.steps[:-1], (key, both)))


def _one_after_the_other(first: Filter, second: Filter) -> Filter:
    return lambda values: second(first(values))


def _matching(key: str, value: str) -> Filter:
    return lambda values: [v for v in values if isinstance(v, dict) and v.get(key) == value]


def _extended_by(url: str) -> Filter:
    def keep(values: list[Any]) -> list[Any]:
        return [v for v in values if any(e.get("url") == url for e in v.get("extension", ()))]

    return keep


def _nth(index: int) -> Filter:
    return lambda values: values[index : index + 1]


def _referring_to(type_name: str) -> Filter:
    # resolve() is decided by the reference's text: fetching each target would be a request.
    segment = re.compile(rf"(?:^|/){re.escape(type_name)}/[^/]+(?:/_history/[^/]+)?$")

    def keep(values: list[Any]) -> list[Any]:
        return [
            v
            for v in values
            if isinstance(v, dict)
            and (segment.search(v.get("reference", "")) or (v.get("type") == type_name and "identifier" in v))
        ]

    return keep


def _walk(value: dict[str, Any], steps: _Steps) -> list[Any]:
    # Look-ups only: this runs for each resource that the embedded server indexes or a granular scope judges.
    nodes: list[Any] = [value]
    for key, keep in steps:
        inner_nodes: list[Any] = []
        for node in nodes:
            inner = node.get(key) if type(node) is dict else None
            if type(inner) is list:
                inner_nodes.extend(item for item in inner if item is not None)
            elif inner is not None:
                inner_nodes.append(inner)
        nodes = keep(inner_nodes) if keep else inner_nodes
        if not nodes:
            break
    return nodes


def _is_true(value: dict[str, Any], routes: list[_Route]) -> bool:
    nodes = [node for route in routes for node in _walk(value, route.steps)]
    return bool(nodes) and nodes[0] is not False
