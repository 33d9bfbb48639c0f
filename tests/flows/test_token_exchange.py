"""Codes for tokens: the token endpoint under authorization_code (C31, C32, C33, C42-C47, C50, C55)."""

import base64
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from hilum.apps.clients.models import ClientType
from hilum.authorization.authorize import service as authorize
from hilum.authorization.authorize.models import CODE_LIFE
from hilum.authorization.tokens.models import REPEAT_WITHIN
from hilum.foundation.kernel.ids import LaunchId
from tests.flows import token_flow
from tests.flows.token_flow import (
    BASE,
    LAUNCH_SCOPES,
    MERCY,
    ORIGIN,
    OTHER,
    REDIRECT,
    VERIFIER,
    Platform,
    basic,
    refused,
)
from tests.sim.one_world import in_one_world
from tests.unit.policy.matrix.books import LIFETIMES

platform = token_flow.platform


def claims_of(platform: Platform, id_token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    keys = KeySet.import_key_set(platform.http.get(f"/t/{MERCY}/oauth/jwks.json").json())
    token = jwt.decode(id_token, keys, algorithms=["RS256"])
    return token.header, token.claims


def test_a_code_with_its_verifier_earns_a_token_with_the_context_of_the_launch(platform: Platform) -> None:
    """C32, C46; SMART App Launch 2.2, app-launch#obtain-access-token; conformance 1.2 and 3.3."""
    answer = platform.redeem(platform.code())

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    body = answer.json()
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 3600
    assert body["scope"].split() == list(LAUNCH_SCOPES)
    assert body["patient"] == "p1"
    assert body["encounter"] == "e1"
    assert body["need_patient_banner"] is False
    assert body["intent"] == "reconcile"
    assert body["smart_style_url"].startswith(BASE)
    assert body["access_token"].startswith("hil_at_")
    assert body["refresh_token"].startswith("hil_rt_")
    assert "fhirContext" not in body
    assert platform.is_alive(body["access_token"])


def test_an_id_token_verifies_by_the_published_keys_and_names_the_fhir_user(platform: Platform) -> None:
    """C55; conformance 1.4."""
    head, claims = claims_of(platform, platform.redeem(platform.code()).json()["id_token"])
    now = int(platform.clock.now().timestamp())

    assert head["alg"] == "RS256"
    assert head["kid"]
    assert claims == {
        "iss": f"{BASE}/t/mercy",
        "sub": platform.people["dora"].id,
        "aud": platform.clients["public"].id,
        "iat": now,
        "exp": now + 3600,
        "auth_time": now - 180,
        "nonce": "n-0S6_WzA2Mj",
        "fhirUser": f"{BASE}/t/mercy/fhir/Practitioner/pr1",
    }


def test_an_id_token_stays_verifiable_after_its_key_was_rotated(platform: Platform) -> None:
    """C55: signing keys roll with overlap."""
    from hilum.records.keys import service as keys
    from hilum.records.keys.models import Purpose

    before = platform.redeem(platform.code()).json()["id_token"]

    platform.run(lambda ctx: keys.rotate(ctx, Purpose.ID_TOKEN, MERCY))

    after = platform.redeem(platform.code()).json()["id_token"]
    assert claims_of(platform, before)[0]["kid"] != claims_of(platform, after)[0]["kid"]


def test_without_openid_there_is_no_id_token_and_without_fhir_user_no_claim(platform: Platform) -> None:
    bare = platform.redeem(platform.code(scopes=("launch", "patient/Patient.rs"))).json()
    anonymous = platform.earn(scopes=("launch", "openid", "patient/Patient.rs"))

    assert "id_token" not in bare
    assert "refresh_token" not in bare
    assert "fhirUser" not in claims_of(platform, anonymous["id_token"])[1]


def test_a_standalone_launch_earns_the_patient_that_was_chosen(platform: Platform) -> None:
    """C32, C34; conformance 3.1: context scopes are echoed; nothing of an EHR launch is in it."""
    scopes = ("launch/patient", "openid", "fhirUser", "offline_access", "patient/*.rs")

    body = platform.redeem(platform.code(scopes=scopes)).json()

    assert body["patient"] == "p1"
    assert body["scope"].split() == list(scopes)
    assert not {"encounter", "need_patient_banner", "intent", "smart_style_url"} & set(body)


def test_the_encounter_is_disclosed_only_to_a_scope_that_asks_for_it(platform: Platform) -> None:
    """C32."""
    asked = platform.redeem(platform.code(scopes=("launch/encounter", "patient/*.rs"))).json()
    unasked = platform.redeem(platform.code(scopes=("launch/patient", "patient/*.rs"))).json()
    neither = platform.redeem(platform.code(scopes=("openid", "user/Patient.rs"))).json()

    assert asked["encounter"] == "e1"
    assert "encounter" not in unasked
    assert "patient" not in neither


def test_an_entry_of_the_context_that_the_grant_cannot_read_is_left_out(platform: Platform) -> None:
    """C33."""
    entries = [
        {"reference": "Observation/o1", "role": "focus"},
        {"reference": "DiagnosticReport/r1"},
        {"reference": "Patient/p2"},
    ]
    extras = {"need_patient_banner": True, "fhirContext": entries}

    body = platform.redeem(platform.code(extras=extras)).json()
    alone = platform.redeem(
        platform.code(extras=extras, scopes=("launch", "openid", "patient/Patient.rs"))
    ).json()

    assert body["fhirContext"] == entries[:1]
    assert "fhirContext" not in alone


@in_one_world("name", ["patient", "encounter", "fhirContext", "intent", "need_patient_banner"])
def test_context_that_an_app_sends_changes_nothing_and_is_recorded(platform: Platform, name: str) -> None:
    """C31."""
    added: dict[str, Any] = {name: "p2"}
    body = platform.redeem(platform.code(), **added).json()

    assert body["patient"] == "p1"
    assert body["encounter"] == "e1"
    assert body["intent"] == "reconcile"
    event = platform.events("authserver.context.ignore")[0]
    assert event.facts["parameters"] == [name]


def test_extra_parameters_such_as_state_and_client_id_are_tolerated(platform: Platform) -> None:
    """Dependencies 10: PyPI fhirclient sends state to the token endpoint."""
    who = platform.clients["symmetric"].id

    assert (
        platform.redeem(platform.code("symmetric"), "symmetric", state="s", client_id=who).status_code == 200
    )


def test_another_client_id_beside_the_credentials_is_refused(platform: Platform) -> None:
    code = platform.code("symmetric")

    refused(
        platform.redeem(code, "symmetric", client_id=platform.clients["public"].id), "invalid_client", 401
    )


@pytest.mark.parametrize("encode", [lambda text: text, lambda text: quote(text, safe="")])
def test_a_symmetric_client_authenticates_by_basic_raw_or_encoded(platform: Platform, encode: Any) -> None:
    """C50; RFC 6749 section 2.3.1; conformance 0.2."""
    client, secret = platform.clients["symmetric"].id, platform.secrets["symmetric"]
    form = {
        "grant_type": "authorization_code",
        "code": platform.code("symmetric"),
        "redirect_uri": REDIRECT,
        "code_verifier": VERIFIER,
    }

    answer = platform.http.post(
        f"/t/{MERCY}/oauth/token",
        data=form,
        headers={"Authorization": basic(encode(client), encode(secret).replace("_", "%5F"))},
    )

    assert answer.status_code == 200


def test_an_asymmetric_client_authenticates_by_assertion_alone(platform: Platform) -> None:
    """C51; conformance 9.21: no client_id in the body."""
    answer = platform.redeem(platform.code("asymmetric"), "asymmetric")

    assert answer.status_code == 200
    by_rsa = platform.assertion("asymmetric", key=token_flow.RSA)
    assert (
        platform.redeem(platform.code("asymmetric"), "asymmetric", client_assertion=by_rsa).status_code == 200
    )


# --- proofs that fail ----------------------------------------------------------------------------------------------------------


@in_one_world(
    "verifier",
    [
        None,
        "",
        "w" * 47,
        VERIFIER[:-1],
        VERIFIER.upper(),
        "v" * 42,
        "v" * 129,
        "challenge",
        VERIFIER + " ",
        "é" * 43,
    ],
)
def test_a_code_without_its_verifier_earns_nothing_and_is_gone(
    platform: Platform, verifier: str | None
) -> None:
    """C42; security decision 9: a wrong verifier consumes the code; conformance 9.18."""
    from hilum.foundation.standards.oauth import s256

    code = platform.code()
    sent = s256(VERIFIER) if verifier == "challenge" else verifier

    refused(platform.redeem(code, code_verifier=sent), "invalid_grant")

    refused(platform.redeem(code), "invalid_grant")


@pytest.mark.parametrize(
    "uri",
    [
        None,
        "",
        REDIRECT + "/",
        REDIRECT.upper(),
        REDIRECT + "?x=1",
        "https://evil.example/back",
        REDIRECT + "#",
    ],
)
def test_another_redirect_uri_than_the_code_was_issued_for_earns_nothing(
    platform: Platform, uri: str | None
) -> None:
    """C43; RFC 6749 section 4.1.3."""
    code = platform.code()

    refused(platform.redeem(code, redirect_uri=uri), "invalid_grant")

    refused(platform.redeem(code), "invalid_grant")


def test_a_code_dies_after_sixty_seconds(platform: Platform) -> None:
    """C43."""
    early, late = platform.code(), platform.code()

    platform.clock.advance(CODE_LIFE - timedelta(seconds=1))
    assert platform.redeem(early).status_code == 200
    platform.clock.advance(timedelta(seconds=1))
    assert "expired" in refused(platform.redeem(late), "invalid_grant")

    assert timedelta(seconds=60) >= CODE_LIFE


@in_one_world("code", ["BAD_CODE", "hil_ac_" + "x" * 43, "a" * 5_000, "é", "%00", "\x00"])
def test_an_unknown_code_is_exactly_400(platform: Platform, code: str) -> None:
    """Conformance 9.17."""
    answer = platform.redeem(code)

    assert answer.status_code == 400
    assert answer.json()["error"] in {"invalid_grant", "invalid_request"}


def test_the_wrong_client_does_not_use_a_code_up(platform: Platform) -> None:
    """Security decision 9; C43."""
    code = platform.code("public")

    refused(platform.redeem(code, "symmetric"), "invalid_grant")
    refused(platform.redeem(code, "asymmetric"), "invalid_grant")
    event = platform.events("authserver.code.misuse")[0]

    assert platform.redeem(code, "public").status_code == 200
    assert event.facts["issued_to"] == platform.clients["public"].id


def test_a_second_use_of_a_code_revokes_what_the_first_obtained(platform: Platform) -> None:
    """C44; RFC 6749 section 4.1.2; the revocation is committed although the request is refused."""
    code = platform.code()
    first = platform.redeem(code).json()
    platform.clock.advance(REPEAT_WITHIN)

    refused(platform.redeem(code), "invalid_grant")

    assert not platform.is_alive(first["access_token"])
    refused(platform.refresh(first["refresh_token"]), "invalid_grant")
    assert platform.events("authserver.code.replay")[0].client == platform.clients["public"].id


def test_a_replay_after_a_refresh_ends_the_refreshed_tokens_too(platform: Platform) -> None:
    """C44: every token issued from the code."""
    code = platform.code()
    first = platform.redeem(code).json()
    second = platform.refresh(first["refresh_token"]).json()

    platform.clock.advance(timedelta(hours=2))
    third = platform.refresh(second["refresh_token"]).json()
    refused(platform.redeem(code), "invalid_grant")

    assert not platform.is_alive(third["access_token"])
    refused(platform.refresh(third["refresh_token"]), "invalid_grant")


def test_a_replay_by_another_client_ends_nothing(platform: Platform) -> None:
    """Otherwise whoever sees a used code could end a stranger's access."""
    code = platform.code()
    first = platform.redeem(code).json()

    refused(platform.redeem(code, "symmetric"), "invalid_grant")

    assert platform.is_alive(first["access_token"])


def test_a_code_that_is_brought_to_another_hospital_ends_nothing(platform: Platform) -> None:
    """C37, C44: its own client mistook the hospital, which is no replay."""
    code = platform.code()
    first = platform.redeem(code).json()

    refused(platform.redeem(code, tenant=OTHER), "invalid_grant")

    assert platform.is_alive(first["access_token"])
    assert [each.facts["issued_at"] for each in platform.events("authserver.code.misuse")] == [MERCY]


def test_a_used_code_is_recognised_for_a_day(platform: Platform) -> None:
    """C44: long after it expired, since a log or a browser's history holds it."""
    code = platform.code()
    first = platform.redeem(code).json()
    platform.clock.advance(timedelta(hours=23))
    platform.run(authorize.purge)

    refused(platform.redeem(code), "invalid_grant")

    refused(platform.refresh(first["refresh_token"]), "invalid_grant")
    assert len(platform.events("authserver.code.replay")) == 1


# --- requests that are not well made -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grant_type", "code"),
    [
        ("password", "unsupported_grant_type"),
        ("implicit", "unsupported_grant_type"),
        ("not_a_grant_type", "unsupported_grant_type"),
        ("AUTHORIZATION_CODE", "unsupported_grant_type"),
        ("urn:ietf:params:oauth:grant-type:token-exchange", "unsupported_grant_type"),
        ("", "invalid_request"),
        (None, "invalid_request"),
    ],
)
def test_another_grant_type_is_refused(platform: Platform, grant_type: str | None, code: str) -> None:
    """C42; RFC 6749 section 5.2."""
    refused(platform.redeem(platform.code(), grant_type=grant_type), code)


