"""Checks of ``hilum doctor --fhir-servers``: whether each hospital's FHIR server over HTTP answers."""

import asyncio
from functools import partial

from hilum.foundation.infra.system import SystemClock
from hilum.foundation.kernel.ids import TenantId
from hilum.gateway.upstream.access import client_assertion
from hilum.gateway.upstream.checks import check, fault_of
from hilum.identity.people import service as identity
from hilum.identity.people.models import UpstreamKind, UpstreamRef
from hilum.identity.people.policy import facts_of
from hilum.server.commands import host
from hilum.server.commands.findings import Finding


async def _client_assertion(tenant: TenantId, upstream: UpstreamRef) -> str:
    return host.write(partial(client_assertion, tenant=tenant, upstream=upstream))


def fhir_server_findings() -> list[Finding]:
    """Ask the FHIR server of each active tenant that has one over HTTP."""
    tenants = [
        facts_of(each)
        for each in host.read(identity.list_tenants)
        if each.active and each.upstream.kind is UpstreamKind.HTTP
    ]
    checked = asyncio.run(check(tenants, _client_assertion, SystemClock().now))
    return [
        Finding(f"FHIR server of {tenant.id}", ok=not (fault := fault_of(lines)), next=fault)
        for tenant, lines in zip(tenants, checked, strict=True)
    ]
