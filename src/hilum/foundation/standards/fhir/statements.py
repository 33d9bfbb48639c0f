"""Reads the CapabilityStatement of an upstream FHIR server, and builds the gateway's from it.

Source: FHIR R4 capabilitystatement.html; SMART App Launch 2.2, conformance#declaring-support-using-the-capabilitystatement
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hilum.foundation.standards.fhir import docref
from hilum.foundation.standards.fhir.definitions import FHIR_VERSION
from hilum.foundation.standards.fhir.parameters import INCLUDE_PARAMETERS
from hilum.foundation.standards.fhir.queries import is_by_url
from hilum.foundation.standards.fhir.searchparams import parameters_of
from hilum.foundation.standards.fhir.visibility import rule_of

_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_SECURITY_SERVICE = "http://terminology.hl7.org/CodeSystem/restful-security-service"
# Defined for every resource; servers often support them without declaring them.
_ALWAYS = frozenset({"_id", "_lastUpdated"})
_COPIED_MEMBERS = ("type", "profile", "supportedProfile", "referencePolicy")
# The decision refuses all of these, whatever the FHIR server can do.
_UNSUPPORTED = {
    "readHistory": False,
    "updateCreate": False,
    "conditionalCreate": False,
    "conditionalRead": "not-match",
    "conditionalUpdate": False,
    "conditionalDelete": "not-supported",
}


@dataclass(frozen=True, slots=True)
class ServerCapabilities:
    """A FHIR server's CapabilityStatement and when it was read. ``filters``: its search parameters by type."""

    statement: Mapping[str, Any]
    filters: Mapping[str, frozenset[str]]
    read_at: float


def read_statement(
    statement: object, read_at: float, ignored: frozenset[str] = frozenset()
) -> ServerCapabilities | None:
    """Parse a CapabilityStatement; None if it is not one of R4. ``ignored``: parameters that the server does not act on, whatever it declares."""
    if not isinstance(statement, dict) or statement.get("resourceType") != "CapabilityStatement":
        return None
    # 4.0.0 and 4.0.1 differ in corrections only. The visibility table is for R4 and no other version.
    if not str(statement.get("fhirVersion", "")).startswith("4.0"):
        return None
    # Parameters declared for the whole server apply to each type (CapabilityStatement.rest.searchParam).
    everywhere = frozenset(name for rest in rests_of(statement) for name in parameters_in(rest))
    filters = {
        str(each.get("type")): (frozenset(parameters_in(each)) | everywhere | _ALWAYS) - ignored
        for each in resources_in(statement)
    }
    return ServerCapabilities(statement, filters, read_at)


def rests_of(statement: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    rests = statement.get("rest")
    for rest in rests if isinstance(rests, list) else ():
        if isinstance(rest, dict) and rest.get("mode") == "server":
            yield rest


def resources_in(statement: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for rest in rests_of(statement):
        yield from _listed(rest, "resource", dict)


def parameters_in(holder: dict[str, Any]) -> Iterator[str]:
    for parameter in _listed(holder, "searchParam", dict):
        if isinstance(parameter.get("name"), str):
            yield parameter["name"]


def unknown_filter(capabilities: ServerCapabilities, type_: str, params: tuple[tuple[str, str], ...]) -> str:
    """Return the first search parameter that the FHIR server does not declare, and so might ignore; empty if there is none."""
    supported = capabilities.filters.get(type_, frozenset())
    for name, _ in params:
        code = name.partition(":")[0]
        if code not in supported and code not in {*INCLUDE_PARAMETERS, "_sort"}:
            return code
    return ""


def cut_statement(
    capabilities: ServerCapabilities,
    base: str,
    endpoints: Mapping[str, str],
    passing: Callable[[str], frozenset[str]],
) -> dict[str, Any]:
    """Build the statement of the gateway at ``base``: the server's, without what the gateway refuses.

    ``passing`` returns the interactions on a type that the gateway lets through.
    """
    statement: dict[str, Any] = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        # Built from nothing but the members below: the server's own statement may contain its address, its
        # software and contacts.
        "date": str(capabilities.statement.get("date", "2026-01-01")),
        "publisher": "Hilum",
        "kind": "instance",
        "software": {"name": "Hilum"},
        "implementation": {"description": "FHIR R4 through Hilum's gateway", "url": base},
        "fhirVersion": FHIR_VERSION,
        "format": ["json", "application/fhir+json"],
    }
    # Bulk export is an operation, and operations are refused.
    declared = _listed(capabilities.statement, "instantiates", object)
    if instantiates := [each for each in declared if "bulk" not in str(each)]:
        statement["instantiates"] = instantiates
    resources = [
        cut_type(each, passing(str(each["type"])), capabilities.filters[str(each["type"])])
        for each in resources_in(capabilities.statement)
        # A type without a visibility rule is refused, so announcing it would be false.
        if rule_of(str(each.get("type"))) is not None
    ]
    statement["rest"] = [
        {
            "mode": "server",
            "security": _security(endpoints),
            "resource": resources,
            # The gateway's own: it sends the FHIR server the entries one by one.
            "interaction": [{"code": "batch"}],
        }
    ]
    return statement


def _security(endpoints: Mapping[str, str]) -> dict[str, Any]:
    uris = [{"url": name, "valueUri": address} for name, address in endpoints.items()]
    coding = {"system": _SECURITY_SERVICE, "code": "SMART-on-FHIR", "display": "SMART-on-FHIR"}
    text = "OAuth2 using SMART-on-FHIR profile (see http://docs.smarthealthit.org)"
    return {
        "extension": [{"url": _OAUTH_URIS, "extension": uris}],
        "cors": True,
        "service": [{"coding": [coding], "text": text}],
    }


def cut_type(each: dict[str, Any], passing: frozenset[str], filters: frozenset[str]) -> dict[str, Any]:
    """Build the gateway's entry of a type: the interactions that pass, and the parameters and includes that the gateway supports."""
    type_ = str(each.get("type"))
    interactions = [i["code"] for i in _listed(each, "interaction", dict) if str(i.get("code")) in passing]
    entry: dict[str, Any] = {key: each[key] for key in _COPIED_MEMBERS if key in each}
    entry["interaction"] = [{"code": code} for code in interactions]
    entry |= {"versioning": each.get("versioning", "no-version"), **_UNSUPPORTED}
    if "search-type" not in interactions:
        return entry
    supported = parameters_of(type_).keys() & filters
    params = [p for p in _listed(each, "searchParam", dict) if str(p.get("name")) in supported]
    entry["searchParam"] = [
        {key: p[key] for key in ("name", "definition", "type") if key in p} for p in params
    ]
    if type_ == "DocumentReference":
        entry["operation"] = [{"name": "docref", "definition": docref.DEFINITION}]
    for key in ("searchInclude", "searchRevInclude"):
        entry[key] = [text for text in _listed(each, key, str) if _passes(text)]
    return {key: value for key, value in entry.items() if value != []}


def _listed(holder: Mapping[str, Any], key: str, kind: type) -> list[Any]:
    """Return the items of a list that have a type; nothing if there is no list."""
    items = holder.get(key)
    return [item for item in items if isinstance(item, kind)] if isinstance(items, list) else []


def _passes(include: str) -> bool:
    source, _, name = include.partition(":")
    parameter = parameters_of(source).get(name.partition(":")[0])
    return rule_of(source) is not None and parameter is not None and not is_by_url(parameter)
