"""Builds the rows of a resource's search index. Pure: the numbers of parameters are arguments."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from hilum.foundation.standards.fhir.dates import element_range
from hilum.foundation.standards.fhir.definitions import resource_types
from hilum.foundation.standards.fhir.elements import (
    PRESENT,
    URIS,
    quantities,
    split_reference,
    texts,
    tokens,
    uris,
)
from hilum.foundation.standards.fhir.paths import Leaf, Selected, Selector, compile_expression
from hilum.foundation.standards.fhir.searchparams import Kind, SearchParameter, parameters_of
from hilum.foundation.standards.fhir.values import fold
from hilum_ehr.fhirserver.models import IndexRows, index_key

# A longer text is found by its beginning only, instead of filling the index.
MAX_TEXT = 4_096
# These two are columns of the resource's own row.
OWN_COLUMNS = frozenset({"_id", "_lastUpdated"})

Rows = dict[Kind, set[tuple[Any, ...]]]
Step = Callable[[dict[str, Any], Rows], None]


@cache
def index_keys() -> tuple[str, ...]:
    """Return every key of the index, in a fixed order."""
    return tuple(_index_keys())


def _index_keys() -> Iterator[str]:
    for resource_type in sorted(resource_types()):
        for parameter in parameters_of(resource_type).values():
            key = index_key(resource_type, parameter.code)
            match parameter.kind:
                case Kind.COMPOSITE:
                    yield from (component_key(key, i) for i in range(len(parameter.components)))
                case Kind.REFERENCE:
                    yield key
                    # `subject:identifier` searches the reference's identifier, which is a token under a key of its own.
                    yield identifier_key(key)
                case _ if parameter.code not in OWN_COLUMNS:
                    yield key


def component_key(key: str, index: int) -> str:
    return f"{key}${index}"


def identifier_key(key: str) -> str:
    return f"{key}:identifier"


class Indexer:
    """Builds index rows. ``numbers`` maps index keys to their numbers in the store."""

    def __init__(self, numbers: Mapping[str, int], base_url: str) -> None:
        self._numbers = numbers
        self._base_url = base_url
        self._plans: dict[str, list[tuple[frozenset[str] | None, Step]]] = {}

    def rows(self, resource: dict[str, Any]) -> IndexRows:
        """Build the rows of every search parameter that the resource has values for."""
        resource_type = resource["resourceType"]
        plan = self._plans.get(resource_type)
        if plan is None:
            plan = self._plans[resource_type] = [
                (compile_expression(parameter.expression, resource_type).keys, self._plan(parameter))
                for parameter in parameters_of(resource_type).values()
                if parameter.code not in OWN_COLUMNS
            ]
        # Sets: the same value may be selected by two expressions of a union, and the tables have no duplicates.
        rows: Rows = {kind: set() for kind in Kind}
        names = resource.keys()
        for keys, step in plan:
            # Most parameters of a type look at elements that a given resource does not have; they are skipped without being run.
            if keys is None or not names.isdisjoint(keys):
                step(resource, rows)
        return IndexRows(
            token=tuple(rows[Kind.TOKEN]),
            string=tuple(rows[Kind.STRING]),
            reference=tuple(rows[Kind.REFERENCE]),
            date=tuple(rows[Kind.DATE]),
            quantity=tuple(rows[Kind.QUANTITY]),
            uri=tuple(rows[Kind.URI]),
        )

    def _plan(self, parameter: SearchParameter) -> Step:
        key = index_key(parameter.resource_type, parameter.code)
        select = compile_expression(parameter.expression, parameter.resource_type)
        if parameter.kind is Kind.COMPOSITE:
            return self._composite_plan(parameter, key, select)
        number, kind = self._numbers[key], parameter.kind
        identifiers = self._numbers.get(identifier_key(key), 0)

        def step(resource: dict[str, Any], rows: Rows) -> None:
            selected = select(resource)
            if selected:
                self._add(kind, (number, 0), selected, rows)
                if identifiers:
                    _add_identifiers(identifiers, selected, rows)

        return step

    def _composite_plan(self, parameter: SearchParameter, key: str, select: Selector) -> Step:
        numbers = [self._numbers[component_key(key, i)] for i in range(len(parameter.components))]
        parts = list(zip(numbers, parameter.components, strict=True))

        def step(resource: dict[str, Any], rows: Rows) -> None:
            for group, (leaf, focus) in enumerate(select(resource)):
                chosen = [compile_expression(c.expression, leaf.type)(focus) for _, c in parts]
                # A composite matches elements that have all components; with one missing nothing can match.
                if all(chosen):
                    for (number, component), selected in zip(parts, chosen, strict=True):
                        self._add(component.kind, (number, group), selected, rows)

        return step

    def _add(self, kind: Kind, head: tuple[int, int], selected: Selected, rows: Rows) -> None:
        match kind:
            case Kind.TOKEN:
                values: Iterator[tuple[Any, ...]] = (
                    v for leaf, value in selected for v in tokens(leaf, value)
                )
            case Kind.STRING:
                values = (
                    (fold(t)[:MAX_TEXT], t[:MAX_TEXT]) for leaf, value in selected for t in texts(leaf, value)
                )
            case Kind.REFERENCE:
                values = (r for leaf, value in selected for r in self._references(leaf, value))
            case Kind.DATE:
                values = (r for leaf, value in selected if (r := element_range(leaf.type, value)))
            case Kind.NUMBER | Kind.QUANTITY:
                kind = Kind.QUANTITY  # They share a table.
                values = (q for leaf, value in selected for q in quantities(leaf, value))
            case Kind.URI:
                values = ((v,) for leaf, value in selected for v in uris(leaf, value))
            case _:
                return
        target = rows[kind]
        for row in values:
            target.add((*head, *row))

    def _references(self, leaf: Leaf, value: Any) -> list[tuple[str, str]]:
        if leaf.type in URIS:
            return [(uri, "") for uri in uris(leaf, value)]
        literal = value.get("reference", "") if leaf.type == "Reference" else ""
        # A reference by identifier, or into the resource, is present but refers to nothing on this server.
        if not literal or literal.startswith("#"):
            return [(PRESENT, "")]
        target_type, target_id = split_reference(literal, self._base_url)
        return [(target_id, target_type)]


def _add_identifiers(number: int, selected: Selected, rows: Rows) -> None:
    for leaf, value in selected:
        if leaf.type == "Reference" and "identifier" in value:
            for code, system in tokens(Leaf("Identifier"), value["identifier"]):
                rows[Kind.TOKEN].add((number, 0, code, system))
