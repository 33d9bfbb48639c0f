"""Client assertions (C51): each deviation has its test; nothing but the registered key opens the door."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from math import gcd
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OctKey, RSAKey

from hilum.apps.clients.models import Client, ClientType, Deployment
from hilum.apps.registry.models import Environment
from hilum.authorization.token import client_auth
from hilum.authorization.token.client_auth import ASSERTION_TYPE, Assertion, Method
from hilum.foundation.kernel.errors import NotPermitted
from hilum.foundation.kernel.ids import AppId, ClientId, VersionId
from hilum.foundation.standards import jws
from hilum.foundation.standards.oauth import read_parameters
from tests.effort import effort
from tests.sim.world import START

ISSUER = "https://hilum.example/t/mercy"
TOKEN_URL = f"{ISSUER}/oauth/token"
ID = ClientId("backend-1")
RSA = RSAKey.generate_key(2048, {"kid": "rsa-1"})
EC = ECKey.generate_key("P-384", {"kid": "ec-1"})
OTHER_RSA = RSAKey.generate_key(2048, {"kid": "rsa-1"})
P256 = ECKey.generate_key("P-256", {"kid": "p256"})
KEYS = {"keys": [RSA.as_dict(private=False), EC.as_dict(private=False)]}
CLIENT = Client(
    ID,
    AppId("app_1"),
    VersionId("ver_1"),
    Environment.SANDBOX,
    ClientType.BACKEND,
    Deployment.SERVER,
    "A backend",
    jwks=KEYS,
)
NOW_S = int(START.timestamp())
LIST = ["RS256", "RS384", "RS512", "PS384", "ES256", "ES384", "ES512", "HS256", "HS384", "HS512"]


def claims(**changes: Any) -> dict[str, Any]:
    made = {
        "iss": ID,
        "sub": ID,
        "aud": TOKEN_URL,
        "exp": NOW_S + 300,
        "jti": "b" * 64,
    } | changes
    return {name: value for name, value in made.items() if value is not None}


def header(**changes: Any) -> dict[str, Any]:
    made = {"alg": "ES384", "kid": "ec-1", "typ": "JWT"} | changes
    return {name: value for name, value in made.items() if value is not None}


def signed(head: dict[str, Any], body: dict[str, Any], key: Any) -> str:
    return jwt.encode(head, body, key, algorithms=LIST)


def raw(head: dict[str, Any], body: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, body)]
    signature = base64.urlsafe_b64encode(sign(b".".join(parts))).rstrip(b"=")
    return b".".join([*parts, signature]).decode()


def accept(assertion: str, client: Client = CLIENT, keys: dict[str, Any] | None = None) -> Assertion:
    """What the token endpoint does before its transaction."""
    form = read_parameters([("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)])
    presented = client_auth.read("", form)
    assert presented.method is Method.ASSERTION
    own = frozenset({TOKEN_URL})
    return client_auth.prove(presented, client, keys or KEYS, audiences=own, issuer=ISSUER, now=START)


def refused(assertion: str, client: Client = CLIENT, keys: dict[str, Any] | None = None) -> str:
    with pytest.raises(NotPermitted) as caught:
        accept(assertion, client, keys)
    assert caught.value.code == "invalid_client"
    return caught.value.detail


@pytest.mark.parametrize(("key", "alg"), [(RSA, "RS384"), (EC, "ES384")])
def test_an_assertion_by_rs384_or_es384_is_accepted(key: Any, alg: str) -> None:
    proved = accept(signed(header(alg=alg, kid=key.kid), claims(), key))

    assert proved.client == ID
    assert proved.jti == "b" * 64
    assert START + timedelta(minutes=5) <= proved.expires_at <= START + timedelta(minutes=6)


@pytest.mark.parametrize(
    ("key", "alg"),
    [(RSA, "RS256"), (RSA, "RS512"), (RSA, "PS384"), (P256, "ES256")],
)
def test_another_asymmetric_algorithm_is_refused(key: Any, alg: str) -> None:
    keys = {"keys": [key.as_dict(private=False)]}

    assert "RS384 or ES384" in refused(signed(header(alg=alg, kid=key.kid), claims(), key), keys=keys)


def unsigned(_: bytes, signature: bytes) -> bytes:
    return signature


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None, 384, ["ES384"]])
def test_an_unsigned_assertion_is_refused(alg: Any) -> None:
    for signature in (b"", b"x"):
        refused(raw(header(alg=alg), claims(), partial(unsigned, signature=signature)))


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
def test_a_public_key_used_as_a_shared_secret_is_refused(alg: str) -> None:
    """Key confusion: the registered public key is public."""
    for secret in (RSA.as_pem(private=False), json.dumps(KEYS["keys"][0]).encode()):
        digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[alg]
        refused(
            raw(
                header(alg=alg, kid="rsa-1"),
                claims(),
                partial(hmac.digest, secret, digest=digest),
            )
        )


def test_a_shared_secret_smuggled_into_the_key_set_is_refused() -> None:
    oct_key = OctKey.import_key(b"s" * 48, {"kid": "oct"})
    keys = {"keys": [oct_key.as_dict(private=True)]}

    refused(signed(header(alg="HS384", kid="oct"), claims(), oct_key), keys=keys)


def test_the_algorithm_of_another_key_type_is_refused() -> None:
    """An RSA kid with ES384, and an EC kid with RS384."""
    refused(signed(header(alg="ES384", kid="rsa-1"), claims(), EC))
    refused(signed(header(alg="RS384", kid="ec-1"), claims(), RSA))


def test_es384_goes_with_p384_only() -> None:
    keys = {"keys": [P256.as_dict(private=False) | {"kid": "ec-1"}]}

    refused(raw(header(), claims(), lambda _: b"\x01" * 96), keys=keys)


def test_a_signature_by_an_unregistered_key_is_refused() -> None:
    """Forgery with the right kid."""
    assert "registered key" in refused(signed(header(alg="RS384", kid="rsa-1"), claims(), OTHER_RSA))


def test_an_rsa_key_shorter_than_2048_bits_proves_nothing() -> None:
    with pytest.warns(SecurityWarning):
        small = RSAKey.generate_key(1024, {"kid": "small"})
    assertion = signed(header(alg="RS384", kid="small"), claims(), small)

    refused(assertion, keys={"keys": [small.as_dict(private=False)]})


def test_an_rsa_key_whose_exponent_makes_verifying_dear_proves_nothing() -> None:
    """Security decision 16: what holds up a worker ages its snapshot. One 3072-bit key of that kind takes ten milliseconds."""
    assert RSA.private_key is not None
    numbers = RSA.private_key.private_numbers()
    exponent = (1 << 2_000) + 1
    while gcd(exponent, (numbers.p - 1) * (numbers.q - 1)) != 1:
        exponent += 2
    secret = pow(exponent, -1, (numbers.p - 1) * (numbers.q - 1))
    public = rsa.RSAPublicNumbers(exponent, numbers.p * numbers.q)
    parts = rsa.rsa_crt_dmp1(secret, numbers.p), rsa.rsa_crt_dmq1(secret, numbers.q), numbers.iqmp
    private = rsa.RSAPrivateNumbers(numbers.p, numbers.q, secret, *parts, public).private_key()
    dear = RSAKey.import_key(private, {"kid": "dear"})
    assertion = signed(header(alg="RS384", kid="dear"), claims(), dear)

    refused(assertion, keys={"keys": [dear.as_dict(private=False)]})


def test_of_many_keys_that_share_a_kid_only_a_few_are_tried() -> None:
    """Security decision 16: a hostile host may fill its set, and does not hold up everybody else by it."""
    right, wrong = RSA.as_dict(private=False), OTHER_RSA.as_dict(private=False)
    assertion = signed(header(alg="RS384", kid="rsa-1"), claims(), RSA)

    assert accept(assertion, keys={"keys": [wrong, right]}).client == ID
    refused(assertion, keys={"keys": [wrong] * jws.KEYS_TRIED + [right]})


@pytest.mark.parametrize("kid", [None, "", 1, ["ec-1"], "unknown", "EC-1", " ec-1"])
def test_a_missing_or_unknown_kid_is_refused(kid: Any) -> None:
    refused(raw(header(kid=kid), claims(), lambda _: b"\x01" * 96))


def test_an_all_zero_signature_is_refused() -> None:
    """The ECDSA implementations that took r = s = 0."""
    refused(raw(header(), claims(), lambda _: b"\x00" * 96))


@pytest.mark.parametrize("name", ["jwk", "x5c", "x5u", "x5t", "crit", "b64", "zip", "enc", "htm"])
def test_a_header_that_brings_its_own_key_or_meaning_is_refused(name: str) -> None:
    value = {"jwk": OTHER_RSA.as_dict(private=False), "crit": ["b64"], "b64": False}.get(name, "x")

    refused(raw(header() | {name: value}, claims(), lambda _: b"\x01" * 96))


@pytest.mark.parametrize("typ", ["at+jwt", "dpop+jwt", "secevent+jwt", "", 1])
def test_a_jwt_of_another_kind_is_refused(typ: Any) -> None:
    refused(raw(header(typ=typ), claims(), lambda _: b"\x01" * 96))


def test_a_jku_is_accepted_only_when_it_is_the_registered_one() -> None:
    with_uri = replace(CLIENT, jwks=None, jwks_uri="https://app.example/jwks.json")

    assert accept(signed(header(jku="https://app.example/jwks.json"), claims(), EC), with_uri)
    for jku in ("https://evil.example/jwks.json", "https://app.example/jwks.json/", "", 1, None):
        refused(raw(header() | {"jku": jku}, claims(), lambda _: b"\x01" * 96), with_uri)
    refused(signed(header(jku="https://app.example/jwks.json"), claims(), EC), CLIENT)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": None},
        {"sub": None},
        {"iss": "other"},
        {"sub": "other"},
        {"iss": 1},
        {"sub": [ID]},
        {"iss": ""},
    ],
)
def test_iss_and_sub_must_both_be_the_client_id(changes: dict[str, Any]) -> None:
    refused(signed(header(), claims(**changes), EC))


@pytest.mark.parametrize(
    "aud",
    [
        None,
        "",
        TOKEN_URL + "/",
        TOKEN_URL.upper(),
        "https://hilum.example",
        ISSUER,
        [ISSUER],
        [ISSUER, "https://elsewhere.example"],
        "https://hilum.example/t/other/oauth/token",
        "http://hilum.example/t/mercy/oauth/token",
        [],
        [TOKEN_URL, "https://elsewhere.example/token"],
        [ISSUER, TOKEN_URL, "https://elsewhere.example"],
        ["https://hilum.example/t/other", TOKEN_URL],
        [TOKEN_URL, 1],
        [TOKEN_URL, None],
        [[TOKEN_URL]],
        ["https://elsewhere.example/token"],
        {"aud": TOKEN_URL},
        1,
    ],
)
def test_aud_must_be_the_token_url_of_this_tenant(aud: Any) -> None:
    """An assertion made for another server or tenant is worth nothing here (C37)."""
    assert "aud" in refused(signed(header(), claims(aud=aud), EC))


@pytest.mark.parametrize("aud", [[TOKEN_URL], [ISSUER, TOKEN_URL], [TOKEN_URL, ISSUER]])
def test_aud_may_be_a_list_of_the_token_url_with_the_issuer_beside_it(aud: list[str]) -> None:
    """RFC 7523 section 3, point 3: aud contains the server's identity, and the token URL is one; libraries add the issuer."""
    assert accept(signed(header(), claims(aud=aud), EC))


