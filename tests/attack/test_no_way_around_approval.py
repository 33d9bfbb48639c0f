"""Kinds of clients by kinds of tokens: whoever loses approval gets in with nothing that is out, and no other secret opens the gateway (C231)."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientType, NewSystemClient
from hilum.apps.installations import service as installations
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import Environment
from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens.models import Grant
from hilum.foundation.kernel.ids import PersonId
from hilum.identity.signin import api_tokens
from hilum.identity.signin import service as signin
from tests.flows import token_flow
from tests.flows.gateway_ground import GENERAL, Ground, Play, patient
from tests.flows.token_flow import MERCY, OTHER, Platform
from tests.sim.one_world import in_one_world
from tests.unit.policy.matrix.books import LIFETIMES

platform = token_flow.platform
OFFLINE = ("launch", "offline_access", "patient/Observation.rs")


def uninstall(platform: Platform, name: str) -> None:
    app = platform.clients[name].app
    found = platform.run(partial(installations.list_installations, tenant=MERCY))
    (held,) = [each for each in found if each.app == app]
    platform.run(lambda ctx: installations.uninstall(ctx, held.id))


def suspend(platform: Platform, name: str) -> None:
    platform.run(lambda ctx: registry.suspend_app(ctx, platform.clients[name].app, "A test"))


def withdraw(platform: Platform, name: str) -> None:
    for each in platform.run(lambda ctx: registry.certifications_of(ctx, platform.clients[name].app)):
        platform.run(partial(registry.withdraw_certification, certification_id=each.id))


def ways_in(platform: Platform, name: str) -> dict[str, Callable[[], bool]]:
    """Return every way in which a client can get or use a token, with what it held before."""
    if platform.clients[name].type is ClientType.BACKEND:
        held = platform.backend("system/Observation.rs", name).json()["access_token"]
        return {
            "credentials": lambda: platform.backend("system/Observation.rs", name).status_code == 200,
            "access token": lambda: platform.is_alive(held),
        }
    code, earned = platform.code(name, scopes=OFFLINE), platform.earn(name, scopes=OFFLINE)
    return {
        "access token": lambda: platform.is_alive(earned["access_token"]),
        "code": lambda: platform.redeem(code, name).status_code == 200,
        "refresh token": lambda: platform.refresh(earned["refresh_token"], name).status_code == 200,
        "credentials": lambda: platform.backend("system/*.rs", name).status_code == 200,
    }


APPS = ["public", "symmetric", "asymmetric", "backend"]


@pytest.mark.parametrize("name", APPS)
@pytest.mark.parametrize("lose", [uninstall, suspend, withdraw])
def test_without_approval_no_token_of_any_kind_is_given_or_counts(
    platform: Platform, name: str, lose: Callable[[Platform, str], None]
) -> None:
    """C231: before, everything works but client credentials of an app with people."""
    ways = ways_in(platform, name)
    lose(platform, name)

    assert {way: attempt() for way, attempt in ways.items()} == dict.fromkeys(ways, False)


@pytest.mark.parametrize("name", APPS)
def test_with_approval_each_of_these_ways_works(platform: Platform, name: str) -> None:
    """The control of the test above."""
    found = {way: attempt() for way, attempt in ways_in(platform, name).items()}

    delegated = platform.clients[name].type is not ClientType.BACKEND
    assert found == dict.fromkeys(found, True) | ({"credentials": False} if delegated else {})


@in_one_world("name", ["ehr", "resource", *APPS])
@in_one_world("scope", ["system/*.rs", "patient/*.rs", "user/Patient.rs", "system/Patient.rs hilum/launch"])
def test_no_client_gets_records_by_credentials_where_nobody_approved_it(
    platform: Platform, name: str, scope: str
) -> None:
    """C16, C231: neither a hospital's own EHR at home, nor anybody at a hospital that installed nothing."""
    for tenant in (MERCY, OTHER):
        if (name, tenant) == ("backend", MERCY):
            continue
        answer = platform.post("token", name, {"grant_type": "client_credentials", "scope": scope}, tenant)
        granted = answer.json().get("scope", "") if answer.status_code == 200 else ""
        assert granted in {"", "hilum/launch"}, (tenant, granted)


def test_no_other_secret_opens_the_gateway(play: Play) -> None:
    """C231: refresh tokens, sessions, API tokens in both forms, a system client's token with scopes that it could never ask for."""

    async def story(made: Ground) -> None:
        made.load(patient("p1"))
        doctor = made.people["doctor"]
        held = made.clients["app"]
        grant = Grant(
            GENERAL, held.id, held.app, held.version, made.vendor, ("patient/*.rs",), doctor.id, "physician"
        )
        mint = partial(
            tokens.mint,
            grant=grant,
            offline=True,
            code_family=None,
            lifetimes=LIFETIMES,
            life=LIFETIMES.access_token,
        )
        earned = made.run(mint)
        _, cookie = made.run(partial(signin.begin_session, person=doctor, method="password"))
        _, api_token = made.run(partial(api_tokens.create_api_token, person_id=doctor.id))
        system_clients = {
            kind: made.run(
                partial(clients.add_system_client, order=NewSystemClient(GENERAL, kind, kind.value))
            )[0]
            for kind in (ClientType.EHR, ClientType.RESOURCE_SERVER)
        }
        secrets = {
            "refresh token": earned.refresh_token,
            "session": cookie,
            "API token": api_token,
            "API token without a MAC": api_token.rpartition("_")[0],
            "access token without a MAC": earned.access_token.rpartition("_")[0],
            "client id": held.id,
        }
        for kind, system_client in system_clients.items():
            own = replace(
                grant,
                client=system_client.id,
                app=system_client.app,
                version=system_client.version,
                scopes=("system/*.cruds",),
            )
            for person in (grant.person, PersonId("")):
                forged = made.run(
                    partial(
                        mint,
                        grant=replace(own, person=person, role="" if not person else "physician"),
                        offline=None,
                    )
                )
                secrets[f"{kind} {bool(person)}"] = forged.access_token

        statuses = {name: (await made.get("Patient/p1", secret)).status for name, secret in secrets.items()}

        assert {name for name, status in statuses.items() if status not in {401, 403}} == set()
        assert statuses["ehr False"] == 403

    play(story)


def test_a_client_that_registers_itself_is_of_a_sandbox_alone(platform: Platform) -> None:
    """C4, C231: dynamic registration makes no client that works where people are."""
    body: dict[str, Any] = {
        "client_name": "Trial",
        "redirect_uris": ["http://127.0.0.1/back"],
        "token_endpoint_auth_method": "none",
        "application_type": "native",
    }
    made, _ = platform.run(lambda ctx: installations.register_dynamically(ctx, MERCY, body))
    facts = platform.run(lambda ctx: clients.client_facts(ctx, made.id))

    assert facts is not None
    assert (made.environment, facts.tenant) == (Environment.SANDBOX, MERCY)
