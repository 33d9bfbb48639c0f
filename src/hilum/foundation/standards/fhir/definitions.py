"""HL7's definitions of types and elements, from the derived tables in ``data``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

FHIR_VERSION = "4.0.1"


@dataclass(frozen=True, slots=True)
class ElementType:
    """One type that an element may have. ``name`` is a FHIR type, or the path of a nested element.

    ``key`` is the element's name in JSON: ``valueQuantity`` for the Quantity among ``value[x]``.
    ``targets`` are the resource types that a reference may point to; empty means any.
    """

    key: str
    name: str
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a type."""

    name: str
    types: tuple[ElementType, ...]
    binding: str = ""
    """The name of the required value set, where one exists and is closed."""
    mandatory: bool = False
    summary: bool = False


@cache
def table(name: str) -> Any:
    """Load a derived table once."""
    return json.loads((files("hilum.foundation.standards.fhir") / "data" / f"{name}.json").read_bytes())


# Parameters is excluded: it exists only as a body of operations and is never stored.
@cache
def resource_types() -> frozenset[str]:
    """Return the R4 resource types that a server can store (all concrete ones but Parameters)."""
    return frozenset(table("resource_types"))


@cache
def patient_compartment() -> Mapping[str, tuple[str, ...]]:
    """Return the search parameters that place a type in a patient's compartment.

    Source: FHIR R4 compartmentdefinition-patient.html
    """
    return MappingProxyType({name: tuple(codes) for name, codes in table("patient_compartment").items()})


@cache
def value_set(name: str) -> Mapping[str, frozenset[str]]:
    """Expand a required value set: the codes of each system."""
    return MappingProxyType({system: frozenset(codes) for system, codes in table("value_sets")[name].items()})


@cache
def elements(type_name: str) -> Mapping[str, Element]:
    """List the elements of a type, resource type or nested element (``Observation.component``), by name.

    Choice elements stand under their bare name, ``value`` for ``value[x]``. An unknown type has none.
    """
    rows: dict[str, str] = table("elements").get(type_name, {})
    return MappingProxyType({e.name: e for e in (_parse_element(name, text) for name, text in rows.items())})


@cache
def json_keys(type_name: str) -> Mapping[str, Element]:
    """List the elements of a type by their names in JSON."""
    return MappingProxyType({t.key: e for e in elements(type_name).values() for t in e.types})


def _parse_element(name: str, text: str) -> Element:
    bare, choice = name.removesuffix("[x]"), name.endswith("[x]")
    types: list[ElementType] = []
    binding, mandatory, summary = "", False, False
    # A row in the table: `1` mandatory, `s` in summaries, `!name` a required value set, `Type(Target|Target)` a type.
    for word in text.split(" "):
        match word:
            case "1":
                mandatory = True
            case "s":
                summary = True
            case _ if word.startswith("!"):
                binding = word[1:]
            case _:
                type_name, _, targets = word.removesuffix(")").partition("(")
                # value[x] of type dateTime is valueDateTime in JSON (FHIR R4 formats.html#choice).
                key = bare + type_name[0].upper() + type_name[1:] if choice else bare
                types.append(
                    ElementType(
                        key, type_name.removeprefix("@"), tuple(targets.split("|")) if targets else ()
                    )
                )
    return Element(bare, tuple(types), binding, mandatory, summary)
