"""Backend services and the EHR's own token: client credentials (C16, C17, C47, C51, C52; SMART App Launch 2.2, backend-services)."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from joserfc.jwk import ECKey

from hilum.apps.clients.models import ClientType
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder, NarrowOrder
from hilum.authorization.token.client_auth import ASSERTION_TYPE
from hilum.controls.switches.models import TargetKind
from tests.flows import token_flow
from tests.flows.token_flow import EC, JWKS, MERCY, OTHER, RSA, Platform, refused
from tests.sim.jwks_host import JwksHost, Page, running
from tests.sim.one_world import in_one_world
from tests.sim.processes import until

platform = token_flow.platform


@pytest.fixture
def host() -> Iterator[JwksHost]:
    with running() as made:
        yield made


@pytest.mark.parametrize("key", [EC, RSA], ids=["ES384", "RS384"])
def test_a_backend_service_gets_the_system_scopes_it_was_approved_for(platform: Platform, key: Any) -> None:
    """Conformance 1.6; C46, C47."""
    assertion = platform.assertion("backend", key=key)

    answer = platform.backend("system/*.rs system/Patient.cruds", client_assertion=assertion)

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "scope"}
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 300
    assert body["scope"] == "system/*.rs system/Patient.cruds"
    assert platform.introspect(body["access_token"])["sub"] == platform.clients["backend"].id


def test_v1_scopes_are_granted_and_shown_as_v2(platform: Platform) -> None:
    """C59."""
    assert platform.backend("system/*.read system/Observation.write").json()["scope"] == (
        "system/*.rs system/Observation.cud"
    )


def test_a_wrong_grant_type_is_exactly_400(platform: Platform) -> None:
    """Conformance 1.6 smart_backend_services_invalid_grant_type."""
    refused(platform.backend(grant_type="not_a_grant_type"), "unsupported_grant_type")


def test_a_wrong_assertion_type_is_invalid_client(platform: Platform) -> None:
    """Conformance 1.6 smart_backend_services_invalid_client_assertion."""
    refused(platform.backend(client_assertion_type="not_an_assertion_type"), "invalid_client", 401)
    refused(platform.backend(client_assertion="not.a.jwt"), "invalid_client", 401)


@in_one_world(
    "scope",
    [
        "",
        "patient/*.rs",
        "user/Patient.rs",
        "system/*.rs patient/Patient.rs",
        "system/*.rs user/Patient.rs",
        "openid fhirUser",
        "launch",
        "hilum/launch",
        "offline_access",
        "system/Patient.sr",
        "system/*.rs?category=x",
        "profile",
        "system/",
        "\x00",
    ],
)
def test_only_system_scopes_are_granted_to_a_backend_service(platform: Platform, scope: str) -> None:
    """C16: mixing system with user or patient scopes is refused."""
    refused(platform.backend(scope), "invalid_scope")


@pytest.mark.parametrize(
    "scope",
    [
        "system/Patient.rs?colour=blue",
        "system/Observation.rs?date=gt2020-01-01",
        "system/Observation.rs?_id=x",
    ],
)
def test_a_granular_scope_that_nothing_can_be_held_against_is_not_granted(
    platform: Platform, scope: str
) -> None:
    """RFC 6749 section 3.3: the answer tells the scope that was issued; one that opens nothing was not."""
    refused(platform.backend(scope), "invalid_scope")
    assert platform.backend(f"{scope} system/Patient.rs").json()["scope"] == "system/Patient.rs"


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        ("", "scope is missing"),
        ("profile", "contains no supported scope"),
        ("system/Patient.sr", "not in the order c r u d s"),
        ("system/", "malformed"),
        ("system/Patient.rs?category", "?parameter=value"),
    ],
)
def test_a_developer_sees_in_words_why_a_scope_was_refused(platform: Platform, scope: str, said: str) -> None:
    """RFC 6749 section 5.2: error_description helps whoever writes the client; section 3.3: no scope, no token."""
    assert said in refused(platform.backend(scope), "invalid_scope")


def test_what_was_not_approved_is_left_out_and_nothing_left_is_refused(platform: Platform) -> None:
    """C68; conformance 3.7: the granted system scope never exceeds the pre-authorised one."""
    platform.add_app("reader", ClientType.BACKEND, scopes=("system/Patient.rs", "system/Observation.rs"))

    def ask(scope: str) -> Any:
        return platform.backend(scope, "reader")

    assert ask("system/Patient.cruds system/Condition.rs").json()["scope"] == "system/Patient.rs"
    assert ask("system/*.rs").json()["scope"].split() == ["system/Patient.rs", "system/Observation.rs"]
    refused(ask("system/Condition.rs"), "invalid_scope")
    refused(ask("system/Patient.d"), "invalid_scope")


def test_a_tenant_that_narrowed_the_installation_narrows_the_next_token(platform: Platform) -> None:
    """C147."""
    app = platform.clients["backend"].app
    own = next(
        each
        for each in platform.run(lambda ctx: installations.list_installations(ctx, MERCY))
        if each.app == app
    )

    platform.run(
        lambda ctx: installations.narrow_installation(ctx, own.id, NarrowOrder(scopes=("system/Patient.rs",)))
    )

    assert platform.backend("system/*.cruds").json()["scope"] == "system/Patient.rs"


def test_a_backend_services_purpose_ends_on_its_day(platform: Platform) -> None:
    """C17."""
    token = platform.backend().json()["access_token"]

    platform.clock.advance(timedelta(days=300))

    refused(platform.backend(), "invalid_client", 401)
    assert not platform.is_alive(token)


def test_without_an_installation_at_the_tenant_there_is_no_token(platform: Platform) -> None:
    """C146."""
    assertion = platform.assertion("backend", tenant=OTHER)
    form = {"grant_type": "client_credentials", "scope": "system/*.rs", "client_assertion": assertion}

    answer = platform.post("token", "backend", form, OTHER)

    assert "app_not_installed" in refused(answer, "unauthorized_client")
    platform.run(
        lambda ctx: installations.install(
            ctx, InstallOrder(OTHER, platform.clients["backend"].app, frozenset())
        )
    )
    form["client_assertion"] = platform.assertion("backend", tenant=OTHER)
    assert platform.post("token", "backend", form, OTHER).status_code == 200


@pytest.mark.parametrize(
    "kind",
    [
        TargetKind.PLATFORM,
        TargetKind.TENANT,
        TargetKind.VENDOR,
        TargetKind.APP,
        TargetKind.VERSION,
        TargetKind.APP_TENANT,
    ],
)
def test_a_switch_stops_backend_tokens(platform: Platform, kind: TargetKind) -> None:
    """C140."""
    client = platform.clients["backend"]
    key = {
        TargetKind.PLATFORM: "",
        TargetKind.TENANT: MERCY,
        TargetKind.VENDOR: platform.vendor,
        TargetKind.APP: client.app,
        TargetKind.VERSION: client.version,
        TargetKind.APP_TENANT: f"{client.app}/{MERCY}",
    }[kind]
    token = platform.backend().json()["access_token"]

    platform.engage(kind, key)

    assert "switch_engaged" in refused(platform.backend(), "unauthorized_client")
    assert not platform.is_alive(token)


def test_a_switch_on_a_scope_takes_it_out_of_backend_tokens(platform: Platform) -> None:
    platform.engage(TargetKind.SCOPE, "system/Patient.rs")

    assert (
        platform.backend("system/Patient.rs system/Observation.rs").json()["scope"] == "system/Observation.rs"
    )
    refused(platform.backend("system/Patient.rs"), "invalid_scope")


# --- the EHR -------------------------------------------------------------------------------------------------------------------


def test_an_ehr_earns_the_scope_that_opens_launches_and_nothing_else(platform: Platform) -> None:
    """Contract, the EHR's launch API."""
    body = platform.post(
        "token", "ehr", {"grant_type": "client_credentials", "scope": "hilum/launch system/*.rs user/*.rs"}
    ).json()

    assert body["scope"] == "hilum/launch"
    assert body["expires_in"] == 300
    assert "refresh_token" not in body


