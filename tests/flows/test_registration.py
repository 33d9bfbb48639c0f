"""Dynamic registration in a plain sandbox (RFC 7591; C1, C2, C15, C16; contract)."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from hilum.apps.installations import dynamic
from hilum.foundation.infra.unit_of_work import UnitOfWork
from tests.flows import token_flow
from tests.flows.token_flow import JWKS, MERCY, OTHER, Platform, refused, running_platform
from tests.sim.one_world import in_one_world
from tests.sim.world import FakeClock

platform = token_flow.platform
PATH = f"/t/{MERCY}/oauth/register"
PUBLIC = {
    "client_name": "My app",
    "redirect_uris": ["http://127.0.0.1:4567/cb"],
    "token_endpoint_auth_method": "none",
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "scope": "launch openid fhirUser offline_access patient/*.rs",
}


@pytest.fixture
def closed(sqlite_uow: UnitOfWork, clock: FakeClock) -> Iterator[Platform]:
    with running_platform(sqlite_uow, clock, registers=False) as made:
        yield made


def register(platform: Platform, tenant: str = MERCY, **changes: Any) -> Any:
    body = {name: value for name, value in (PUBLIC | changes).items() if value is not None}
    return platform.http.post(f"/t/{tenant}/oauth/register", json=body)


def known_as(platform: Platform, name: str, answer: Any) -> str:
    """Add a client that registered itself to the rig."""
    from hilum.apps.clients import service as clients
    from hilum.foundation.kernel.ids import ClientId

    assert answer.status_code == 201, answer.text
    client_id = ClientId(answer.json()["client_id"])
    platform.clients[name] = platform.run(lambda ctx: clients.get_client(ctx, client_id))
    platform.secrets[name] = answer.json().get("client_secret", "")
    return name


def test_a_public_app_registers_and_works_at_this_tenant(platform: Platform) -> None:
    answer = register(platform)

    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["client_id"]
    assert "client_secret" not in body
    assert body["token_endpoint_auth_method"] == "none"
    assert body["redirect_uris"] == PUBLIC["redirect_uris"]
    assert body["client_id_issued_at"] == int(platform.clock.now().timestamp())
    client = known_as(platform, "mine", answer)
    code = platform.code(client)
    assert platform.redeem(code, client, redirect_uri=token_flow.REDIRECT).status_code == 200


def test_a_symmetric_app_gets_a_secret_once_and_authenticates_by_it(platform: Platform) -> None:
    answer = register(platform, token_endpoint_auth_method="client_secret_basic")

    body = answer.json()
    assert answer.status_code == 201
    ends = int((platform.clock.now() + timedelta(hours=24)).timestamp())
    assert body["client_secret_expires_at"] == ends
    client = known_as(platform, "mine", answer)
    assert platform.redeem(platform.code(client), client).status_code == 200


def test_a_method_that_is_not_offered_is_replaced_in_the_answer(platform: Platform) -> None:
    """RFC 7591 section 3.2.1: the server may replace values, and says which hold. C50: the registered one is the only one."""
    body = register(platform, token_endpoint_auth_method="client_secret_post").json()

    assert body["token_endpoint_auth_method"] == "client_secret_basic"


@pytest.mark.parametrize(
    ("scope", "registered"),
    [
        ("openid patient/Patient.rs", "launch openid patient/Patient.rs"),
        ("user/Observation.rs", "launch user/Observation.rs"),
        ("openid launch patient/Patient.rs", "openid launch patient/Patient.rs"),
        ("openid fhirUser", "openid fhirUser"),
    ],
)
def test_an_app_that_reads_records_is_registered_for_launch_and_the_answer_says_so(
    platform: Platform, scope: str, registered: str
) -> None:
    """RFC 7591 section 3.2.1. Libraries add ``launch`` to an EHR launch by themselves, and would fail without it."""
    assert register(platform, scope=scope).json()["scope"] == registered


def test_a_backend_service_registers_with_its_keys(platform: Platform) -> None:
    answer = register(
        platform,
        token_endpoint_auth_method="private_key_jwt",
        grant_types=["client_credentials"],
        response_types=None,
        redirect_uris=None,
        jwks=JWKS,
        scope="system/*.rs",
    )

    client = known_as(platform, "mine", answer)

    assert platform.backend(client=client).json()["scope"] == "system/*.rs"


def test_a_registered_client_ends_after_a_day(platform: Platform) -> None:
    client = known_as(platform, "mine", register(platform))
    body = platform.earn(client)

    platform.clock.advance(timedelta(hours=24))

    refused(platform.refresh(body["refresh_token"], client), "invalid_client", 401)
    assert not platform.is_alive(body["access_token"])


def test_a_client_registered_at_one_tenant_is_nobody_at_another(platform: Platform) -> None:
    """C37, C146."""
    client = known_as(platform, "mine", register(platform))

    refused(platform.redeem("x", client, OTHER), "invalid_client", 401)


@in_one_world(
    ("changes", "code", "field"),
    [
        ({"redirect_uris": []}, "invalid_redirect_uri", "redirect_uris"),
        ({"redirect_uris": ["http://evil.example/cb"]}, "invalid_redirect_uri", "redirect_uris"),
        ({"redirect_uris": ["https://app.example/*"]}, "invalid_redirect_uri", "redirect_uris"),
        ({"redirect_uris": ["https://app.example/#x"]}, "invalid_redirect_uri", "redirect_uris"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri", "redirect_uris"),
        ({"redirect_uris": "https://app.example/cb"}, "invalid_redirect_uri", "redirect_uris"),
        ({"scope": "patient/Patient.sr"}, "invalid_client_metadata", "scope"),
        ({"scope": "system/*.rs patient/*.rs"}, "invalid_client_metadata", "scope"),
        ({"scope": "hilum/launch"}, "invalid_client_metadata", "scope"),
        ({"grant_types": ["password"]}, "invalid_client_metadata", "grant_types"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata", "jwks"),
        (
            {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "file:///etc/passwd"},
            "invalid_client_metadata",
            "jwks_uri",
        ),
        ({"client_name": "a\x00b"}, "invalid_client_metadata", "client_name"),
        ({"client_name": "x" * 10_000}, "invalid_client_metadata", "client_name"),
    ],
)
def test_a_faulty_registration_is_refused_field_by_field(
    platform: Platform, changes: dict[str, Any], code: str, field: str
) -> None:
    """C1, C2, C15, C16; RFC 7591 section 3.2.2."""
    answer = register(platform, **changes)

    refused(answer, code)
    assert field in answer.json()["fields"]
    assert all(each["detail"].endswith(".") for each in answer.json()["fields"].values())


@pytest.mark.parametrize(
    "raw", [b"", b"x", b"[]", b"1", b"null", b'{"redirect_uris": ' * 2_000, b"\xff", b"[" * 60_000]
)
def test_what_is_no_json_object_is_refused(platform: Platform, raw: bytes) -> None:
    answer = platform.http.post(PATH, content=raw, headers={"Content-Type": "application/json"})

    refused(answer, "invalid_client_metadata")


def test_a_registration_beyond_the_bound_is_refused(platform: Platform) -> None:
    headers = {"Content-Type": "application/json"}
    answer = platform.http.post(PATH, content=b"[" * 70_000, headers=headers)

    refused(answer, "invalid_request", 413)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "text/json"])
def test_a_page_of_another_site_cannot_register_a_client_by_a_visitors_browser(
    platform: Platform, content_type: str
) -> None:
    """RFC 7591 section 3.1: application/json, which a browser sends across sites only after a preflight (C26)."""
    headers = {"origin": "https://evil.example", "content-type": content_type}

    answer = platform.http.post(PATH, content=json.dumps(PUBLIC), headers=headers)

    refused(answer, "invalid_client_metadata")
    preflight = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in platform.http.options(PATH, headers=preflight).headers


def test_a_tenant_holds_so_many_registered_clients_at_most(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract: 24 h. That it holds a hundred is tested in tests/store/test_installations_store.py."""
    monkeypatch.setattr(dynamic, "DYNAMIC_CLIENTS_BOUND", 5)
    for _ in range(5):
        assert register(platform).status_code == 201

    refused(register(platform), "temporarily_unavailable", 429)
    assert register(platform, OTHER).status_code == 201
    platform.clock.advance(timedelta(hours=24))
    assert register(platform).status_code == 201


def test_where_registration_is_closed_nothing_is_there(closed: Platform) -> None:
    assert register(closed).status_code == 404
    assert (
        "registration_endpoint"
        not in closed.http.get(f"/t/{MERCY}/fhir/.well-known/smart-configuration").json()
    )


@pytest.mark.parametrize("tenant", ["nobody", "MERCY", "%00"])
def test_a_tenant_that_is_not_there_registers_nobody(platform: Platform, tenant: str) -> None:
    assert register(platform, tenant).status_code == 404
