"""Introspection (C53; RFC 7662; SMART App Launch 2.2, token-introspection; conformance 1.7)."""

from datetime import timedelta

import pytest
from joserfc import jwt

from hilum.controls.switches.models import TargetKind
from hilum.foundation.kernel.ids import SessionId
from hilum.identity.signin import service as signin
from tests.flows import token_flow
from tests.flows.token_flow import BASE, MERCY, ORIGIN, OTHER, Platform, refused

platform = token_flow.platform


def test_an_active_token_says_all_that_it_is_worth(platform: Platform) -> None:
    """Conformance 1.7 validate active."""
    launch = platform.open_launch()
    body = platform.earn(launch=launch)

    answer = platform.introspect(body["access_token"])

    now = int(platform.clock.now().timestamp())
    assert answer == {
        "active": True,
        "token_type": "Bearer",
        "scope": body["scope"],
        "client_id": platform.clients["public"].id,
        "exp": now + 3600,
        "iat": now,
        "iss": f"{BASE}/t/mercy",
        "aud": f"{BASE}/t/mercy/fhir",
        "sub": platform.people["dora"].id,
        "patient": body["patient"],
        "encounter": body["encounter"],
        "intent": "reconcile",
        "fhirUser": f"{BASE}/t/mercy/fhir/Practitioner/pr1",
    }


def test_iss_and_sub_are_those_of_the_id_token(platform: Platform) -> None:
    """Conformance 1.7."""
    body = platform.earn()
    keys = token_flow.published_keys(platform)
    claims = jwt.decode(body["id_token"], keys, algorithms=["RS256"]).claims

    answer = platform.introspect(body["access_token"])

    assert (answer["iss"], answer["sub"], answer["fhirUser"]) == (
        claims["iss"],
        claims["sub"],
        claims["fhirUser"],
    )


def test_context_and_user_are_disclosed_only_where_the_scopes_allow(platform: Platform) -> None:
    """C32, C53."""
    answer = platform.introspect(platform.earn(scopes=("openid", "user/Patient.rs"))["access_token"])

    assert not {"patient", "encounter", "intent", "fhirUser"} & set(answer)


@pytest.mark.parametrize(
    "token",
    ["invalid_token_value", "hil_at_" + "x" * 43 + "_" + "y" * 8, "hil_rt_x", "é", "\x00", "a" * 4_000, " "],
)
def test_an_unknown_token_is_inactive_and_nothing_else_is_said(platform: Platform, token: str) -> None:
    """Conformance 1.7: 200 and active false only."""
    answer = platform.post("introspect", "resource", {"token": token})

    assert answer.status_code == 200
    assert answer.json() == {"active": False}
    assert answer.headers["cache-control"] == "no-store"


def test_an_expired_or_revoked_token_is_inactive(platform: Platform) -> None:
    expired, revoked = platform.earn(), platform.earn()
    platform.post("revoke", "public", {"token": revoked["access_token"]})

    assert platform.introspect(revoked["access_token"]) == {"active": False}
    platform.clock.advance(timedelta(hours=1))
    assert platform.introspect(expired["access_token"]) == {"active": False}


@pytest.mark.parametrize("scope", ["openid fhirUser patient/Observation.rs", "patient/Observation.rs"])
def test_a_token_that_ends_with_the_session_cannot_shed_that_by_asking_for_less(
    platform: Platform, scope: str
) -> None:
    """C36, C53: it is worth here what it is worth at the gateway, which refuses it."""
    session = platform.begin_session()
    body = platform.earn(
        scopes=("openid", "fhirUser", "online_access", "patient/Observation.rs"), session=session
    )
    narrowed = platform.refresh(body["refresh_token"], scope=scope).json()
    plain = platform.earn(scopes=("openid", "patient/Observation.rs"), session=session)
    assert platform.is_alive(narrowed["access_token"])

    platform.run(lambda ctx: signin.end_session(ctx, SessionId(session)))

    assert not platform.is_alive(narrowed["access_token"])
    assert not platform.is_alive(plain["access_token"])


def test_extra_parameters_and_hints_change_nothing(platform: Platform) -> None:
    token = platform.earn()["access_token"]

    for hint in ("access_token", "refresh_token", "nonsense"):
        form = {"token": token, "token_type_hint": hint, "extra": "x"}
        assert platform.post("introspect", "resource", form).json()["active"] is True


