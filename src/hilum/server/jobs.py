"""The jobs process: runs each scheduled job on one node at a time, from checkpoints every second to the deletion of expired rows."""

import asyncio
import signal
import threading
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import partial

from hilum.apps.registry import service as registry
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.database_clock import steady
from hilum.foundation.infra.fetch import SafeFetcher
from hilum.foundation.infra.heartbeat import Heartbeat
from hilum.foundation.infra.settings import Settings
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.web.urls import Urls
from hilum.gateway.enforcement.settling import SETTLE_EVERY
from hilum.gateway.upstream.access import client_assertion
from hilum.gateway.upstream.checks import check
from hilum.gateway.upstream.models import CheckLine
from hilum.hospitals.offboarding import jobs as offboardings
from hilum.hospitals.offboarding.models import OFFBOARDINGS_EVERY
from hilum.hospitals.vendor_hospitals import live as own_hospitals
from hilum.hospitals.vendor_hospitals import service as snapshots
from hilum.identity.people.models import TenantFacts, UpstreamRef
from hilum.operations.dry_runs import jobs as dryruns
from hilum.operations.dry_runs.models import DRY_RUN_EVERY
from hilum.operations.fhir_servers import jobs as fhir_servers
from hilum.operations.fhir_servers.models import CHECK_EVERY as FHIR_SERVERS_EVERY
from hilum.operations.fhir_servers.models import DUE_EVERY
from hilum.operations.incidents import jobs as incidents
from hilum.operations.incidents.models import JOB_EVERY
from hilum.operations.monitoring import jobs as monitoring
from hilum.operations.monitoring.models import ALERTS_EVERY
from hilum.records.audit import anchor, reach_store
from hilum.records.audit import live as journals
from hilum.records.audit import service as audit
from hilum.records.audit.decision_counts import DecisionCounts
from hilum.records.audit.models import CHECKPOINT_EVERY, COUNT_EVERY, INDEX_EVERY, Anchored, AnchoredHead
from hilum.review.certificates import jobs as certificates
from hilum.review.certificates.models import STEP_EVERY, Addresses
from hilum.review.recertification import jobs as revalidation
from hilum.review.recertification.models import RUN_EVERY
from hilum.review.recertification.service import Totals, Use
from hilum.review.submissions import jobs as review
from hilum.review.submissions.looking import look_at
from hilum.review.submissions.models import CHECK_EVERY, CLOCKS_EVERY, LOOK_BYTES, LOOK_WITHIN
from hilum.review.undeclared_use import jobs as undeclared_use
from hilum.server import anchoring, ehr, sending, tables  # noqa: F401 - tables: loads every table, for erasure
from hilum.server.bootstrap import node_of, open_uow
from hilum.server.operations import JOBS
from hilum.server.reports import Faults, Reporter
from hilum.server.retention import PURGE_EVERY, RETAIN_EVERY, purge, retain
from hilum.server.schedule import Job, JobLease, Schedule
from hilum.server.settling import settle

DELTA_REVIEWS_EVERY = timedelta(minutes=10)
"""How long after a new policy the certifications whose tier it raises are listed for review."""
UNDECLARED_USE_EVERY = timedelta(hours=1)
"""How long after an app's use exceeds its declaration it is listed for reviewers."""
SNAPSHOTS_EVERY = timedelta(hours=1)
STOP_WITHIN_S = 5.0
CHECKPOINT = "checkpoint"
OVERDUE_AFTER = timedelta(seconds=10)


