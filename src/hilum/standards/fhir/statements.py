"""Reading another server's CapabilityStatement.

Source: FHIR R4 capabilitystatement.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_ALWAYS = frozenset({"_id", "_lastUpdated"})


@dataclass(frozen=True, slots=True)
class Surface:
    """What a FHIR server says it can do, and when that was read. ``filters`` lists search parameters by type."""

    statement: Mapping[str, Any]
    filters: Mapping[str, frozenset[str]]
    read_at: float


def read_statement(statement: object, read_at: float) -> Surface | None:
    """Understand a CapabilityStatement; None if it is none of R4."""
    if not isinstance(statement, dict) or statement.get("resourceType") != "CapabilityStatement":
        return None
    if not str(statement.get("fhirVersion", "")).startswith("4.0"):
        return None
    everywhere = frozenset(name for rest in rests_of(statement) for name in parameters_in(rest))
    filters = {
        str(each.get("type")): frozenset(parameters_in(each)) | everywhere | _ALWAYS
        for each in resources_in(statement)
    }
    return Surface(statement, filters, read_at)


def rests_of(statement: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    rests = statement.get("rest")
    for rest in rests if isinstance(rests, list) else ():
        if isinstance(rest, dict) and rest.get("mode") == "server":
            yield rest


def resources_in(statement: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for rest in rests_of(statement):
        found = rest.get("resource")
        yield from (each for each in (found if isinstance(found, list) else ()) if isinstance(each, dict))


def parameters_in(holder: dict[str, Any]) -> Iterator[str]:
    found = holder.get("searchParam")
    for each in found if isinstance(found, list) else ():
        if isinstance(each, dict) and isinstance(each.get("name"), str):
            yield each["name"]


def unknown_filter(surface: Surface, type_: str, params: tuple[tuple[str, str], ...]) -> str:
    """Name the first asked search parameter that the FHIR server would not act on; empty if there is none."""
    known = surface.filters.get(type_, frozenset())
    for name, _ in params:
        code = name.partition(":")[0]
        if code not in known and code not in {"_include", "_revinclude", "_sort"}:
            return code
    return ""
