"""What can pass of what a FHIR server offers, told as the gateway's own. Pure.

Source: FHIR R4 capabilitystatement.html; SMART App Launch 2.2, conformance#declaring-support-using-the-capabilitystatement
"""

from typing import Any

from hilum.gateway.reach import LETTERS
from hilum.kernel.ids import TenantId
from hilum.standards.fhir.definitions import FHIR_VERSION
from hilum.standards.fhir.searchparams import parameters_of
from hilum.standards.fhir.statements import Surface, resources_in
from hilum.standards.fhir.visibility import Belonging, rule_of
from hilum.web.urls import Urls

_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_SECURITY_SERVICE = "http://terminology.hl7.org/CodeSystem/restful-security-service"
_KEPT_OF_TYPE = ("type", "profile", "supportedProfile", "documentation", "referencePolicy")


def public_statement(surface: Surface, tenant: TenantId, urls: Urls) -> dict[str, Any]:
    """Tell what apps can do here: the FHIR server's statement, cut to what can pass, with the gateway's own urls."""
    statement: dict[str, Any] = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": str(surface.statement.get("date", "2026-01-01")),
        "publisher": "Hilum",
        "kind": "instance",
        "software": {"name": "Hilum"},
        "implementation": {
            "description": "FHIR R4 through Hilum's gateway",
            "url": urls.fhir_base(tenant),
        },
        "fhirVersion": FHIR_VERSION,
        "format": ["json", "application/fhir+json"],
    }
    instantiates = surface.statement.get("instantiates")
    kept = [
        each for each in (instantiates if isinstance(instantiates, list) else ()) if "bulk" not in str(each)
    ]
    if kept:
        statement["instantiates"] = kept
    resources = [
        _public_type(each) for each in resources_in(surface.statement) if rule_of(str(each.get("type")))
    ]
    statement["rest"] = [
        {"mode": "server", "security": _security(tenant, urls), "resource": resources},
    ]
    return statement


def _security(tenant: TenantId, urls: Urls) -> dict[str, Any]:
    endpoints = {
        "authorize": urls.authorize(tenant),
        "token": urls.token(tenant),
        "introspect": urls.introspect(tenant),
        "revoke": urls.revoke(tenant),
        "manage": urls.manage(tenant),
        "register": urls.register(tenant),
    }
    uris = [{"url": name, "valueUri": address} for name, address in endpoints.items()]
    coding = {"system": _SECURITY_SERVICE, "code": "SMART-on-FHIR", "display": "SMART-on-FHIR"}
    return {
        "extension": [{"url": _OAUTH_URIS, "extension": uris}],
        "cors": True,
        "service": [
            {
                "coding": [coding],
                "text": "OAuth2 using SMART-on-FHIR profile (see http://docs.smarthealthit.org)",
            }
        ],
    }


def _public_type(each: dict[str, Any]) -> dict[str, Any]:
    type_ = str(each["type"])
    rule = rule_of(type_)
    passing = {str(kind) for kind in LETTERS}
    if rule is not None and rule.belonging is Belonging.REFERRER:
        passing = {"read"}
    found = each.get("interaction")
    interactions = [
        {"code": i["code"]} for i in (found if isinstance(found, list) else ()) if i.get("code") in passing
    ]
    told: dict[str, Any] = {key: each[key] for key in _KEPT_OF_TYPE if key in each}
    told["interaction"] = interactions
    told["versioning"] = each.get("versioning", "no-version")
    told |= {
        "readHistory": False,
        "updateCreate": False,
        "conditionalCreate": False,
        "conditionalRead": "not-match",
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
    }
    if "search-type" in {i["code"] for i in interactions}:
        told |= _public_search(type_, each)
    return told


def _public_search(type_: str, each: dict[str, Any]) -> dict[str, Any]:
    known = parameters_of(type_)
    listed = each.get("searchParam")
    params = [
        {key: p[key] for key in ("name", "definition", "type", "documentation") if key in p}
        for p in (listed if isinstance(listed, list) else ())
        if p.get("name") in known
    ]
    told: dict[str, Any] = {"searchParam": params} if params else {}
    for key in ("searchInclude", "searchRevInclude"):
        found = each.get(key)
        named = [text for text in (found if isinstance(found, list) else ()) if _passes(str(text))]
        if named:
            told[key] = named
    return told


def _passes(include: str) -> bool:
    source, _, name = include.partition(":")
    return rule_of(source) is not None and name.partition(":")[0] in parameters_of(source)
