"""What makes an app ineligible and eligible again revives nothing that was issued before (security decision 8; C71, C140, C146)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from starlette.applications import Starlette

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import Client
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder, NarrowOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import CertifyOrder, Environment, NewVersion
from hilum.authorization.launches import routes as launch_routes
from hilum.authorization.launches import service as launches
from hilum.authorization.launches.models import LaunchOrder
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.settings import Mode
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.errors import NotPermitted
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.foundation.web.kit import Kit
from hilum.identity.people import service as identity
from hilum.identity.people.models import TenantChange
from tests.flows import token_flow
from tests.flows.gateway_ground import GENERAL, Ground, Play
from tests.flows.token_flow import BASE, MERCY, Platform, refused
from tests.sim.proofs import all_proved
from tests.sim.site_client import SiteClient

platform = token_flow.platform
ROLES = frozenset({"physician", "nurse", "patient"})
YEAR = timedelta(days=365)
Step = Callable[[Context, Client, TenantId], Any]


def suspend(ctx: Context, client: Client, _: TenantId) -> None:
    registry.suspend_app(ctx, client.app, "under investigation")


def resume(ctx: Context, client: Client, _: TenantId) -> None:
    registry.resume_app(ctx, client.app, "cleared")


def withdraw(ctx: Context, client: Client, _: TenantId) -> None:
    for each in registry.list_certifications(ctx, client.app):
        if each.withdrawn_at is None:
            registry.withdraw_certification(ctx, each.id)


def certify(ctx: Context, client: Client, _: TenantId) -> None:
    held = registry.list_certifications(ctx, client.app)[0]
    order = CertifyOrder(client.version, held.environment, held.scopes, ctx.now + YEAR)
    registry.certify(ctx, order, unproved=all_proved)


def uninstall(ctx: Context, client: Client, tenant: TenantId) -> None:
    for each in installations.list_installations(ctx, tenant):
        if each.app == client.app:
            installations.uninstall(ctx, each.id)


def install(ctx: Context, client: Client, tenant: TenantId) -> None:
    installations.install(ctx, InstallOrder(tenant, client.app, ROLES))


def close(ctx: Context, _: Client, tenant: TenantId) -> None:
    identity.update_tenant(ctx, tenant, TenantChange(active=False))


def reopen(ctx: Context, _: Client, tenant: TenantId) -> None:
    identity.update_tenant(ctx, tenant, TenantChange(active=True))


TAKEN_AND_GIVEN: dict[str, tuple[Step, Step]] = {
    "suspended and resumed": (suspend, resume),
    "certification withdrawn and given again": (withdraw, certify),
    "uninstalled and installed again": (uninstall, install),
    "the tenant closed and reopened": (close, reopen),
}


def adopt(ctx: Context, client: Client, _: TenantId) -> None:
    version = registry.add_version(ctx, client.app, NewVersion("2.0"))
    held = registry.list_certifications(ctx, client.app)[0]
    order = CertifyOrder(version.id, held.environment, held.scopes, ctx.now + YEAR)
    registry.certify(ctx, order, unproved=all_proved)
    clients.adopt_version(ctx, client.id, version.id)


def narrow(ctx: Context, client: Client, tenant: TenantId) -> None:
    found = next(each for each in installations.list_installations(ctx, tenant) if each.app == client.app)
    installations.narrow_installation(ctx, found.id, NarrowOrder(roles=frozenset({"physician"})))


def renew(ctx: Context, client: Client, tenant: TenantId) -> None:
    before = registry.list_certifications(ctx, client.app)[0]
    certify(ctx, client, tenant)
    registry.withdraw_certification(replace(ctx, now=ctx.now + timedelta(seconds=1)), before.id)


def suspend_another(ctx: Context, client: Client, tenant: TenantId) -> None:
    other = next(each.app for each in installations.list_installations(ctx, tenant) if each.app != client.app)
    registry.suspend_app(ctx, AppId(other), "another app")
    registry.resume_app(ctx, AppId(other), "another app")


UNBROKEN: dict[str, Step] = {
    "an update to a new certified version": adopt,
    "a narrowing that leaves the role": narrow,
    "a certification renewed before the old one was withdrawn": renew,
    "another app suspended and resumed": suspend_another,
}


def step(platform: Platform, what: Step) -> None:
    platform.clock.advance(timedelta(seconds=1))
    platform.run(lambda ctx: what(ctx, platform.clients["public"], MERCY))
    platform.clock.advance(timedelta(seconds=1))


@pytest.mark.parametrize("case", TAKEN_AND_GIVEN)
def test_old_tokens_codes_and_launches_stay_dead_and_new_ones_live(platform: Platform, case: str) -> None:
    """At the token endpoint, at introspection and at the EHR's door, as after a full stop."""
    take, give = TAKEN_AND_GIVEN[case]
    earned, code = platform.earn(), platform.code()
    order = LaunchOrder(platform.clients["public"].id, "dora", "p1", "e1")
    handle = platform.as_ehr(lambda ctx: launches.open_launch(ctx, order)).handle
    assert platform.is_alive(earned["access_token"])

    step(platform, take)
    step(platform, give)

    assert not platform.is_alive(earned["access_token"])
    assert not platform.is_alive(earned["refresh_token"])
    refused(platform.redeem(code), "invalid_grant")
    refused(platform.refresh(earned["refresh_token"]), "invalid_grant")
    with pytest.raises(NotPermitted) as gone:
        taken(platform, handle)
    assert gone.value.code in {
        Reason.APP_NOT_CERTIFIED,
        Reason.APP_NOT_INSTALLED,
        Reason.SWITCH_ENGAGED,
    }
    second = platform.earn(launch=platform.open_launch())
    assert platform.is_alive(second["access_token"])
    assert platform.refresh(second["refresh_token"]).status_code == 200


