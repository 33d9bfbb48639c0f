"""What can pass of what a FHIR server offers, told as the gateway's own. Pure.

Source: FHIR R4 capabilitystatement.html; SMART App Launch 2.2, conformance#declaring-support-using-the-capabilitystatement
"""

from typing import Any

from hilum.gateway.reach import LETTERS
from hilum.kernel.ids import TenantId
from hilum.standards.fhir.definitions import FHIR_VERSION
from hilum.standards.fhir.statements import Surface, cut_type, resources_in
from hilum.standards.fhir.visibility import Belonging, rule_of
from hilum.web.urls import Urls

_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_SECURITY_SERVICE = "http://terminology.hl7.org/CodeSystem/restful-security-service"


def public_statement(surface: Surface, tenant: TenantId, urls: Urls, *, registers: bool) -> dict[str, Any]:
    """Tell what apps can do here: the FHIR server's statement, cut to what can pass, with the gateway's own urls.

    ``registers``: dynamic registration is open.
    """
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
        cut_type(each, _passing(str(each["type"])))
        for each in resources_in(surface.statement)
        if rule_of(str(each.get("type"))) is not None
    ]
    statement["rest"] = [
        {"mode": "server", "security": _security(tenant, urls, registers=registers), "resource": resources},
    ]
    return statement


def _passing(type_: str) -> frozenset[str]:
    rule = rule_of(type_)
    only_read = rule is not None and rule.belonging is Belonging.REFERRER
    return frozenset({"read"}) if only_read else frozenset(kind.value for kind in LETTERS)


def _security(tenant: TenantId, urls: Urls, *, registers: bool) -> dict[str, Any]:
    endpoints = {
        "authorize": urls.authorize(tenant),
        "token": urls.token(tenant),
        "introspect": urls.introspect(tenant),
        "revoke": urls.revoke(tenant),
        "manage": urls.manage(tenant),
    } | ({"register": urls.register(tenant)} if registers else {})
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
