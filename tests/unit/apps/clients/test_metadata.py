"""Client metadata, one judgement for every door (C1, C15, C16, C17; RFC 7591)."""

import base64
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.apps.clients.models import BackendUse, Client, ClientMetadata, ClientType, Deployment, Hours
from hilum.apps.clients.policy import (
    TRIAL_USE,
    from_registration,
    hours_on,
    normalized,
    parse_hours,
    registration_answer,
    validate_client_metadata,
)
from hilum.apps.registry.models import Environment
from hilum.foundation.kernel.ids import AppId, ClientId, VersionId
from tests.effort import effort
from tests.sim.world import START

NOW = START
END = NOW + timedelta(days=30)
USE = BackendUse("Quality reporting", "All adults", "Nightly", "Dr. Example")


def b64(size: int) -> str:
    return base64.urlsafe_b64encode(b"\x91" * size).rstrip(b"=").decode()


RSA = {"kty": "RSA", "kid": "r", "n": b64(256), "e": "AQAB"}
EC = {"kty": "EC", "kid": "e", "crv": "P-384", "x": b64(48), "y": b64(48)}
JWKS = {"keys": [RSA, EC]}

BROWSER = ClientMetadata(
    "Chart viewer",
    ClientType.PUBLIC,
    Deployment.BROWSER,
    Environment.PRODUCTION,
    redirect_uris=("https://app.example/cb",),
    launch_uri="https://app.example/launch",
    scopes=("launch", "openid", "fhirUser", "patient/Patient.rs"),
)
NATIVE = replace(BROWSER, deployment=Deployment.NATIVE, redirect_uris=("com.example.app:/cb",), launch_uri="")
SYMMETRIC = replace(BROWSER, type=ClientType.SYMMETRIC, deployment=Deployment.SERVER)
ASYMMETRIC = replace(SYMMETRIC, type=ClientType.ASYMMETRIC, jwks=JWKS)
BACKEND = ClientMetadata(
    "Reporter",
    ClientType.BACKEND,
    Deployment.SERVER,
    Environment.PRODUCTION,
    scopes=("system/Observation.rs",),
    jwks=JWKS,
    expires_at=END,
    backend_use=USE,
)
EHR = ClientMetadata(
    "EHR", ClientType.EHR, Deployment.SERVER, Environment.PRODUCTION, scopes=("hilum/launch",)
)


def judge(metadata: ClientMetadata) -> dict[str, str]:
    return validate_client_metadata(normalized(metadata), now=NOW)


@pytest.mark.parametrize(
    "good", [BROWSER, NATIVE, SYMMETRIC, ASYMMETRIC, BACKEND, EHR], ids=lambda each: each.type
)
def test_a_well_described_client_of_each_type_is_taken(good: ClientMetadata) -> None:
    assert judge(good) == {}


