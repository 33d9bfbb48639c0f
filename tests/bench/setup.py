"""Puts into a benchmark's platform what its card has not: a tenant behind an HTTP upstream, many tokens."""

from datetime import timedelta

from hilum.apps.clients import service as clients
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder
from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens.models import Grant
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import BURST_BOUND, RATE_BOUND_PER_S, Quota
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.ids import AppId, ClientId, TenantId
from hilum.identity.people import service as identity
from hilum.identity.people.models import Tenant, UpstreamKind, UpstreamRef
from hilum.records.keys import live as keys
from tests.bench.rig import Rig
from tests.unit.policy.matrix.books import LIFETIMES

TRACE = Trace("bench")
SERVICE = "bench-backend"
MOST, SHIPPED = Quota(float(RATE_BOUND_PER_S), BURST_BOUND), Quota(20.0, 100)
SCOPES = ("system/*.rs",)


def uow_of(made: Rig) -> UnitOfWork:
    """Open the platform's control plane beside it."""
    keys.install(keys.Vault(made.environment["HILUM_SECRET_KEY"]))
    return UnitOfWork.create(
        Database(made.environment["HILUM_DATABASE_URL"]), SystemClock(), SystemIds(), "bench"
    )


def grant_of(ctx: Context, tenant: str) -> Grant:
    """Return the backend service's grant at a tenant."""
    facts = clients.client_facts(ctx, ClientId(SERVICE))
    assert facts is not None
    return Grant(TenantId(tenant), facts.id, facts.app, facts.version, facts.vendor, SCOPES)


def limit_service(made: Rig, tenant: str) -> None:
    """Give the app that is opened in charts all that there is, and the service what the shipped policy gives an app of every category."""
    lift_quotas(made, tenant, SHIPPED)


def lift_quotas(made: Rig, tenant: str, of_service: Quota = MOST) -> None:
    """Raise the quotas of the card's apps at a tenant as far as they go, so that the limit measured is the machine's."""
    uow = uow_of(made)

    def verb(ctx: Context) -> None:
        for name, quota in (("bench-symmetric", MOST), (SERVICE, of_service)):
            client = clients.get_client(ctx, ClientId(name))
            controls.set_quota(ctx, client.app, tenant, quota)

    try:
        uow.write_now(verb, actor=SYSTEM, trace=TRACE)
    finally:
        uow.close()


def http_tenant(made: Rig, upstream: str) -> str:
    """Add a tenant whose FHIR server is ``upstream``, install the service there, and return its FHIR base."""
    uow = uow_of(made)

    def verb(ctx: Context) -> None:
        tenant = TenantId("proxied")
        identity.add_tenant(
            ctx, Tenant(tenant, "Proxied", UpstreamRef(UpstreamKind.HTTP, upstream), sandbox=True)
        )
        grant = grant_of(ctx, tenant)
        installations.install(ctx, InstallOrder(tenant, AppId(grant.app), frozenset()))

    try:
        uow.write_now(verb, actor=SYSTEM, trace=TRACE)
    finally:
        uow.close()
    return f"{made.base}/t/proxied/fhir"


def many_tokens(made: Rig, count: int, tenant: str = "general") -> list[str]:
    """Mint ``count`` access tokens."""
    uow = uow_of(made)

    def verb(ctx: Context) -> list[str]:
        grant = grant_of(ctx, tenant)
        return [
            tokens.mint(
                ctx, grant, offline=None, code_family=None, lifetimes=LIFETIMES, life=timedelta(minutes=50)
            ).access_token
            for _ in range(count)
        ]

    try:
        return uow.write_now(verb, actor=SYSTEM, trace=TRACE)
    finally:
        uow.close()
