"""Deletes what has expired, in batches small enough not to delay other writes, until there is no more."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from hilum.app.schedule import JobLease
from hilum.approvals import service as approvals
from hilum.audit import live as journals
from hilum.audit import service as audit
from hilum.controls import service as controls
from hilum.departures import service as departures
from hilum.disposals import service as disposals
from hilum.evidence import service as evidence
from hilum.factors import service as factors
from hilum.federation import service as federation
from hilum.frontchannel import service as frontchannel
from hilum.infra import epoch
from hilum.infra.context import Context
from hilum.infra.settings import Settings
from hilum.launches import service as launches
from hilum.monitoring import service as monitoring
from hilum.notices import service as notices
from hilum.pictures import service as pictures
from hilum.requests import service as requests
from hilum.revalidation import service as revalidation
from hilum.review import service as review
from hilum.signin import service as signin
from hilum.tokens import service as tokens

PURGE_EVERY = timedelta(minutes=1)
RETAIN_EVERY = timedelta(hours=1)
BREATH_S = 0.01
"""Pause between two batches, in which others may write."""
ACCESSES = "access"
EVENT_CLASSES = (
    "agreements", "approvals", "attestations", "audit", "authserver", "breakglass", "certificates", "consent", "contacts", "controls", "defects", "departures", "disposals", "drills", "enrolment", "evidence", "factors", "federation", "gateway", "histories", "host", "identity", "infra", "keys", "launches", "listings", "mandates", "monitoring", "notices", "policies", "precedents", "registry", "requests", "revalidation", "review", "signin", "snapshots", "tokens",
)  # fmt: skip
"""The classes of events: the first word of an action."""


def delete_old_changes(ctx: Context) -> int:
    """Delete old entries of which facts changed, at most a batch; return how many. A process that missed them reads everything."""
    return epoch.purge(ctx.tx, ctx.now)


def purge(job_lease: JobLease, settings: Settings) -> None:
    """Settle expired switches, compute the looks of older pictures, and delete codes, requests, jtis, tokens, sessions and launches that have ended."""
    for delete in (
        controls.settle_expired,
        delete_old_changes,
        partial(tokens.purge, used_kept=settings.keep.used_tokens),
        frontchannel.purge,
        signin.purge,
        federation.purge,
        factors.purge,
        partial(launches.purge, kept=settings.keep.launches),
        evidence.close_expired,
        pictures.note_looks,
    ):
        _until_none(job_lease, delete)


def retain(job_lease: JobLease, settings: Settings) -> None:
    """Delete old approvals, notices, decided requests, withdrawn submissions, closed findings and alerts and answered disposal requests, and the payloads of accesses and events whose retention period is over.

    Holds prevail over the purge of payloads; the chains keep every digest.
    """
    _until_none(job_lease, approvals.purge)
    _until_none(job_lease, notices.purge)
    _until_none(job_lease, requests.purge)
    _until_none(job_lease, review.purge)
    _until_none(job_lease, revalidation.purge)
    _until_none(job_lease, monitoring.purge)
    _until_none(job_lease, disposals.purge)
    today = job_lease.uow.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    before = today - settings.keep.events
    # What an erasure waits for is read from the records of the departure, however long it waits.
    of_departures = job_lease.read(partial(departures.needed_before, before=before))
    for kind in EVENT_CLASSES:
        horizon = of_departures if kind == "departures" else before
        _until_none(job_lease, partial(audit.purge_payloads, kind=kind, before=horizon))
    accessed = job_lease.write(lambda ctx: audit.open_access_purge(ctx, today - settings.keep.accesses))

    def may_continue() -> bool:
        """Check before each batch: a purge may take hours, in which a hold may be placed or the lease lost."""
        return (
            not job_lease.stop.is_set()
            and job_lease.write(lambda ctx: audit.purgeable_before(ctx, accessed)) == accessed
        )

    journals.open_reader(settings.data_dir / "journal", settings.database_url).purge(accessed, may_continue)


def _until_none(job_lease: JobLease, delete: Callable[[Context], int]) -> None:
    # Until nothing is left. A fixed number a run fell behind the rows that arrive.
    while job_lease.write(delete) and not job_lease.stop.wait(BREATH_S):
        pass