@pytest.mark.parametrize(
    ("base", "change", "field", "code"),
    [
        (BROWSER, {"name": ""}, "client_name", "name_missing"),
        (BROWSER, {"name": "x" * 201}, "client_name", "name_too_long"),
        (BROWSER, {"name": "a\x07"}, "client_name", "name_characters"),
        # C15
        (BROWSER, {"type": ClientType.SYMMETRIC}, "token_endpoint_auth_method", "confidential_on_device"),
        (BROWSER, {"type": ClientType.ASYMMETRIC, "jwks": JWKS}, "token_endpoint_auth_method", "confidential_on_device"),
        (NATIVE, {"type": ClientType.SYMMETRIC}, "token_endpoint_auth_method", "confidential_on_device"),
        (BACKEND, {"deployment": Deployment.NATIVE}, "token_endpoint_auth_method", "confidential_on_device"),
        (SYMMETRIC, {"type": ClientType.PUBLIC}, "token_endpoint_auth_method", "server_must_authenticate"),
        # C16
        (ASYMMETRIC, {"grant_types": ("authorization_code", "client_credentials")}, "grant_types", "backend_and_delegated"),
        (BACKEND, {"grant_types": ("client_credentials", "authorization_code")}, "grant_types", "backend_and_delegated"),
        (BACKEND, {"grant_types": ("refresh_token",)}, "grant_types", "backend_and_delegated"),
        (ASYMMETRIC, {"scopes": ("system/Observation.rs", "patient/Patient.rs")}, "scope", "scope_mixed"),
        (ASYMMETRIC, {"scopes": ("system/Observation.rs", "user/Patient.rs")}, "scope", "scope_mixed"),
        (BACKEND, {"scopes": ("system/Observation.rs", "openid")}, "scope", "scope_mixed"),
        (BACKEND, {"scopes": ("system/Observation.rs", "offline_access")}, "scope", "scope_mixed"),
        (BACKEND, {"scopes": ("patient/Patient.rs",)}, "scope", "scope_delegated_in_backend"),
        (BACKEND, {"scopes": ("launch",)}, "scope", "scope_delegated_in_backend"),
        (SYMMETRIC, {"scopes": ("system/Observation.rs",)}, "scope", "scope_system_in_delegated"),
        (BROWSER, {"scopes": ("hilum/launch",)}, "scope", "scope_reserved"),
        (BACKEND, {"scopes": ("hilum/launch",)}, "scope", "scope_reserved"),
        (EHR, {"scopes": ("hilum/launch", "openid")}, "scope", "scope_reserved"),
        (EHR, {"scopes": ()}, "scope", "scope_reserved"),
        (EHR, {"type": ClientType.RESOURCE_SERVER}, "scope", "scope_reserved"),
        # C17
        (BACKEND, {"expires_at": None}, "expires_at", "end_date_missing"),
        (BACKEND, {"expires_at": NOW}, "expires_at", "not_in_the_future"),
        (BACKEND, {"expires_at": NOW + timedelta(days=5_000)}, "expires_at", "too_far_away"),
        (BACKEND, {"backend_use": None}, "backend_use", "backend_use_missing"),
        (BACKEND, {"backend_use": replace(USE, purpose=" ")}, "backend_use", "backend_use_missing"),
        (BACKEND, {"backend_use": replace(USE, population="")}, "backend_use", "backend_use_missing"),
        (BACKEND, {"backend_use": replace(USE, schedule="")}, "backend_use", "backend_use_missing"),
        (BACKEND, {"backend_use": replace(USE, approver="x" * 2_001)}, "backend_use", "too_long"),
        (BACKEND, {"backend_use": replace(USE, purpose="x" * 2_001)}, "backend_use", "too_long"),
        (BACKEND, {"backend_use": replace(USE, calls_a_day=-1)}, "backend_use", "volume_out_of_range"),
        (BACKEND, {"backend_use": replace(USE, writes_a_day=10**9 + 1)}, "backend_use", "volume_out_of_range"),
        (BACKEND, {"backend_use": replace(USE, calls_a_day=5, writes_a_day=6)}, "backend_use", "writes_above_calls"),
        (BACKEND, {"backend_use": replace(USE, patients_a_day=-1)}, "backend_use", "volume_out_of_range"),
        (BACKEND, {"backend_use": replace(USE, hours="nightly")}, "backend_use", "hours_malformed"),
        (BROWSER, {"backend_use": USE}, "backend_use", "backend_use_unexpected"),
        # grants
        (BROWSER, {"grant_types": ("implicit",)}, "grant_types", "grant_type_unsupported"),
        (BROWSER, {"grant_types": ("authorization_code", "password")}, "grant_types", "grant_type_unsupported"),
        (BROWSER, {"grant_types": ("authorization_code",) * 2}, "grant_types", "grant_type_unsupported"),
        (BROWSER, {"grant_types": ("refresh_token",)}, "grant_types", "authorization_code_missing"),
        # addresses
        (BROWSER, {"redirect_uris": ()}, "redirect_uris", "redirect_missing"),
        (BROWSER, {"redirect_uris": ("https://a.example/cb",) * 2}, "redirect_uris", "redirect_repeated"),
        (BROWSER, {"redirect_uris": tuple(f"https://a.example/{n}" for n in range(21))}, "redirect_uris", "too_many"),
        (BROWSER, {"redirect_uris": ("https://a.example/cb", "http://b.example/")}, "redirect_uris", "redirect_not_https"),
        (BROWSER, {"redirect_uris": ("http://localhost:1/cb",)}, "redirect_uris", "redirect_loopback"),
        (BACKEND, {"redirect_uris": ("https://a.example/cb",)}, "redirect_uris", "redirect_unexpected"),
        (EHR, {"redirect_uris": ("https://a.example/cb",)}, "redirect_uris", "redirect_unexpected"),
        (BROWSER, {"launch_uri": "http://a.example/"}, "launch_url", "redirect_not_https"),
        (BROWSER, {"launch_uri": "com.example.app:/x"}, "launch_url", "redirect_scheme"),
        (BACKEND, {"launch_uri": "https://a.example/"}, "launch_url", "launch_url_unexpected"),
        (BROWSER, {"origins": ("https://a.example/x",)}, "origins", "origin_malformed"),
        (BROWSER, {"origins": ("*",)}, "origins", "origin_malformed"),
        (BROWSER, {"origins": ("null",)}, "origins", "origin_malformed"),
        (BROWSER, {"origins": ("http://localhost:3000",)}, "origins", "origin_not_https"),
        (BROWSER, {"origins": tuple(f"https://a{n}.example" for n in range(21))}, "origins", "too_many"),
        # scopes
        (BROWSER, {"scopes": ("patient/Observation.sr",)}, "scope", "scope_letters"),
        (BROWSER, {"scopes": ("patient/observation.rs",)}, "scope", "scope_malformed"),
        (BROWSER, {"scopes": ("patient/Observation.rs?x",)}, "scope", "scope_constraint"),
        (BROWSER, {"scopes": tuple(f"patient/Observation.rs?code={n}" for n in range(201))}, "scope", "too_many"),
        # keys
        (ASYMMETRIC, {"jwks": None}, "jwks", "keys_missing"),
        (BACKEND, {"jwks": None}, "jwks", "keys_missing"),
        (ASYMMETRIC, {"jwks_uri": "https://a.example/jwks"}, "jwks", "jwks_and_uri"),
        (ASYMMETRIC, {"jwks": None, "jwks_uri": "http://a.example/jwks"}, "jwks_uri", "redirect_not_https"),
        (ASYMMETRIC, {"jwks": None, "jwks_uri": "http://localhost/jwks"}, "jwks_uri", "redirect_loopback"),
        (ASYMMETRIC, {"jwks": None, "jwks_uri": "https://169.254.169.254/jwks"}, "jwks_uri", "redirect_ip_host"),
        (BROWSER, {"jwks": JWKS}, "jwks", "keys_unexpected"),
        (SYMMETRIC, {"jwks_uri": "https://a.example/jwks"}, "jwks_uri", "keys_unexpected"),
    ],
)  # fmt: skip
def test_each_fault_is_reported_by_field_and_code(
    base: ClientMetadata, change: dict[str, Any], field: str, code: str
) -> None:
    """C1, C15, C16, C17."""
    assert judge(replace(base, **change)).get(field) == code


