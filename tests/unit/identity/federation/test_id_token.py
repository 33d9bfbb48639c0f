"""What an id_token and a logout token must be, deviation by deviation (OpenID Connect Core 1.0 section 3.1.3.7, Back-Channel Logout 1.0)."""

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hilum.foundation.standards import jws
from hilum.identity.federation import id_token
from hilum.identity.federation.id_token import Expected
from hilum.identity.federation.live import ID_TOKEN_TYPES, LOGOUT_TOKEN_TYPES
from hilum.identity.federation.models import Identity, Logout, Refusal, Settings
from tests.sim.identity_provider import CLIENT, key, part, public, sign

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
S = int(NOW.timestamp())
ISSUER = "https://login.hospital.example"
SETTINGS = Settings("General", ISSUER, CLIENT)
KEYS = {"keys": [public()]}
CLAIMS = {
    "iss": ISSUER,
    "sub": "s-ann",
    "aud": CLIENT,
    "iat": S,
    "exp": S + 300,
    "nonce": "n-1",
    "auth_time": S - 5,
}
EXPECTED = Expected("n-1", NOW - timedelta(seconds=30))


def changed(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (CLAIMS | changes).items() if value is not None}


def judged(settings: Settings = SETTINGS, expected: Expected = EXPECTED, **changes: Any) -> Identity:
    return id_token.judge_id_token(changed(**changes), settings, expected, NOW)


def read(token: str, types: frozenset[str] = ID_TOKEN_TYPES, keys: dict[str, Any] = KEYS) -> dict[str, Any]:
    kid = id_token.read_header(token, "RS256", types)
    return id_token.verified(token, kid, keys, "RS256")


def test_a_token_as_it_must_be_states_who_signed_in_and_when() -> None:
    claims = read(sign(CLAIMS))
    found = id_token.judge_id_token(claims, SETTINGS, EXPECTED, NOW)

    assert (found.issuer, found.subject) == (ISSUER, "s-ann")
    assert found.authenticated_at == NOW - timedelta(seconds=5)
    assert not found.has_factor
    assert judged(aud=[CLIENT], azp=CLIENT).subject == "s-ann"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"iss": "https://evil.example"}, "issuer_wrong"),
        ({"iss": None}, "issuer_wrong"),
        ({"aud": "another"}, "audience_wrong"),
        ({"aud": [CLIENT, "another"]}, "audience_wrong"),
        ({"aud": []}, "audience_wrong"),
        ({"aud": None}, "audience_wrong"),
        ({"azp": "another"}, "party_wrong"),
        ({"exp": 1_000_000_000}, "expired"),
        ({"exp": None}, "expired"),
        ({"exp": "tomorrow"}, "expired"),
        ({"exp": True}, "expired"),
        ({"iat": 1_000_000_000}, "issued_wrong"),
        ({"iat": None}, "issued_wrong"),
        ({"iat": 4_000_000_000, "exp": 5_000_000_000}, "issued_wrong"),
        ({"nbf": 4_000_000_000}, "not_yet_valid"),
        ({"nonce": "another"}, "nonce_wrong"),
        ({"nonce": None}, "nonce_wrong"),
        ({"nonce": ["a"]}, "nonce_wrong"),
        ({"auth_time": 4_000_000_000}, "sign_in_too_old"),
        ({"sub": None}, "subject_missing"),
        ({"sub": ""}, "subject_missing"),
        ({"sub": 7}, "subject_missing"),
        ({"sub": "s" * 256}, "subject_missing"),
        ({"sub": "s-ann "}, "subject_missing"),
        ({"sub": "s-\u00e4nn"}, "subject_missing"),
        ({"sub": "s-\u0430nn"}, "subject_missing"),
        ({"sub": "s\tann"}, "subject_missing"),
        ({"iat": S, "exp": S}, "issued_wrong"),
        ({"iat": S + 30, "exp": S + 20}, "issued_wrong"),
        ({"session_expiry": 1_000_000_000}, "session_over"),
        ({"session_expiry": S}, "session_over"),
    ],
)
def test_a_claim_that_is_not_as_it_must_be_is_refused(changes: dict[str, Any], fault: str) -> None:
    """OpenID Connect Core 1.0 section 3.1.3.7, steps 2 to 5 and 9 to 13."""
    with pytest.raises(Refusal) as refused:
        judged(**changes)

    assert refused.value.fault == fault