@in_one_world("name", ["grant_type", "code", "redirect_uri", "code_verifier", "client_id", "foo"])
def test_a_repeated_parameter_is_refused(platform: Platform, name: str) -> None:
    """RFC 6749 section 3.2."""
    form = {
        "grant_type": "authorization_code",
        "code": platform.code(),
        "redirect_uri": REDIRECT,
        "code_verifier": VERIFIER,
        "client_id": platform.clients["public"].id,
    }
    pairs = [*form.items(), (name, form.get(name, "x")), (name, "y")]
    body = "&".join(f"{key}={quote(value)}" for key, value in pairs)

    answer = platform.http.post(
        f"/t/{MERCY}/oauth/token",
        content=body,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )

    refused(answer, "invalid_request")


@in_one_world(
    ("kind", "body"),
    [
        ("application/json", b'{"grant_type": "authorization_code"}'),
        ("multipart/form-data; boundary=x", b"--x--"),
        ("", b"grant_type=authorization_code"),
        ("text/plain", b"grant_type=authorization_code"),
        ("application/x-www-form-urlencoded", b"\xff\xfe"),
        ("application/x-www-form-urlencoded", b"grant_type=%ff"),
        ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % n for n in range(200))),
        ("application/x-www-form-urlencoded", b""),
        ("application/x-www-form-urlencoded", b"grant_type=authorization_code&code=" + b"c" * 5_000),
    ],
)
def test_what_is_no_form_is_refused(platform: Platform, kind: str, body: bytes) -> None:
    headers = {"Content-Type": kind} if kind else {}

    refused(platform.http.post(f"/t/{MERCY}/oauth/token", content=body, headers=headers), "invalid_request")