@pytest.mark.parametrize(
    ("jwks", "code"),
    [
        ({}, "jwks_malformed"),
        ({"keys": "x"}, "jwks_malformed"),
        ({"keys": [1]}, "jwks_malformed"),
        ({"keys": []}, "jwks_empty"),
        ({"keys": [RSA | {"kid": str(n)} for n in range(21)]}, "jwks_too_many"),
        ({"keys": [RSA | {"d": "x"}]}, "jwks_private_material"),
        ({"keys": [RSA, EC | {"d": "x"}]}, "jwks_private_material"),
        ({"keys": [{"kty": "oct", "kid": "o", "k": "c2VjcmV0"}]}, "jwks_private_material"),
        ({"keys": [{"kty": "oct", "kid": "o"}]}, "jwks_private_material"),
        ({"keys": [{k: v for k, v in RSA.items() if k != "kid"}]}, "jwks_kid_missing"),
        ({"keys": [RSA | {"kid": 7}]}, "jwks_kid_missing"),
        ({"keys": [RSA, RSA]}, "jwks_kid_repeated"),
        ({"keys": [RSA | {"n": b64(128)}]}, "jwks_no_usable_key"),
        ({"keys": [RSA | {"n": "no base64!"}]}, "jwks_no_usable_key"),
        ({"keys": [RSA | {"n": 5}]}, "jwks_no_usable_key"),
        ({"keys": [EC | {"crv": "P-256"}]}, "jwks_no_usable_key"),
        ({"keys": [EC | {"x": b64(47)}]}, "jwks_no_usable_key"),
        ({"keys": [{"kty": "OKP", "kid": "o", "crv": "Ed25519", "x": b64(32)}]}, "jwks_no_usable_key"),
        ({"keys": [EC, {"kty": "OKP", "kid": "o", "crv": "Ed25519", "x": b64(32)}]}, None),
        ({"keys": [RSA | {"kid": "same"}, EC | {"kid": "same"}]}, None),
    ],
)
def test_a_key_set_is_public_named_and_usable(jwks: dict[str, Any], code: str | None) -> None:
    """C10, RFC 7517 section 5."""
    assert judge(replace(ASYMMETRIC, jwks=jwks)).get("jwks") == code


def test_what_follows_from_the_rest_is_filled_in() -> None:
    made = normalized(replace(BROWSER, scopes=("openid", "profile", "openid"), name=" X "))

    assert made.name == "X"
    assert made.scopes == ("openid",)
    assert made.origins == ("https://app.example",)
    assert made.grant_types == ("authorization_code", "refresh_token")
    assert normalized(BACKEND).grant_types == ("client_credentials",)
    assert normalized(SYMMETRIC).origins == ()
    assert normalized(NATIVE).origins == ()