@pytest.mark.parametrize(
    "exp", [None, NOW_S, NOW_S - 1, NOW_S - 3600, 0, -1, "soon", str(NOW_S + 60), True, [NOW_S + 60]]
)
def test_an_expired_assertion_or_one_without_an_end_is_refused(exp: Any) -> None:
    refused(signed(header(), claims(exp=exp), EC))


@pytest.mark.parametrize("ahead", [311, 600, 3600, 10**9, 10**15, 10**30, 1e300])
def test_an_assertion_that_lives_longer_than_five_minutes_is_refused(ahead: float) -> None:
    assert "five minutes" in refused(signed(header(), claims(exp=NOW_S + ahead), EC))


@pytest.mark.parametrize(
    "changes",
    [
        {"iat": NOW_S - 3600},
        {"iat": NOW_S + 60},
        {"nbf": NOW_S + 60},
        {"iat": "now"},
        {"nbf": "now"},
        {"iat": True},
    ],
)
def test_an_assertion_made_long_ago_or_for_later_is_refused(changes: dict[str, Any]) -> None:
    refused(signed(header(), claims(**changes), EC))


def test_iat_and_nbf_of_now_are_fine() -> None:
    assert accept(signed(header(), claims(iat=NOW_S, nbf=NOW_S), EC))


