"""A platform with one app and one version of it, at a sandbox hospital and a production hospital: for the registry and the modules above it."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import (
    ClientMetadata,
    ClientType,
    Deployment,
    NewClient,
)
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import REGISTRY, CertifyOrder, Environment, NewApp, NewVendor, NewVersion
from hilum.foundation.infra.context import Trace
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.ids import TenantId
from hilum.identity.people import service as identity
from hilum.identity.people.models import Tenant, UpstreamKind, UpstreamRef
from tests.sim.facts import counted, whole
from tests.sim.furnished import furnish
from tests.sim.proofs import all_proved

TRACE = Trace("req_test")
GENERAL, MERCY = TenantId("general"), TenantId("mercy")
SCOPES = ("launch", "openid", "patient/*.rs")
SERVER = {"type": ClientType.SYMMETRIC, "deployment": Deployment.SERVER}


def staff(role: str) -> Actor:
    return Actor(ActorKind.STAFF, f"per_{role}", roles=frozenset({role}))


def admin(tenant: TenantId) -> Actor:
    return Actor(ActorKind.PERSON, f"per_{tenant}", tenant, frozenset({"administrator"}))


ROOT, RITA, SAM = staff("platform_admin"), staff("reviewer"), staff("security")
GINA, MARY = admin(GENERAL), admin(MERCY)


METADATA = ClientMetadata(
    "Chart viewer",
    ClientType.PUBLIC,
    Deployment.BROWSER,
    Environment.SANDBOX,
    redirect_uris=("https://app.example/cb",),
    scopes=("launch", "openid", "patient/Observation.rs"),
)


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
        reviewed = "sub_1" if environment is Environment.PRODUCTION else ""
        ends = self.uow.clock.now() + timedelta(days=90)
        order = CertifyOrder(self.version.id, environment, SCOPES, ends, reviewed)
        return self.do(RITA, registry.certify, replace(order, **change), unproved=all_proved)

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


@pytest.fixture
def ground(uow: UnitOfWork) -> Ground:
    made = Ground(uow)
    furnish("registry", uow, made, ("vendor", "app", "version"), lambda: _furnish(made))
    return made


def _furnish(made: Ground) -> None:
    for tenant, sandbox in ((GENERAL, True), (MERCY, False)):
        made.do(
            SYSTEM,
            identity.add_tenant,
            Tenant(tenant, tenant, UpstreamRef(UpstreamKind.EMBEDDED), sandbox=sandbox),
        )
    made.vendor = made.do(
        ROOT, registry.add_vendor, NewVendor("Vendor", "help@v.example", "sec@v.example", "https://v.example")
    )
    made.app = made.do(
        ROOT,
        registry.add_app,
        NewApp(made.vendor.id, "Viewer", "Shows charts", "Chart review", "care_recommendations"),
    )
    made.version = made.do(ROOT, registry.add_version, made.app.id, NewVersion("1.0"))


def rows_of(ground: Ground, query: Any) -> list[dict[str, Any]]:
    return ground.do(SYSTEM, lambda ctx: [dict(each) for each in ctx.tx.execute(query).mappings()])


def add_another_app(ground: Ground) -> Any:
    """Add another app that is installed at the same hospital."""
    app = ground.do(
        ROOT, registry.add_app, NewApp(ground.vendor.id, "Other", "Shows", "Charts", "care_recommendations")
    )
    version = ground.do(ROOT, registry.add_version, app.id, NewVersion("1.0"))
    first, ground.app, ground.version = ground.app, app, version
    ground.certify(version=version.id)
    ground.install()
    ground.app = first
    return app
