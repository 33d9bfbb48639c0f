"""SMART App Launch 2.2, backend-services and client-confidential-asymmetric: a service without a person."""

import time
import uuid
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from tests.conformance import rules
from tests.conformance.inferno import ASSERTION_TYPE, Inferno


def form(suite: Inferno, alg: str = "ES384", /, **changes: str | None) -> dict[str, str]:
    """Write what a backend service sends, altered."""
    given: dict[str, str | None] = {
        "scope": "system/*.rs",
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": suite.assertion(suite.running.client("bench-backend"), alg),
    }
    return {name: value for name, value in (given | changes).items() if value is not None}


def post(suite: Inferno, data: dict[str, str]) -> httpx2.Response:
    return suite.http.post(
        suite.configuration["token_endpoint"], data=data, headers={"accept": "application/json"}
    )


@pytest.mark.parametrize("alg", ["ES384", "RS384"])
@pytest.mark.parametrize("scope", ["system/*.rs", "system/*.read", "system/Patient.rs system/Observation.rs"])
def test_a_signed_assertion_earns_a_token_with_its_scopes(suite: Inferno, alg: str, scope: str) -> None:
    """SMART 1.6 smart_backend_services_auth_request_success, smart_backend_services_auth_response_body."""
    response = post(suite, form(suite, alg, scope=scope))

    assert response.status_code == 200, response.text
    rules.token_headers(response)
    body = response.json()
    assert body["token_type"].lower() == "bearer"
    assert type(body["expires_in"]) is int
    assert body["access_token"]
    assert sorted(body["scope"].replace(".read", ".rs").split(" ")) == sorted(
        scope.replace(".read", ".rs").split(" ")
    )
    assert "refresh_token" not in body


def test_a_type_that_no_server_has_is_not_granted(suite: Inferno) -> None:
    """SMART App Launch 2.2, backend-services#scopes: what is granted may be less than what was asked; RFC 6749 section 5.2."""
    some = post(suite, form(suite, scope="system/Nonsense.rs system/Patient.rs"))
    none = post(suite, form(suite, scope="system/Nonsense.rs"))

    assert (some.status_code, some.json()["scope"]) == (200, "system/Patient.rs")
    assert (none.status_code, none.json()["error"]) == (400, "invalid_scope")


@pytest.mark.parametrize("client", ["bench-backend", "bench-asymmetric"])
@pytest.mark.parametrize("alg", ["ES384", "RS384"])
def test_a_suite_finds_the_signing_key_in_what_the_card_gives_to_paste(
    suite: Inferno, client: str, alg: str
) -> None:
    """Harness 0.3: a suite signs with the first pasted key that has the algorithm, a kid and ``sign`` among its ``key_ops``."""
    keys = suite.running.client(client)["private_jwks"]["keys"]

    found = [key for key in keys if "sign" in key.get("key_ops", ()) and key.get("alg") == alg]

    assert len(found) == 1
    assert found[0]["kid"]
    assert "d" in found[0]


def test_its_token_reads_across_patients(suite: Inferno) -> None:
    """SMART App Launch 2.2, backend-services#scopes."""
    token = post(suite, form(suite)).json()["access_token"]

    found = suite.read(token, "Patient?_count=5")

    assert found.status_code == 200
    assert len({entry["resource"]["id"] for entry in found.json()["entry"]}) > 1


def test_another_grant_type_is_answered_400_exactly(suite: Inferno) -> None:
    """SMART 1.6 smart_backend_services_invalid_grant_type; RFC 6749 section 5.2."""
    response = post(suite, form(suite, grant_type="not_a_grant_type"))

    assert (response.status_code, response.json()["error"]) == (400, "unsupported_grant_type")


