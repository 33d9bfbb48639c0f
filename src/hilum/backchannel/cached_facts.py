"""What every token rests on, read once in a process and again only when it changed (``Context.recall``).

Each value depends on facts of its part alone, and every change of those, a client's secrets among them, advances the part's count in
its own transaction.
"""

from hilum.clients import service as clients
from hilum.clients.models import Client, ClientFacts
from hilum.controls import service as controls
from hilum.controls.models import SWITCHES, SwitchIndex, TargetKind
from hilum.identity import service as identity
from hilum.identity.models import IDENTITY, Person, Tenant
from hilum.identity.policy import charts_at
from hilum.infra.context import Context
from hilum.infra.facts import current_facts
from hilum.installations import service as installations
from hilum.installations.models import InstallationFacts
from hilum.kernel.ids import AppId, ClientId, PersonId, TenantId
from hilum.registry.models import REGISTRY

_PARTS = frozenset({TargetKind.SCOPE, TargetKind.RESOURCE_TYPE})


def find_tenant(ctx: Context, tenant: TenantId) -> Tenant | None:
    """Find a tenant by whatever text an address holds."""
    return ctx.cached(IDENTITY, ("tenant", tenant), lambda ctx: identity.find_tenant(ctx, tenant))


def find_person(ctx: Context, person: PersonId) -> Person | None:
    """Find somebody, active or not, with the charts that are theirs now."""
    found = ctx.cached(IDENTITY, ("person", person), lambda ctx: identity.find_person(ctx, person))
    return None if found is None else charts_at(found, ctx.now)


def find_client(ctx: Context, client: ClientId) -> Client | None:
    """Find a client, with the digests of its secrets, by whatever text a request holds."""
    return ctx.cached(REGISTRY, ("client", client), lambda ctx: clients.find_client(ctx, client))


def client_facts(ctx: Context, client: ClientId) -> ClientFacts | None:
    """Give what enforcement must know of a client."""
    return ctx.cached(REGISTRY, ("facts", client), lambda ctx: clients.client_facts(ctx, client))


def installation(ctx: Context, tenant: TenantId, app: AppId) -> InstallationFacts | None:
    """Give what enforcement must know of an app's standing installation at a tenant."""
    key = ("installation", tenant, app)
    return ctx.cached(REGISTRY, key, lambda ctx: installations.installation(ctx, tenant, app))


def origins(ctx: Context, tenant: TenantId) -> frozenset[str]:
    """Give the web origins of the clients installed at a tenant; none at one that is not there."""
    if find_tenant(ctx, tenant) is None:
        return frozenset()
    return (
        ctx.cached(REGISTRY, ("origins", tenant), lambda ctx: installations.origins_at(ctx, tenant))
        or frozenset()
    )


def switches(ctx: Context) -> SwitchIndex:
    """Give the switches and the ends of full stops; they are judged by the time, so that of the reading does not matter."""
    return current_facts(ctx, SWITCHES, controls.switch_facts)


def part_switches(ctx: Context) -> SwitchIndex:
    """Give those on scopes and resource types: what takes a part out of a grant."""
    found = ctx.cached(SWITCHES, "parts", lambda ctx: _of_parts(switches(ctx)))
    assert found is not None, "there is always an index, if an empty one"
    return found


def _of_parts(index: SwitchIndex) -> SwitchIndex:
    return SwitchIndex(
        {target: found for target, found in index.engaged.items() if target.kind in _PARTS},
        {target: moment for target, moment in index.not_issued_before.items() if target.kind in _PARTS},
    )