SANDBOX_BODY: dict[str, Any] = {
    "client_name": "Foreign app",
    "redirect_uris": ["http://localhost:4567/redirect"],
    "token_endpoint_auth_method": "none",
    "scope": "launch openid fhirUser patient/*.rs",
}


@pytest.mark.parametrize(
    ("change", "kind", "deployment"),
    [
        ({}, ClientType.PUBLIC, Deployment.BROWSER),
        ({"application_type": "native"}, ClientType.PUBLIC, Deployment.NATIVE),
        ({"token_endpoint_auth_method": "client_secret_basic"}, ClientType.SYMMETRIC, Deployment.SERVER),
        ({"token_endpoint_auth_method": "client_secret_post"}, ClientType.SYMMETRIC, Deployment.SERVER),
        ({"token_endpoint_auth_method": None}, ClientType.SYMMETRIC, Deployment.SERVER),
        (
            {"token_endpoint_auth_method": "private_key_jwt", "jwks": JWKS},
            ClientType.ASYMMETRIC,
            Deployment.SERVER,
        ),
        (
            {
                "token_endpoint_auth_method": "private_key_jwt",
                "jwks_uri": "http://localhost:4567/jwks.json",
                "grant_types": ["client_credentials"],
                "redirect_uris": None,
                "scope": "system/*.rs",
            },
            ClientType.BACKEND,
            Deployment.SERVER,
        ),
    ],
)
def test_a_dynamic_registration_is_read_as_the_type_it_describes(
    change: dict[str, Any], kind: ClientType, deployment: Deployment
) -> None:
    """RFC 7591 section 2."""
    made = from_registration(SANDBOX_BODY | change | {"unknown_member": {"x": 1}}, expires_at=END)

    assert isinstance(made, ClientMetadata)
    assert (made.type, made.deployment, made.environment, made.expires_at) == (
        kind,
        deployment,
        Environment.SANDBOX,
        END,
    )
    assert judge(made) == {}
    assert (made.backend_use == TRIAL_USE) is (kind is ClientType.BACKEND)


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"redirect_uris": "https://a.example"}, "redirect_uris", "not_a_list_of_texts"),
        ({"redirect_uris": [1]}, "redirect_uris", "not_a_list_of_texts"),
        ({"client_name": 7}, "client_name", "not_a_text"),
        ({"scope": ["openid"]}, "scope", "not_a_text"),
        ({"jwks": "x"}, "jwks", "jwks_malformed"),
        (
            {"token_endpoint_auth_method": "tls_client_auth"},
            "token_endpoint_auth_method",
            "method_unsupported",
        ),
        ({"response_types": ["token"]}, "response_types", "response_type_unsupported"),
        ({"application_type": "web3"}, "application_type", "application_type_unsupported"),
    ],
)
def test_a_malformed_dynamic_registration_is_reported_by_field(
    change: dict[str, Any], field: str, code: str
) -> None:
    faults = from_registration(SANDBOX_BODY | change, expires_at=END)

    assert faults == {field: code}


BAD_EVERYWHERE: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"redirect_uris": ["http://app.example/"]}, {"redirect_uris": ("http://app.example/",)}),
    ({"redirect_uris": ["https://a.example/#x"]}, {"redirect_uris": ("https://a.example/#x",)}),
    ({"redirect_uris": []}, {"redirect_uris": ()}),
    ({"launch_url": "ftp://x"}, {"launch_uri": "ftp://x"}),
    ({"scope": "patient/Observation.sr"}, {"scopes": ("patient/Observation.sr",)}),
    ({"scope": "system/*.rs user/*.rs"}, {"scopes": ("system/*.rs", "user/*.rs")}),
    ({"grant_types": ["implicit"]}, {"grant_types": ("implicit",)}),
    ({"jwks": JWKS}, {"jwks": JWKS}),
    ({"origins": ["x"]}, {"origins": ("x",)}),
]


@pytest.mark.parametrize(("body", "change"), BAD_EVERYWHERE)
def test_every_door_reports_the_same_faults_for_the_same_bad_input(
    body: dict[str, Any], change: dict[str, Any]
) -> None:
    """C1."""
    fields: dict[str, Any] = {"environment": Environment.SANDBOX, "expires_at": END, "launch_uri": ""}
    form = replace(BROWSER, **fields | change)

    dynamic = from_registration({"client_name": "Chart viewer", "token_endpoint_auth_method": "none",
                                 "redirect_uris": ["https://app.example/cb"]} | body, expires_at=END)  # fmt: skip

    assert isinstance(dynamic, ClientMetadata)
    assert judge(dynamic) == judge(form) != {}


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(
    ["redirect_uris", "client_name", "scope", "jwks", "jwks_uri", "grant_types", "response_types", "application_type",
     "token_endpoint_auth_method", "origins", "launch_url", "x"]
)  # fmt: skip


