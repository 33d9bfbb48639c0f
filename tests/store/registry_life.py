"""A registry to which anything may happen, and its facts as a process holds them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientMetadata, ClientType, Deployment, NewClient, NewSystemClient
from hilum.apps.clients.policy import admission
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder, NarrowOrder, RegistryFacts
from hilum.apps.registry import service
from hilum.apps.registry.models import REGISTRY, CertifyOrder, Environment, NewApp, NewVendor, NewVersion
from hilum.foundation.infra import epoch
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.epoch import Stamp
from hilum.foundation.infra.facts import Since
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.ids import TenantId
from hilum.identity.people import service as identity
from hilum.identity.people.models import Tenant, UpstreamKind, UpstreamRef
from hilum.policy.matrix.models import UNCLASSIFIED
from hilum.policy.matrix.shipped import shipped_book
from tests.sim.furnished import furnish
from tests.sim.proofs import certify
from tests.sim.world import START, FakeClock

TRACE = Trace("req_test")
TENANTS = (TenantId("general"), TenantId("mercy"), TenantId("clinic"))
SCOPES = ("launch", "openid", "patient/*.rs")
BODY = {"redirect_uris": ["http://localhost:4567/cb"], "scope": "launch openid patient/*.rs"}
Pick = Callable[[list[Any]], Any]


@dataclass(frozen=True)
class Held:
    """The facts as a process holds them."""

    stamp: Stamp
    value: RegistryFacts

    def __getattr__(self, name: str) -> Any:
        return getattr(self.value, name)


class Life:
    """A registry to which anything may happen. A verb that is refused is part of life."""

    def __init__(self, uow: UnitOfWork, clock: FakeClock) -> None:
        self.uow, self.clock, self.count = uow, clock, 0
        self.apps: list[Any] = []
        furnish("life", uow, self, ("count", "apps", "vendor"), self._begin)

    def _begin(self) -> None:
        for tenant in TENANTS:
            made = Tenant(tenant, tenant, UpstreamRef(UpstreamKind.EMBEDDED), sandbox=tenant != "mercy")
            self.do(identity.add_tenant, made)
        self.vendor = self.do(service.add_vendor, NewVendor("Vendor", "help@v.example", "sec@v.example")).id
        for _ in range(3):
            self.add_app(self.pick_first)

    @staticmethod
    def pick_first(found: list[Any]) -> Any:
        return found[0]

    @staticmethod
    def pick_last(found: list[Any]) -> Any:
        return found[-1]

    def do(self, verb: Any, *args: Any, **more: Any) -> Any:
        return self.uow.write_now(lambda ctx: verb(ctx, *args, **more), actor=SYSTEM, trace=TRACE)

    def facts(self, before: "Held | None" = None) -> "Held":
        """Read everything, or with ``before`` what changed since; twice what a process does."""

        def verb(ctx: Context) -> Held:
            stamp = epoch.read(ctx.tx)[REGISTRY]
            if before is not None and before.stamp == stamp:
                return before
            changes = None if before is None else epoch.changes(ctx.tx, REGISTRY, before.stamp, stamp)
            delta = installations.facts(ctx, Since(changes))
            return Held(stamp, delta.applied(None if before is None else before.value))

        return self.uow.read_now(verb, actor=SYSTEM, trace=TRACE)

    # --- what may happen ------------------------------------------------------------------------------------------------------

    def add_app(self, pick: Pick) -> None:
        app = self.do(service.add_app, NewApp(self.vendor, "App", "Does things", "Care", UNCLASSIFIED))
        self.apps.append(app.id)
        version = self.do(service.add_version, app.id, NewVersion("1"))
        self._add_client(app.id, version.id, pick)
        self.do(certify, CertifyOrder(version.id, Environment.PRODUCTION, SCOPES, self.later(days=90)))

    def add_client(self, pick: Pick) -> None:
        app = pick(self.apps)
        self._add_client(app, pick(self.do(service.list_versions, app)).id, pick)

    def _add_client(self, app: Any, version: Any, pick: Pick) -> None:
        self.count += 1
        origin = f"https://a{self.count}.example"
        metadata = ClientMetadata(
            "Client",
            ClientType.PUBLIC,
            Deployment.BROWSER,
            pick(list(Environment)),
            redirect_uris=(f"{origin}/cb",),
            scopes=SCOPES,
        )
        self.do(clients.add_client, NewClient(app, version, metadata))

    def certify(self, pick: Pick) -> None:
        version = pick(self.do(service.list_versions, pick(self.apps))).id
        end = self.later(days=pick([1, 30, 300]))
        self.do(certify, CertifyOrder(version, pick(list(Environment)), SCOPES[: pick([1, 2, 3])], end))

    def withdraw(self, pick: Pick) -> None:
        self.do(
            service.withdraw_certification, pick(self.do(service.list_certifications, pick(self.apps))).id
        )

    def update(self, pick: Pick) -> None:
        app = pick(self.apps)
        self.count += 1
        version = self.do(service.add_version, app, NewVersion(f"v{self.count}"))
        if pick([True, False]):
            self.do(certify, CertifyOrder(version.id, Environment.PRODUCTION, SCOPES, self.later(days=9)))
        self.do(clients.adopt_version, pick(self.do(clients.list_clients, app)).id, version.id)

    def install(self, pick: Pick) -> None:
        order = InstallOrder(pick(list(TENANTS)), pick(self.apps), frozenset({pick(["nurse", "physician"])}))
        self.do(installations.install, replace(order, expires_at=pick([None, self.later(days=2)])))

    def narrow(self, pick: Pick) -> None:
        found = pick(self.do(installations.list_installations))
        self.do(installations.narrow_installation, found.id, NarrowOrder(scopes=found.scopes[:1]))

    def uninstall(self, pick: Pick) -> None:
        self.do(installations.uninstall, pick(self.do(installations.list_installations)).id)

    def suspend(self, pick: Pick) -> None:
        self.do(service.suspend_app, pick(self.apps), "why")

    def resume(self, pick: Pick) -> None:
        self.do(service.resume_app, pick(self.apps), "cleared")

    def add_system_client(self, pick: Pick) -> None:
        kind = pick([ClientType.EHR, ClientType.RESOURCE_SERVER])
        self.do(clients.add_system_client, NewSystemClient(pick(list(TENANTS)), kind, "Peer"))

    def register(self, pick: Pick) -> None:
        self.do(installations.register_dynamically, pick(list(TENANTS)), BODY)

    def rotate(self, pick: Pick) -> None:
        self.do(clients.rotate_secret, pick(self.do(clients.list_clients, pick(self.apps))).id)

    def wait(self, pick: Pick) -> None:
        self.clock.advance(timedelta(hours=pick([1, 13, 25, 24 * 40])))

    def later(self, **more: Any) -> Any:
        return self.clock.now() + timedelta(**more)


def admitted(facts: RegistryFacts, app: Any) -> set[str]:
    """Return what the clients of an app may have: nothing while it is stopped or not certified."""
    now = START
    return {
        scope
        for each in facts.apps.get(app, ())
        if each.active and each.certified_until is not None and now < each.certified_until
        for scope in admission(shipped_book(), each, now).scopes
    }
