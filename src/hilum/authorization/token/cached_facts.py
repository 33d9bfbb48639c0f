"""The facts that every token depends on, cached in the process and read again only after a change (``Context.cached``).

Each value depends on the facts of one part. Every change of those, including that of a client's secret, advances the part's count in the
same transaction, so no stale value is used.
"""

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import Client, ClientFacts
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallationFacts
from hilum.apps.registry.models import REGISTRY
from hilum.authorization.eligibility import service as eligibility
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import SWITCHES, SwitchIndex, TargetKind
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.facts import current_facts
from hilum.foundation.kernel.ids import AppId, ClientId, PersonId, TenantId
from hilum.identity.people import service as identity
from hilum.identity.people.models import IDENTITY, Person, Tenant
from hilum.identity.people.policy import charts_at
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.policy import as_of, still_observed

_PARTS = frozenset({TargetKind.SCOPE, TargetKind.RESOURCE_TYPE})


def find_tenant(ctx: Context, tenant: TenantId) -> Tenant | None:
    """Find a tenant by the id in a URL, which may be any text."""
    return ctx.cached(IDENTITY, ("tenant", tenant), lambda ctx: identity.find_tenant(ctx, tenant))


def find_person(ctx: Context, person: PersonId) -> Person | None:
    """Find a person, active or not, with the charts that they may open now."""
    cached = ctx.cached(IDENTITY, ("person", person), lambda ctx: identity.find_person(ctx, person))
    # Cached with all charts and their ends, because which of them have ended depends on the time.
    return None if cached is None else charts_at(cached, ctx.now)


def is_facility_open(ctx: Context, tenant: TenantId, facility: str) -> bool:
    """Check whether a facility is in use at a tenant; True if ``facility`` is empty."""
    if not facility:
        return True
    key = ("facility", tenant, facility)
    return bool(ctx.cached(IDENTITY, key, lambda ctx: eligibility.is_open(ctx, tenant, facility) or None))


def find_client(ctx: Context, client: ClientId) -> Client | None:
    """Find a client, with the digests of its secrets, by the id in a request, which may be any text."""
    return ctx.cached(REGISTRY, ("client", client), lambda ctx: clients.find_client(ctx, client))


def client_facts(ctx: Context, client: ClientId) -> ClientFacts | None:
    """Return the facts about a client that enforcement needs."""
    return ctx.cached(REGISTRY, ("facts", client), lambda ctx: clients.client_facts(ctx, client))


def installation(ctx: Context, tenant: TenantId, app: AppId) -> InstallationFacts | None:
    """Return the facts about an app's current installation at a tenant that enforcement needs."""
    key = ("installation", tenant, app)
    return ctx.cached(REGISTRY, key, lambda ctx: installations.installation(ctx, tenant, app))


def origins(ctx: Context, tenant: TenantId) -> frozenset[str]:
    """Return the web origins of the clients installed at a tenant; empty if there is no such tenant."""
    if find_tenant(ctx, tenant) is None:
        return frozenset()
    return (
        ctx.cached(REGISTRY, ("origins", tenant), lambda ctx: installations.origins_at(ctx, tenant))
        or frozenset()
    )


def workflows(ctx: Context, tenant: TenantId) -> tuple[str, ...]:
    """Return the workflows that an app installed at a tenant may be granted there, by the policy in force there."""
    facts = policies.current(ctx)
    book = facts.at.get(tenant, facts.everywhere)
    # Of what depends on the time only observed entries matter here: a sunset ends a scope, never a workflow.
    entries = still_observed(book, ctx.now.date())
    key = ("workflows", tenant, book.digest, len(entries))
    book = as_of(book, ctx.now)
    return ctx.cached(REGISTRY, key, lambda ctx: installations.workflows_at(ctx, tenant, book)) or ()


def switches(ctx: Context) -> SwitchIndex:
    """Return the switches and the ends of full stops. The value does not depend on the time; callers apply ``now``."""
    # Updated by deltas: after a change only the changed switches are read.
    return current_facts(ctx, SWITCHES, controls.switch_facts)


def scope_switches(ctx: Context) -> SwitchIndex:
    """Return the switches on scopes and resource types, which remove a part of a grant rather than all of it."""
    index = ctx.cached(SWITCHES, "parts", lambda ctx: _on_scopes(switches(ctx)))
    assert index is not None, "there is always an index, even if it is empty"
    return index


def _on_scopes(index: SwitchIndex) -> SwitchIndex:
    return SwitchIndex(
        {target: engaged for target, engaged in index.engaged.items() if target.kind in _PARTS},
        {target: moment for target, moment in index.not_issued_before.items() if target.kind in _PARTS},
    )