@pytest.mark.parametrize("late", [1, 59])
def test_clocks_may_differ_by_a_minute_and_no_more(late: int) -> None:
    assert judged(exp=S - late, iat=S - 120).subject
    assert judged(iat=S + late).subject
    with pytest.raises(Refusal):
        judged(exp=S - 60, iat=S - 120)
    with pytest.raises(Refusal):
        judged(iat=S + 61)


def forged(token: str, claims: dict[str, Any]) -> str:
    header, _, signature = token.split(".")
    return f"{header}.{part(claims)}.{signature}"


TOKENS: dict[str, tuple[Callable[[dict[str, Any]], str], str]] = {
    "unsigned": (lambda claims: f"{part({'alg': 'none'})}.{part(claims)}.", "token_malformed"),
    "alg none": (lambda claims: f"{part({'alg': 'none'})}.{part(claims)}.AA", "algorithm_not_allowed"),
    "an algorithm that was not agreed": (
        lambda claims: sign(claims, {"alg": "PS256"}),
        "algorithm_not_allowed",
    ),
    "a symmetric algorithm": (
        lambda claims: f"{part({'alg': 'HS256', 'kid': 'rsa'})}.{part(claims)}.AAAA",
        "algorithm_not_allowed",
    ),
    "an unknown kid": (lambda claims: sign(claims, {"kid": "other"}), "key_unknown"),
    "another key under the kid": (lambda claims: sign(claims, signer="mallory"), "signature_wrong"),
    "a key of its own": (
        lambda claims: sign(claims, {"jwk": public("mallory")}, "mallory"),
        "header_not_allowed",
    ),
    "an address of keys": (
        lambda claims: sign(claims, {"jku": "https://evil.example"}),
        "header_not_allowed",
    ),
    "a logout token": (lambda claims: sign(claims, {"typ": "logout+jwt"}), "header_not_allowed"),
    "changed claims": (lambda claims: forged(sign(claims), claims | {"sub": "s-gina"}), "signature_wrong"),
    "five parts": (lambda claims: sign(claims) + ".a.b", "token_malformed"),
    "no json": (lambda claims: "a.b.c", "token_malformed"),
    "too long": (lambda claims: sign(claims | {"x": "x" * 40_000}), "token_malformed"),
    "a list": (lambda claims: f"{part([])}.{part([])}.AAAA", "token_malformed"),
    "nothing": (lambda claims: "", "token_malformed"),
}


@pytest.mark.parametrize("name", TOKENS)
def test_a_token_that_cannot_be_verified_is_refused(name: str) -> None:
    """OpenID Connect Core 1.0 section 3.1.3.7, steps 6 to 8; RFC 8725 sections 3.1 and 3.11."""
    make, fault = TOKENS[name]

    with pytest.raises(Refusal) as refused:
        read(make(dict(CLAIMS)))

    assert refused.value.fault == fault


@pytest.mark.parametrize(
    "keys",
    [
        [public(), public("next", kid="rsa2")],
        [],
        [public(use="enc")],
        [public(key_ops=["encrypt"])],
        [public(key_ops="verify")],
        [public(key_ops=[])],
        [public(alg="RS512")],
        [{"kty": "oct", "k": "AAAA", "kid": "rsa"}],
        [public("ec", kid="rsa")],
    ],
)
def test_without_a_kid_the_set_must_leave_no_choice(keys: list[dict[str, Any]]) -> None:
    """OpenID Connect Core 1.0 section 10.1."""
    token = sign(CLAIMS, {"kid": ""})

    with pytest.raises(Refusal):
        read(token, keys={"keys": keys})
    assert read(token)["sub"] == "s-ann"


def test_a_weak_key_of_the_provider_verifies_nothing() -> None:
    """RFC 7518 section 3.3."""
    weak = public() | {"n": "AQAB"}

    with pytest.raises(Refusal) as refused:
        read(sign(CLAIMS), keys={"keys": [weak]})
    assert refused.value.fault == "signature_wrong"


