"""Register sandbox apps dynamically: from the vendor to the installation at once. Source: RFC 7591."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from hilum.apps.clients import policy as rules
from hilum.apps.clients import service as clients
from hilum.apps.clients.models import (
    DYNAMIC_CLIENT_LIFE,
    DYNAMIC_CLIENTS_BOUND,
    Client,
    ClientMetadata,
    ClientType,
)
from hilum.apps.installations import store
from hilum.apps.installations.adding import add
from hilum.apps.installations.models import InstallOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import Environment
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Subject
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.standards.smart import launch as smart_launch
from hilum.identity.people import service as identity
from hilum.identity.people.policy import ROLES
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, Outcome

REGISTER = "registry.client.register"


def register_dynamically(ctx: Context, tenant_id: TenantId, body: Mapping[str, Any]) -> tuple[Client, str]:
    """Register a sandbox app with vendor, version, certification and installation at this tenant. Source: RFC 7591.

    The route has checked that registration is open. Raises NotFound, Invalid, NotPermitted (not a sandbox tenant, too many clients, or a
    switch that stops launches at the tenant, since the new app could not be launched).
    """
    # The lock serializes registrations at a tenant, so that together they cannot exceed the bound counted below.
    tenant = identity.get_tenant(ctx, tenant_id, lock=True)
    # Strangers register here, so nothing but synthetic data may be in reach.
    if tenant.vendor is not None:
        raise identity.no_tenant()
    if not (tenant.sandbox and tenant.active):
        raise audit.refusal(ctx, Event(REGISTER, tenant=tenant_id))
    # Read from the database: the snapshot of this worker may not have the switch yet.
    if controls.judge(ctx, Subject(tenant=tenant_id), issued_at=None, launching=True) is not None:
        event = Event(REGISTER, tenant=tenant_id, reason=Reason.SWITCH_ENGAGED)
        raise audit.refusal(ctx, event, "A switch stops registration at this hospital; try again later.")
    ends = ctx.now + DYNAMIC_CLIENT_LIFE
    requested = _requested(ctx, tenant_id, body, ends)
    # Under the lock of the tenant's row.
    if clients.count_dynamic(ctx, tenant_id) >= DYNAMIC_CLIENTS_BOUND:
        raise audit.refusal(
            ctx,
            Event(REGISTER, tenant=tenant_id, reason="too_many_clients"),
            "This tenant has reached its limit of dynamic clients. They expire after a day; try again later.",
        )
    # Expired clients are removed by the next registration, so that the table does not grow with visitors.
    ended = clients.delete_ended_dynamic(ctx)
    store.delete_of_apps(ctx.tx, [each.app for each in ended])
    for each in ended:
        registry.announce_change(ctx, each.app, at=each.tenant)
    client, secret = clients.add_dynamic(ctx, tenant_id, requested, ends=ends)
    # Every role: in a sandbox the developer plays all of them.
    roles = frozenset() if client.type is ClientType.BACKEND else ROLES
    order = InstallOrder(tenant_id, client.app, roles, expires_at=ends)
    registry.announce_change(ctx, client.app, at=tenant_id)
    add(ctx, order, client.scopes, Environment.SANDBOX, asked=client.scopes)
    return client, secret


def _requested(ctx: Context, tenant: TenantId, body: Mapping[str, Any], ends: datetime) -> ClientMetadata:
    """Return the client that a body asks for. Records and raises Invalid."""
    requested = rules.from_registration(body, expires_at=ends)
    if isinstance(requested, dict):
        raise _invalid(ctx, tenant, requested)
    if requested.type in rules.DELEGATED:
        # The certification covers what is registered here, so nothing is granted that it does not have.
        requested = replace(requested, scopes=smart_launch.with_launch(requested.scopes))
    if faults := rules.validate_client_metadata(rules.normalized(requested), now=ctx.now):
        raise _invalid(ctx, tenant, faults)
    return requested


def _invalid(ctx: Context, tenant: TenantId, faults: dict[str, str]) -> Invalid:
    event = Event(REGISTER, Outcome.REFUSED, tenant=tenant, reason="client_invalid", facts=faults)
    audit.record(ctx, event)
    return Invalid("client_invalid", "The client metadata is invalid; see fields.", fields=faults)
