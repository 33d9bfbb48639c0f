"""Builds the CapabilityStatement from what the server supports. Pure."""

from datetime import datetime
from typing import Any

from hilum.foundation.standards.fhir.definitions import FHIR_VERSION
from hilum.foundation.standards.fhir.queries import is_by_url
from hilum.foundation.standards.fhir.searchparams import Kind, SearchParameter, parameters_of
from hilum_ehr.fhirserver.models import FhirServerSettings

INTERACTIONS = ("read", "vread", "update", "delete", "history-instance", "create", "search-type")


def capability_statement(settings: FhirServerSettings, types: frozenset[str], at: datetime) -> dict[str, Any]:
    """Describe every type with its interactions, search parameters and includes.

    Source: FHIR R4 capabilitystatement.html, http.html#capabilities
    """
    # Computed once for all types: each of the 140 would otherwise examine every parameter of every other.
    reverse = _references_to(types)
    statement: dict[str, Any] = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "kind": "instance",
        "implementation": {"description": settings.name, "url": settings.base_url},
        "software": {"name": settings.name},
        "fhirVersion": FHIR_VERSION,
        "format": ["json", "application/fhir+json"],
        "rest": [
            {"mode": "server", "resource": [_resource(t, settings, reverse[t]) for t in sorted(types)]},
        ],
    }
    if settings.instantiates:
        statement["instantiates"] = list(settings.instantiates)
    return statement


def _resource(resource_type: str, settings: FhirServerSettings, reverse: list[str]) -> dict[str, Any]:
    parameters = parameters_of(resource_type).values()
    described: dict[str, Any] = {
        "type": resource_type,
        "interaction": [{"code": code} for code in INTERACTIONS],
        "versioning": "versioned",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "not-match",
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "searchInclude": [f"{resource_type}:{p.code}" for p in parameters if _is_included(p)],
        "searchRevInclude": reverse,
        "searchParam": [{"name": p.code, "type": p.kind.value} for p in parameters],
    }
    profiles = settings.supported_profiles.get(resource_type)
    if profiles:
        described["supportedProfile"] = list(profiles)
    return {key: value for key, value in described.items() if value != []}


def _references_to(types: frozenset[str]) -> dict[str, list[str]]:
    referring: dict[str, list[str]] = {t: [] for t in types}
    for source in sorted(types):
        for parameter in parameters_of(source).values():
            if _is_included(parameter):
                for target in types.intersection(parameter.targets):
                    referring[target].append(f"{source}:{parameter.code}")
    return referring


def _is_included(parameter: SearchParameter) -> bool:
    """Check whether an include can follow a parameter: canonical URLs lead to no resource by id."""
    return parameter.kind is Kind.REFERENCE and not is_by_url(parameter)