@pytest.mark.parametrize(
    ("settings", "changes", "factor"),
    [
        ({"factor_amr": ("mfa",)}, {"amr": ["pwd", "mfa"]}, True),
        ({"factor_acr": ("gold",)}, {"acr": "gold"}, True),
        ({"factor_amr": ("mfa",)}, {"amr": "mfa"}, False),
        ({"factor_amr": ("mfa",)}, {"amr": ["pwd"]}, False),
        ({"factor_amr": ("mfa",)}, {}, False),
        ({}, {"amr": ["mfa"], "acr": "gold"}, False),
        ({}, {}, False),
    ],
)
def test_a_second_factor_counts_as_one_only_where_the_hospital_says_so(
    settings: dict[str, Any], changes: dict[str, Any], factor: bool
) -> None:
    """RFC 8176."""
    assert judged(replace(SETTINGS, **settings), **changes).has_factor is factor


LOGOUT = {
    "iss": ISSUER,
    "aud": CLIENT,
    "iat": S,
    "exp": S + 120,
    "jti": "one",
    "sub": "s-ann",
    "sid": "session-1",
    "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
}


def logged_out(**changes: Any) -> Logout:
    claims = {name: value for name, value in (LOGOUT | changes).items() if value is not None}
    return id_token.judge_logout_token(claims, SETTINGS, NOW)


def test_a_logout_token_names_a_subject_or_a_session() -> None:
    """OpenID Connect Back-Channel Logout 1.0 section 2.4."""
    assert logged_out().subject == "s-ann"
    assert logged_out(sid=None).sid == ""
    assert logged_out(sub=None).sid == "session-1"
    read(sign(LOGOUT, {"typ": "logout+jwt"}), LOGOUT_TOKEN_TYPES)


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "n"},
        {"events": None},
        {"events": {}},
        {"events": ["http://schemas.openid.net/event/backchannel-logout"]},
        {"events": {"http://schemas.openid.net/event/backchannel-logout": True}},
        {"jti": None},
        {"jti": ""},
        {"sub": None, "sid": None},
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"iat": S - 3_600},
        {"iat": S + 3_600, "exp": S + 4_000},
        {"iat": None},
        {"exp": None},
        {"exp": S - 60},
    ],
)
def test_a_logout_token_that_is_not_as_it_must_be_is_refused(changes: dict[str, Any]) -> None:
    """OpenID Connect Back-Channel Logout 1.0 section 2.6."""
    with pytest.raises(Refusal):
        logged_out(**changes)


EC = public("ec")


@pytest.mark.parametrize(
    ("algorithm", "key", "found"),
    [
        ("RS256", public(), 1),
        ("RS256", public(key_ops=["verify", "encrypt"]), 1),
        ("RS256", public(kid="other"), 0),
        ("RS256", {name: value for name, value in public().items() if name != "kid"}, 0),
        ("RS256", public() | {"kty": "EC"}, 0),
        ("RS256", public(key_ops=["sign"]), 0),
        ("ES256", EC | {"kid": "rsa"}, 1),
        ("ES384", EC | {"kid": "rsa"}, 0),
        ("ES256", EC | {"kid": "rsa", "crv": "P-384"}, 0),
        ("ES256", EC | {"kid": "rsa", "kty": "OKP"}, 0),
    ],
)
def test_a_key_is_of_the_kid_the_type_and_the_curve_that_were_agreed(
    algorithm: str, key: dict[str, Any], found: int
) -> None:
    """RFC 8725 section 3.1; RFC 7517 sections 4.1, 4.3 and 4.5."""
    assert len(jws.keys_for({"keys": [key]}, "rsa", algorithm)) == found


