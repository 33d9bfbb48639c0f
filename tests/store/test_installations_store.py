"""Installations, dynamic registration and the facts of both, as the service keeps them, on each backend (C4, C26, C146, C147)."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event

from hilum.apps.clients import policy as clients_policy
from hilum.apps.clients import service as clients
from hilum.apps.clients.creation import digest
from hilum.apps.clients.models import (
    DYNAMIC_CLIENTS_BOUND,
    ClientFacts,
    ClientType,
    NewSystemClient,
)
from hilum.apps.installations import dynamic
from hilum.apps.installations import policy as installations_policy
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallationFacts, InstallOrder, NarrowOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry import store as registry_store
from hilum.apps.registry.models import Environment
from hilum.authorization.eligibility.models import EligibilityInputs, Party
from hilum.authorization.eligibility.policy import eligibility_fault
from hilum.controls.switches.models import SwitchIndex
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, NotPermitted
from hilum.foundation.kernel.ids import PersonId, TenantId
from hilum.identity.people.models import Tenant, UpstreamKind, UpstreamRef
from hilum.policy.matrix.shipped import shipped_book
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from tests.effort import effort
from tests.sim.facts import whole
from tests.sim.world import FakeClock
from tests.store import registry_ground
from tests.store.registry_ground import GENERAL, GINA, MARY, MERCY, RITA, ROOT, SAM, TRACE, Ground

ground = registry_ground.ground


def fault(
    client: ClientFacts, installation: InstallationFacts | None, role: str, now: datetime
) -> Reason | None:
    """Judge the eligibility of a client in a role, with everything else in order."""
    party = Party(GENERAL, client.id, client.app, client.version, client.vendor, PersonId("per_1"), role)
    tenant = Tenant(GENERAL, "General", UpstreamRef(UpstreamKind.EMBEDDED))
    return eligibility_fault(
        EligibilityInputs(party, tenant, client, installation, SwitchIndex(), shipped_book()), now
    )


def test_an_app_works_only_once_certified_and_installed_and_stops_when_either_ends(ground: Ground) -> None:
    """C146: without an installation there is no launch and no token."""
    client, _ = ground.client()

    def verdict() -> tuple[Reason | None, Reason | None]:
        now = ground.uow.clock.now()
        facts = ground.facts()
        single = (
            ground.do(SYSTEM, clients.client_facts, client.id),
            ground.do(SYSTEM, installations.installation, GENERAL, ground.app.id),
        )
        joined = (facts.clients[client.id], facts.installations.get((GENERAL, ground.app.id)))
        return (fault(*single, "physician", now), fault(*joined, "physician", now))

    assert verdict() == (Reason.APP_NOT_CERTIFIED,) * 2
    certification = ground.certify()
    assert verdict() == (Reason.APP_NOT_INSTALLED,) * 2
    installation = ground.install()
    assert verdict() == (None, None)
    ground.do(SAM, registry.suspend_app, ground.app.id, "under investigation")
    assert verdict() == (Reason.APP_SUSPENDED,) * 2
    ground.do(ROOT, registry.resume_app, ground.app.id, "cleared")
    assert verdict() == (None, None)
    ground.do(GINA, installations.uninstall, installation.id)
    assert verdict() == (Reason.APP_NOT_INSTALLED,) * 2
    ground.install()
    ground.do(RITA, registry.withdraw_certification, certification.id)
    assert verdict() == (Reason.APP_NOT_CERTIFIED,) * 2


def test_every_change_of_what_is_enforced_advances_the_epoch_once(ground: Ground) -> None:
    """Security decision 7."""
    steps = []
    client, _ = ground.client()
    steps.append(ground.epoch())
    certification = ground.certify()
    steps.append(ground.epoch())
    installation = ground.install()
    steps.append(ground.epoch())
    ground.do(GINA, installations.narrow_installation, installation.id, NarrowOrder(scopes=("openid",)))
    steps.append(ground.epoch())
    ground.do(SAM, registry.suspend_app, ground.app.id, "why")
    steps.append(ground.epoch())
    ground.do(GINA, installations.uninstall, installation.id)
    steps.append(ground.epoch())
    ground.do(RITA, registry.withdraw_certification, certification.id)
    steps.append(ground.epoch())
    ground.do(SYSTEM, clients.add_system_client, NewSystemClient(GENERAL, ClientType.EHR, "EHR"))
    steps.append(ground.epoch())

    assert steps == [1, 2, 3, 4, 5, 6, 7, 8]
    assert client.id in ground.facts().clients


def test_a_sandbox_app_is_installed_at_no_production_tenant(ground: Ground) -> None:
    """C4: with only a sandbox certification; and where a production one stands, its sandbox client still gets nothing there."""
    sandbox_client, _ = ground.client()
    ground.certify()
    with pytest.raises(Invalid) as refused:
        ground.install(MARY, MERCY)
    assert refused.value.fields == {"app": "app_not_certified"}
    production_client, _ = ground.client(environment=Environment.PRODUCTION)
    ground.certify(Environment.PRODUCTION)

    ground.install(MARY, MERCY, roles=frozenset({"patient"}))  # which needs no agreement

    facts, now = ground.facts(), ground.uow.clock.now()
    at_mercy = facts.installations[MERCY, ground.app.id]
    assert fault(facts.clients[sandbox_client.id], at_mercy, "patient", now) is Reason.APP_NOT_INSTALLED
    assert fault(facts.clients[production_client.id], at_mercy, "patient", now) is None


def test_an_app_stands_installed_once_at_a_tenant_and_again_after_it_ended(
    ground: Ground, clock: FakeClock
) -> None:
    ground.certify()
    first = ground.install(expires_at=clock.now() + timedelta(hours=1))
    with pytest.raises(Conflict):
        ground.install()
    clock.advance(timedelta(hours=1))
    over = ground.facts().installations[GENERAL, ground.app.id]
    assert over.expires_at == clock.now(), (
        "each decision looks at the day; the facts do not hang on when they were read"
    )

    second = ground.install()

    assert ground.do(GINA, installations.list_installations) == [second]
    assert second.id != first.id
    assert ground.do(SYSTEM, installations.installation, GENERAL, ground.app.id).since == clock.now()
    with pytest.raises(Conflict):
        ground.do(GINA, installations.uninstall, first.id)


def test_a_tenant_installs_for_itself_and_never_more_than_is_certified(ground: Ground) -> None:
    """C146, C147."""
    ground.certify()
    for actor in (MARY, ROOT, RITA, SAM):
        with pytest.raises(NotPermitted):
            ground.install(actor)
    with pytest.raises(Invalid) as refused:
        ground.install(scopes=("patient/*.cruds",), roles=frozenset({"king"}))
    assert refused.value.fields == {"scopes": "scopes_not_certified", "roles": "role_unknown"}

    made = ground.install(scopes=("openid", "patient/Observation.r"))

    assert made.scopes == ("launch", "openid", "patient/Observation.r"), "it can be launched"
    with pytest.raises(Invalid):
        ground.do(
            GINA, installations.narrow_installation, made.id, NarrowOrder(scopes=("patient/Observation.rs",))
        )
    with pytest.raises(NotFound):
        ground.do(MARY, installations.uninstall, made.id)
    with pytest.raises(NotPermitted):
        ground.do(RITA, installations.uninstall, made.id)
    assert ground.do(SAM, installations.uninstall, made.id).removed_by == str(SAM)


def test_narrowing_counts_at_once(ground: Ground) -> None:
    """C147."""
    ground.certify()
    made = ground.install(roles=frozenset({"physician", "nurse"}))

    narrowed = ground.do(
        GINA, installations.narrow_installation, made.id, NarrowOrder(("openid",), frozenset({"nurse"}))
    )

    facts = ground.facts().installations[GENERAL, ground.app.id]
    assert (
        (facts.scopes, facts.roles) == (("launch", "openid"), {"nurse"}) == (narrowed.scopes, narrowed.roles)
    )


BODY = {
    "client_name": "Foreign",
    "redirect_uris": ["http://localhost:4567/cb"],
    "token_endpoint_auth_method": "client_secret_basic",
    "scope": "launch openid fhirUser patient/*.rs",
}


def register(ground: Ground, **change: Any) -> Any:
    return ground.do(
        Actor(ActorKind.ANONYMOUS, "a"), installations.register_dynamically, GENERAL, BODY | change
    )


def test_a_dynamic_registration_makes_an_app_that_works_at_this_sandbox_only_for_a_day(
    ground: Ground, clock: FakeClock
) -> None:
    """Contract, Dynamic registration; RFC 7591."""
    client, secret = register(ground)

    facts = ground.facts()
    installed = facts.installations[GENERAL, client.app]
    assert fault(facts.clients[client.id], installed, "patient", clock.now()) is None
    assert facts.clients[client.id].tenant == GENERAL
    allowed = installations_policy.allowed_scopes(
        facts.clients[client.id], installed, shipped_book(), clock.now()
    )
    assert set(allowed) == set(client.scopes)
    assert clients_policy.secret_matches(client, digest(secret), clock.now())
    with pytest.raises(NotFound):
        ground.do(MARY, installations.install, InstallOrder(MERCY, client.app, frozenset({"physician"})))
    clock.advance(timedelta(hours=24))
    assert fault(facts.clients[client.id], installed, "patient", clock.now()) is Reason.APP_NOT_CERTIFIED
    assert not clients_policy.secret_matches(client, digest(secret), clock.now())


def test_a_dynamic_backend_service_is_installed_without_roles(ground: Ground) -> None:
    client, secret = register(
        ground, redirect_uris=None, grant_types=["client_credentials"], scope="system/*.rs",
        token_endpoint_auth_method="private_key_jwt", jwks_uri="http://localhost:4567/jwks.json",
    )  # fmt: skip

    facts = ground.facts()
    assert (client.type, secret) == (ClientType.BACKEND, "")
    assert (
        fault(facts.clients[client.id], facts.installations[GENERAL, client.app], "", ground.uow.clock.now())
        is None
    )


def test_dynamic_registration_is_refused_at_production_tenants_and_for_bad_metadata(ground: Ground) -> None:
    """C4, C1."""
    with pytest.raises(NotPermitted):
        ground.do(SYSTEM, installations.register_dynamically, MERCY, BODY)
    with pytest.raises(NotFound):
        ground.do(SYSTEM, installations.register_dynamically, TenantId("nowhere"), BODY)
    with pytest.raises(Invalid) as refused:
        register(ground, redirect_uris=["http://app.example/cb"])
    assert refused.value.fields == {"redirect_uris": "redirect_not_https"}
    with pytest.raises(Invalid):
        register(ground, redirect_uris="x")

    assert ground.facts().clients == {}
    assert ground.do(ROOT, registry.list_apps) == [ground.app]


def test_a_tenant_holds_a_hundred_dynamic_clients_and_forgets_them_after_their_day(
    ground: Ground, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract: 100 clients, 24 h life. Which number the bound is changes nothing but how long the hundred takes."""
    assert DYNAMIC_CLIENTS_BOUND == 100
    bound = effort(6, 100)
    monkeypatch.setattr(dynamic, "DYNAMIC_CLIENTS_BOUND", bound)
    first, _ = register(ground)
    clock.advance(timedelta(hours=1))
    for _ in range(bound - 1):
        register(ground)
    with pytest.raises(NotPermitted) as full:
        register(ground)
    assert full.value.code == "too_many_clients"
    clock.advance(timedelta(hours=23))

    register(ground)

    facts = ground.facts()
    assert len(facts.clients) == bound
    assert first.id not in facts.clients
    assert (GENERAL, first.app) not in facts.installations
    with pytest.raises(NotFound):
        ground.do(SYSTEM, registry.get_app, first.app)
    left = ground.uow.read_now(
        lambda ctx: len(ctx.tx.execute(registry_store.vendors.select()).all()), trace=TRACE
    )
    assert left == bound + 1