def run(settings: Settings) -> None:
    """Run every job on its schedule until SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    uow = open_uow(settings, steady(settings.database_url, SystemClock()), SystemIds(), "jobs")
    me = node_of(settings, uow.ids)
    heartbeat = Heartbeat(uow.db, uow.clock, me, leads=True)
    schedule = Schedule(uow, f"{me.name}/{uow.ids.new('jobs')}", may_run=lambda: heartbeat.state.gate.opens)
    reporter = Reporter(JOBS, uow.clock, faults=dict, notices=lambda: _checkpoint_notices(schedule))
    try:
        # The first beat reads the schema gate, without which no job may run.
        heartbeat.start()
        schedule.start(*jobs_of(uow, settings))
        reporter.start()
        stop.wait()
        schedule.end(STOP_WITHIN_S)
    finally:
        reporter.stop()
        # Last: while a job may still run, this node must count as live.
        heartbeat.stop(leave=True)
        uow.close()


def jobs_of(uow: UnitOfWork, settings: Settings) -> tuple[Job, ...]:
    """List every job with its interval."""
    # Shared by all runs in this process: a past day is read once.
    journal = settings.journal_dir, settings.database_url
    reached = undeclared_use.KnownDays(
        partial(journals.read_reached, *journal), partial(journals.is_indexed, *journal)
    )
    return (
        Job(
            CHECKPOINT,
            CHECKPOINT_EVERY,
            lambda job_lease: checkpoint(job_lease, settings),
            aside=lambda: write_anchor(uow, settings, fresh=False),
        ),
        Job("audit_index", INDEX_EVERY, lambda job_lease: index_accesses(job_lease, settings)),
        Job("decision_counts", COUNT_EVERY, lambda job_lease: count_decisions(job_lease, settings)),
        Job("delta_reviews", DELTA_REVIEWS_EVERY, list_delta_reviews),
        Job(
            "undeclared_use",
            UNDECLARED_USE_EVERY,
            lambda job_lease: find_undeclared_use(job_lease, settings, reached),
        ),
        Job("alerts", ALERTS_EVERY, lambda job_lease: judge_alerts(job_lease, settings)),
        Job("fhir_servers_due", DUE_EVERY, lambda job_lease: job_lease.repeat(fhir_servers.ask_due)),
        Job("fhir_servers", FHIR_SERVERS_EVERY, check_fhir_servers),
        Job("incidents", JOB_EVERY, lambda job_lease: follow_incidents(job_lease, settings)),
        Job("dry_runs", DRY_RUN_EVERY, lambda job_lease: run_dry_runs(job_lease, settings)),
        Job("review_checks", CHECK_EVERY, lambda job_lease: check_submissions(job_lease, settings)),
        Job("certificates", STEP_EVERY, lambda job_lease: follow_certificates(job_lease, settings)),
        Job("offboardings", OFFBOARDINGS_EVERY, advance_offboardings),
        Job("revalidation", RUN_EVERY, lambda job_lease: revalidate_apps(job_lease, settings)),
        Job("review_clocks", CLOCKS_EVERY, update_review_clocks),
        Job("purge", PURGE_EVERY, lambda job_lease: purge(job_lease, settings)),
        Job("snapshots", SNAPSHOTS_EVERY, lambda job_lease: remove_snapshots(job_lease, settings)),
        Job("retention", RETAIN_EVERY, lambda job_lease: retain(job_lease, settings)),
        Job("settle", SETTLE_EVERY, lambda job_lease: settle(job_lease, settings)),
        *sending.jobs(uow, settings),
    )


def remove_snapshots(job_lease: JobLease, settings: Settings) -> None:
    """Remove vendors' unused snapshots with their records, and the remains of interrupted creations and removals."""
    since, files = job_lease.uow.clock.now() - settings.keep.snapshots, ehr.furnisher(settings)
    journal = settings.journal_dir, settings.database_url

    def called(tenants: Collection[TenantId], since: datetime) -> list[TenantId]:
        counted = journals.read_totals(*journal, tenants, since)
        return [each for each in tenants if each in counted and counted[each].calls]

    unused = partial(snapshots.remove_unused, since=since, called=called)
    for remove in (unused, snapshots.end_broken_off):
        while removed := job_lease.write(remove):
            for each in removed:
                own_hospitals.clear(files, each.id, job_lease.read)
    own_hospitals.sweep(files, job_lease.read)


def _checkpoint_notices(schedule: Schedule) -> Faults:
    """Return a notice once no checkpoint of the audit has succeeded for ``OVERDUE_AFTER``."""
    if schedule.age_s(CHECKPOINT) <= OVERDUE_AFTER.total_seconds():
        return {}
    notice = "No checkpoint of the audit has been made for some time: newer records are chained, but not yet signed."
    return {"checkpoints_eligibility": notice}


def checkpoint(job_lease: JobLease, settings: Settings) -> None:
    """Sign a checkpoint over every chain's head if one has changed, and write the newest checkpoint to the anchor."""
    # Read before the heads. If another node signs a checkpoint in between, ``after`` no longer fits
    # and nothing is signed here: older heads above newer ones would look like a chain that was cut.
    last = job_lease.read(audit.newest_checkpoint)
    after = last.number if last is not None else 0
    heads = journals.access_heads(settings.journal_dir, settings.database_url)
    signed = job_lease.write(lambda ctx: audit.checkpoint(ctx, heads, after=after))
    write_anchor(job_lease.uow, settings, fresh=signed is not None)


def index_accesses(job_lease: JobLease, settings: Settings) -> None:
    """Index the accesses recorded since the last run, while this node holds the lease."""
    journals.index_accesses(
        settings.journal_dir,
        settings.database_url,
        may_continue=lambda: _may_continue(job_lease),
    )


def count_decisions(job_lease: JobLease, settings: Settings) -> None:
    """Count the decisions recorded since the last run, while this node holds the lease."""
    _decisions(job_lease, settings)


def _decisions(job_lease: JobLease, settings: Settings) -> DecisionCounts:
    return journals.count_decisions(
        settings.journal_dir,
        settings.database_url,
        job_lease.uow.clock.now(),
        may_continue=lambda: _may_continue(job_lease),
    )


def _may_continue(job_lease: JobLease) -> bool:
    return not job_lease.stop.is_set() and job_lease.take()