@pytest.mark.parametrize("scope", ["", "system/*.rs", "patient/*.rs", "openid"])
def test_an_ehr_is_granted_no_data(platform: Platform, scope: str) -> None:
    refused(
        platform.post("token", "ehr", {"grant_type": "client_credentials", "scope": scope}), "invalid_scope"
    )


def test_an_ehr_of_one_tenant_is_nobody_at_another(platform: Platform) -> None:
    """C37."""
    form = {"grant_type": "client_credentials", "scope": "hilum/launch"}

    refused(platform.post("token", "ehr", form, OTHER), "invalid_client", 401)


# --- jti (C52) -----------------------------------------------------------------------------------------------------------------


def test_an_assertion_is_accepted_once(platform: Platform) -> None:
    """C52; RFC 7523 section 3."""
    assertion = platform.assertion("backend")

    assert platform.backend(client_assertion=assertion).status_code == 200
    for _ in range(2):
        assert "jti" in refused(platform.backend(client_assertion=assertion), "invalid_client", 401)


def test_a_jti_is_remembered_even_when_the_request_is_refused_for_something_else(platform: Platform) -> None:
    """C52; security decision 3."""
    assertion = platform.assertion("backend")
    refused(platform.backend("patient/*.rs", client_assertion=assertion), "invalid_scope")

    refused(platform.backend(client_assertion=assertion), "invalid_client", 401)


