"""Apps, clients, certifications and installations as the service keeps them, on each backend (C1, C4, C5, C9, C17, C146, C147)."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event

from hilum.audit import service as audit
from hilum.audit.models import EventQuery
from hilum.clients import policy as clients_policy
from hilum.clients import service as clients
from hilum.clients import store as clients_store
from hilum.clients.models import (
    BackendUse,
    ClientFacts,
    ClientMetadata,
    ClientType,
    Deployment,
    NewClient,
    NewPeer,
)
from hilum.controls.models import EngageOrder, Mode, SwitchIndex, Target, TargetKind
from hilum.identity import service as identity
from hilum.identity.models import NewPerson, Tenant, UpstreamKind, UpstreamRef
from hilum.infra.context import Trace
from hilum.infra.unit_of_work import UnitOfWork
from hilum.installations import policy as installations_policy
from hilum.installations import service as installations
from hilum.installations.models import InstallationFacts, InstallOrder, NarrowOrder
from hilum.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.kernel.decision import Reason
from hilum.kernel.errors import Conflict, Invalid, NotFound, NotPermitted
from hilum.kernel.ids import ClientId, PersonId, TenantId
from hilum.registry import service, store
from hilum.registry.models import REGISTRY, AppState, CertifyOrder, Environment, NewApp, NewVendor
from hilum.standing.models import Party, Standing
from hilum.standing.policy import standing_fault
from hilum.switchboard import service as switchboard
from tests.sim.facts import counted, whole
from tests.sim.world import FakeClock

TRACE = Trace("req_test")
GENERAL, MERCY = TenantId("general"), TenantId("mercy")
SCOPES = ("launch", "openid", "patient/*.rs")


def staff(role: str) -> Actor:
    return Actor(ActorKind.STAFF, f"per_{role}", roles=frozenset({role}))


def admin(tenant: TenantId) -> Actor:
    return Actor(ActorKind.PERSON, f"per_{tenant}", tenant, frozenset({"administrator"}))


ROOT, RITA, SAM, GINA, MARY = (
    staff("platform_admin"),
    staff("reviewer"),
    staff("security"),
    admin(GENERAL),
    admin(MERCY),
)


def fault(
    client: ClientFacts, installation: InstallationFacts | None, role: str, now: datetime
) -> Reason | None:
    """Judge the standing of a client in a role, with everything else in order."""
    party = Party(GENERAL, client.id, client.app, client.version, client.vendor, PersonId("per_1"), role)
    tenant = Tenant(GENERAL, "General", UpstreamRef(UpstreamKind.EMBEDDED))
    return standing_fault(Standing(party, tenant, client, installation, SwitchIndex()), now)


@dataclass
class Ground:
    """A sandbox tenant (general), a production tenant (mercy), one app with a version."""

    uow: UnitOfWork
    vendor: Any = None
    app: Any = None
    version: Any = None

    def do(self, actor: Actor, verb: Any, *args: Any, **more: Any) -> Any:
        return self.uow.write_now(lambda ctx: verb(ctx, *args, **more), actor=actor, trace=TRACE)

    def client(self, **change: Any) -> Any:
        metadata = replace(METADATA, **change)
        return self.do(ROOT, clients.add_client, NewClient(self.app.id, self.version.id, metadata))

    def certify(self, environment: Environment = Environment.SANDBOX, **change: Any) -> Any:
        order = CertifyOrder(self.version.id, environment, SCOPES, self.uow.clock.now() + timedelta(days=90))
        return self.do(RITA, service.certify, replace(order, **change))

    def install(self, actor: Actor = GINA, tenant: TenantId = GENERAL, **change: Any) -> Any:
        return self.do(
            actor,
            installations.install,
            replace(InstallOrder(tenant, self.app.id, frozenset({"physician"})), **change),
        )

    def facts(self) -> Any:
        return self.do(SYSTEM, whole(installations.facts))

    def epoch(self) -> int:
        return int(counted(self.uow, REGISTRY))


METADATA = ClientMetadata(
    "Chart viewer",
    ClientType.PUBLIC,
    Deployment.BROWSER,
    Environment.SANDBOX,
    redirect_uris=("https://app.example/cb",),
    scopes=("launch", "openid", "patient/Observation.rs"),
)


@pytest.fixture
def ground(uow: UnitOfWork) -> Ground:
    made = Ground(uow)
    for tenant, sandbox in ((GENERAL, True), (MERCY, False)):
        made.do(
            SYSTEM,
            identity.add_tenant,
            Tenant(tenant, tenant, UpstreamRef(UpstreamKind.EMBEDDED), sandbox=sandbox),
        )
    made.vendor = made.do(
        ROOT, service.add_vendor, NewVendor("Vendor", "help@v.example", "sec@v.example", "https://v.example")
    )
    made.app = made.do(
        ROOT, service.add_app, NewApp(made.vendor.id, "Viewer", "Shows charts", "Chart review")
    )
    made.version = made.do(ROOT, service.add_version, made.app.id, "1.0")
    return made


def test_what_is_added_comes_back(ground: Ground) -> None:
    client, secret = ground.client(jwks_uri="", launch_uri="https://app.example/launch")

    assert secret == ""
    assert ground.do(SYSTEM, clients.get_client, client.id) == client
    assert client.origins == ("https://app.example",)
    assert ground.do(SYSTEM, service.get_app, ground.app.id) == ground.app
    assert ground.do(SYSTEM, service.get_vendor, ground.vendor.id) == ground.vendor
    assert ground.do(ROOT, service.list_versions, ground.app.id) == [ground.version]
    assert ground.do(ROOT, clients.list_clients, ground.app.id) == [client]
    assert ground.do(GINA, service.list_vendors) == [ground.vendor]


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


def test_nobody_but_the_registrar_registers(ground: Ground) -> None:
    """C111."""
    for actor in (RITA, SAM, GINA, staff("auditor")):
        for verb, args in (
            (service.add_vendor, (NewVendor("x", "y", "z"),)),
            (service.add_app, (NewApp(ground.vendor.id, "x", "y", "z"),)),
            (service.add_version, (ground.app.id, "2")),
            (clients.add_client, (NewClient(ground.app.id, ground.version.id, METADATA),)),
        ):
            with pytest.raises(NotPermitted):
                ground.do(actor, verb, *args)
    with pytest.raises(NotPermitted):
        ground.do(
            ROOT,
            service.certify,
            CertifyOrder(
                ground.version.id, Environment.SANDBOX, SCOPES, ground.uow.clock.now() + timedelta(days=1)
            ),
        )
    with pytest.raises(NotPermitted):
        ground.do(
            ROOT,
            clients.add_client,
            NewClient(ground.app.id, ground.version.id, METADATA, client_id="chosen"),
        )


def test_a_version_belongs_to_its_app_and_has_its_label_once(ground: Ground) -> None:
    """C5."""
    other = ground.do(ROOT, service.add_app, NewApp(ground.vendor.id, "Other", "d", "p"))
    with pytest.raises(Conflict):
        ground.do(ROOT, service.add_version, ground.app.id, "1.0")
    with pytest.raises(Invalid):
        ground.do(ROOT, service.add_version, ground.app.id, " ")

    with pytest.raises(NotFound):
        ground.do(ROOT, clients.add_client, NewClient(other.id, ground.version.id, METADATA))


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
    ground.do(SAM, service.suspend_app, ground.app.id, "under investigation")
    assert verdict() == (Reason.APP_NOT_CERTIFIED,) * 2
    ground.do(ROOT, service.resume_app, ground.app.id, "cleared")
    assert verdict() == (None, None)
    ground.do(GINA, installations.uninstall, installation.id)
    assert verdict() == (Reason.APP_NOT_INSTALLED,) * 2
    ground.install()
    ground.do(RITA, service.withdraw_certification, certification.id)
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
    ground.do(SAM, service.suspend_app, ground.app.id, "why")
    steps.append(ground.epoch())
    ground.do(GINA, installations.uninstall, installation.id)
    steps.append(ground.epoch())
    ground.do(RITA, service.withdraw_certification, certification.id)
    steps.append(ground.epoch())
    ground.do(SYSTEM, clients.add_peer, NewPeer(GENERAL, ClientType.EHR, "EHR"))
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

    ground.install(MARY, MERCY)

    facts, now = ground.facts(), ground.uow.clock.now()
    at_mercy = facts.installations[MERCY, ground.app.id]
    assert fault(facts.clients[sandbox_client.id], at_mercy, "physician", now) is Reason.APP_NOT_INSTALLED
    assert fault(facts.clients[production_client.id], at_mercy, "physician", now) is None


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

    assert made.scopes == ("openid", "patient/Observation.r")
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
    assert (facts.scopes, facts.roles) == (("openid",), {"nurse"}) == (narrowed.scopes, narrowed.roles)


def test_a_client_adopts_only_a_certified_version_of_its_app(ground: Ground) -> None:
    """C5: a new version keeps ids."""
    client, _ = ground.client()
    newer = ground.do(ROOT, service.add_version, ground.app.id, "2.0")
    with pytest.raises(Invalid):
        ground.do(ROOT, clients.adopt_version, client.id, newer.id)
    with pytest.raises(NotPermitted):
        ground.do(GINA, clients.adopt_version, client.id, newer.id)
    ground.certify(version=newer.id)

    ground.do(ROOT, clients.adopt_version, client.id, newer.id)

    assert ground.facts().clients[client.id].certified_until is not None


def sha(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def test_a_rotated_secret_overlaps_until_its_end_and_there_are_never_more_than_two(
    ground: Ground, clock: FakeClock
) -> None:
    """C9."""
    client, first = ground.client(type=ClientType.SYMMETRIC, deployment=Deployment.SERVER)
    _, second = ground.do(ROOT, clients.rotate_secret, client.id, overlap=timedelta(hours=1))

    def works(secret: str) -> bool:
        return clients_policy.secret_matches(
            ground.do(SYSTEM, clients.get_client, client.id), sha(secret), clock.now()
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
        tables = (clients_store.clients, clients_store.secrets, store.apps, store.vendors)
        return repr([tuple(row) for table in tables for row in ctx.tx.execute(table.select())])

    assert secret.startswith("hil_cs_")
    assert len(secret) == 50
    assert secret not in ground.uow.read_now(dump, trace=TRACE)
    assert sha(secret) in ground.uow.read_now(dump, trace=TRACE)


def test_a_peer_lives_at_one_tenant(ground: Ground) -> None:
    """C37."""
    ehr, secret = ground.do(SYSTEM, clients.add_peer, NewPeer(GENERAL, ClientType.EHR, "EHR"))
    server, _ = ground.do(SYSTEM, clients.add_peer, NewPeer(GENERAL, ClientType.RESOURCE_SERVER, "Lab"))

    facts = ground.facts().clients
    assert (facts[ehr.id].tenant, facts[ehr.id].scopes) == (GENERAL, ("hilum/launch",))
    assert (facts[server.id].type, facts[server.id].scopes) == (ClientType.RESOURCE_SERVER, ())
    assert clients_policy.secret_matches(ehr, sha(secret), ground.uow.clock.now())
    assert [each.id for each in ground.do(GINA, clients.list_clients, ehr.app)] == [ehr.id]
    with pytest.raises(NotPermitted):
        ground.do(MARY, clients.ask_peer, NewPeer(GENERAL, ClientType.EHR, "EHR"))
    with pytest.raises(NotPermitted):
        ground.do(MARY, clients.ask_secret, ehr.id)
    with pytest.raises(NotFound):
        ground.do(MARY, clients.view_client, ehr.id)
    with pytest.raises(NotFound):
        ground.do(MARY, service.view_app, ehr.app)
    with pytest.raises(Invalid):
        ground.do(GINA, clients.ask_peer, NewPeer(GENERAL, ClientType.PUBLIC, "X"))
    with pytest.raises(Invalid):
        ground.do(
            ROOT,
            clients.add_client,
            NewClient(ground.app.id, ground.version.id, replace(METADATA, type=ClientType.EHR)),
        )
    assert ehr.app not in {app.id for app in ground.do(MARY, service.list_apps)}


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
    assert set(installations_policy.allowed_scopes(facts.clients[client.id], installed)) == set(client.scopes)
    assert clients_policy.secret_matches(client, sha(secret), clock.now())
    with pytest.raises(NotFound):
        ground.do(MARY, installations.install, InstallOrder(MERCY, client.app, frozenset({"physician"})))
    clock.advance(timedelta(hours=24))
    assert fault(facts.clients[client.id], installed, "patient", clock.now()) is Reason.APP_NOT_CERTIFIED
    assert not clients_policy.secret_matches(client, sha(secret), clock.now())


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
    assert ground.do(ROOT, service.list_apps) == [ground.app]


def test_a_tenant_holds_a_hundred_dynamic_clients_and_forgets_them_after_their_day(
    ground: Ground, clock: FakeClock
) -> None:
    """Contract: 100 clients, 24 h life."""
    first, _ = register(ground)
    clock.advance(timedelta(hours=1))
    for _ in range(99):
        register(ground)
    with pytest.raises(NotPermitted) as full:
        register(ground)
    assert full.value.code == "too_many_clients"
    clock.advance(timedelta(hours=23))

    register(ground)

    facts = ground.facts()
    assert len(facts.clients) == 100
    assert first.id not in facts.clients
    assert (GENERAL, first.app) not in facts.installations
    with pytest.raises(NotFound):
        ground.do(SYSTEM, service.get_app, first.app)
    left = ground.uow.read_now(lambda ctx: len(ctx.tx.execute(store.vendors.select()).all()), trace=TRACE)
    assert left == 101


def test_registrations_at_one_instant_do_not_pass_the_bound_together(ground: Ground) -> None:
    for _ in range(97):
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


def test_a_backend_client_keeps_its_stated_purpose_and_end(ground: Ground, clock: FakeClock) -> None:
    """C17."""
    use = BackendUse("Quality", "Adults", "Nightly", "Dr. Example")
    end = clock.now() + timedelta(days=10)
    client, secret = ground.client(
        type=ClientType.BACKEND, deployment=Deployment.SERVER, redirect_uris=(), scopes=("system/Observation.rs",),
        jwks_uri="https://app.example/jwks.json", expires_at=end, backend_use=use,
    )  # fmt: skip

    found = ground.do(SYSTEM, clients.get_client, client.id)

    assert (secret, found.backend_use, found.expires_at) == ("", use, end)
    assert ground.facts().clients[client.id].expires_at == end


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
    assert len([statement for statement in asked if statement.startswith("SELECT")]) <= 5


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        (TargetKind.APP, "app_none"),
        (TargetKind.VENDOR, "ven_none"),
        (TargetKind.VERSION, "ver_none"),
        (TargetKind.TENANT, "nowhere"),
        (TargetKind.PERSON, "per_none"),
        (TargetKind.APP_TENANT, "app_none/general"),
        (TargetKind.APP_PERSON, "app_none/per_none"),
    ],
)
def test_a_switch_on_what_does_not_exist_is_refused_rather_than_comforting(
    ground: Ground, kind: TargetKind, key: str
) -> None:
    """C138."""
    with pytest.raises(NotFound):
        ground.do(SAM, switchboard.engage, EngageOrder(Target(kind, key), Mode.FULL_STOP, "why"))


def test_a_tenants_administrator_engages_on_the_own_people_and_pairs(ground: Ground) -> None:
    """C144."""
    ann = ground.do(SYSTEM, identity.add_person, NewPerson(GENERAL, "ann", "Ann", "physician"))
    mo = ground.do(SYSTEM, identity.add_person, NewPerson(MERCY, "mo", "Mo", "physician"))

    def engage(actor: Actor, kind: TargetKind, key: str) -> Any:
        return ground.do(actor, switchboard.engage, EngageOrder(Target(kind, key), Mode.FULL_STOP, "why"))

    assert engage(GINA, TargetKind.PERSON, ann.id).tenant == GENERAL
    assert engage(GINA, TargetKind.APP_PERSON, f"{ground.app.id}/{ann.id}").tenant == GENERAL
    assert engage(GINA, TargetKind.APP_TENANT, f"{ground.app.id}/general").tenant == GENERAL
    assert engage(SAM, TargetKind.PERSON, mo.id).tenant == MERCY
    for kind, key in (
        (TargetKind.PERSON, mo.id),
        (TargetKind.APP_PERSON, f"{ground.app.id}/{mo.id}"),
        (TargetKind.APP_TENANT, f"{ground.app.id}/mercy"),
        (TargetKind.APP, ground.app.id),
    ):
        with pytest.raises(NotPermitted):
            engage(GINA, kind, key)
    with pytest.raises(Invalid):
        engage(SAM, TargetKind.APP_TENANT, ground.app.id)


def test_a_suspension_has_a_reason_and_happens_once(ground: Ground) -> None:
    with pytest.raises(Invalid):
        ground.do(SAM, service.suspend_app, ground.app.id, " ")
    with pytest.raises(NotPermitted):
        ground.do(GINA, service.suspend_app, ground.app.id, "why")
    assert ground.do(SAM, service.suspend_app, ground.app.id, "why").state is AppState.SUSPENDED

    with pytest.raises(Conflict):
        ground.do(SAM, service.suspend_app, ground.app.id, "why")


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
    ]


def test_the_longest_label_that_is_taken_fits_where_it_is_kept(ground: Ground) -> None:
    ground.client()
    label = "v" * 100

    assert ground.do(SYSTEM, service.add_version, ground.app.id, label).label == label
    with pytest.raises(Invalid) as refused:
        ground.do(SYSTEM, service.add_version, ground.app.id, label + "v")
    assert refused.value.fields == {"label": "name_too_long"}


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
        assert (found.scopes, found.roles) == (("openid",), frozenset({"nurse"}))


def test_secrets_rotated_at_once_leave_two_and_only_one_without_an_end(ground: Ground) -> None:
    """C9: two may overlap during rotation with a stated end time."""
    client, _ = ground.client(type=ClientType.SYMMETRIC, deployment=Deployment.SERVER)
    for _ in range(8):
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda _: ground.do(ROOT, clients.rotate_secret, client.id), range(3)))

        ends = [each.expires_at is None for each in ground.do(SYSTEM, clients.get_client, client.id).secrets]
        assert sorted(ends) == [False, True]