def test_a_body_beyond_the_bound_is_refused(platform: Platform) -> None:
    answer = platform.http.post(
        f"/t/{MERCY}/oauth/token",
        content=b"a=" + b"x" * 70_000,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )

    refused(answer, "invalid_request", 413)


def test_parameters_in_the_query_count_for_nothing(platform: Platform) -> None:
    """RFC 6749 section 3.2: credentials and codes never travel in an address."""
    query = f"grant_type=authorization_code&code={platform.code()}&client_id={platform.clients['public'].id}"

    answer = platform.http.post(
        f"/t/{MERCY}/oauth/token?{query}",
        content=b"",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )

    refused(answer, "invalid_request")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_the_token_endpoint_takes_post_only(platform: Platform, method: str) -> None:
    assert platform.http.request(method, f"/t/{MERCY}/oauth/token").status_code == 405


@in_one_world("tenant", ["nobody", "MERCY", "a" * 100, "%00", "..%2f", "mercy%20"])
def test_a_tenant_that_is_not_there_is_404(platform: Platform, tenant: str) -> None:
    form = {"grant_type": "client_credentials", "client_id": platform.clients["public"].id}

    answer = platform.http.post(f"/t/{tenant}/oauth/token", data=form)

    assert answer.status_code == 404


# --- client authentication (C50) -----------------------------------------------------------------------------------------------