def test_a_jti_is_its_issuers_own(platform: Platform) -> None:
    """C52: once per issuer."""
    platform.add_app("second", ClientType.BACKEND)

    for client in ("backend", "second"):
        assertion = platform.assertion(client, jti="shared")
        assert platform.backend(client=client, client_assertion=assertion).status_code == 200


def test_an_assertion_with_an_odd_jti_is_refused_without_harm(platform: Platform) -> None:
    for jti in ("\x00", "é" * 50, "\U0001f600", " "):
        answer = platform.backend(client_assertion=platform.assertion("backend", jti=jti))
        assert answer.status_code in {200, 401}


# --- keys by URL (C10, C11) ----------------------------------------------------------------------------------------------------


def by_url(platform: Platform, host: JwksHost, name: str = "remote") -> None:
    platform.add_app(name, ClientType.BACKEND, jwks=None, jwks_uri=host.jwks_uri)


def test_keys_by_url_are_fetched_and_kept_as_long_as_their_host_allows(
    platform: Platform, host: JwksHost
) -> None:
    """C10: Cache-Control is honoured."""
    host.serve(JWKS, "public, max-age=120")
    by_url(platform, host)

    for _ in range(3):
        assert platform.backend(client="remote").status_code == 200
    assert host.times_asked() == 1
    platform.clock.advance(timedelta(seconds=120))
    assert platform.backend(client="remote").status_code == 200

    assert host.times_asked() == 2


@pytest.mark.parametrize(
    ("control", "kept_s"),
    [
        ("no-store", 0),
        ("no-cache", 0),
        ("max-age=0", 0),
        ("", 300),
        ("max-age=9999999", 3600),
        ("public", 300),
    ],
)
def test_a_key_set_is_kept_within_bounds(
    platform: Platform, host: JwksHost, control: str, kept_s: int
) -> None:
    """Conformance 3.7: a JWKS is not cached longer than its Cache-Control."""
    host.serve(JWKS, control)
    by_url(platform, host)
    platform.backend(client="remote")

    platform.clock.advance(timedelta(seconds=max(0, kept_s - 1)))
    platform.backend(client="remote")
    before = host.times_asked()
    platform.clock.advance(timedelta(seconds=1))
    platform.backend(client="remote")

    assert before == (1 if kept_s else 2)
    assert host.times_asked() == before + 1