@settings(max_examples=effort(70, 5_000), deadline=None)
@given(st.dictionaries(names, json))
def test_no_registration_whatever_its_shape_is_an_accident(body: dict[str, Any]) -> None:
    """Never a 500 for input."""
    made = from_registration(body, expires_at=END)

    if isinstance(made, ClientMetadata):
        assert isinstance(judge(made), dict)


def test_the_answer_of_a_registration_is_in_the_words_of_the_rfc() -> None:
    """RFC 7591 section 3.2.1."""
    client = Client(
        ClientId("cli_1"), AppId("app_1"), VersionId("ver_1"), Environment.SANDBOX, ClientType.SYMMETRIC, Deployment.SERVER, "X",
        redirect_uris=("https://a.example/cb",), scopes=("openid",), expires_at=END, created_at=NOW,
    )  # fmt: skip

    answer = registration_answer(client, "hil_cs_x")

    assert answer["client_secret_expires_at"] == int(END.timestamp())
    assert answer["client_id_issued_at"] == int(NOW.timestamp())
    assert answer["token_endpoint_auth_method"] == "client_secret_basic"
    assert "client_secret" not in registration_answer(replace(client, type=ClientType.PUBLIC), "")


@pytest.mark.parametrize(
    ("volumes", "shown"),
    [
        ({}, "Nightly"),
        ({"calls_a_day": 5_000}, "Nightly; at most 5,000 calls a day at one hospital"),
        ({"writes_a_day": 0}, "Nightly; at most 0 writes a day at one hospital"),
        (
            {"calls_a_day": 5_000, "writes_a_day": 20},
            "Nightly; at most 5,000 calls and 20 writes a day at one hospital",
        ),
        (
            {"patients_a_day": 300, "hours": "mon-fri 22:00-05:00"},
            "Nightly; only mon-fri 22:00-05:00 UTC; at most 300 patients a day at one hospital",
        ),
    ],
)
def test_an_approver_is_shown_how_much_a_service_does_in_a_day(volumes: dict[str, Any], shown: str) -> None:
    """C17, C21."""
    assert replace(USE, **volumes).schedule_and_volume == shown


@pytest.mark.parametrize(
    ("text", "days", "begins", "ends"),
    [
        ("22:00-05:00", range(7), 22, 29),
        ("01:00-04:00", range(7), 1, 4),
        ("sun 00:00-24:00", [6], 0, 24),
        ("mon-fri 09:00-17:00", range(5), 9, 17),
        ("fri-mon 23:00-01:00", [4, 5, 6, 0], 23, 25),
    ],
)
def test_hours_are_of_some_days_and_may_end_on_the_next(
    text: str, days: list[int], begins: int, ends: int
) -> None:
    assert parse_hours(text) == Hours(frozenset(days), timedelta(hours=begins), timedelta(hours=ends))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nightly",
        "22:00",
        "25:00-01:00",
        "22:00-22:00",
        "mon 22:60-23:00",
        "Mon 1:00-2:00",
        "mon- 01:00-02:00",
        "24:00-01:00",
    ],
)
def test_other_texts_are_no_hours(text: str) -> None:
    """What cannot be judged is refused, and not taken for "always"."""
    assert parse_hours(text) is None


def test_a_service_may_call_at_its_hours_of_a_day_and_of_the_night_before_with_some_slack() -> None:
    """C17: 2026-11-21 is a Saturday."""
    nights, friday = parse_hours("mon-fri 22:00-05:00"), date(2026, 11, 20)
    assert nights is not None

    def on(day: date) -> list[str]:
        return [f"{since:%d %H:%M}-{until:%d %H:%M}" for since, until in hours_on(nights, day)]

    assert on(friday) == ["20 00:00-20 05:15", "20 21:45-21 00:00"]
    assert on(friday + timedelta(days=1)) == ["21 00:00-21 05:15"]
    assert on(friday + timedelta(days=2)) == []
    whole = parse_hours("sun 00:00-24:00")
    assert whole is not None
    assert [f"{a:%H:%M}-{b:%d %H:%M}" for a, b in hours_on(whole, friday + timedelta(days=3))] == [
        "00:00-23 00:15"
    ]
