"""A suite that registers itself, with a key set of its own at an address of its own: how a tester begins with a fresh sandbox.

Source: RFC 7591; SMART App Launch 2.2, client-confidential-asymmetric#registering-a-client-communicating-public-keys.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from joserfc.jwk import ECKey, KeySet, RSAKey

from tests.conformance import rules
from tests.conformance.conftest import WIDE, WIDE_EHR, Stories
from tests.conformance.inferno import SMART, Inferno, Order
from tests.sim import jwks_host
from tests.sim.jwks_host import JwksHost

DELEGATED: dict[str, Any] = {
    "redirect_uris": [f"{SMART}/redirect"],
    "launch_url": f"{SMART}/launch",
    "grant_types": ["authorization_code", "refresh_token"],
    "scope": "launch launch/patient openid fhirUser offline_access patient/*.rs user/*.rs",
}


@pytest.fixture(scope="module")
def keys() -> KeySet:
    """One ES384 and one RS384 key, as a suite holds them."""
    more: Any = {"use": "sig", "key_ops": ["sign"]}
    elliptic = ECKey.generate_key("P-384", {"kid": "suite-ec", "alg": "ES384"} | more)
    return KeySet([elliptic, RSAKey.generate_key(2048, {"kid": "suite-rsa", "alg": "RS384"} | more)])


@pytest.fixture(scope="module")
def host(keys: KeySet) -> Iterator[JwksHost]:
    """Serve the public halves."""
    with jwks_host.running() as made:
        public = [key | {"key_ops": ["verify"]} for key in keys.as_dict(private=False)["keys"]]
        made.serve({"keys": public}, "public, max-age=300")
        yield made


def private(keys: KeySet, kty: str) -> dict[str, Any]:
    return {"keys": [key for key in keys.as_dict(private=True)["keys"] if key["kty"] == kty]}


@pytest.mark.parametrize("method", ["none", "client_secret_basic"])
def test_a_client_that_registered_itself_launches(suite: Inferno, method: str) -> None:
    """RFC 7591 section 3; SMART 1.2 with a client of the suite's own."""
    client = suite.register(method, **DELEGATED)

    launch = suite.standalone(Order(client=client, scope=WIDE, redirect_uri=f"{SMART}/redirect"))

    rules.token_body(launch.body, launch.asked)
    rules.openid(suite, launch)
    rules.refreshing(suite, launch)


@pytest.mark.parametrize("kty", ["EC", "RSA"])
def test_a_client_with_keys_at_an_address_launches_and_refreshes(
    suite: Inferno, host: JwksHost, keys: KeySet, kty: str
) -> None:
    """(g)(10) 9.21 with the suite's own JWKS URL, by ES384 and by RS384."""
    client = suite.register("private_key_jwt", keys=private(keys, kty), jwks_uri=host.jwks_uri, **DELEGATED)

    launch = suite.standalone(Order(client=client, scope=WIDE, redirect_uri=f"{SMART}/redirect"))

    rules.patient_context(suite, launch)
    rules.refreshing(suite, launch)
    rules.introspection(suite, launch)


def test_it_launches_from_the_ehr_at_its_own_launch_address(
    suite: Inferno, stories: Stories, host: JwksHost, keys: KeySet
) -> None:
    """SMART 1.3 smart_app_launch: the browser comes to the registered launch URL with iss and launch."""
    client = suite.register("private_key_jwt", keys=private(keys, "EC"), jwks_uri=host.jwks_uri, **DELEGATED)
    order = stories.ehr_order(client=client, scope=WIDE_EHR, redirect_uri=f"{SMART}/redirect")

    launch = suite.ehr(order, encounter=stories.encounter)

    assert launch.body["encounter"] == stories.encounter
    rules.patient_context(suite, launch)


@pytest.mark.parametrize("kty", ["EC", "RSA"])
def test_a_backend_service_with_keys_at_an_address_gets_its_token(
    suite: Inferno, host: JwksHost, keys: KeySet, kty: str
) -> None:
    """SMART 1.6; (g)(10) 3.5 authorization."""
    card = suite.client(
        suite.register(
            "private_key_jwt",
            keys=private(keys, kty),
            jwks_uri=host.jwks_uri,
            grant_types=["client_credentials"],
            scope="system/*.rs",
        )
    )

    answer = suite.ask({"grant_type": "client_credentials", "scope": "system/*.read"}, card)

    assert answer.status_code == 200, answer.text
    assert suite.read(answer.json()["access_token"], "Patient?_count=1").status_code == 200


def test_keys_that_the_address_does_not_show_are_refused(
    suite: Inferno, host: JwksHost, keys: KeySet
) -> None:
    """SMART App Launch 2.2, client-confidential-asymmetric#signature-verification."""
    stranger = {"keys": [ECKey.generate_key("P-384", {"kid": "suite-ec"}).as_dict(private=True)]}
    card = suite.client(
        suite.register(
            "private_key_jwt",
            keys=stranger,
            jwks_uri=host.jwks_uri,
            grant_types=["client_credentials"],
            scope="system/*.rs",
        )
    )

    answer = suite.ask({"grant_type": "client_credentials", "scope": "system/*.rs"}, card)

    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    "wrong",
    [
        {"redirect_uris": ["http://elsewhere.example/redirect"]},
        {"redirect_uris": [f"{SMART}/*"]},
        {"redirect_uris": []},
        {"scope": "system/*.rs"},
        {"response_types": ["token"]},
        {"jwks_uri": "file:///etc/passwd"},
    ],
    ids=["plain http elsewhere", "wildcard", "no redirect", "system scopes", "implicit", "file"],
)
def test_a_registration_against_the_rules_is_refused(suite: Inferno, wrong: dict[str, Any]) -> None:
    """RFC 7591 section 3.2.2; C2, C15, C16."""
    method = "private_key_jwt" if "jwks_uri" in wrong else "none"
    wanted = {"client_name": "Suite", "token_endpoint_auth_method": method} | DELEGATED | wrong

    answer = suite.http.post(suite.configuration["registration_endpoint"], json=wanted)

    assert answer.status_code == 400
    assert answer.json()["error"] in {"invalid_client_metadata", "invalid_redirect_uri"}