def test_a_new_kid_works_at_once_and_a_removed_key_no_longer_than_the_cache(
    platform: Platform, host: JwksHost
) -> None:
    """C11."""
    fresh = ECKey.generate_key("P-384", {"kid": "ec-2"})
    host.serve(JWKS, "max-age=600")
    by_url(platform, host)
    assert platform.backend(client="remote").status_code == 200

    host.serve({"keys": [fresh.as_dict(private=False)]}, "max-age=600")
    new = token_flow.signed_by(platform, "remote", fresh)

    assert platform.backend(client="remote", client_assertion=new).status_code == 200
    refused(platform.backend(client="remote"), "invalid_client", 401)


def test_a_removed_key_is_refused_once_the_cache_life_ends(platform: Platform, host: JwksHost) -> None:
    """C11."""
    host.serve(JWKS, "max-age=60")
    by_url(platform, host)
    assert platform.backend(client="remote").status_code == 200

    host.serve({"keys": [RSA.as_dict(private=False)]}, "max-age=60")
    assert platform.backend(client="remote").status_code == 200
    platform.clock.advance(timedelta(seconds=60))

    refused(platform.backend(client="remote"), "invalid_client", 401)


def test_a_kid_that_comes_back_with_other_material_raises_an_event(
    platform: Platform, host: JwksHost
) -> None:
    """C11."""
    other = ECKey.generate_key("P-384", {"kid": "ec-1"})
    host.serve(JWKS, "no-store")
    by_url(platform, host)
    platform.backend(client="remote")

    host.serve({"keys": [other.as_dict(private=False)]}, "no-store")
    answer = platform.backend(
        client="remote", client_assertion=token_flow.signed_by(platform, "remote", other)
    )

    assert answer.status_code == 200
    assert [event.facts["kids"] for event in platform.events("authserver.jwks.replace_key")] == [["ec-1"]]


@pytest.mark.parametrize(
    "page",
    [
        Page(500),
        Page(404),
        Page(200, body=b""),
        Page(200, body=b"<html>"),
        Page(200, body=b"[]"),
        Page(200, body=b'{"keys": {}}'),
        Page(200, body=b'{"keys": [1]}'),
        Page(200, body=b'{"keys": []}'),
        Page(302, {"Location": "http://169.254.169.254/"}),
        Page(200, body=b'{"keys": [' + b"{}," * 60 + b"{}]}"),
    ],
)
def test_a_key_set_that_cannot_be_had_opens_nothing(platform: Platform, host: JwksHost, page: Page) -> None:
    """C10: a fetch failure never opens access."""
    host.pages["/jwks.json"] = page
    by_url(platform, host)

    refused(platform.backend(client="remote"), "invalid_client", 401)


def test_a_host_that_fails_after_the_cache_ended_closes_the_door_again(
    platform: Platform, host: JwksHost
) -> None:
    """C10."""
    host.serve(JWKS, "max-age=60")
    by_url(platform, host)
    assert platform.backend(client="remote").status_code == 200

    host.pages["/jwks.json"] = Page(500)
    assert platform.backend(client="remote").status_code == 200
    platform.clock.advance(timedelta(seconds=60))

    refused(platform.backend(client="remote"), "invalid_client", 401)


def test_unknown_kids_make_us_ask_again_only_so_often(platform: Platform, host: JwksHost) -> None:
    """C10: an assertion with an unknown kid may be anybody's."""
    stranger = ECKey.generate_key("P-384", {"kid": "nobody"})
    host.serve(JWKS, "max-age=600")
    by_url(platform, host)

    for _ in range(12):
        refused(
            platform.backend(
                client="remote", client_assertion=token_flow.signed_by(platform, "remote", stranger)
            ),
            "invalid_client",
            401,
        )

    assert host.times_asked() == 7
    assert platform.backend(client="remote").status_code == 200


def test_a_jku_is_taken_only_when_it_is_the_registered_one(platform: Platform, host: JwksHost) -> None:
    """C51."""
    host.serve(JWKS)
    by_url(platform, host)

    def ask(jku: str) -> Any:
        assertion = token_flow.signed_by(platform, "remote", EC, jku=jku)
        return platform.backend(client="remote", client_assertion=assertion)

    assert ask(host.jwks_uri).status_code == 200
    refused(ask(f"{host.origin}/other.json"), "invalid_client", 401)
    assert host.times_asked("/other.json") == 0