def attempt(platform: Platform, fields: dict[str, str], **headers: str) -> Any:
    form = {
        "grant_type": "authorization_code",
        "code": "x",
        "redirect_uri": REDIRECT,
        "code_verifier": VERIFIER,
    }
    return platform.http.post(f"/t/{MERCY}/oauth/token", data=form | fields, headers=headers)


def test_a_public_client_that_sends_a_secret_is_refused(platform: Platform) -> None:
    """C50."""
    who = platform.clients["public"].id

    refused(attempt(platform, {"client_id": who, "client_secret": "s"}), "invalid_client", 401)
    refused(attempt(platform, {}, Authorization=basic(who, "s")), "invalid_client", 401)
    refused(attempt(platform, {}, Authorization=basic(who, "")), "invalid_client", 401)


@in_one_world("client", ["symmetric", "asymmetric", "backend", "ehr", "resource"])
def test_a_confidential_client_that_proves_nothing_is_refused(platform: Platform, client: str) -> None:
    """C50."""
    refused(attempt(platform, {"client_id": platform.clients[client].id}), "invalid_client", 401)


def test_a_secret_in_the_body_is_not_the_registered_method(platform: Platform) -> None:
    """C50: symmetric clients of SMART authenticate by Basic."""
    form = {"client_id": platform.clients["symmetric"].id, "client_secret": platform.secrets["symmetric"]}

    refused(attempt(platform, form), "invalid_client", 401)