def test_a_client_sees_its_own_tokens_only(platform: Platform) -> None:
    """C53."""
    own, public = platform.earn("symmetric"), platform.earn("public")

    assert platform.introspect(own["access_token"], "symmetric")["active"] is True
    assert platform.introspect(public["access_token"], "symmetric") == {"active": False}
    assert platform.introspect(own["access_token"], "asymmetric") == {"active": False}
    assert platform.introspect(public["refresh_token"], "symmetric") == {"active": False}


def test_a_resource_server_sees_the_tokens_of_its_tenant_only(platform: Platform) -> None:
    """C53, C37."""
    here = platform.earn()

    assert platform.introspect(here["access_token"], "resource")["active"] is True
    assert platform.introspect(here["access_token"], "other-resource", OTHER) == {"active": False}
    assert platform.introspect(here["refresh_token"], "other-resource", OTHER) == {"active": False}
    answer = platform.post("introspect", "other-resource", {"token": here["access_token"]}, MERCY)
    refused(answer, "invalid_client", 401)


def test_a_resource_server_that_is_stopped_learns_nothing(platform: Platform) -> None:
    """C53, C140: its credentials are right, and it may not act."""
    token = platform.earn()["access_token"]
    assert platform.introspect(token)["active"] is True

    platform.engage(TargetKind.APP, platform.clients["resource"].app)

    assert platform.introspect(token) == {"active": False}


@pytest.mark.parametrize("client", ["public"])
def test_a_client_that_cannot_authenticate_may_not_introspect(platform: Platform, client: str) -> None:
    """C53: authentication is needed; a client_id alone proves nothing."""
    token = platform.earn()["access_token"]

    refused(platform.post("introspect", client, {"token": token}), "invalid_client", 401)
    refused(platform.http.post(f"/t/{MERCY}/oauth/introspect", data={"token": token}), "invalid_client", 401)
    bearer = {"Authorization": f"Bearer {token}"}
    refused(
        platform.http.post(f"/t/{MERCY}/oauth/introspect", data={"token": token}, headers=bearer),
        "invalid_client",
        401,
    )


def test_a_request_without_a_token_is_refused(platform: Platform) -> None:
    refused(platform.post("introspect", "resource", {}), "invalid_request")
    refused(platform.post("introspect", "resource", {"token": ""}), "invalid_request")


def test_an_asymmetric_client_introspects_by_an_assertion_for_either_address(platform: Platform) -> None:
    """RFC 7523 section 3: the audience is the token URL or the endpoint that is called."""
    token = platform.earn("asymmetric")["access_token"]

    for aud in (platform.urls.token(MERCY), platform.urls.introspect(MERCY)):
        form = {"token": token, "client_assertion": platform.assertion("asymmetric", aud=aud)}
        assert platform.post("introspect", "asymmetric", form).json()["active"] is True
    form = {
        "token": token,
        "client_assertion": platform.assertion("asymmetric", aud=platform.urls.revoke(MERCY)),
    }
    refused(platform.post("introspect", "asymmetric", form), "invalid_client", 401)


def test_a_refresh_token_is_active_until_it_is_used(platform: Platform) -> None:
    body = platform.earn()

    answer = platform.introspect(body["refresh_token"])
    platform.refresh(body["refresh_token"])

    assert answer["active"] is True
    assert answer["client_id"] == platform.clients["public"].id
    assert "token_type" not in answer
    assert platform.introspect(body["refresh_token"]) == {"active": False}


def test_a_token_that_is_bound_to_a_key_is_not_active_without_its_proof(platform: Platform) -> None:
    """C56: the hook where DPoP will sit; unknown means no."""
    body = platform.earn()

    platform.bind(body["access_token"])

    assert platform.introspect(body["access_token"]) == {"active": False}


def test_a_browser_of_a_registered_origin_may_ask(platform: Platform) -> None:
    """C26."""
    token = platform.earn("symmetric")["access_token"]

    answer = platform.post("introspect", "symmetric", {"token": token}, Origin=ORIGIN)

    assert answer.headers["access-control-allow-origin"] == ORIGIN
