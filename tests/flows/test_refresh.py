"""Refreshing: rotation, replay, fewer scopes, and what ends a grant (C36, C48, C49, C140)."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder, NarrowOrder
from hilum.apps.registry import service as registry
from hilum.authorization.consent import service as consent
from hilum.authorization.launches import service as launches
from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens.models import REPEAT_WITHIN
from hilum.controls.switches.models import Mode, TargetKind
from hilum.foundation.kernel.ids import SessionId
from hilum.identity.people import service as identity
from hilum.identity.signin import service as signin
from tests.flows import token_flow
from tests.flows.token_flow import LAUNCH_SCOPES, MERCY, OTHER, Platform, refused
from tests.sim.one_world import in_one_world
from tests.unit.policy.matrix.books import LIFETIMES

platform = token_flow.platform
ONLINE = ("launch", "openid", "fhirUser", "online_access", "patient/Observation.rs")


def test_a_refresh_earns_a_new_pair_of_tokens(platform: Platform) -> None:
    """C48; RFC 6749 section 6; conformance 1.5."""
    first = platform.earn()

    answer = platform.refresh(first["refresh_token"])

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    body = answer.json()
    assert body["token_type"] == "Bearer"
    assert body["scope"] == first["scope"]
    assert body["patient"] == "p1"
    assert body["encounter"] == "e1"
    assert body["need_patient_banner"] is False
    assert body["access_token"] != first["access_token"]
    assert body["refresh_token"] != first["refresh_token"]
    assert platform.is_alive(body["access_token"])


@pytest.mark.parametrize("client", ["public", "symmetric", "asymmetric"])
def test_every_kind_of_client_refreshes_with_and_without_scope(platform: Platform, client: str) -> None:
    """Conformance 1.5 and 9.21."""
    first = platform.earn(client)

    second = platform.refresh(first["refresh_token"], client)
    third = platform.refresh(second.json()["refresh_token"], client, scope=first["scope"])

    assert second.status_code == third.status_code == 200
    assert third.json()["scope"].split() == first["scope"].split()


def test_a_replayed_refresh_token_ends_its_family(platform: Platform) -> None:
    """C48; RFC 9700 section 4.14.2; the revocation commits although the request is refused."""
    first = platform.earn()
    second = platform.refresh(first["refresh_token"]).json()
    platform.clock.advance(REPEAT_WITHIN)

    refused(platform.refresh(first["refresh_token"]), "invalid_grant")

    assert not platform.is_alive(second["access_token"])
    assert not platform.is_alive(first["access_token"])
    refused(platform.refresh(second["refresh_token"]), "invalid_grant")
    assert any(event.reason == "refresh_reused" for event in platform.events("tokens.refresh.redeem"))


def nameless(platform: Platform, token: str, **fields: str) -> Any:
    """Refresh and say nothing of the client, as browsers' libraries do."""
    form = {"grant_type": "refresh_token", "refresh_token": token} | fields
    return platform.http.post(f"/t/{MERCY}/oauth/token", data=form)


def test_the_refresh_token_of_a_public_client_names_its_client(platform: Platform) -> None:
    """RFC 6749 section 6: a refresh has no client_id among its parameters; SMART App Launch 2.2, #refresh-access-token; C48."""
    first = platform.earn()

    second = nameless(platform, first["refresh_token"])

    assert second.status_code == 200, second.text
    assert platform.introspect(second.json()["access_token"])["client_id"] == platform.clients["public"].id
    platform.clock.advance(REPEAT_WITHIN)
    refused(nameless(platform, first["refresh_token"]), "invalid_grant")
    assert not platform.is_alive(second.json()["access_token"])


@pytest.mark.parametrize("client", ["symmetric", "asymmetric"])
def test_the_refresh_token_of_a_client_with_credentials_does_not_stand_for_them(
    platform: Platform, client: str
) -> None:
    """RFC 6749 section 6: a confidential client must authenticate. The answer is that to a token nobody knows."""
    first = platform.earn(client)

    told = refused(nameless(platform, first["refresh_token"]), "invalid_client", 401)

    assert told == refused(nameless(platform, "hil_rt_made-up"), "invalid_client", 401)
    assert platform.refresh(first["refresh_token"], client).status_code == 200