def test_a_client_with_keys_may_not_fall_back_to_a_secret(platform: Platform) -> None:
    who = platform.clients["asymmetric"].id

    refused(attempt(platform, {}, Authorization=basic(who, "s")), "invalid_client", 401)
    refused(attempt(platform, {}, Authorization=basic(who, "")), "invalid_client", 401)


def test_two_methods_at_once_are_refused(platform: Platform) -> None:
    """RFC 6749 section 2.3."""
    who, secret = platform.clients["symmetric"].id, platform.secrets["symmetric"]

    both = attempt(platform, {"client_secret": secret}, Authorization=basic(who, secret))

    refused(both, "invalid_client", 401)


def test_a_wrong_secret_an_unknown_client_and_no_client_are_refused_alike(platform: Platform) -> None:
    who = platform.clients["symmetric"].id
    answers = [
        attempt(platform, {}, Authorization=basic(who, "wrong")),
        attempt(platform, {}, Authorization=basic("BAD_CLIENT_ID", "wrong")),
        attempt(platform, {}, Authorization="Basic !!!"),
        attempt(platform, {}, Authorization="Basic " + base64.b64encode(b"no-colon").decode()),
        attempt(platform, {}, Authorization="Bearer abc"),
    ]

    for answer in answers:
        refused(answer, "invalid_client", 401)
        assert answer.headers["www-authenticate"].startswith("Basic")
    anonymous = attempt(platform, {})
    refused(anonymous, "invalid_client", 401)
    assert "www-authenticate" not in anonymous.headers


def test_a_rotated_secret_works_beside_the_new_one_until_its_end(platform: Platform) -> None:
    """C9."""
    from hilum.apps.clients import service as clients

    client = platform.clients["symmetric"]
    old = platform.secrets["symmetric"]
    _, new = platform.run(lambda ctx: clients.rotate_secret(ctx, client.id))

    for secret in (old, new):
        platform.secrets["symmetric"] = secret
        assert platform.redeem(platform.code("symmetric"), "symmetric").status_code == 200
    platform.clock.advance(timedelta(days=31))

    platform.secrets["symmetric"] = old
    refused(platform.redeem(platform.code("symmetric"), "symmetric"), "invalid_client", 401)


