"""Revocation (C54; RFC 7009)."""

import pytest

from tests.flows import token_flow
from tests.flows.token_flow import MERCY, OTHER, Platform, basic, refused

platform = token_flow.platform


@pytest.mark.parametrize("client", ["public", "symmetric", "asymmetric"])
def test_a_client_hands_an_access_token_back(platform: Platform, client: str) -> None:
    body = platform.earn(client)

    answer = platform.post("revoke", client, {"token": body["access_token"]})

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert not platform.is_alive(body["access_token"])
    assert platform.refresh(body["refresh_token"], client).status_code == 200


@pytest.mark.parametrize("hint", [None, "refresh_token", "access_token", "nonsense"])
def test_revoking_a_refresh_token_ends_its_access_tokens(platform: Platform, hint: str | None) -> None:
    """C54."""
    first = platform.earn()
    second = platform.refresh(first["refresh_token"]).json()
    form = {"token": second["refresh_token"]} | ({"token_type_hint": hint} if hint else {})

    assert platform.post("revoke", "public", form).status_code == 200

    for body in (first, second):
        assert not platform.is_alive(body["access_token"])
        refused(platform.refresh(body["refresh_token"]), "invalid_grant")


@pytest.mark.parametrize(
    "token", ["unknown", "hil_at_x", "hil_rt_" + "x" * 43 + "_" + "y" * 8, "é", "a" * 4_000]
)
def test_an_unknown_token_is_no_error(platform: Platform, token: str) -> None:
    """C54; RFC 7009 section 2.2."""
    assert platform.post("revoke", "public", {"token": token}).status_code == 200


def test_revoking_twice_is_no_error(platform: Platform) -> None:
    body = platform.earn()

    for _ in range(2):
        assert platform.post("revoke", "public", {"token": body["refresh_token"]}).status_code == 200


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_another_clients_token_is_neither_revoked_nor_reported_as_done(platform: Platform, kind: str) -> None:
    """C54."""
    body = platform.earn("public")

    refused(platform.post("revoke", "symmetric", {"token": body[kind]}), "unauthorized_client")

    assert platform.is_alive(body["access_token"])
    assert platform.refresh(body["refresh_token"]).status_code == 200


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_a_token_of_another_tenant_is_nothing_to_revoke_here(platform: Platform, kind: str) -> None:
    """C37."""
    body = platform.earn()

    assert platform.post("revoke", "public", {"token": body[kind]}, OTHER).status_code == 200

    assert platform.is_alive(body["access_token"])


def test_revocation_needs_a_client_and_a_token(platform: Platform) -> None:
    token = platform.earn("symmetric")["access_token"]
    path = f"/t/{MERCY}/oauth/revoke"
    wrong = {"Authorization": basic(platform.clients["symmetric"].id, "wrong")}

    refused(platform.http.post(path, data={"token": token}), "invalid_client", 401)
    refused(platform.http.post(path, data={"token": token}, headers=wrong), "invalid_client", 401)
    refused(platform.post("revoke", "symmetric", {}), "invalid_request")
    assert platform.is_alive(token)
