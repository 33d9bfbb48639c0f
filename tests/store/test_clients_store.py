"""The clients of apps and the system clients of hospitals as the service keeps them, on each backend (C1, C5, C9, C17, C37)."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hilum.apps.clients import policy as clients_policy
from hilum.apps.clients import service as clients
from hilum.apps.clients import store as clients_store
from hilum.apps.clients.creation import digest
from hilum.apps.clients.models import (
    BackendUse,
    ClientType,
    Deployment,
    NewClient,
    NewSystemClient,
)
from hilum.apps.registry import service as registry
from hilum.apps.registry import store as registry_store
from hilum.apps.registry.models import NewApp, NewVersion
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Invalid, NotFound, NotPermitted
from hilum.foundation.kernel.ids import ClientId
from tests.sim.world import FakeClock
from tests.store import registry_ground
from tests.store.registry_ground import (
    GENERAL,
    GINA,
    MARY,
    METADATA,
    RITA,
    ROOT,
    SAM,
    TRACE,
    Ground,
    staff,
)

ground = registry_ground.ground


def test_a_client_that_is_added_comes_back(ground: Ground) -> None:
    client, secret = ground.client(jwks_uri="", launch_uri="https://app.example/launch")

    assert secret == ""
    assert ground.do(SYSTEM, clients.get_client, client.id) == client
    assert client.origins == ("https://app.example",)
    assert ground.do(ROOT, clients.list_clients, ground.app.id) == [client]


def test_nobody_but_the_registrar_adds_a_client_and_only_the_platform_chooses_its_id(ground: Ground) -> None:
    """C111."""
    order = NewClient(ground.app.id, ground.version.id, METADATA)
    for actor in (RITA, SAM, GINA, staff("auditor")):
        with pytest.raises(NotPermitted):
            ground.do(actor, clients.add_client, order)
    with pytest.raises(NotPermitted):
        ground.do(ROOT, clients.add_client, replace(order, client_id="chosen"))

    assert ground.do(SYSTEM, clients.add_client, replace(order, client_id="chosen"))[0].id == "chosen"


def test_a_client_is_of_a_version_of_its_own_app(ground: Ground) -> None:
    """C5."""
    other = ground.do(ROOT, registry.add_app, NewApp(ground.vendor.id, "Other", "d", "p", "scheduling"))

    with pytest.raises(NotFound):
        ground.do(ROOT, clients.add_client, NewClient(other.id, ground.version.id, METADATA))


@pytest.mark.parametrize("text_", ["", "cli_none", "a\x00b", "x" * 500, "../x", "\ud800", "a b"])
def test_whatever_a_request_calls_itself_only_a_client_is_found(ground: Ground, text_: str) -> None:
    """Never a 500 for input."""
    assert ground.do(SYSTEM, clients.find_client, ClientId(text_)) is None
    assert ground.do(SYSTEM, clients.client_facts, ClientId(text_)) is None
    with pytest.raises(NotFound):
        ground.do(SYSTEM, clients.get_client, ClientId(text_))


def test_a_bad_client_is_refused_by_field_and_leaves_only_its_record(ground: Ground) -> None:
    """C1."""
    with pytest.raises(Invalid) as refused:
        ground.client(redirect_uris=("http://app.example/",), name="")

    assert refused.value.fields == {
        "client_name": "name_missing",
        "redirect_uris": "redirect_not_https",
        "origins": "origin_not_https",
    }
    assert ground.do(ROOT, clients.list_clients, ground.app.id) == []


def test_a_client_adopts_only_a_certified_version_of_its_app(ground: Ground) -> None:
    """C5: a new version keeps ids."""
    client, _ = ground.client()
    newer = ground.do(ROOT, registry.add_version, ground.app.id, NewVersion("2.0"))
    with pytest.raises(Invalid):
        ground.do(ROOT, clients.adopt_version, client.id, newer.id)
    with pytest.raises(NotPermitted):
        ground.do(GINA, clients.adopt_version, client.id, newer.id)
    ground.certify(version=newer.id)

    ground.do(ROOT, clients.adopt_version, client.id, newer.id)

    assert ground.facts().clients[client.id].certified_until is not None


def test_a_rotated_secret_overlaps_until_its_end_and_there_are_never_more_than_two(
    ground: Ground, clock: FakeClock
) -> None:
    """C9."""
    client, first = ground.client(type=ClientType.SYMMETRIC, deployment=Deployment.SERVER)
    _, second = ground.do(ROOT, clients.rotate_secret, client.id, overlap=timedelta(hours=1))

    def works(secret: str) -> bool:
        return clients_policy.secret_matches(
            ground.do(SYSTEM, clients.get_client, client.id), digest(secret), clock.now()
        )

    assert (works(first), works(second)) == (True, True)
    _, third = ground.do(ROOT, clients.rotate_secret, client.id, overlap=timedelta(hours=1))
    assert (works(first), works(second), works(third)) == (False, True, True)
    assert len(ground.do(SYSTEM, clients.get_client, client.id).secrets) == 2
    clock.advance(timedelta(hours=1))
    assert (works(second), works(third)) == (False, True)
    _, fourth = ground.do(ROOT, clients.rotate_secret, client.id, overlap=timedelta(0))
    assert (works(third), works(fourth)) == (False, True)
    with pytest.raises(Invalid):
        ground.do(ROOT, clients.rotate_secret, client.id, overlap=timedelta(days=31))
    public, _ = ground.client()
    with pytest.raises(Invalid):
        ground.do(ROOT, clients.rotate_secret, public.id)
    with pytest.raises(NotPermitted):
        ground.do(GINA, clients.rotate_secret, client.id)


def test_a_database_dump_holds_no_usable_secret(ground: Ground) -> None:
    """C9."""
    _, secret = ground.client(type=ClientType.SYMMETRIC, deployment=Deployment.SERVER)

    def dump(ctx: Any) -> str:
        tables = (clients_store.clients, clients_store.secrets, registry_store.apps, registry_store.vendors)
        return repr([tuple(row) for table in tables for row in ctx.tx.execute(table.select())])

    assert secret.startswith("hil_cs_")
    assert len(secret) == 50
    assert secret not in ground.uow.read_now(dump, trace=TRACE)
    assert digest(secret) in ground.uow.read_now(dump, trace=TRACE)


def test_a_system_client_lives_at_one_tenant(ground: Ground) -> None:
    """C37."""
    ehr, secret = ground.do(
        SYSTEM, clients.add_system_client, NewSystemClient(GENERAL, ClientType.EHR, "EHR")
    )
    server, _ = ground.do(
        SYSTEM, clients.add_system_client, NewSystemClient(GENERAL, ClientType.RESOURCE_SERVER, "Lab")
    )

    facts = ground.facts().clients
    assert (facts[ehr.id].tenant, facts[ehr.id].scopes) == (GENERAL, ("hilum/launch",))
    assert (facts[server.id].type, facts[server.id].scopes) == (ClientType.RESOURCE_SERVER, ())
    assert clients_policy.secret_matches(ehr, digest(secret), ground.uow.clock.now())
    assert [each.id for each in ground.do(GINA, clients.list_clients, ehr.app)] == [ehr.id]
    with pytest.raises(NotPermitted):
        ground.do(MARY, clients.ask_system_client, NewSystemClient(GENERAL, ClientType.EHR, "EHR"))
    with pytest.raises(NotPermitted):
        ground.do(MARY, clients.ask_secret, ehr.id)
    with pytest.raises(NotFound):
        ground.do(MARY, clients.view_client, ehr.id)
    with pytest.raises(NotFound):
        ground.do(MARY, registry.view_app, ehr.app)
    with pytest.raises(Invalid):
        ground.do(GINA, clients.ask_system_client, NewSystemClient(GENERAL, ClientType.PUBLIC, "X"))
    with pytest.raises(Invalid):
        ground.do(
            ROOT,
            clients.add_client,
            NewClient(ground.app.id, ground.version.id, replace(METADATA, type=ClientType.EHR)),
        )
    assert ehr.app not in {app.id for app in ground.do(MARY, registry.list_apps)}


def test_a_backend_client_keeps_its_stated_purpose_and_end(ground: Ground, clock: FakeClock) -> None:
    """C17."""
    use = BackendUse(
        "Quality",
        "Adults",
        "Nightly",
        "Dr. Example",
        calls_a_day=5_000,
        writes_a_day=0,
        patients_a_day=7,
        hours="22:00-05:00",
    )
    end = clock.now() + timedelta(days=10)
    client, secret = ground.client(
        type=ClientType.BACKEND, deployment=Deployment.SERVER, redirect_uris=(), scopes=("system/Observation.rs",),
        jwks_uri="https://app.example/jwks.json", expires_at=end, backend_use=use,
    )  # fmt: skip

    found = ground.do(SYSTEM, clients.get_client, client.id)

    assert (secret, found.backend_use, found.expires_at) == ("", use, end)
    assert ground.facts().clients[client.id].expires_at == end


def test_secrets_rotated_at_once_leave_two_and_only_one_without_an_end(ground: Ground) -> None:
    """C9: two may overlap during rotation with a stated end time."""
    client, _ = ground.client(type=ClientType.SYMMETRIC, deployment=Deployment.SERVER)
    for _ in range(8):
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda _: ground.do(ROOT, clients.rotate_secret, client.id), range(3)))

        ends = [each.expires_at is None for each in ground.do(SYSTEM, clients.get_client, client.id).secrets]
        assert sorted(ends) == [False, True]