@pytest.mark.parametrize(("bits", "usable"), [(1_024, 0), (2_048, 1), (8_192, 1), (8_193, 0)])
def test_an_rsa_key_is_neither_too_weak_nor_too_dear_to_verify_with(bits: int, usable: int) -> None:
    """RFC 7518 section 3.3; whoever publishes a key must not choose what a sign-in costs here."""
    n = base64.urlsafe_b64encode(((1 << bits) - 1).to_bytes((bits + 7) // 8)).rstrip(b"=").decode()

    assert len(id_token.usable_keys({"keys": [public() | {"n": n}]}, "RS256")) == usable
    huge = public() | {"e": base64.urlsafe_b64encode(b"\x01" + bytes(7) + b"\x01").decode().rstrip("=")}
    assert id_token.usable_keys({"keys": [huge]}, "RS256") == []


def test_the_sub_is_kept_beside_the_claim_that_identifies_people() -> None:
    """OpenID Connect Back-Channel Logout 1.0 section 2.4: a logout token names the sub."""
    found = judged(replace(SETTINGS, subject_claim="oid"), oid="o-1")

    assert (found.subject, found.sub) == ("o-1", "s-ann")


@pytest.mark.parametrize(
    ("settings", "fresh", "changes", "fault"),
    [
        ({"acr_values": ("gold",)}, False, {}, "assurance_too_low"),
        ({"acr_values": ("gold",)}, False, {"acr": "silver"}, "assurance_too_low"),
        ({"acr_values": ("gold",)}, False, {"acr": ["gold"]}, "assurance_too_low"),
        ({"max_age_s": 600}, False, {"auth_time": None}, "sign_in_time_missing"),
        ({"max_age_s": 600}, False, {"auth_time": S - 661}, "sign_in_too_old"),
        ({}, True, {"auth_time": None}, "sign_in_time_missing"),
        ({}, True, {"auth_time": S - 91}, "sign_in_too_old"),
        ({"subject_claim": "oid"}, False, {"oid": "o-1", "sub": None}, "subject_missing"),
        ({"subject_claim": "oid"}, False, {}, "subject_missing"),
    ],
)
def test_what_the_hospital_or_the_app_asks_for_is_stated(
    settings: dict[str, Any], fresh: bool, changes: dict[str, Any], fault: str
) -> None:
    """OpenID Connect Core 1.0 section 3.1.3.7, steps 12 and 13; section 2: sub is required."""
    expected = replace(EXPECTED, fresh=fresh)

    with pytest.raises(Refusal) as refused:
        judged(replace(SETTINGS, **settings), expected, **changes)
    assert refused.value.fault == fault


def test_a_sign_in_is_never_in_the_future_and_true_is_no_time() -> None:
    """A provider's clock that is ahead must not make a sign-in fresh for longer."""
    assert judged(auth_time=S + 30).authenticated_at == NOW
    assert judged(auth_time=True).authenticated_at is None
    assert judged(session_expiry=True).ends_at is None


def test_what_userinfo_adds_says_nothing_of_the_sign_in_and_replaces_nothing() -> None:
    """OpenID Connect Core 1.0 section 5.3.2: who signed in, when and how comes from the id_token only."""
    settings = replace(SETTINGS, role_claim="roles", name_claim="amr", username_claim="preferred.name")
    stated = {
        "sub": "s-ann",
        "roles": ["doctors"],
        "amr": ["mfa"],
        "preferred": {"name": "ann"},
        "email": "a@b.example",
    }

    added = id_token.with_userinfo(judged(), stated, settings).claims
    kept = id_token.with_userinfo(judged(roles=["nurses"]), stated, settings).claims

    assert set(added) - set(CLAIMS) == {"roles", "preferred"}
    assert (added["roles"], kept["roles"]) == (["doctors"], ["nurses"])
    for other in ({"sub": "s-else"}, {"sub": ["s-ann"]}, {}):
        with pytest.raises(Refusal) as refused:
            id_token.with_userinfo(judged(), stated | {"sub": None} | other, settings)
        assert refused.value.fault == "userinfo_of_another"


def test_of_a_key_only_the_public_members_are_taken() -> None:
    """RFC 7517 section 9.2: a private key that was published by mistake is not kept here."""
    published = {**key("rsa").as_dict(private=True), "kid": "rsa"}

    assert [set(each) for each in jws.keys_for({"keys": [published]}, "rsa", "RS256")] == [{"kty", "n", "e"}]
