"""The metadata that the authorization server publishes.

Every advertised value needs a test that proves it (``tests/flows/claims.py``); one without fails the suite (C25). Grant types,
methods and algorithms are taken from the code that enforces them, so they cannot be advertised without being enforced.

Source: SMART App Launch 2.2, conformance#using-well-known; RFC 8414 section 2; OpenID Connect Discovery 1.0 section 3; RFC 9207 section 3.
"""

from collections.abc import Iterable
from typing import Any

from hilum.authorization.token import client_auth
from hilum.authorization.token.client_auth import Method
from hilum.authorization.token.policy import GrantType
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.standards import oauth
from hilum.foundation.standards.languages import Language
from hilum.foundation.web.urls import Urls
from hilum.policy.matrix.models import WORKFLOW_SCOPE
from hilum.records.keys import policy as keys_policy
from hilum.records.keys.models import Purpose

SCOPES = (
    "openid",
    "fhirUser",
    "launch",
    "launch/patient",
    "launch/encounter",
    "offline_access",
    "online_access",
    # RFC 8414 section 2 lets a server leave out scopes that it supports: wildcards stand for the
    # scopes of single types.
    "patient/*.cruds",
    "patient/*.rs",
    "user/*.cruds",
    "user/*.rs",
    "system/*.cruds",
    "system/*.rs",
)
CAPABILITIES = (
    "launch-ehr",
    "launch-standalone",
    "authorize-post",
    "client-public",
    "client-confidential-symmetric",
    "client-confidential-asymmetric",
    "sso-openid-connect",
    "context-banner",
    "context-style",
    "context-ehr-patient",
    "context-ehr-encounter",
    "context-standalone-patient",
    "context-standalone-encounter",
    "permission-offline",
    "permission-online",
    "permission-patient",
    "permission-user",
    "permission-v1",
    "permission-v2",
)
CLAIMS = ("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "fhirUser")
METHODS = (Method.BASIC, Method.ASSERTION, Method.NONE)
AUTHENTICATED = {
    "token_endpoint": METHODS,
    "introspection_endpoint": (Method.BASIC, Method.ASSERTION),  # a public client may not introspect
    "revocation_endpoint": METHODS,
}
_NOT_SMART = frozenset(
    {"claims_supported", "subject_types_supported", "id_token_signing_alg_values_supported"}
)


def advertised() -> dict[str, list[str]]:
    """Return the lists of advertised values, by metadata member."""
    lists = {
        "grant_types_supported": [each.value for each in GrantType],
        "response_types_supported": [oauth.RESPONSE_TYPE_CODE],
        "response_modes_supported": ["query"],
        "code_challenge_methods_supported": [oauth.S256],
        "id_token_signing_alg_values_supported": [keys_policy.ALGORITHMS[Purpose.ID_TOKEN]],
        "subject_types_supported": ["public"],
        "claims_supported": list(CLAIMS),
        "scopes_supported": list(SCOPES),
        "capabilities": list(CAPABILITIES),
        "ui_locales_supported": [each.value for each in Language],
    }
    for endpoint, methods in AUTHENTICATED.items():
        lists[f"{endpoint}_auth_methods_supported"] = [each.value for each in methods]
        lists[f"{endpoint}_auth_signing_alg_values_supported"] = list(client_auth.ALGORITHMS)
    return lists


def server_metadata(
    urls: Urls, tenant: TenantId, *, registers: bool, workflows: Iterable[str] = ()
) -> dict[str, Any]:
    """Build the OpenID configuration and RFC 8414 metadata of a tenant's server.

    ``registers``: dynamic registration is open. ``workflows``: those that an app at this tenant may ask for by name.
    """
    document: dict[str, Any] = {
        "issuer": urls.issuer(tenant),
        "authorization_endpoint": urls.authorize(tenant),
        "token_endpoint": urls.token(tenant),
        "introspection_endpoint": urls.introspect(tenant),
        "revocation_endpoint": urls.revoke(tenant),
        "management_endpoint": urls.manage(tenant),
        "jwks_uri": urls.jwks(tenant),
        "authorization_response_iss_parameter_supported": True,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "claims_parameter_supported": False,
    }
    # Named only where it is open: every advertised value has a test that proves it (C25).
    if registers:
        document["registration_endpoint"] = urls.register(tenant)
    lists = advertised()
    lists["scopes_supported"] += [WORKFLOW_SCOPE + name for name in workflows]
    return document | lists


def smart_configuration(
    urls: Urls, tenant: TenantId, *, registers: bool, workflows: Iterable[str] = ()
) -> dict[str, Any]:
    """Build ``.well-known/smart-configuration``."""
    # Made from the other document, so that the two cannot contradict each other.
    whole = server_metadata(urls, tenant, registers=registers, workflows=workflows)
    return {
        name: value
        for name, value in whole.items()
        if name not in _NOT_SMART and not name.endswith("_parameter_supported")
    } | {"authorization_response_iss_parameter_supported": True}
