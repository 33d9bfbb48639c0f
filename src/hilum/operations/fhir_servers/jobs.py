"""The jobs that ask for the nightly check of every hospital's FHIR server, and make the checks that were asked for.

If the process dies during a check, the next run makes it again: a check writes nothing at a FHIR server.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Protocol, TypeVar

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import TenantId
from hilum.gateway.upstream.models import CheckLine
from hilum.identity.people import service as identity
from hilum.identity.people.models import StaffRole, Tenant, TenantFacts, UpstreamKind
from hilum.identity.people.policy import facts_of
from hilum.operations.fhir_servers import policy, store
from hilum.operations.fhir_servers.models import BATCH, DUE_AFTER, FhirServer, ServerState
from hilum.operations.fhir_servers.service import ask
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.records.notices import service as notices
from hilum.records.notices.models import Mail, MailKind

T = TypeVar("T")
Waiting = tuple[FhirServer, Tenant | None]
Check = Callable[[Sequence[TenantFacts]], Sequence[tuple[CheckLine, ...]]]
"""Checks the FHIR servers of some hospitals (``gateway.upstream.checks.check``)."""
_ANSWERABLE = {StaffRole.PLATFORM_ADMIN}


class Lease(Protocol):
    """Runs verbs as the system; ``write`` works only while this process holds the job's lease."""

    def read(self, verb: Callable[[Context], T]) -> T: ...

    def write(self, verb: Callable[[Context], T]) -> T: ...


def ask_due(ctx: Context) -> int:
    """Ask for a check of a batch of servers whose settings changed, or that were not checked since yesterday; return how many.

    Call again until it returns 0.
    """
    known = {each.id: each for each in store.list_since(ctx.tx, ctx.now - DUE_AFTER)}
    missing = [each for each in identity.list_tenants(ctx) if _is_checked(each) and _is_due(each, known)]
    for tenant in missing[:BATCH]:
        before = store.SERVERS.find(ctx.tx, lock=True, id=tenant.id)
        ask(ctx, before or FhirServer(tenant.id, ServerState.WAITING, ctx.now, ""))
    return len(missing[:BATCH])


def run(lease: Lease, check: Check, may_continue: Callable[[], bool]) -> None:
    """Make every check that was asked for, a batch at a time."""
    while may_continue() and (found := lease.read(_waiting)):
        waiting, began = found
        gone = [server for server, tenant in waiting if tenant is None]
        if gone:
            lease.write(partial(_forget, gone=gone))
        servers = [(server, tenant) for server, tenant in waiting if tenant is not None]
        checked = check([facts_of(tenant) for _, tenant in servers])
        for (_, tenant), lines in zip(servers, checked, strict=True):
            lease.write(partial(_keep, tenant=tenant, lines=lines, began=began))


def _is_checked(tenant: Tenant | None) -> bool:
    return tenant is not None and tenant.active and tenant.upstream.kind is UpstreamKind.HTTP


def _is_due(tenant: Tenant, known: Mapping[TenantId, FhirServer]) -> bool:
    server = known.get(tenant.id)
    if server is None:
        return True
    return not policy.is_waiting(server) and server.settings != policy.settings_of(tenant.upstream)


def _waiting(ctx: Context) -> tuple[list[Waiting], datetime] | None:
    """List the servers to be checked with their hospitals, None for one that has no such server any longer, and the time."""
    servers = store.list_waiting(ctx.tx, BATCH)
    if not servers:
        return None
    found = ((each, identity.find_tenant(ctx, each.id)) for each in servers)
    return [(each, tenant if _is_checked(tenant) else None) for each, tenant in found], ctx.now


def _forget(ctx: Context, gone: Sequence[FhirServer]) -> None:
    for each in gone:
        store.SERVERS.delete(ctx.tx, id=each.id)


def _keep(ctx: Context, tenant: Tenant, lines: tuple[CheckLine, ...], began: datetime) -> None:
    """Store what was found, and tell those who answer for it if it begins to fail."""
    before = store.SERVERS.find(ctx.tx, lock=True, id=tenant.id)
    if before is None:
        return
    # As of its beginning: whoever asked meanwhile, perhaps after a change, gets a check of their own.
    after = policy.checked(before, lines, policy.settings_of(tenant.upstream), began)
    store.SERVERS.save(ctx.tx, after)
    if after.state is not before.state:
        facts = {"state": after.state.value, "before": before.state.value}
        audit.record(ctx, Event("fhir_servers.fhir_server.judge", tenant=tenant.id, facts=facts))
    if policy.begins_to_fail(before, after):
        cause = f"fhir_servers/{tenant.id}/{began.isoformat()}"
        told = {"hospital": tenant.name, "tenant": tenant.id}
        identity.mail_administrators(ctx, tenant.id, MailKind.FHIR_SERVER_FAILS, cause, told)
        for _, address in identity.list_recipients(ctx, None, _ANSWERABLE):
            notices.put_mail(ctx, Mail(MailKind.FHIR_SERVER_FAILS, address, cause, told))
