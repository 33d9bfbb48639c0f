"""The job that settles writes without a recorded outcome: it reads from the FHIR server whether they were executed."""

import asyncio

from hilum.foundation.infra.context import Context
from hilum.foundation.infra.settings import Settings
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.web.urls import Urls
from hilum.gateway.enforcement.settling import SETTLE_EVERY, Settler, in_turn, is_due
from hilum.gateway.upstream.access import asserts_by
from hilum.gateway.upstream.live import Upstreams
from hilum.identity.people import policy as identity_policy
from hilum.identity.people import service as identity
from hilum.identity.people.models import TenantFacts
from hilum.records.audit import live as journals
from hilum.records.audit.live import Intents, Journal
from hilum.records.audit.models import OpenIntent
from hilum.records.keys.live import vault
from hilum.server import ehr
from hilum.server.schedule import JobLease


def intents_of(settings: Settings) -> Intents:
    """Return the reader of this installation's open intents."""
    return Intents(lambda: journals.open_reader(settings.journal_dir, settings.database_url))


def settle(job_lease: JobLease, settings: Settings) -> int:
    """Settle the intents that are due; return how many were. Journal and FHIR servers are opened only if any is."""
    intents, now = intents_of(settings), job_lease.uow.clock.now
    waiting = intents.list_open()
    if not waiting:
        return 0
    tenants = job_lease.read(lambda ctx: _tenants(ctx, {TenantId(each.intent.tenant) for each in waiting}))
    due = [
        each
        for each in waiting
        if is_due(each, now(), facts.upstream.kind if (facts := tenants.get(each.intent.tenant)) else None)
    ]
    if not due:
        return 0
    # A journal file has one writer, so this job has a chain of its own beside those of the workers.
    journal = journals.open_journal(
        settings.database_url,
        settings.journal_dir,
        f"{job_lease.uow.writer}-{job_lease.uow.ids.new('s')[2:]}",
        job_lease.uow.ids,
    )
    try:
        # Tenants take turns by time, so that one slow FHIR server is not first in every run.
        turn = int(job_lease.uow.clock.monotonic() / SETTLE_EVERY.total_seconds())
        return asyncio.run(_settle(job_lease, settings, journal, tenants, in_turn(due, turn)))
    finally:
        journal.close()


def _may_continue(job_lease: JobLease) -> bool:
    """Check whether this job may continue: False when the process stops. Raises Conflict if the lease was lost."""
    if job_lease.stop.is_set():
        return False
    # An empty transaction, which renews the lease or fails when it is lost: settling waits for FHIR
    # servers for longer than a lease lasts.
    job_lease.write(lambda _: None)
    return True


def _tenants(ctx: Context, ids: set[TenantId]) -> dict[str, TenantFacts]:
    tenants = {each: identity.find_tenant(ctx, each) for each in ids}
    return {each: identity_policy.facts_of(tenant) for each, tenant in tenants.items() if tenant is not None}


async def _settle(
    job_lease: JobLease,
    settings: Settings,
    journal: Journal,
    tenants: dict[str, TenantFacts],
    due: list[OpenIntent],
) -> int:
    clock, ids = job_lease.uow.clock, job_lease.uow.ids
    servers = ehr.fhir_servers(settings, Urls(settings.base_url, settings.sandbox_url), clock, ids)
    upstreams = Upstreams(vault(), servers.find, client_assertion=asserts_by(job_lease.uow))
    try:
        settler = Settler(
            upstreams,
            intents_of(settings),
            journal,
            tenants.get,
            clock.now,
            superseded=servers.list_superseded,
        )
        return await settler.settle(due, lambda: _may_continue(job_lease))
    finally:
        await upstreams.close()
        await servers.close()