@pytest.mark.parametrize(
    "changes",
    [
        {"client_assertion_type": "not_an_assertion_type"},
        {"client_assertion_type": None},
        {"client_assertion": None},
        {"client_assertion": ""},
        {"client_assertion": "not.a.jwt"},
    ],
    ids=["other type", "no type", "no assertion", "empty assertion", "not a JWT"],
)
def test_an_assertion_that_is_none_is_refused(suite: Inferno, changes: dict[str, str | None]) -> None:
    """SMART 1.6 smart_backend_services_invalid_client_assertion, smart_backend_services_invalid_jwt: 400 or 401; (g)(10) 3.7: invalid_client."""
    response = post(suite, form(suite, "ES384", **changes))

    assert response.status_code in {400, 401}
    assert response.json()["error"] in {"invalid_client", "invalid_request"}


def signed(suite: Inferno, key: Any = None, header: dict[str, str] | None = None, **changes: Any) -> str:
    """Sign an assertion that is wrong in one thing."""
    card = suite.running.client("bench-backend")
    key = key or next(
        each for each in KeySet.import_key_set(card["private_jwks"]).keys if each.key_type == "EC"
    )
    alg = "ES384" if key.key_type == "EC" else "RS384"
    claims = {
        "iss": card["client_id"],
        "sub": card["client_id"],
        "aud": suite.configuration["token_endpoint"],
    }
    claims |= {"exp": int(time.time()) + 300, "jti": uuid.uuid4().hex} | changes
    return jwt.encode(
        {"alg": alg, "kid": key.kid, "typ": "JWT"} | (header or {}), claims, key, algorithms=[alg]
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://elsewhere.example/token"},
        {"exp": 1_000_000_000},
        {"exp": 99_999_999_999},
        {"iss": "somebody-else"},
        {"sub": "somebody-else"},
        {"jti": ""},
    ],
    ids=["other audience", "expired", "lives too long", "other issuer", "other subject", "no jti"],
)
def test_an_assertion_with_a_wrong_claim_is_an_invalid_client(
    suite: Inferno, changes: dict[str, Any]
) -> None:
    """SMART App Launch 2.2, client-confidential-asymmetric#signature-verification; C43."""
    response = post(suite, form(suite, client_assertion=signed(suite, **changes)))

    assert response.status_code in {400, 401}
    assert response.json()["error"] == "invalid_client"


def test_an_assertion_by_a_key_that_is_not_registered_is_an_invalid_client(suite: Inferno) -> None:
    """SMART App Launch 2.2, client-confidential-asymmetric#signature-verification; C43."""
    stranger = RSAKey.generate_key(2048, parameters={"kid": "stranger"})

    response = post(suite, form(suite, client_assertion=signed(suite, stranger)))

    assert response.status_code in {400, 401}
    assert response.json()["error"] == "invalid_client"


def test_an_assertion_is_good_for_one_request(suite: Inferno) -> None:
    """SMART App Launch 2.2, client-confidential-asymmetric: jti is never taken twice; C43."""
    once = form(suite)
    assert post(suite, once).status_code == 200

    again = post(suite, once)

    assert again.status_code in {400, 401}
    assert again.json()["error"] == "invalid_client"


@pytest.mark.parametrize("scope", ["patient/*.rs", "user/*.rs", "launch", "openid", ""])
def test_a_service_is_granted_system_scopes_only(suite: Inferno, scope: str) -> None:
    """SMART App Launch 2.2, backend-services#scopes; C16."""
    response = post(suite, form(suite, scope=scope))

    assert (response.status_code, response.json()["error"]) == (400, "invalid_scope")


def test_a_service_is_never_granted_more_than_it_was_approved_for(suite: Inferno) -> None:
    """(g)(10) 3.7: the granted system scope never exceeds the pre-authorised one."""
    card = suite.running.client("northgate-registry")
    asked = {"grant_type": "client_credentials", "scope": "system/*.cruds"}

    granted = suite.ask(asked, card)
    refused = suite.ask(asked | {"scope": "system/Observation.rs"}, card)

    assert granted.status_code == 200
    assert sorted(granted.json()["scope"].split()) == ["system/Immunization.rs", "system/Patient.rs"]
    assert suite.read(granted.json()["access_token"], "Observation?_count=1").status_code == 403
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_scope")