def test_registrations_at_one_instant_do_not_pass_the_bound_together(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of any size: that it is a hundred is tested above.
    monkeypatch.setattr(dynamic, "DYNAMIC_CLIENTS_BOUND", 5)
    for _ in range(2):
        register(ground)

    def attempt(_: int) -> str:
        try:
            register(ground)
        except NotPermitted as refused:
            return refused.code
        return "made"

    with ThreadPoolExecutor(5) as pool:
        answers = sorted(pool.map(attempt, range(6)))

    assert answers == ["made"] * 3 + ["too_many_clients"] * 3
    query = EventQuery(action="registry.client.register")
    told = [each.event.reason for each in ground.do(SYSTEM, audit.list_events, query).events]
    assert told == ["too_many_clients"] * 3


def test_origins_of_a_tenant_are_those_of_the_clients_installed_there(ground: Ground) -> None:
    """C26."""
    ground.client()
    ground.client(origins=("https://other.example",))
    ground.certify()
    assert ground.facts().origins == {}

    installation = ground.install()
    assert ground.facts().origins == {GENERAL: {"https://app.example", "https://other.example"}}

    ground.do(GINA, installations.uninstall, installation.id)
    assert ground.facts().origins == {}


def test_facts_of_many_apps_at_many_tenants_take_a_handful_of_queries(ground: Ground) -> None:
    """Security decision 7: rows, not round trips, grow with the platform."""
    for _ in range(20):
        register(ground)
    asked: list[str] = []

    def count(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(ground.uow.db.engine, "before_cursor_execute", count)
    try:
        facts = ground.uow.read_now(whole(installations.facts), actor=SYSTEM, trace=TRACE)
    finally:
        event.remove(ground.uow.db.engine, "before_cursor_execute", count)

    assert len(facts.clients) == 20
    # Twenty of them are of what is signed, of certifications, clients and installations; none is of an app.
    assert len([statement for statement in asked if statement.startswith("SELECT")]) <= 25


def test_what_happens_to_an_app_is_recorded(ground: Ground) -> None:
    """C149."""
    ground.client()
    ground.certify()
    installation = ground.install()
    ground.do(GINA, installations.uninstall, installation.id)

    found = ground.do(SYSTEM, audit.list_events, EventQuery(app=ground.app.id)).events

    assert [each.event.action for each in reversed(found)] == [
        "registry.app.add",
        "registry.version.add",
        "registry.client.add",
        "registry.certification.add",
        "registry.installation.add",
        "registry.installation.remove",
        "deletion_requests.request.add",
    ]


def test_narrowings_at_once_give_nothing_back(ground: Ground) -> None:
    """C147: a tenant can narrow, never widen; not even by being second."""
    ground.client()
    ground.certify()
    orders = [NarrowOrder(scopes=("openid",)), NarrowOrder(roles=frozenset({"nurse"}))]
    for _ in range(8):
        installed = ground.install(roles=frozenset({"physician", "nurse"})).id
        narrow = partial(ground.do, SYSTEM, installations.narrow_installation, installed)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(narrow, orders))

        found = ground.do(SYSTEM, installations.uninstall, installed)
        assert (found.scopes, found.roles) == (("launch", "openid"), frozenset({"nurse"}))
