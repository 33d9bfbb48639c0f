"""Where an EHR may open an app: the address receives the launch handle (C26)."""

import pytest

from hilum.apps.clients.models import Client, ClientType, Deployment
from hilum.apps.registry.models import Environment
from hilum.authorization.launches import policy
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.ids import AppId, ClientId, TenantId, VersionId

CLIENT = Client(
    ClientId("cli_1"),
    AppId("app_1"),
    VersionId("ver_1"),
    Environment.PRODUCTION,
    ClientType.PUBLIC,
    Deployment.BROWSER,
    "Notes",
    redirect_uris=("https://app.example/cb", "com.example.app:/cb"),
    launch_uri="https://app.example/launch",
)


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        ("", ""),
        ("https://app.example/launch", ""),
        ("https://app.example/launch/orders?x=1", ""),
        ("https://APP.example/launch", ""),
        ("https://app.example.evil.example/launch", "launch_url_foreign"),
        ("https://app.example:8443/launch", "launch_url_foreign"),
        ("http://app.example/launch", "launch_url_foreign"),
        ("https://app.example/launch#x", "launch_url_foreign"),
        ("https://app.example@evil.example/launch", "launch_url_foreign"),
        ("https://evil.example@app.example/launch", "launch_url_foreign"),
        ("https://app.example/launch?to=a@b.example", "launch_url_foreign"),
        ("com.example.app:/launch", "launch_url_foreign"),
        ("javascript:alert(1)", "launch_url_foreign"),
        ("//app.example/launch", "launch_url_foreign"),
        ("/launch", "launch_url_foreign"),
        ("https://[/launch", "launch_url_foreign"),
    ],
)
def test_an_app_is_opened_on_an_origin_that_it_registered(asked: str, fault: str) -> None:
    assert policy.launch_uri_fault(asked, CLIENT) == fault


@pytest.mark.parametrize(
    ("actor", "is_one"),
    [
        (Actor(ActorKind.CLIENT, "cli_1", TenantId("general"), frozenset({"ehr", "hilum/launch"})), True),
        (Actor(ActorKind.CLIENT, "cli_1", TenantId("general"), frozenset({"hilum/launch"})), False),
        (Actor(ActorKind.CLIENT, "cli_1", None, frozenset({"ehr"})), False),
        (Actor(ActorKind.PERSON, "per_1", TenantId("general"), frozenset({"ehr"})), False),
    ],
)
def test_only_an_ehr_of_a_hospital_opens_launches(actor: Actor, *, is_one: bool) -> None:
    assert policy.is_ehr(actor) is is_one
