"""The steps after a hospital has left: remove its apps, then, from its day on, erase its rows batch by batch.

Each step commits with its progress, so any node can resume after a crash.
"""

from dataclasses import replace
from typing import Any

from hilum.apps.installations import service as installations
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.pages import PageQuery
from hilum.hospitals.offboarding import policy, store
from hilum.hospitals.offboarding.models import (
    APPS_AT_ONCE,
    ErasureAction,
    Offboarding,
    State,
    Waits,
)
from hilum.hospitals.offboarding.retentions import RETENTIONS
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

_ERASED = tuple(each for each in RETENTIONS if each.deed is not ErasureAction.KEEP)


def due(ctx: Context, after: str = "") -> list[str]:
    """List the next offboardings, by id, that may have a step due."""
    return store.list_due(ctx.tx, ctx.now, PageQuery(after))


def next_step(ctx: Context, offboarding_id: str) -> bool:
    """Do the next step of an offboarding; return whether there was one. Call again until it returns False.

    Nothing is erased before its day, without an export, or under a hold; this is checked before every batch.
    """
    # Lock before judging: a process that waited here for another resumes where that one stopped.
    found = store.get(ctx.tx, offboarding_id, lock=True)
    if found.state is State.ERASED:
        return False
    if found.apps_ended_at is None:
        _end_apps(ctx, found)
        return True
    if waits_for(ctx, found) is not Waits.NOTHING:
        return False
    _erase(ctx, found)
    return True


def waits_for(ctx: Context, found: Offboarding) -> Waits:
    """Return what an erasure waits for."""
    return policy.waits_for(found, audit.holds_over(ctx, found.tenant), ctx.now)


def _end_apps(ctx: Context, found: Offboarding) -> None:
    """Remove a batch of a hospital's apps; each removal asks the vendor to delete the hospital's data."""
    page = installations.list_installations(ctx, found.tenant, PageQuery(limit=APPS_AT_ONCE))
    if len(page) < APPS_AT_ONCE:
        store.save(ctx.tx, replace(found, apps_ended_at=ctx.now))
    # In one order, as any two that remove several.
    for id_ in sorted(each.id for each in page):
        installations.uninstall(ctx, id_)


def _erase(ctx: Context, found: Offboarding) -> None:
    progress: dict[str, Any] = {"step": 0, "after": [], "rows": {}} | dict(found.progress)
    step = int(progress["step"])
    if step >= len(_ERASED):
        done = replace(found, state=State.ERASED, erased_at=ctx.now)
        store.save(ctx.tx, done)
        audit.record(ctx, _event("offboardings.offboarding.finish", done, rows=dict(progress["rows"])))
        return
    retention = _ERASED[step]
    rows, last = store.take_rows(ctx.tx, retention, found.tenant, progress["after"])
    erased = dict(progress["rows"])
    if rows:
        erased[retention.table] = erased.get(retention.table, 0) + len(rows)
        store.erase(ctx.tx, retention, rows)
    progress = {"step": step + (not last), "after": last, "rows": erased}
    store.save(ctx.tx, replace(found, state=State.ERASING, progress=progress))
    if found.state is not State.ERASING:
        audit.record(ctx, _event("offboardings.offboarding.erase", found))


def _event(action: str, found: Offboarding, **facts: object) -> Event:
    return Event(action, tenant=found.tenant, facts={"offboarding": found.id, **facts})
