"""Checks of ``hilum doctor --fhir-servers``: whether each hospital's FHIR server over HTTP answers."""

import asyncio

from hilum.cli import host
from hilum.cli.findings import Finding
from hilum.identity import service as identity
from hilum.identity.models import UpstreamKind
from hilum.identity.policy import facts_of
from hilum.upstream.checks import faults_of


def fhir_server_findings() -> list[Finding]:
    """Ask the FHIR server of each active tenant that has one over HTTP."""
    tenants = [
        facts_of(each)
        for each in host.read(identity.list_tenants)
        if each.active and each.upstream.kind is UpstreamKind.HTTP
    ]
    faults = asyncio.run(faults_of(tenants))
    return [
        Finding(f"FHIR server of {tenant.id}", ok=not fault, next=fault)
        for tenant, fault in zip(tenants, faults, strict=True)
    ]
