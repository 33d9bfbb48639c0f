"""Check that the address of a FHIR server is one: read its CapabilityStatement, and a record that does not exist, so that no data is read."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.standards.fhir.shaping import load
from hilum.gateway.upstream.access import Assert, TokenRefused
from hilum.gateway.upstream.live import Upstreams
from hilum.gateway.upstream.models import UpstreamRequest
from hilum.identity.people.models import TenantFacts
from hilum.records.keys.live import vault

DEADLINE = timedelta(seconds=5)
AT_ONCE = 16
ABSENT = "Patient/hilum-doctor"
"""No record has this id. Reading it shows whether the credentials are accepted."""
_ACCEPT = (("accept", "application/fhir+json"),)


async def faults_of(tenants: Sequence[TenantFacts], client_assertion: Assert) -> list[str]:
    """Return for each tenant what is wrong with its FHIR server and what to do; empty if nothing."""
    upstreams = Upstreams(vault(), lambda _: None, DEADLINE, client_assertion)
    places = asyncio.Semaphore(AT_ONCE)

    async def ask(tenant: TenantFacts) -> str:
        async with places:
            return await _fault(upstreams, tenant)

    try:
        return await asyncio.gather(*(ask(tenant) for tenant in tenants))
    finally:
        await upstreams.close()


async def _fault(upstreams: Upstreams, tenant: TenantFacts) -> str:
    try:
        described = await upstreams.describe(tenant, UpstreamRequest("GET", "metadata", _ACCEPT))
        if fault := statement_fault(described.status, described.body, tenant):
            return fault
        read = await upstreams.describe(tenant, UpstreamRequest("GET", ABSENT, _ACCEPT))
    except TokenRefused as error:
        return f"No access token: {error.reason}. Check {tenant.upstream.token_url}, the client id, its secret or keys there, and the scope"
    except Unavailable as error:
        return f"{error.detail} Check {tenant.upstream.url} and whether this machine reaches it"
    return read_fault(read.status, tenant)


def statement_fault(status: int, body: bytes, tenant: TenantFacts) -> str:
    """Return what is wrong with an answer to ``GET metadata``; empty if it is a CapabilityStatement of R4."""
    where = f"{tenant.upstream.url}/metadata"
    if status in {401, 403}:
        return _refuses(status, tenant)
    if status != 200:
        return f"{where} answers {status}; it should be 200 with its CapabilityStatement. Check the FHIR base"
    try:
        statement = load(body)
    except ValueError:
        statement = None
    if not isinstance(statement, dict) or statement.get("resourceType") != "CapabilityStatement":
        return f"{where} is not a CapabilityStatement in JSON. Check the FHIR base"
    version = statement.get("fhirVersion")
    if not isinstance(version, str) or not version.startswith("4.0"):
        return f"it speaks FHIR {str(version)[:20]!r}, and Hilum needs R4 (4.0.1)"
    return ""


def read_fault(status: int, tenant: TenantFacts) -> str:
    """Return what is wrong with an answer to the read of a record that does not exist; empty if it is 404 or 410."""
    if status in {401, 403}:
        return _refuses(status, tenant)
    if status not in {404, 410}:
        return f"{tenant.upstream.url}/{ABSENT} answers {status}; a record that does not exist should be 404. Check the FHIR base"
    return ""


def _refuses(status: int, tenant: TenantFacts) -> str:
    advice = f"hilum tenant upstream {tenant.id} --url {tenant.upstream.url} --authorization"
    return f"it refuses Hilum's credentials ({status}). Set those that it accepts: `{advice}`"
