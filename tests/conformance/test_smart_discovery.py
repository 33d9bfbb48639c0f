"""SMART App Launch 2.2, conformance: what a server says of itself, and to whom."""

import pytest

from tests.conformance.inferno import HOST, Inferno

EVERYWHERE = {
    "client-confidential-symmetric",
    "client-confidential-asymmetric",
    "sso-openid-connect",
    "permission-offline",
    "authorize-post",
    "permission-v2",
    "permission-v1",
}
PATIENT_APP = EVERYWHERE | {
    "launch-standalone",
    "client-public",
    "context-standalone-patient",
    "permission-patient",
}
EHR_APP = EVERYWHERE | {
    "launch-ehr",
    "context-banner",
    "context-style",
    "context-ehr-patient",
    "context-ehr-encounter",
    "permission-user",
}
OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"


@pytest.mark.parametrize("tenant", ["general", "children", "clinic"])
def test_the_configuration_of_every_hospital_is_public_json(suite: Inferno, tenant: str) -> None:
    """SMART 1.1 well_known_endpoint; C24, C25."""
    base = suite.running.tenant(tenant)["fhir"]

    found = suite.http.get(f"{base}/.well-known/smart-configuration", headers={"accept": "application/json"})

    assert found.status_code == 200
    assert found.headers["content-type"].startswith("application/json")
    for name in ("authorization", "token", "introspection", "management", "registration", "revocation"):
        assert found.json()[f"{name}_endpoint"].startswith(suite.running.base), name


def test_the_configuration_has_every_required_member_of_the_right_type(suite: Inferno) -> None:
    """SMART 1.1 well_known_capabilities_stu2; C25."""
    told = suite.configuration

    assert isinstance(told["authorization_endpoint"], str)
    assert isinstance(told["token_endpoint"], str)
    assert told["capabilities"]
    assert all(isinstance(each, str) for each in told["capabilities"])
    assert {"authorization_code", "client_credentials"} <= set(told["grant_types_supported"])
    assert told["code_challenge_methods_supported"] == ["S256"]
    assert told["issuer"] == suite.running.tenant()["issuer"]
    assert isinstance(told["jwks_uri"], str)
    assert {"RS384", "ES384"} <= set(told["token_endpoint_auth_signing_alg_values_supported"])
    assert "private_key_jwt" in told["token_endpoint_auth_methods_supported"]
    assert {"openid", "fhirUser", "launch/patient", "offline_access"} <= set(told["scopes_supported"])


@pytest.mark.parametrize("capabilities", [PATIENT_APP, EHR_APP], ids=["patient app", "practitioner app"])
def test_the_capabilities_that_certification_needs_are_all_there(
    suite: Inferno, capabilities: set[str]
) -> None:
    """(g)(10) 3.1 and 3.3 g10_smart_well_known_capabilities."""
    assert capabilities <= set(suite.configuration["capabilities"])


@pytest.mark.parametrize("path", ["/.well-known/smart-configuration", "/metadata"])
@pytest.mark.parametrize("origin", [HOST, "https://any.example"])
def test_any_origin_may_read_the_public_documents(suite: Inferno, path: str, origin: str) -> None:
    """SMART 1.1 smart_cors_well_known_endpoint, smart_cors_metadata_request; C26."""
    found = suite.http.get(f"{suite.fhir}{path}", headers={"origin": origin})

    assert found.status_code == 200
    assert found.headers["access-control-allow-origin"] in {origin, "*"}


def test_the_capability_statement_points_to_the_same_endpoints(suite: Inferno) -> None:
    """SMART App Launch 1.0, conformance (oauth-uris); (g)(10) 3.4: read without a token."""
    found = suite.http.get(f"{suite.fhir}/metadata", headers={"accept": "application/fhir+json"})

    statement = found.json()
    assert (found.status_code, statement["resourceType"]) == (200, "CapabilityStatement")
    assert statement["fhirVersion"] == "4.0.1"
    security = statement["rest"][0]["security"]
    assert "SMART-on-FHIR" in {code["code"] for service in security["service"] for code in service["coding"]}
    uris = next(each for each in security["extension"] if each["url"] == OAUTH_URIS)
    told = {each["url"]: each["valueUri"] for each in uris["extension"]}
    assert told["authorize"] == suite.configuration["authorization_endpoint"]
    assert told["token"] == suite.configuration["token_endpoint"]
    assert told["register"] == suite.configuration["registration_endpoint"]


def test_discovery_needs_no_particular_accept_header(suite: Inferno) -> None:
    """SMART App Launch 2.2, conformance#using-well-known: always application/json."""
    for accept in ("*/*", "text/html", "application/fhir+json"):
        found = suite.http.get(f"{suite.fhir}/.well-known/smart-configuration", headers={"accept": accept})
        assert (found.status_code, found.headers["content-type"].partition(";")[0]) == (
            200,
            "application/json",
        )


def test_another_hospital_is_another_issuer_with_its_own_endpoints(suite: Inferno) -> None:
    """RFC 8414 section 3.3; C37."""
    other = suite.http.get(
        f"{suite.running.tenant('children')['fhir']}/.well-known/smart-configuration"
    ).json()

    for name in ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "introspection_endpoint"):
        assert other[name] != suite.configuration[name], name


def test_a_hospital_that_does_not_exist_has_no_configuration(suite: Inferno) -> None:
    """C24: unknown means no."""
    found = suite.http.get(f"{suite.running.base}/t/nowhere/fhir/.well-known/smart-configuration")

    assert found.status_code == 404