def test_an_assertion_beside_another_clients_id_is_refused(platform: Platform) -> None:
    form = {
        "grant_type": "client_credentials",
        "scope": "system/*.rs",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": platform.assertion("backend"),
        "client_id": platform.clients["public"].id,
    }

    refused(platform.http.post(f"/t/{MERCY}/oauth/token", data=form), "invalid_client", 401)


def test_an_assertion_for_one_tenant_is_worth_nothing_at_another(platform: Platform) -> None:
    """C37, C51."""
    platform.run(
        lambda ctx: installations.install(
            ctx, InstallOrder(OTHER, platform.clients["backend"].app, frozenset())
        )
    )
    form = {"grant_type": "client_credentials", "scope": "system/*.rs"}
    form["client_assertion"] = platform.assertion("backend", tenant=MERCY)

    refused(platform.post("token", "backend", form, OTHER), "invalid_client", 401)


# --- failures (C57) ------------------------------------------------------------------------------------------------------------


def test_repeated_failures_slow_one_client_at_one_address_and_nobody_else(platform: Platform) -> None:
    """C57."""
    from hilum.authorization.token.failure_limiter import FAILURES_BOUND
    from hilum.foundation.standards.strangers import WINDOW_S

    good, platform.secrets["symmetric"] = platform.secrets["symmetric"], "wrong"
    for _ in range(FAILURES_BOUND):
        refused(platform.refresh("x", "symmetric"), "invalid_client", 401)

    slowed = platform.refresh("x", "symmetric")
    platform.secrets["symmetric"] = good
    still = platform.redeem(platform.code("symmetric"), "symmetric")

    refused(slowed, "temporarily_unavailable", 429)
    refused(still, "temporarily_unavailable", 429)
    assert 0 < int(slowed.headers["retry-after"]) <= WINDOW_S
    assert platform.backend().status_code == 200
    assert platform.redeem(platform.code()).status_code == 200
    platform.clock.advance(timedelta(seconds=WINDOW_S))
    assert platform.redeem(platform.code("symmetric"), "symmetric").status_code == 200


def test_a_flood_of_refusals_is_recorded_singly_at_first_and_then_as_one_counted(platform: Platform) -> None:
    """Security decision 5: the first 20 of an address and minute singly, the rest as one record that tells how many; none is lost."""
    from hilum.authorization.token.failure_limiter import FAILURES_BOUND
    from hilum.foundation.standards.strangers import RECORDED_BOUND, WINDOW_S

    more = FAILURES_BOUND + 10
    for n in range(RECORDED_BOUND + 10):
        form = {"grant_type": "refresh_token", "refresh_token": "x", "client_id": f"nobody-{n}"}
        refused(platform.http.post(f"/t/{MERCY}/oauth/token", data=form), "invalid_client", 401)
    assert len(platform.events("authserver.token.refuse")) == RECORDED_BOUND
    for n in range(more):
        form = {"grant_type": "refresh_token", "refresh_token": "x", "client_id": "somebody"}
        slowed = platform.http.post(f"/t/{MERCY}/oauth/token", data=form)
        assert slowed.status_code == (401 if n < FAILURES_BOUND else 429)
    for _ in range(5):
        assert platform.http.post("/t/made-up/oauth/token", data=form).status_code == 429
    assert len(platform.events("authserver.token.refuse")) == RECORDED_BOUND

    platform.clock.advance(timedelta(seconds=WINDOW_S))
    refused(platform.http.post(f"/t/{MERCY}/oauth/token", data=form), "invalid_client", 401)

    until(lambda: len(platform.events("authserver.token.refuse")) == RECORDED_BOUND + 2)
    told = platform.events("authserver.token.refuse")
    (counted,) = [each for each in told if each.reason == "folded"]
    assert counted.tenant == MERCY
    assert counted.facts == {"count": 10 + more}