@pytest.mark.parametrize("jti", [None, "", 1, ["a"], "a" * 257])
def test_an_assertion_without_a_usable_jti_is_refused(jti: Any) -> None:
    refused(signed(header(), claims(jti=jti), EC))


@pytest.mark.parametrize(
    "assertion",
    [
        "x",
        "a.b.c",
        "a.b",
        "a.b.c.d.e",
        "..",
        "eyJ9..x",
        "é.é.é",
        "bnVsbA.bnVsbA.x",
        "W10.W10.x",
        "e30.e30.x",
        base64.urlsafe_b64encode(b"[" * 3_000).decode() + ".e30.x",
        "e30." + base64.urlsafe_b64encode(b'{"iss":' * 900).decode().rstrip("=") + ".x",
        "a" * 9_000,
    ],
)
def test_what_is_no_jwt_is_refused(assertion: str) -> None:
    refused(assertion)


@pytest.mark.parametrize(
    "keys",
    [
        {"keys": []},
        {"keys": [{"kty": "EC", "crv": "P-384", "kid": "ec-1"}]},
        {"keys": [{"kty": "EC", "crv": "P-384", "kid": "ec-1", "x": "AA", "y": "AA"}]},
        {"keys": [{"kty": "EC", "crv": "P-384", "kid": "ec-1", "x": 1, "y": None}]},
        {"keys": [EC.as_dict(private=False) | {"use": "enc"}]},
        {"keys": [EC.as_dict(private=False) | {"alg": "ES256"}]},
        {"keys": [EC.as_dict(private=False) | {"key_ops": ["sign"]}]},
        {"keys": [EC.as_dict(private=False) | {"key_ops": "verify"}]},
        {"keys": "x"},
        {"keys": [1, None, "x"]},
        {"x": 1},
    ],
)
def test_a_key_set_without_a_fitting_key_opens_nothing(keys: dict[str, Any]) -> None:
    refused(signed(header(), claims(), EC), keys=keys)


