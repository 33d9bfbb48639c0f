"""Deletes expired rows, in batches small enough not to delay other writes, until none is left."""

from datetime import timedelta
from functools import partial

from hilum.apps.deletion_requests import service as deletion_requests
from hilum.authorization.authorize import service as authorize
from hilum.authorization.launches import service as launches
from hilum.authorization.tokens import service as tokens
from hilum.controls.approvals import service as approvals
from hilum.controls.switches import service as controls
from hilum.foundation.actions import service as actions
from hilum.foundation.infra import epoch
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.settings import Settings
from hilum.hospitals.requests import service as requests
from hilum.identity.factors import service as factors
from hilum.identity.federation import service as federation
from hilum.identity.signin import service as signin
from hilum.operations.monitoring import service as monitoring
from hilum.records.audit import live as journals
from hilum.records.audit import service as audit
from hilum.records.notices import service as notices
from hilum.review.certification_runs import service as evidence
from hilum.review.recertification import service as revalidation
from hilum.review.submissions import service as review
from hilum.server.schedule import JobLease

PURGE_EVERY = timedelta(minutes=1)
RETAIN_EVERY = timedelta(hours=1)
PAUSE_S = 0.01
"""Pause between two batches, in which others may write."""
ACCESSES = "access"
EVENT_CLASSES = (
    "agreements", "approvals", "audit", "authserver", "breakglass", "certificates", "consent", "contacts", "controls", "defects", "offboardings", "deletion_requests", "drills", "enrolment", "evidence", "factors", "federation", "fhir_servers", "gateway", "disclosures", "host", "identity", "incidents", "infra", "keys", "launches", "listings", "service_owners", "monitoring", "notices", "policies", "registry", "requests", "revalidation", "review", "signin", "snapshots", "tokens",
)  # fmt: skip
"""The classes of events: the first word of an action."""


def delete_old_changes(ctx: Context) -> int:
    """Delete a batch of old changes of facts; return how many. A process that missed one reads the part whole."""
    return epoch.purge(ctx.tx, ctx.now)


def purge(job_lease: JobLease, settings: Settings) -> None:
    """Settle expired switches, and delete ended codes, requests, jtis, tokens, sessions and launches."""
    for delete in (
        controls.settle_expired,
        delete_old_changes,
        partial(tokens.purge, used_kept=settings.keep.used_tokens),
        authorize.purge,
        signin.purge,
        federation.purge,
        factors.purge,
        partial(launches.purge, kept=settings.keep.launches),
        evidence.close_expired,
        actions.purge,
    ):
        job_lease.repeat(delete, pause_s=PAUSE_S)


def retain(job_lease: JobLease, settings: Settings) -> None:
    """Delete settled rows of the modules below, and the payloads of accesses and events, whose retention period is over.

    Holds prevail over the purge of payloads; the chains keep every digest.
    """
    for delete in (
        approvals.purge,
        notices.purge,
        requests.purge,
        review.purge,
        revalidation.purge,
        monitoring.purge,
        deletion_requests.purge,
    ):
        job_lease.repeat(delete, pause_s=PAUSE_S)
    job_lease.walk(audit.thin_checkpoints)
    today = job_lease.uow.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    before = today - settings.keep.events
    for kind in EVENT_CLASSES:
        job_lease.repeat(partial(audit.purge_payloads, kind=kind, before=before), pause_s=PAUSE_S)
    accessed = job_lease.write(lambda ctx: audit.open_access_purge(ctx, today - settings.keep.accesses))

    def may_continue() -> bool:
        """Check before each batch: a purge may take hours, in which a hold may be placed or the lease lost."""
        return (
            not job_lease.stop.is_set()
            and job_lease.write(lambda ctx: audit.purgeable_before(ctx, accessed)) == accessed
        )

    journals.open_reader(settings.journal_dir, settings.database_url).purge(accessed, may_continue)
