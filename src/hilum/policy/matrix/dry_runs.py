"""Dry runs of versions: requested here, executed by the module ``dryruns``, and required before a version is put in force (C208).

The states, each change in a transaction of its own: waiting, running, then done or failed. An interrupted run stays in the state running, and starts again.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Readers, Unavailable, not_shown
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.policy.matrix import rollout, store
from hilum.policy.matrix.models import DRY_RUN_VALID, DRY_RUNS_WAITING, ApplyOrder, DryRun, DryRunState
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

_DETAILS = {
    "dry_run_missing": "No dry run of version {version} has finished. Start one with `hilum policy dry-run {version}`, and look at what it lists.",
    "dry_run_outdated": "The dry run of version {version} is more than {days} days old, or something was applied since."
    " Start another one with `hilum policy dry-run {version}`, and look at what it lists.",
    "emergency_only_narrows": "Only a version that allows nothing new may be applied without a dry run. Start one with `hilum policy dry-run {version}`.",
}


def ask_dry_run(ctx: Context, version: int) -> DryRun:
    """Request a dry run of a version; return the one that waits or runs, if any.

    Raises NotPermitted, NotFound (no such version), Unavailable (too many wait).
    """
    if not rollout.may_change(ctx.actor):
        event = Event("policies.dry_run.ask", facts={"version": version})
        raise audit.refusal(ctx, event, "Only a platform administrator starts a dry run.")
    digest = store.get_version(ctx.tx, version).digest
    unfinished = store.list_unfinished_dry_runs(ctx.tx, DRY_RUNS_WAITING)
    for each in unfinished:
        if each.version == version:
            return each
    if len(unfinished) >= DRY_RUNS_WAITING:
        raise Unavailable(
            "too_many_dry_runs", "Too many dry runs wait. Try again when some of them are done."
        )
    run = DryRun(ctx.ids.new("dry"), version, digest, str(ctx.actor), ctx.now)
    store.add_dry_run(ctx.tx, run)
    audit.record(ctx, Event("policies.dry_run.ask", facts={"dry_run": run.id, "version": version}))
    return run


def get_dry_run(ctx: Context, run_id: str) -> DryRun:
    """Get a dry run. Raises NotFound, NotPermitted."""
    _require_reader(ctx)
    return store.get_dry_run(ctx.tx, run_id)


def list_dry_runs(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[DryRun]:
    """List dry runs, newest first. Raises NotPermitted."""
    _require_reader(ctx)
    return store.list_dry_runs(ctx.tx, page)


def _require_reader(ctx: Context) -> None:
    if not rollout.may_read(ctx.actor):
        raise not_shown("dry runs", Readers.HOSPITALS)


def next_dry_run(ctx: Context) -> DryRun | None:
    """Return the oldest waiting or interrupted dry run; for the job that executes them."""
    return next(iter(store.list_unfinished_dry_runs(ctx.tx, 1)), None)


def begin_dry_run(ctx: Context, run: DryRun, *, since: datetime, after: int) -> DryRun:
    """Record that a dry run begins, and against what it compares."""
    begun = replace(run, state=DryRunState.RUNNING, since=since, after=after, progress=0)
    store.save_dry_run(ctx.tx, begun)
    return begun


def save_progress(ctx: Context, run: DryRun, percent: int) -> None:
    """Record the progress of a dry run."""
    store.save_dry_run(ctx.tx, replace(run, progress=percent))


def finish_dry_run(
    ctx: Context, run: DryRun, *, digest: str, decisions: int, counts: Mapping[str, int]
) -> DryRun:
    """Record the result of a dry run. Its digest is in the audit."""
    done = replace(
        run,
        state=DryRunState.DONE,
        finished_at=ctx.now,
        progress=100,
        decisions=decisions,
        digest=digest,
        counts=counts,
    )
    store.save_dry_run(ctx.tx, done)
    facts = {"dry_run": run.id, "version": run.version, "after": run.after, "digest": digest}
    audit.record(ctx, Event("policies.dry_run.finish", facts=facts | dict(counts)))
    return done


def fail_dry_run(ctx: Context, run: DryRun, fault: str) -> None:
    """Record that a dry run failed."""
    store.save_dry_run(ctx.tx, replace(run, state=DryRunState.FAILED, finished_at=ctx.now, fault=fault))
    event = Event("policies.dry_run.fail", reason=fault, facts={"dry_run": run.id, "version": run.version})
    audit.record(ctx, event)


def require_dry_run(ctx: Context, order: ApplyOrder, *, narrows: bool) -> DryRun | None:
    """Return the dry run that permits an order; None for an emergency, which only an order that ``narrows`` may claim. Raises Conflict."""
    if order.emergency and narrows:
        return None
    run = None if order.emergency else store.find_finished_dry_run(ctx.tx, order.version)
    digest = store.get_version(ctx.tx, order.version).digest
    fault = "emergency_only_narrows" if order.emergency else dry_run_fault(run, order, digest, ctx.now)
    if not fault:
        return run
    detail = _DETAILS[fault].format(version=order.version, days=DRY_RUN_VALID.days)
    raise Conflict(fault, detail)


def dry_run_fault(run: DryRun | None, order: ApplyOrder, digest: str, now: datetime) -> str:
    """Return why a dry run does not suffice for an order on the version with this digest; empty if it does. Pure.

    It must be recent, and have compared with the policies in force now, since another application changes the result.
    """
    if run is None or run.finished_at is None:
        return "dry_run_missing"
    recent = now < run.finished_at + DRY_RUN_VALID
    same = (run.version, run.version_digest, run.after) == (order.version, digest, order.after)
    return "" if recent and same else "dry_run_outdated"