def test_a_refresh_token_names_nobody_at_another_tenant_or_beside_another_name(platform: Platform) -> None:
    """C37; RFC 6749 section 3.2: whatever is said of the client is what counts."""
    token = platform.earn()["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": token}

    elsewhere = platform.http.post(f"/t/{OTHER}/oauth/token", data=form)

    refused(elsewhere, "invalid_client", 401)
    refused(nameless(platform, token, client_id=platform.clients["symmetric"].id), "invalid_client", 401)
    refused(nameless(platform, token, client_id="nobody"), "invalid_client", 401)
    assert platform.refresh(token).status_code == 200


@pytest.mark.parametrize("client", ["symmetric", "asymmetric"])
def test_another_client_neither_uses_nor_ends_a_refresh_token(platform: Platform, client: str) -> None:
    """C48, C50: bound to the client it was issued to."""
    first = platform.earn()

    refused(platform.refresh(first["refresh_token"], client), "invalid_grant")

    assert platform.refresh(first["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    "token",
    ["00000000-0000-4000-8000-000000000000", "hil_rt_" + "x" * 43 + "_" + "y" * 8, "x", "é", "hil_at_"],
)
def test_an_unknown_refresh_token_is_400(platform: Platform, token: str) -> None:
    """Conformance 3.1, g10_invalid_token_refresh."""
    refused(platform.refresh(token), "invalid_grant")


def test_an_access_token_is_no_refresh_token(platform: Platform) -> None:
    refused(platform.refresh(platform.earn()["access_token"]), "invalid_grant")


# --- scopes (C49) --------------------------------------------------------------------------------------------------------------


def test_a_refresh_may_ask_for_fewer_scopes_and_gets_all_again_later(platform: Platform) -> None:
    """C49; RFC 6749 section 6: the new refresh token keeps the scopes of the old."""
    first = platform.earn()

    less = platform.refresh(first["refresh_token"], scope="launch patient/Observation.r").json()
    more = platform.refresh(less["refresh_token"]).json()

    assert less["scope"] == "launch patient/Observation.r"
    assert platform.introspect(less["access_token"])["scope"] == "launch patient/Observation.r"
    assert more["scope"] == first["scope"]


@in_one_world(
    "wider",
    [
        "patient/*.rs",
        "patient/Observation.cruds",
        "patient/Observation.crs",
        "patient/Condition.rs",
        "user/Observation.rs",
        "system/Observation.rs",
        "launch/patient",
        "online_access",
        "hilum/launch",
        "patient/Observation.rs patient/Condition.rs",
        "patient/Observation.*",
        "patient/Observation.sr",
        "nonsense",
        "patient/",
        "\x00",
    ],
)
def test_a_refresh_never_asks_for_more(platform: Platform, wider: str) -> None:
    """C49: covered letter by letter, not compared as text; and the refusal does not use the token up."""
    first = platform.earn()

    refused(platform.refresh(first["refresh_token"], scope=wider), "invalid_scope")

    assert platform.refresh(first["refresh_token"]).status_code == 200


def test_a_constrained_scope_is_within_the_unconstrained_and_not_the_other_way(platform: Platform) -> None:
    wide = platform.earn()
    narrow = platform.earn(scopes=(*LAUNCH_SCOPES[:4], "patient/Observation.rs?category=laboratory"))

    inside = platform.refresh(wide["refresh_token"], scope="patient/Observation.rs?category=laboratory")

    assert inside.json()["scope"] == "patient/Observation.rs?category=laboratory"
    refused(platform.refresh(narrow["refresh_token"], scope="patient/Observation.rs"), "invalid_scope")
    refused(
        platform.refresh(narrow["refresh_token"], scope="patient/Observation.rs?category=vital-signs"),
        "invalid_scope",
    )


def test_a_refresh_without_the_launch_scope_discloses_nothing_of_the_launch(platform: Platform) -> None:
    """C32."""
    body = platform.refresh(platform.earn()["refresh_token"], scope="patient/Observation.rs").json()

    assert not {"patient", "encounter", "intent", "need_patient_banner", "smart_style_url"} & set(body)


# --- life ----------------------------------------------------------------------------------------------------------------------


def test_an_unused_refresh_token_lasts_more_than_three_months_and_each_use_starts_again(
    platform: Platform,
) -> None:
    """C49: never under the regulatory minimum; conformance 3.7."""
    token = platform.earn()["refresh_token"]

    for _ in range(3):
        platform.clock.advance(timedelta(days=100))
        answer = platform.refresh(token)
        assert answer.status_code == 200, answer.text
        token = answer.json()["refresh_token"]

    assert timedelta(days=92) < LIFETIMES.refresh_token


def test_a_refresh_token_ends_with_its_authorization(platform: Platform) -> None:
    """C49, C89."""
    token = platform.earn(authorization_expires_at=platform.clock.now() + timedelta(days=30))["refresh_token"]

    platform.clock.advance(timedelta(days=30))

    assert "authorization_expired" in refused(platform.refresh(token), "invalid_grant")


def test_offline_access_survives_the_end_of_the_session(platform: Platform) -> None:
    """C36."""
    session, launch = platform.begin_session(), platform.open_launch()
    by_session = platform.earn(session=session)
    by_launch = platform.earn(launch=launch)

    platform.run(lambda ctx: signin.end_session(ctx, SessionId(session)))
    platform.as_ehr(lambda ctx: launches.end(ctx, launch))
    platform.clock.advance(timedelta(days=2))

    assert platform.refresh(by_session["refresh_token"]).status_code == 200
    assert platform.refresh(by_launch["refresh_token"]).status_code == 200


def test_online_access_ends_with_the_session(platform: Platform) -> None:
    """C36: a standalone launch lives with the browser's session."""
    session = platform.begin_session()
    body = platform.earn(scopes=ONLINE, session=session)
    body = platform.refresh(body["refresh_token"]).json()

    platform.run(lambda ctx: signin.end_session(ctx, SessionId(session)))

    refused(platform.refresh(body["refresh_token"]), "invalid_grant")
    assert not platform.is_alive(body["access_token"])


def test_online_access_ends_with_the_ehr_session(platform: Platform) -> None:
    """C36: an EHR launch lives until the EHR ends it, whatever the browser's session does."""
    session, launch = platform.begin_session(), platform.open_launch()
    body = platform.earn(scopes=ONLINE, session=session, launch=launch)

    platform.run(lambda ctx: signin.end_session(ctx, SessionId(session)))
    body = platform.refresh(body["refresh_token"]).json()
    platform.as_ehr(lambda ctx: launches.end(ctx, launch))

    refused(platform.refresh(body["refresh_token"]), "invalid_grant")
    assert not platform.is_alive(body["access_token"])


def test_a_token_refreshed_after_the_chart_moved_knows_that_it_moved(platform: Platform) -> None:
    """C35: the gateway judges it by that mark; the context in the answer stays the one of the launch."""
    from hilum.authorization.tokens import service as tokens

    launch = platform.open_launch()
    body = platform.earn(launch=launch)
    platform.as_ehr(lambda ctx: launches.move(ctx, launch, "p2", ""))

    fresh = platform.refresh(body["refresh_token"]).json()

    found = platform.run(lambda ctx: tokens.find_access(ctx, fresh["access_token"]))
    assert found is not None
    assert found.launch_moved
    assert fresh["patient"] == "p1"


# --- judged again at every refresh ---------------------------------------------------------------------------------------------


def is_dead(platform: Platform, body: dict[str, Any], client: str = "public") -> bool:
    assert not platform.is_alive(body["access_token"])
    refused(platform.refresh(body["refresh_token"], client), "invalid_grant")
    return True


def test_withdrawing_the_agreement_ends_codes_access_and_refresh(platform: Platform) -> None:
    """C91; conformance 9.3."""
    from hilum.authorization.tokens import service as tokens

    body, waiting = platform.earn(), platform.code()
    found = platform.run(lambda ctx: tokens.find_access(ctx, body["access_token"]))
    assert found is not None

    platform.run(lambda ctx: consent.withdraw(ctx, found.authorization))

    assert is_dead(platform, body)
    refused(platform.redeem(waiting), "invalid_grant")


def test_a_narrowed_agreement_narrows_the_refresh(platform: Platform) -> None:
    from hilum.authorization.tokens import service as tokens

    body = platform.earn()
    found = platform.run(lambda ctx: tokens.find_access(ctx, body["access_token"]))
    assert found is not None
    kept = tuple(text for text in LAUNCH_SCOPES if text != "patient/Observation.rs")

    platform.run(lambda ctx: consent.narrow(ctx, found.authorization, kept))

    assert not platform.is_alive(body["access_token"])
    assert platform.refresh(body["refresh_token"]).json()["scope"].split() == list(kept)


def test_somebody_deactivated_refreshes_no_more(platform: Platform) -> None:
    body, waiting = platform.earn(), platform.code()

    platform.run(lambda ctx: identity.deactivate_person(ctx, platform.people["dora"].id))

    assert is_dead(platform, body)
    refused(platform.redeem(waiting), "invalid_grant")


def test_an_uninstalled_app_refreshes_no_more_and_a_new_installation_revives_nothing(
    platform: Platform,
) -> None:
    """C146: the old tokens belong to the installation that was removed."""
    body, waiting = platform.earn(), platform.code()
    app = platform.clients["public"].app
    installed = platform.run(lambda ctx: installations.list_installations(ctx, MERCY))
    own = next(each for each in installed if each.app == app)

    platform.run(lambda ctx: installations.uninstall(ctx, own.id))
    assert is_dead(platform, body)
    platform.clock.advance(timedelta(seconds=1))
    platform.run(lambda ctx: installations.install(ctx, InstallOrder(MERCY, app, frozenset({"physician"}))))

    assert is_dead(platform, body)
    refused(platform.redeem(waiting), "invalid_grant")
    assert platform.is_alive(platform.earn()["access_token"])


def test_a_narrowed_installation_narrows_the_refresh_and_a_role_taken_out_ends_it(platform: Platform) -> None:
    """C68, C147."""
    body = platform.earn()
    app = platform.clients["public"].app
    own = next(
        each
        for each in platform.run(lambda ctx: installations.list_installations(ctx, MERCY))
        if each.app == app
    )
    clinical = ("patient/", "user/")
    kept = (*(text for text in own.scopes if not text.startswith(clinical)), "patient/Patient.rs")

    platform.run(lambda ctx: installations.narrow_installation(ctx, own.id, NarrowOrder(scopes=kept)))
    fresh = platform.refresh(body["refresh_token"]).json()
    platform.run(
        lambda ctx: installations.narrow_installation(ctx, own.id, NarrowOrder(roles=frozenset({"nurse"})))
    )

    assert "patient/Observation.rs" not in fresh["scope"]
    assert "patient/Patient.rs" in fresh["scope"]
    assert is_dead(platform, fresh)


def test_a_withdrawn_certification_and_a_suspended_app_end_everything(platform: Platform) -> None:
    public, symmetric = platform.earn(), platform.earn("symmetric")
    app = platform.clients["public"].app
    certified = platform.run(lambda ctx: registry.list_certifications(ctx, app))

    for each in certified:
        platform.run(partial(registry.withdraw_certification, certification_id=each.id))
    platform.run(lambda ctx: registry.suspend_app(ctx, platform.clients["symmetric"].app, "A test"))

    assert is_dead(platform, public)
    assert is_dead(platform, symmetric, "symmetric")


# --- kill switches (C140) ------------------------------------------------------------------------------------------------------


def keys_of(platform: Platform) -> dict[TargetKind, str]:
    client, person = platform.clients["public"], platform.people["dora"].id
    return {
        TargetKind.PLATFORM: "",
        TargetKind.TENANT: MERCY,
        TargetKind.VENDOR: platform.vendor,
        TargetKind.APP: client.app,
        TargetKind.VERSION: client.version,
        TargetKind.PERSON: person,
        TargetKind.APP_TENANT: f"{client.app}/{MERCY}",
        TargetKind.APP_PERSON: f"{client.app}/{person}",
    }


@pytest.mark.parametrize("kind", [kind for kind in TargetKind if kind not in {"scope", "resource_type"}])
def test_a_switch_stops_code_refresh_and_introspection_and_its_end_revives_nothing(
    platform: Platform, kind: TargetKind
) -> None:
    """C140, C143; security decision 8."""
    body, early, held = platform.earn(), platform.code(), platform.code()
    platform.clock.advance(timedelta(seconds=1))

    switch = platform.engage(kind, keys_of(platform)[kind])

    assert not platform.is_alive(body["access_token"])
    assert "switch_engaged" in refused(platform.refresh(body["refresh_token"]), "invalid_grant")
    assert "switch_engaged" in refused(platform.redeem(early), "invalid_grant")
    platform.clock.advance(timedelta(seconds=1))
    platform.release(switch)
    platform.clock.advance(timedelta(seconds=1))
    assert is_dead(platform, body)
    refused(platform.redeem(held), "invalid_grant")
    assert platform.is_alive(platform.earn()["access_token"])


def test_a_switch_on_a_scope_drops_it_for_good_and_leaves_the_rest(platform: Platform) -> None:
    """C140; security decision 8: releasing revives nothing, not even by two refreshes."""
    body = platform.earn()
    platform.clock.advance(timedelta(seconds=1))
    switch = platform.engage(TargetKind.SCOPE, "patient/Observation.rs")

    during = platform.refresh(body["refresh_token"]).json()
    assert "patient/Observation.rs" not in during["scope"]
    assert "patient/Patient.rs" in during["scope"]
    assert "patient/Observation.rs" not in platform.introspect(body["access_token"])["scope"]
    platform.clock.advance(timedelta(seconds=1))
    platform.release(switch)
    platform.clock.advance(timedelta(seconds=1))

    after = platform.refresh(during["refresh_token"]).json()
    again = platform.refresh(after["refresh_token"]).json()
    assert "patient/Observation.rs" not in after["scope"] + again["scope"]
    assert "patient/Observation.rs" in platform.earn()["scope"]


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.NO_NEW_LAUNCHES, Mode.READ_ONLY])
def test_a_softer_mode_leaves_refreshes_alone(platform: Platform, mode: Mode) -> None:
    """C142."""
    body = platform.earn()

    platform.engage(TargetKind.APP, platform.clients["public"].app, mode)

    assert platform.refresh(body["refresh_token"]).status_code == 200