def taken(platform: Platform, handle: str) -> Any:
    return platform.take(handle)


@pytest.mark.parametrize("case", UNBROKEN)
def test_what_was_issued_lives_on_while_the_app_stays_eligible(platform: Platform, case: str) -> None:
    """C5: an update or a renewal signs nobody out."""
    earned, code = platform.earn(), platform.code()

    step(platform, UNBROKEN[case])

    assert platform.is_alive(earned["access_token"])
    assert platform.redeem(code).status_code == 200
    assert platform.refresh(earned["refresh_token"]).status_code == 200


def test_a_certification_that_ran_out_and_is_given_again_revives_nothing(platform: Platform) -> None:
    """C146."""
    step(platform, withdraw)
    platform.run(
        lambda ctx: registry.certify(
            ctx,
            CertifyOrder(
                platform.clients["public"].version,
                Environment.SANDBOX,
                platform.clients["public"].scopes,
                ctx.now + timedelta(minutes=5),
            ),
        )
    )
    earned = platform.earn()
    platform.clock.advance(timedelta(minutes=6))
    assert not platform.is_alive(earned["access_token"])

    step(platform, certify)

    assert not platform.is_alive(earned["access_token"])
    refused(platform.refresh(earned["refresh_token"]), "invalid_grant")


def test_a_lapsed_app_does_not_slip_back_by_adopting_another_version(platform: Platform) -> None:
    """C5, C146: the update of an eligible app is no break, the update of one that was not eligible is."""
    earned = platform.earn()

    step(platform, withdraw)
    step(platform, adopt)

    assert not platform.is_alive(earned["access_token"])
    refused(platform.refresh(earned["refresh_token"]), "invalid_grant")
    assert platform.is_alive(platform.earn()["access_token"])


def test_an_ehr_suspended_and_resumed_needs_a_new_token(platform: Platform) -> None:
    """The launch API's own client, over its own door."""

    async def nobody(_: object) -> Any:
        raise AssertionError("the launch API takes access tokens, not API tokens")

    uow = platform.uow
    kit = Kit(uow, platform.clock, uow.ids, platform.urls, Mode.SANDBOX, None, nobody)  # type: ignore[arg-type]
    ehr = platform.clients["ehr"]
    token = platform.backend("hilum/launch", "ehr").json()["access_token"]
    body = {"client_id": platform.clients["public"].id, "person": "dora", "patient": "p1"}
    with SiteClient(Starlette(routes=launch_routes.routes(kit)), base_url=BASE) as http:

        def open_with(bearer: str) -> int:
            headers = {"authorization": f"Bearer {bearer}"}
            return http.post(f"/t/{MERCY}/ehr/launches", json=body, headers=headers).status_code

        assert open_with(token) == 201
        platform.clock.advance(timedelta(seconds=1))
        platform.run(lambda ctx: suspend(ctx, ehr, MERCY))
        assert open_with(token) == 403
        platform.clock.advance(timedelta(seconds=1))
        platform.run(lambda ctx: resume(ctx, ehr, MERCY))

        assert open_with(token) == 403
        assert open_with(platform.backend("hilum/launch", "ehr").json()["access_token"]) == 201


@pytest.mark.parametrize("case", TAKEN_AND_GIVEN)
def test_the_gateway_refuses_the_old_token_and_serves_the_new(play: Play, case: str) -> None:
    """C71: through the snapshot by which the worker learned of the change."""
    take, give = TAKEN_AND_GIVEN[case]

    async def story(made: Ground) -> None:
        client = made.clients["app"]
        old = made.token("patient/Observation.rs")
        assert (await made.get("Observation/o1", old)).status == 200

        made.clock.advance(timedelta(seconds=1))
        made.run(lambda ctx: take(ctx, client, GENERAL))
        away = (await made.get("Observation/o1", old)).status
        made.clock.advance(timedelta(seconds=1))
        made.run(lambda ctx: give(ctx, client, GENERAL))
        made.clock.advance(timedelta(seconds=1))

        assert away in {401, 403}
        assert (await made.get("Observation/o1", old)).status == 403
        # Without a certification an app has the least quota there is, and a widened quota fills up from what is left.
        made.clock.advance(timedelta(seconds=1))
        assert (await made.get("Observation/o1", made.token("patient/Observation.rs"))).status == 200

    play(story)


@pytest.mark.parametrize("case", UNBROKEN)
def test_the_gateway_serves_the_old_token_while_the_app_stays_eligible(play: Play, case: str) -> None:
    async def story(made: Ground) -> None:
        old = made.token("patient/Observation.rs")
        made.clock.advance(timedelta(seconds=1))
        made.run(lambda ctx: UNBROKEN[case](ctx, made.clients["app"], GENERAL))

        assert (await made.get("Observation/o1", old)).status == 200

    play(story)
