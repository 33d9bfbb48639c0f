"""Faults of a sandbox hospital's FHIR server that developers make for their own client, outside runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import Client
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import Environment
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid, NotFound
from hilum.foundation.kernel.ids import ClientId, TenantId
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.review.certification_runs import policy
from hilum.review.certification_runs.acting import require_sandbox
from hilum.review.certification_runs.models import SCENARIO_LIFE, UPSTREAM, Fault

_ABSENT = "client_not_found", "There is no such client."


@dataclass(frozen=True, slots=True)
class ManualFault:
    """A fault for one client's requests at one sandbox hospital, until a moment."""

    client: ClientId
    tenant: TenantId
    fault: Fault
    until: datetime


@dataclass(frozen=True, slots=True)
class ByHand:
    """The sandbox's own FHIR servers. ``make`` raises Conflict if too many faults exist; ``find`` lists a client's faults, earliest end first."""

    make: Callable[[ManualFault], None]
    end: Callable[[ClientId, TenantId, Fault], None]
    find: Callable[[ClientId], Sequence[ManualFault]]


def make(ctx: Context, client_id: str, tenant: str, kind: str) -> ManualFault:
    """Check and record a fault for the actor's client. Raises NotFound, NotPermitted (no right, no sandbox), Invalid (client)."""
    client, fault = _changeable(ctx, client_id, tenant, kind, "evidence.fault.make")
    made = ManualFault(client.id, TenantId(tenant), fault, ctx.now + SCENARIO_LIFE)
    audit.record(ctx, _event(client, made.tenant, fault, "evidence.fault.make"))
    return made


def end(ctx: Context, client_id: str, tenant: str, kind: str) -> ManualFault:
    """Check and record the end of a fault. Raises NotFound, NotPermitted, Invalid."""
    client, fault = _changeable(ctx, client_id, tenant, kind, "evidence.fault.end")
    audit.record(ctx, _event(client, TenantId(tenant), fault, "evidence.fault.end"))
    return ManualFault(client.id, TenantId(tenant), fault, ctx.now)


def own(ctx: Context, client_id: str) -> ClientId:
    """Return a client whose faults the actor may see: one of their vendor, for staff any. Raises NotFound."""
    client = _found(ctx, client_id)
    if not policy.may_see(ctx.actor, registry.get_app(ctx, client.app).vendor):
        raise NotFound(*_ABSENT)
    return client.id


def _changeable(ctx: Context, client_id: str, tenant: str, kind: str, action: str) -> tuple[Client, Fault]:
    client = _found(ctx, client_id)
    app = registry.get_changeable(ctx, client.app, action)
    if client.environment is not Environment.SANDBOX:
        fields = {"client": "client_not_of_sandbox"}
        raise Invalid("fault_invalid", "No fault can be made for this client; see fields.", fields=fields)
    require_sandbox(ctx, TenantId(tenant), app.vendor)
    if kind not in UPSTREAM:
        raise NotFound("fault_unknown", f"The FHIR server can fail by: {', '.join(sorted(UPSTREAM))}.")
    return client, Fault(kind)


def _found(ctx: Context, client_id: str) -> Client:
    client = clients.find_client(ctx, ClientId(client_id))
    if client is None:
        raise NotFound(*_ABSENT)
    return client


def _event(client: Client, tenant: TenantId, fault: Fault, action: str) -> Event:
    facts = {"fault": fault.value}
    return Event(action, tenant=tenant, app=client.app, client=client.id, facts=facts)
