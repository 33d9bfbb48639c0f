"""The key that stands in place of a client's secret at an identity provider (RFC 7517, RFC 7523)."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

from hilum.identity.federation.assertions import assertion, signing_key

EC = ECKey.generate_key("P-256")
NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)


def jwk(key: Any = EC, **change: Any) -> str:
    whole = dict(key.as_dict(private=True)) | {"kid": "k1"} | change
    return json.dumps({name: value for name, value in whole.items() if value is not None})


@pytest.mark.parametrize(
    ("text", "algorithm"),
    [
        (jwk(), "ES256"),
        (jwk(ECKey.generate_key("P-384")), "ES384"),
        (jwk(RSAKey.generate_key(2_048)), "RS256"),
        (jwk(use="enc", key_ops=["encrypt"], alg="none"), "ES256"),
    ],
)
def test_keys_that_sign(text: str, algorithm: str) -> None:
    found = signing_key(text)

    assert found is not None
    assert found[1:] == (algorithm, "k1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a secret",
        "[]",
        "null",
        "{}",
        jwk(kid=None),
        jwk(kid=""),
        jwk(kid="k" * 101),
        jwk(kid=7),
        jwk(d=None),
        jwk(d=7),
        jwk(d="%%%"),
        jwk(x=None),
        jwk(kty="oct"),
        jwk(kty="RSA"),
        jwk(crv="P-521"),
        jwk(crv="secp256k1"),
        jwk(RSAKey.generate_key(2_048), n="AQAB"),
        json.dumps(dict(OctKey.generate_key(256).as_dict(private=True)) | {"kid": "k1"}),
        json.dumps(dict(EC.as_dict(private=False)) | {"kid": "k1"}),
    ],
    # Keys differ at each start, and each worker must name the cases alike.
    ids=range(20),
)
def test_what_is_no_signing_key(text: str) -> None:
    assert signing_key(text) is None
    assert assertion(text, client_id="c", audience="a", jti="j", now=NOW) == ""


def test_an_assertion_names_the_client_twice_for_the_token_endpoint_and_a_minute() -> None:
    """RFC 7523 section 3."""
    text = assertion(jwk(), client_id="hilum", audience="https://idp.example/token", jti="once", now=NOW)

    found = jws.deserialize_compact(text, EC, algorithms=["ES256"])
    at = int(NOW.timestamp())
    assert found.headers() == {"alg": "ES256", "kid": "k1", "typ": "JWT"}
    assert json.loads(found.payload) == {
        "iss": "hilum",
        "sub": "hilum",
        "aud": "https://idp.example/token",
        "jti": "once",
        "iat": at,
        "exp": at + 60,
    }