def run_dry_runs(job_lease: JobLease, settings: Settings) -> None:
    """Run the waiting and the due dry runs of the policy. Each first counts the newest decisions."""
    _run_waiting(job_lease, settings)
    # After the waiting ones, so that the queue has room for the due ones.
    dryruns.ask_due(job_lease)
    _run_waiting(job_lease, settings)


def _run_waiting(job_lease: JobLease, settings: Settings) -> None:
    journal = settings.journal_dir, settings.database_url
    while dryruns.run_next(
        job_lease,
        lambda: _decisions(job_lease, settings),
        lambda: partial(journals.read_calls, *journal) if journals.is_indexed(*journal) else None,
        lambda: _may_continue(job_lease),
    ):
        pass


def advance_offboardings(job_lease: JobLease) -> None:
    """Remove the apps of hospitals that left, and erase due data in batches."""
    offboardings.run(job_lease, lambda: _may_continue(job_lease))


def check_submissions(job_lease: JobLease, settings: Settings) -> None:
    """Run the automated checks of waiting submissions, oldest first."""
    while _may_continue(job_lease) and review.run_next(
        job_lease, partial(look_at, _looker(settings)), lambda: _may_continue(job_lease)
    ):
        pass


def revalidate_apps(job_lease: JobLease, settings: Settings) -> None:
    """Check certified apps again: the requested ones, and all of them once a night (C115)."""
    journal = settings.journal_dir, settings.database_url
    use = Use(
        partial(journals.read_permits, *journal),
        partial(journals.read_places, *journal),
        partial(journals.read_served, *journal),
        Totals(partial(journals.read_totals, *journal)),
        used=partial(journals.read_used, *journal),
    )
    look = partial(look_at, _looker(settings))
    revalidation.run(job_lease, look, use, lambda: _may_continue(job_lease))


def _looker(settings: Settings) -> Callable[[], SafeFetcher]:
    private = settings.opens_private_fetches
    return lambda: SafeFetcher(allow_private=private, deadline=LOOK_WITHIN, body_bound=LOOK_BYTES)


def follow_certificates(job_lease: JobLease, settings: Settings) -> None:
    """Issue missing certificates, and update the status of all from the registry and the kill switches."""
    urls = Urls(settings.base_url)
    at = Addresses(urls.certificates(), urls.certificates("/status"))
    certificates.run(job_lease, at, lambda: _may_continue(job_lease))


def update_review_clocks(job_lease: JobLease) -> None:
    """Record missed review clocks, and publish how long reviews take."""
    review.keep_time(job_lease, lambda: _may_continue(job_lease))


def list_delta_reviews(job_lease: JobLease) -> None:
    """List the certifications whose tier is higher now than when they were granted, a few apps in each transaction."""
    job_lease.walk(registry.note_next_reviews)


def find_undeclared_use(job_lease: JobLease, settings: Settings, reached: undeclared_use.KnownDays) -> None:
    """List the certified versions whose use exceeds what they declare (C21)."""
    undeclared_use.run(job_lease, _decisions(job_lease, settings), reached, lambda: _may_continue(job_lease))


def judge_alerts(job_lease: JobLease, settings: Settings) -> None:
    """Judge the calls of the last hour by the alert thresholds of the policy (C20)."""
    counts, now = _decisions(job_lease, settings), job_lease.uow.clock.now()
    monitoring.run(job_lease, counts, now, lambda: _may_continue(job_lease))


def check_fhir_servers(job_lease: JobLease) -> None:
    """Check the FHIR servers for which somebody asked, or that are due."""

    async def signed(tenant: TenantId, upstream: UpstreamRef) -> str:
        return job_lease.write(partial(client_assertion, tenant=tenant, upstream=upstream))

    def checked(tenants: Sequence[TenantFacts]) -> Sequence[tuple[CheckLine, ...]]:
        return asyncio.run(check(tenants, signed, job_lease.uow.clock.now))

    fhir_servers.run(job_lease, checked, lambda: _may_continue(job_lease))


def follow_incidents(job_lease: JobLease, settings: Settings) -> None:
    """Count whom incidents reached, and send their notices."""
    journal = settings.journal_dir, settings.database_url
    records = incidents.Records(
        partial(reach_store.read, *journal),
        partial(journals.read_permits, *journal),
        partial(journals.is_indexed, *journal),
    )
    incidents.run(job_lease, records, lambda: _may_continue(job_lease))


def write_anchor(uow: UnitOfWork, settings: Settings, *, fresh: bool) -> None:
    """Write the newest checkpoint and the heads of the other signed chains to this node's anchor. Every node has one, outside the database."""

    def read(ctx: Context) -> tuple[Anchored | None, list[AnchoredHead]]:
        return audit.newest_checkpoint(ctx), anchoring.newest_head(ctx)

    newest, heads = uow.read_now(read, actor=SYSTEM, trace=Trace(uow.ids.new("req"), "jobs"))
    if newest is not None:
        anchor.keep(settings.anchor, newest, fresh=fresh)
    anchoring.keep(settings, heads, fresh=fresh)