def test_two_keys_may_share_a_kid_when_their_types_differ() -> None:
    keys = {"keys": [RSA.as_dict(private=False) | {"kid": "k"}, EC.as_dict(private=False) | {"kid": "k"}]}

    assert accept(signed(header(kid="k"), claims(), EC), keys=keys)
    assert accept(signed(header(alg="RS384", kid="k"), claims(), RSA), keys=keys)


@pytest.mark.parametrize(
    "kind", [None, "", "not_an_assertion_type", ASSERTION_TYPE + " ", ASSERTION_TYPE.upper()]
)
def test_another_assertion_type_is_refused(kind: str | None) -> None:
    pairs = [("client_assertion", signed(header(), claims(), EC))]
    if kind is not None:
        pairs.append(("client_assertion_type", kind))

    with pytest.raises(NotPermitted, match="client_assertion_type"):
        client_auth.read("", read_parameters(pairs))


@settings(max_examples=effort(50, 3000), deadline=None)
@given(position=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_any_edit_of_a_signed_assertion_is_refused(position: int, flip: int) -> None:
    good = signed(header(), claims(), EC)
    at = position % len(good)
    edited = good[:at] + chr((ord(good[at]) ^ flip) & 0x7F) + good[at + 1 :]
    try:
        same = edited == good or [base64.urlsafe_b64decode(part + "==") for part in edited.split(".")] == [
            base64.urlsafe_b64decode(part + "==") for part in good.split(".")
        ]
    except ValueError:
        same = False

    if not same:
        refused(edited)
