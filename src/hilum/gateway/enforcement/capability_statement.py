"""The gateway's CapabilityStatement: the part of the FHIR server's that can pass. Pure."""

from typing import Any

from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.standards.fhir.statements import ServerCapabilities, cut_statement
from hilum.foundation.standards.fhir.visibility import Belonging, rule_of
from hilum.foundation.standards.smart.interactions import LETTERS
from hilum.foundation.web.urls import Urls


def public_statement(
    capabilities: ServerCapabilities, tenant: TenantId, urls: Urls, *, registers: bool
) -> dict[str, Any]:
    """Return what apps can do here: the FHIR server's statement, cut to what can pass, with the gateway's own urls.

    ``registers``: dynamic registration is open.
    """
    endpoints = {
        "authorize": urls.authorize(tenant),
        "token": urls.token(tenant),
        "introspect": urls.introspect(tenant),
        "revoke": urls.revoke(tenant),
        "manage": urls.manage(tenant),
    } | ({"register": urls.register(tenant)} if registers else {})
    return cut_statement(capabilities, urls.fhir_base(tenant), endpoints, _passing)


def _passing(type_: str) -> frozenset[str]:
    rule = rule_of(type_)
    only_read = rule is not None and rule.belonging is Belonging.REFERRER
    # What is not among the FHIR server's own interactions is left out; an app creates by the server's update.
    return frozenset({"read", "create"}) if only_read else frozenset(kind.value for kind in LETTERS)
