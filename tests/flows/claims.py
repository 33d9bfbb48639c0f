"""Which test shows each value that the server advertises (C25): member, value, then file::name below ``tests``."""

_TOKEN, _REFRESH = "flows/test_token_exchange.py", "flows/test_refresh.py"
_BACKEND, _DISCOVERY = "flows/test_backend_services.py", "flows/test_discovery.py"
_AUTHORIZE = "flows/test_authorize.py"
EHR_LAUNCH = f"{_AUTHORIZE}::test_an_ehr_launch_leads_from_the_open_session_over_a_notice_to_a_code"
CODE = f"{_TOKEN}::test_a_code_with_its_verifier_earns_a_token_with_the_context_of_the_launch"
ID_TOKEN = f"{_TOKEN}::test_an_id_token_verifies_by_the_published_keys_and_names_the_fhir_user"
BASIC = f"{_TOKEN}::test_a_symmetric_client_authenticates_by_basic_raw_or_encoded"
ASSERTION = f"{_TOKEN}::test_an_asymmetric_client_authenticates_by_assertion_alone"
ALGORITHMS = "attack/test_assertions.py::test_an_assertion_by_rs384_or_es384_is_accepted"
SCOPES = f"{_DISCOVERY}::test_every_advertised_scope_is_granted_to_a_client_registered_for_it"
BACKEND = f"{_BACKEND}::test_a_backend_service_gets_the_system_scopes_it_was_approved_for"

CAPABILITIES = {
    "launch-ehr": EHR_LAUNCH,
    "launch-standalone": f"{_AUTHORIZE}::test_a_standalone_launch_lets_a_physician_search_and_choose",
    "authorize-post": EHR_LAUNCH,
    "client-public": CODE,
    "client-confidential-symmetric": BASIC,
    "client-confidential-asymmetric": ASSERTION,
    "sso-openid-connect": ID_TOKEN,
    "context-banner": CODE,
    "context-style": f"{_DISCOVERY}::test_the_style_document_is_public_and_its_address_changes_with_its_content",
    "context-ehr-patient": CODE,
    "context-ehr-encounter": CODE,
    "context-standalone-patient": f"{_TOKEN}::test_a_standalone_launch_earns_the_patient_that_was_chosen",
    "context-standalone-encounter": f"{_AUTHORIZE}::test_an_encounter_is_asked_for_when_the_app_asks_for_one",
    "permission-offline": f"{_REFRESH}::test_offline_access_survives_the_end_of_the_session",
    "permission-online": f"{_REFRESH}::test_online_access_ends_with_the_session",
    "permission-patient": SCOPES,
    "permission-user": SCOPES,
    "permission-v1": f"{_BACKEND}::test_v1_scopes_are_granted_and_shown_as_v2",
    "permission-v2": BACKEND,
}
LANGUAGES = "flows/test_languages.py::test_the_consent_page_names_everything_in_the_language_asked_for"
_METHODS = {"client_secret_basic": BASIC, "private_key_jwt": ASSERTION, "none": CODE}
_SIGNED = {"RS384": ALGORITHMS, "ES384": ALGORITHMS}
SHOWN_BY: dict[str, dict[str, str]] = {
    "grant_types_supported": {
        "authorization_code": CODE,
        "refresh_token": f"{_REFRESH}::test_a_refresh_earns_a_new_pair_of_tokens",
        "client_credentials": BACKEND,
    },
    "response_types_supported": {"code": CODE},
    "response_modes_supported": {"query": CODE},
    "code_challenge_methods_supported": {
        "S256": f"{_TOKEN}::test_a_code_without_its_verifier_earns_nothing_and_is_gone"
    },
    "id_token_signing_alg_values_supported": {"RS256": ID_TOKEN},
    "subject_types_supported": {"public": CODE},
    "claims_supported": dict.fromkeys(
        ("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "fhirUser"), ID_TOKEN
    ),
    "scopes_supported": dict.fromkeys(
        (
            *("openid", "fhirUser", "launch", "launch/patient", "launch/encounter"),
            *("offline_access", "online_access", "patient/*.cruds", "patient/*.rs"),
            *("user/*.cruds", "user/*.rs", "system/*.cruds", "system/*.rs"),
        ),
        SCOPES,
    ),
    "capabilities": CAPABILITIES,
    "ui_locales_supported": dict.fromkeys(("en", "es"), LANGUAGES),
    "token_endpoint_auth_methods_supported": _METHODS,
    "introspection_endpoint_auth_methods_supported": {
        name: test for name, test in _METHODS.items() if name != "none"
    },
    "revocation_endpoint_auth_methods_supported": _METHODS,
    "token_endpoint_auth_signing_alg_values_supported": _SIGNED,
    "introspection_endpoint_auth_signing_alg_values_supported": _SIGNED,
    "revocation_endpoint_auth_signing_alg_values_supported": _SIGNED,
}
