"""The search parameters of FHIR R4, and those that US Core 6.1.0 adds."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Any

from hilum.foundation.standards.fhir.definitions import table


class Kind(StrEnum):
    """The type of a search parameter.

    Source: FHIR R4 search.html#ptypes
    """

    NUMBER = "number"
    DATE = "date"
    STRING = "string"
    TOKEN = "token"
    REFERENCE = "reference"
    COMPOSITE = "composite"
    QUANTITY = "quantity"
    URI = "uri"
    SPECIAL = "special"


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a composite; ``expression`` starts at the element that the composite's own expression selects."""

    kind: Kind
    expression: str


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """One search parameter of one resource type."""

    resource_type: str
    code: str
    kind: Kind
    expression: str
    targets: tuple[str, ...] = ()
    components: tuple[Component, ...] = ()


UNANSWERABLE = frozenset(
    {
        ("*", "phonetic"),
        ("Location", "near"),
        ("MolecularSequence", "chromosome-variant-coordinate"),
        ("MolecularSequence", "referenceseqid-variant-coordinate"),
    }
)
"""In the tables, but meaning what an index of values cannot say: phonetic likeness, distance on the globe, and
composites of elements that do not stand together."""

_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/"
_ASSERTED = "http://hl7.org/fhir/StructureDefinition/condition-assertedDate"
_IS_TYPE = re.compile(r"resolve\(\) is (\w+)")
US_CORE: tuple[SearchParameter, ...] = (
    SearchParameter("CareTeam", "role", Kind.TOKEN, "CareTeam.participant.role"),
    SearchParameter("Condition", "asserted-date", Kind.DATE, f"Condition.extension('{_ASSERTED}').value.as(dateTime)"),
    SearchParameter("Encounter", "discharge-disposition", Kind.TOKEN, "Encounter.hospitalization.dischargeDisposition"),
    SearchParameter("Goal", "description", Kind.TOKEN, "Goal.description"),
    SearchParameter("Patient", "race", Kind.TOKEN, f"Patient.extension('{_CORE}us-core-race').extension.value.ofType(Coding)"),
    SearchParameter("Patient", "ethnicity", Kind.TOKEN, f"Patient.extension('{_CORE}us-core-ethnicity').extension.value.ofType(Coding)"),
    SearchParameter("Patient", "gender-identity", Kind.TOKEN, f"Patient.extension('{_CORE}us-core-genderIdentity').value.as(CodeableConcept)"),
)  # fmt: skip
"""Source: US Core 6.1.0, search parameters that R4 does not have."""


@cache
def parameters_of(type_: str) -> Mapping[str, SearchParameter]:
    """Return the search parameters of a type by name, including those of all types (``_id``, ``_tag``, ...)."""
    # A parameter of the type overrides one of all resources.
    rows: dict[str, list[Any]] = {**table("search_parameters")["Resource"]}
    rows.update(table("search_parameters").get(type_, {}))
    parameters = {code: _parse_row(type_, code, row) for code, row in rows.items()}
    parameters.update(
        {parameter.code: parameter for parameter in US_CORE if parameter.resource_type == type_}
    )
    for owner, code in UNANSWERABLE:
        if owner in {"*", type_}:
            parameters.pop(code, None)
    return MappingProxyType(dict(sorted(parameters.items())))


def _parse_row(type_: str, code: str, row: list[Any]) -> SearchParameter:
    kind, expression = Kind(row[0]), row[1]
    extra = row[2] if len(row) > 2 else []
    if kind is Kind.COMPOSITE:
        parts = tuple(Component(Kind(part), text) for part, text in extra)
        return SearchParameter(type_, code, kind, expression, components=parts)
    narrowed = _IS_TYPE.findall(expression)
    # Where every part is limited by `resolve() is T`, HL7's declared targets are wider than the expression:
    # `patient` would accept Group.
    if len(narrowed) == len(expression.split(" | ")):
        extra = sorted(set(narrowed))
    return SearchParameter(type_, code, kind, expression, targets=tuple(extra))