def test_a_switch_in_another_tenant_changes_nothing_here(platform: Platform) -> None:
    """C144."""
    body = platform.earn()

    platform.engage(TargetKind.TENANT, OTHER)

    assert platform.is_alive(body["access_token"])
    assert platform.refresh(body["refresh_token"]).status_code == 200


# --- access while away, taken back (C91, C93) -----------------------------------------------------------------------------------


def narrowed(platform: Platform, body: dict[str, Any], *without: str) -> None:
    """Take scopes out of the agreement behind a token, as its person does on the page of connected apps."""
    held = platform.run(partial(tokens.find_refresh, presented=body["refresh_token"]))
    assert held is not None
    kept = [scope for scope in held.grant.scopes if scope not in without]
    platform.run(partial(consent.narrow, authorization=held.grant.authorization, scopes=kept))


def test_whoever_takes_back_access_while_away_ends_refreshing(platform: Platform) -> None:
    """C91, C93: what is unticked on the page of connected apps is gone; nothing but ``offline_access`` outlives the session (C36)."""
    body = platform.earn()

    narrowed(platform, body, "offline_access")

    refused(platform.refresh(body["refresh_token"]), "invalid_grant")
    assert not platform.is_alive(body["refresh_token"])


def test_what_is_left_of_offline_access_may_be_online_access(platform: Platform) -> None:
    """C36, C93."""
    session = platform.begin_session()
    body = platform.earn(scopes=(*LAUNCH_SCOPES, "online_access"), session=session)
    narrowed(platform, body, "offline_access")

    answer = platform.refresh(body["refresh_token"])
    assert answer.status_code == 200, answer.text
    platform.run(lambda ctx: signin.end_session(ctx, SessionId(session)))

    refused(platform.refresh(answer.json()["refresh_token"]), "invalid_grant")


def test_access_while_away_that_became_online_access_is_over_with_a_session_that_ended_before(
    platform: Platform,
) -> None:
    """C36, C93."""
    session = platform.begin_session()
    body = platform.earn(scopes=(*LAUNCH_SCOPES, "online_access"), session=session)
    platform.run(lambda ctx: signin.end_session(ctx, SessionId(session)))
    narrowed(platform, body, "offline_access")

    refused(platform.refresh(body["refresh_token"]), "invalid_grant")


def test_a_hospital_that_takes_back_offline_access_ends_refreshing(platform: Platform) -> None:
    """C36: an installation may be narrowed to less than what was certified."""
    body = platform.earn()
    app = platform.clients["public"].app
    listed = platform.run(partial(installations.list_installations, tenant=MERCY))
    own = next(each for each in listed if each.app == app)
    less = tuple(scope for scope in own.scopes if scope not in {"offline_access", "online_access"})

    platform.run(lambda ctx: installations.narrow_installation(ctx, own.id, NarrowOrder(scopes=less)))

    refused(platform.refresh(body["refresh_token"]), "invalid_grant")
