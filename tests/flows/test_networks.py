"""A hospital pins its backend services to networks; what comes from elsewhere is refused at the token endpoint and the gateway (C213)."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.errors import Conflict, HilumError, Invalid
from hilum.foundation.kernel.ids import TenantId
from tests.flows import token_flow
from tests.flows.gateway_ground import GENERAL, Ground, Play, patient
from tests.flows.token_flow import BASE, MERCY, OTHER, TRACE, Platform, refused
from tests.sim.site_client import SiteClient

platform = token_flow.platform


INSIDE, OUTSIDE = "192.0.2.0/24", "198.51.100.0/24"


def pin(run: Any, app: str, *networks: str, tenant: TenantId = MERCY) -> None:
    (held,) = [
        each for each in run(partial(installations.list_installations, tenant=tenant)) if each.app == app
    ]
    run(partial(installations.pin_networks, installation_id=held.id, asked=networks))


def come_from(platform: Platform, source: str) -> None:
    """Let the next requests come from an address, as the dispatcher would report it."""
    inner = platform.http.app

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope.setdefault("state", {})
            scope["state"] |= {"request_id": "req_test", "source": source}
        await inner(scope, receive, send)

    platform.http = SiteClient(app, base_url=BASE)


@pytest.mark.parametrize(
    ("source", "admitted"),
    [("192.0.2.9", True), ("::ffff:192.0.2.9", True), ("192.0.3.9", False), ("", False), ("proxy", False)],
)
def test_a_token_is_issued_to_whoever_comes_from_a_pinned_network_alone(
    platform: Platform, source: str, admitted: bool
) -> None:
    """C213: an address that is not known is outside."""
    pin(platform.run, platform.clients["backend"].app, INSIDE)
    come_from(platform, source)

    answer = platform.backend()

    if admitted:
        assert answer.status_code == 200, answer.text
    else:
        assert "network_not_allowed" in refused(answer, "unauthorized_client")
        assert "network_not_allowed" in str(platform.events("authserver.token.refuse")[-1].facts["detail"])


def test_a_pin_is_the_hospitals_own_and_concerns_no_people(platform: Platform) -> None:
    come_from(platform, "203.0.113.1")
    app = platform.clients["backend"].app
    platform.run(
        lambda ctx: installations.install(
            ctx, InstallOrder(OTHER, app, frozenset(), networks=("203.0.113.1",))
        )
    )
    pin(platform.run, app, INSIDE)

    assert platform.post("token", "backend", GRANT, OTHER).status_code == 200
    assert platform.redeem(platform.code()).status_code == 200


GRANT = {"grant_type": "client_credentials", "scope": "system/*.rs"}


def test_the_gateway_follows_a_pin_at_once_for_tokens_that_are_out(play: Play) -> None:
    """C213: by the change feed; requests of people go on, and another pin admits again."""

    async def story(ground: Ground) -> None:
        ground.load(patient("p1"))
        app = ground.clients["backend"].app
        service, person = (
            ground.token("system/Patient.rs", client="backend"),
            ground.token("patient/Patient.rs"),
        )
        assert (await ground.get("Patient/p1", service)).status == 200

        pin(ground.run, app, OUTSIDE, tenant=GENERAL)
        refused_ = await ground.get("Patient/p1", service)
        written = await ground.send("PUT", "Patient/p1", service, body=patient("p1"))
        assert (refused_.status, b"network_not_allowed" in refused_.body) == (403, True)
        assert written.status == 403
        assert (await ground.get("Patient/p1", person)).status == 200

        pin(ground.run, app, OUTSIDE, INSIDE, tenant=GENERAL)
        assert (await ground.get("Patient/p1", service)).status == 200
        pin(ground.run, app, tenant=GENERAL)
        assert (await ground.get("Patient/p1", service)).status == 200

    play(story)


@pytest.mark.parametrize(
    ("networks", "fault"),
    [
        (["192.0.2.1/24"], "network_malformed"),
        (["::/0"], "network_of_everything"),
        (["nowhere"], "network_malformed"),
    ],
)
def test_networks_that_limit_nothing_or_cannot_be_read_are_refused(
    platform: Platform, networks: list[str], fault: str
) -> None:
    with pytest.raises(Invalid) as caught:
        pin(platform.run, platform.clients["backend"].app, *networks)

    assert caught.value.fields == {"networks": fault}


def test_what_has_ended_by_its_date_is_not_pinned(platform: Platform) -> None:
    app = platform.clients["backend"].app
    end = platform.clock.now() + timedelta(days=1)
    platform.run(partial(installations.install, order=InstallOrder(OTHER, app, frozenset(), expires_at=end)))
    platform.clock.advance(timedelta(days=1))

    with pytest.raises(Conflict):
        pin(platform.run, app, INSIDE, tenant=OTHER)

    assert platform.events("registry.installation.pin") == []


def test_an_app_that_only_people_use_has_no_networks(platform: Platform) -> None:
    with pytest.raises(Invalid) as caught:
        pin(platform.run, platform.clients["public"].app, INSIDE)

    assert caught.value.fields == {"networks": "networks_not_for_people"}


def test_security_staff_pin_further_and_only_the_hospital_loosens(platform: Platform) -> None:
    """C213: to admit more is as to install; both are on record with what was before."""
    app = platform.clients["backend"].app
    (held,) = [
        each
        for each in platform.run(installations.list_installations)
        if (each.app, each.tenant) == (app, MERCY)
    ]
    asked = partial(installations.pin_networks, installation_id=held.id)
    security = Actor(ActorKind.STAFF, "sam", roles=frozenset({"security"}))
    own, other = (Actor(ActorKind.PERSON, "a", at, frozenset({"administrator"})) for at in (MERCY, OTHER))

    def act(actor: Actor, *networks: str) -> None:
        platform.uow.write_now(partial(asked, asked=networks), actor=actor, trace=TRACE)

    act(security, INSIDE)
    for actor, networks in ((security, ()), (security, (INSIDE, OUTSIDE)), (other, (INSIDE,))):
        with pytest.raises(HilumError):
            act(actor, *networks)
    act(own)

    events = platform.events("registry.installation.pin")
    assert [(each.outcome, each.facts.get("before")) for each in events if each.outcome == "done"] == [
        ("done", [INSIDE]),
        ("done", []),
    ]