@pytest.mark.parametrize(
    ("client", "grant_type"),
    [
        ("public", "client_credentials"),
        ("symmetric", "client_credentials"),
        ("asymmetric", "client_credentials"),
        ("backend", "authorization_code"),
        ("backend", "refresh_token"),
        ("ehr", "authorization_code"),
        ("resource", "client_credentials"),
    ],
)
def test_a_client_keeps_to_the_grants_it_is_registered_for(
    platform: Platform, client: str, grant_type: str
) -> None:
    """C16, C50."""
    form = {"grant_type": grant_type, "code": "x", "refresh_token": "x", "scope": "system/*.rs"}

    refused(platform.post("token", client, form), "unauthorized_client")


# --- CORS (C26) ----------------------------------------------------------------------------------------------------------------


def test_a_registered_origin_may_read_the_answer_and_another_may_not(platform: Platform) -> None:
    """C26, both directions; conformance 1.2 smart_cors_token_exchange."""
    for origin, allowed in (
        (ORIGIN, True),
        ("https://evil.example", False),
        (ORIGIN + ":8443", False),
        ("null", False),
    ):
        fields = {
            "grant_type": "authorization_code",
            "code": platform.code(),
            "redirect_uri": REDIRECT,
            "code_verifier": VERIFIER,
        }
        answer = platform.post("token", "public", fields, Origin=origin)

        assert answer.status_code == 200
        assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-credentials" not in answer.headers


def test_an_error_too_can_be_read_by_the_registered_origin(platform: Platform) -> None:
    answer = platform.post(
        "token", "public", {"grant_type": "authorization_code", "code": "x"}, Origin=ORIGIN
    )

    refused(answer, "invalid_grant")
    assert answer.headers["access-control-allow-origin"] == ORIGIN


def test_a_preflight_answers_the_origins_of_the_tenants_apps(platform: Platform) -> None:
    def ask(tenant: str, origin: str) -> str | None:
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        }
        answer = platform.http.options(f"/t/{tenant}/oauth/token", headers=asked)
        assert answer.status_code == 204
        return answer.headers.get("access-control-allow-origin")

    assert ask(MERCY, ORIGIN) == ORIGIN
    assert ask(MERCY, "https://evil.example") is None
    assert ask(OTHER, ORIGIN) is None
    assert ask("nobody", ORIGIN) is None


# --- life (C47) ----------------------------------------------------------------------------------------------------------------


def test_a_persons_token_lives_an_hour_at_most_and_never_past_its_authorization(platform: Platform) -> None:
    """C47."""
    body = platform.redeem(platform.code()).json()
    ends = platform.clock.now() + timedelta(minutes=10)
    short = platform.redeem(platform.code(authorization_expires_at=ends)).json()

    assert body["expires_in"] == LIFETIMES.access_token.total_seconds() == 3600
    assert short["expires_in"] == 600
    platform.clock.advance(timedelta(minutes=10))
    assert not platform.is_alive(short["access_token"])
    assert platform.is_alive(body["access_token"])


def test_a_code_of_an_expired_authorization_earns_nothing(platform: Platform) -> None:
    ends = platform.clock.now() + timedelta(seconds=5)
    code = platform.code(authorization_expires_at=ends)

    platform.clock.advance(timedelta(seconds=5))

    assert "authorization_expired" in refused(platform.redeem(code), "invalid_grant")


def test_a_dynamic_clients_token_never_outlives_the_client(platform: Platform) -> None:
    ends = platform.clock.now() + timedelta(minutes=7)
    platform.add_app("brief", ClientType.PUBLIC, expires_at=ends)

    body = platform.redeem(platform.code("brief"), "brief").json()

    assert body["expires_in"] == 420
    platform.clock.advance(timedelta(minutes=7))
    refused(platform.redeem(platform.code("brief"), "brief"), "invalid_client", 401)


def test_a_code_for_a_launch_that_no_longer_exists_is_refused(platform: Platform) -> None:
    code = platform.code(scopes=("launch", "openid", "patient/Patient.rs"), launch=LaunchId("lau_gone"))

    assert "launch_ended" in refused(platform.redeem(code), "invalid_grant")
