"""What the authorization server says of itself, from one table: every claim names what enforces it and the test that shows it.

Source: SMART App Launch 2.2, conformance#using-well-known; RFC 8414 section 2; OpenID Connect Discovery 1.0 section 3; RFC 9207 section 3.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hilum.backchannel import client_auth, policy
from hilum.frontchannel import policy as front_policy
from hilum.kernel.ids import TenantId
from hilum.keys import policy as keys_policy
from hilum.keys.models import Purpose
from hilum.standards import oauth
from hilum.standards.smart import launch as smart_launch
from hilum.standards.smart import scopes as smart
from hilum.web.urls import Urls


@dataclass(frozen=True, slots=True)
class Claim:
    """One advertised value. ``enforced``: what the code that enforces it answers today. ``test``: file::name under ``tests``."""

    member: str
    value: str
    enforced: Callable[[], bool]
    test: str


def _grants(name: str) -> Callable[[], bool]:
    return lambda: any(name in granted for granted in policy.GRANTS_OF.values())


def _authenticates(name: str) -> Callable[[], bool]:
    return lambda: name in client_auth.METHOD_OF.values()


def _signs(name: str) -> Callable[[], bool]:
    return lambda: name in client_auth.ALGORITHMS


def _parses(text: str) -> Callable[[], bool]:
    return lambda: not isinstance(smart.parse_scope(text), smart.ScopeError)


def _stands(verb: Callable[..., Any]) -> Callable[[], bool]:
    return lambda: callable(verb)


_TOKEN, _REFRESH = "flows/test_token_exchange.py", "flows/test_refresh.py"
_BACKEND, _DISCOVERY = "flows/test_backend_services.py", "flows/test_discovery.py"
_ASSERTIONS = "attack/test_assertions.py"
_AUTHORIZE = "flows/test_authorize.py"
_EHR_LAUNCH_WORKS = f"{_AUTHORIZE}::test_an_ehr_launch_leads_from_the_open_session_over_a_notice_to_a_code"
_CODE_WORKS = f"{_TOKEN}::test_a_code_with_its_verifier_earns_a_token_with_the_context_of_the_launch"
_BOTH_ALGORITHMS = f"{_ASSERTIONS}::test_an_assertion_by_rs384_or_es384_is_accepted"
_SCOPES_WORK = f"{_DISCOVERY}::test_every_advertised_scope_is_granted_to_a_client_registered_for_it"
_BACKEND_WORKS = f"{_BACKEND}::test_a_backend_service_gets_the_system_scopes_it_was_approved_for"

SCOPES = (
    "openid",
    "fhirUser",
    "launch",
    "launch/patient",
    "launch/encounter",
    "offline_access",
    "online_access",
    "patient/*.cruds",
    "patient/*.rs",
    "user/*.cruds",
    "user/*.rs",
    "system/*.cruds",
    "system/*.rs",
)

_CAPABILITIES: Mapping[str, tuple[Callable[[], bool], str]] = {
    "launch-ehr": (_stands(front_policy.validate_request), _EHR_LAUNCH_WORKS),
    "launch-standalone": (
        _stands(smart_launch.context_asked),
        f"{_AUTHORIZE}::test_a_standalone_launch_lets_a_physician_search_and_choose",
    ),
    "authorize-post": (
        _stands(front_policy.validate_request),
        _EHR_LAUNCH_WORKS,
    ),
    "client-public": (_authenticates("none"), _CODE_WORKS),
    "client-confidential-symmetric": (
        _authenticates("client_secret_basic"),
        f"{_TOKEN}::test_a_symmetric_client_authenticates_by_basic_raw_or_encoded",
    ),
    "client-confidential-asymmetric": (
        _authenticates("private_key_jwt"),
        f"{_TOKEN}::test_an_asymmetric_client_authenticates_by_assertion_alone",
    ),
    "sso-openid-connect": (
        lambda: keys_policy.ALGORITHMS[Purpose.ID_TOKEN] == "RS256",
        f"{_TOKEN}::test_an_id_token_verifies_by_the_published_keys_and_names_the_fhir_user",
    ),
    "context-banner": (_stands(smart_launch.response_parameters), _CODE_WORKS),
    "context-style": (
        _stands(smart_launch.response_parameters),
        f"{_DISCOVERY}::test_the_style_document_is_public_and_its_address_changes_with_its_content",
    ),
    "context-ehr-patient": (_stands(front_policy.told_context), _CODE_WORKS),
    "context-ehr-encounter": (_stands(front_policy.told_context), _CODE_WORKS),
    "context-standalone-patient": (
        _stands(smart_launch.context_asked),
        f"{_TOKEN}::test_a_standalone_launch_earns_the_patient_that_was_chosen",
    ),
    "context-standalone-encounter": (
        _stands(smart_launch.context_asked),
        f"{_AUTHORIZE}::test_an_encounter_is_asked_for_when_the_app_asks_for_one",
    ),
    "permission-offline": (
        lambda: front_policy.offline_of(smart.known(["offline_access"])) is True,
        f"{_REFRESH}::test_offline_access_survives_the_end_of_the_session",
    ),
    "permission-online": (
        lambda: front_policy.offline_of(smart.known(["online_access"])) is False,
        f"{_REFRESH}::test_online_access_ends_with_the_session",
    ),
    "permission-patient": (_parses("patient/*.rs"), _SCOPES_WORK),
    "permission-user": (_parses("user/*.rs"), _SCOPES_WORK),
    "permission-v1": (
        _parses("patient/Observation.read"),
        f"{_BACKEND}::test_v1_scopes_are_granted_and_shown_as_v2",
    ),
    "permission-v2": (_parses("patient/Observation.rs?category=laboratory"), _BACKEND_WORKS),
}

CLAIMS: tuple[Claim, ...] = (
    Claim("grant_types_supported", "authorization_code", _grants("authorization_code"), _CODE_WORKS),
    Claim(
        "grant_types_supported",
        "refresh_token",
        _grants("refresh_token"),
        f"{_REFRESH}::test_a_refresh_earns_a_new_pair_of_tokens",
    ),
    Claim("grant_types_supported", "client_credentials", _grants("client_credentials"), _BACKEND_WORKS),
    Claim("response_types_supported", "code", lambda: oauth.RESPONSE_TYPE_CODE == "code", _CODE_WORKS),
    Claim("response_modes_supported", "query", _stands(oauth.with_parameters), _CODE_WORKS),
    Claim(
        "code_challenge_methods_supported",
        "S256",
        lambda: oauth.S256 == "S256",
        f"{_TOKEN}::test_a_code_without_its_verifier_earns_nothing_and_is_gone",
    ),
    *(
        Claim(f"{endpoint}_auth_methods_supported", method, _authenticates(method), test)
        for endpoint in ("token_endpoint", "introspection_endpoint", "revocation_endpoint")
        for method, test in (
            ("client_secret_basic", _CAPABILITIES["client-confidential-symmetric"][1]),
            ("private_key_jwt", _CAPABILITIES["client-confidential-asymmetric"][1]),
            ("none", _CODE_WORKS),
        )
        if (endpoint, method) != ("introspection_endpoint", "none")
    ),
    *(
        Claim(f"{endpoint}_auth_signing_alg_values_supported", name, _signs(name), _BOTH_ALGORITHMS)
        for endpoint in ("token_endpoint", "introspection_endpoint", "revocation_endpoint")
        for name in ("RS384", "ES384")
    ),
    Claim(
        "id_token_signing_alg_values_supported",
        "RS256",
        lambda: keys_policy.ALGORITHMS[Purpose.ID_TOKEN] == "RS256",
        _CAPABILITIES["sso-openid-connect"][1],
    ),
    Claim("subject_types_supported", "public", _stands(policy.id_token_claims), _CODE_WORKS),
    *(
        Claim(
            "claims_supported",
            name,
            _stands(policy.id_token_claims),
            _CAPABILITIES["sso-openid-connect"][1],
        )
        for name in ("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "fhirUser")
    ),
    *(Claim("scopes_supported", text, _parses(text), _SCOPES_WORK) for text in SCOPES),
    *(Claim("capabilities", name, enforced, test) for name, (enforced, test) in _CAPABILITIES.items()),
)


def unenforced(claims: Iterable[Claim]) -> list[str]:
    """Name every advertised value that nothing enforces or no test shows (C25). Not empty: the server must not start."""
    return [
        f"{claim.member}: {claim.value}"
        for claim in claims
        if not claim.enforced() or "::test_" not in claim.test
    ]


def check() -> None:
    """Stop the start-up when the server would claim what it does not enforce."""
    hollow = unenforced(CLAIMS)
    assert not hollow, f"advertised and not enforced: {', '.join(hollow)}"


def listed() -> dict[str, list[str]]:
    """Collect the advertised values by member."""
    found: dict[str, list[str]] = {}
    for claim in CLAIMS:
        found.setdefault(claim.member, []).append(claim.value)
    return found


_NOT_SMART = frozenset(
    {"claims_supported", "subject_types_supported", "id_token_signing_alg_values_supported"}
)


def server_metadata(urls: Urls, tenant: TenantId, *, registers: bool) -> dict[str, Any]:
    """Write the OpenID configuration and RFC 8414 metadata of a tenant's server; ``registers``: dynamic registration is open."""
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
    if registers:
        document["registration_endpoint"] = urls.register(tenant)
    return document | listed()


def smart_configuration(urls: Urls, tenant: TenantId, *, registers: bool) -> dict[str, Any]:
    """Write ``.well-known/smart-configuration``."""
    whole = server_metadata(urls, tenant, registers=registers)
    return {
        name: value
        for name, value in whole.items()
        if name not in _NOT_SMART and not name.endswith("_parameter_supported")
    } | {"authorization_response_iss_parameter_supported": True}
