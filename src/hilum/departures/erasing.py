"""The steps after a hospital has left: remove its apps, then, from its day on, erase its rows batch by batch.

Each step commits with its progress, so any node can resume after a crash.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from hilum.audit import service as audit
from hilum.audit.models import Event, EventQuery
from hilum.departures import policy, store
from hilum.departures.fates import FATES
from hilum.departures.models import (
    APPS_AT_ONCE,
    RECORDED_WITHIN,
    Departure,
    ErasureAction,
    Recorded,
    State,
    Waits,
)
from hilum.infra.context import Context
from hilum.installations import service as installations
from hilum.kernel.pages import PageQuery
from hilum.keys import service as keys
from hilum.keys.models import Purpose

_ERASED = tuple(each for each in FATES if each.deed is not ErasureAction.KEEP)


def due(ctx: Context, after: str = "") -> list[str]:
    """List the next departures, by id, that may have a step due."""
    return store.list_due(ctx.tx, ctx.now, PageQuery(after))


def needed_before(ctx: Context, before: datetime) -> datetime:
    """Return the moment before which the audit's records of departures are not needed: ``before``, or earlier while an erasure is pending."""
    oldest = store.oldest_open(ctx.tx)
    return before if oldest is None else min(before, oldest)


def next_step(ctx: Context, departure_id: str) -> bool:
    """Do the next step of a departure; return whether there was one. Call again until it returns False.

    Nothing is erased before its day, without an export, or under a hold; this is checked before every batch.
    """
    # Lock before judging: a process that waited here for another resumes where that one stopped.
    found = store.get(ctx.tx, departure_id, lock=True)
    if found.state is State.ERASED:
        return False
    if found.apps_ended_at is None:
        # A forged row would make vendors delete the data of a hospital that stays.
        if _recorded(ctx, found).erase_at is None:
            return False
        _end_apps(ctx, found)
        return True
    if waits_for(ctx, found) is not Waits.NOTHING:
        return False
    _erase(ctx, found)
    return True


def waits_for(ctx: Context, found: Departure) -> Waits:
    """Return what an erasure waits for."""
    return policy.waits_for(found, _recorded(ctx, found), audit.holds_over(ctx, found.tenant), ctx.now)


def _recorded(ctx: Context, found: Departure) -> Recorded:
    """Return the audit's records of a departure for the times of its beginning and export."""
    days = [each.get("erase_at") for each in _facts(ctx, found, "begin", found.left_at)]
    exports = _facts(ctx, found, "export", found.exported_at) if found.exported_at else []
    # The first record: two people agreed to it.
    first = datetime.fromisoformat(str(days[-1])) if days and days[-1] else None
    return Recorded(first, frozenset(str(each.get("manifest")) for each in exports))


def _facts(ctx: Context, found: Departure, action: str, at: datetime) -> list[Mapping[str, Any]]:
    query = EventQuery(
        action=f"departures.departure.{action}",
        tenant=found.tenant,
        since=at,
        before=at + RECORDED_WITHIN,
        outcome="done",
    )
    events = (each.event.facts for each in audit.list_events(ctx, query).events)
    return [facts for facts in events if facts.get("departure") == found.id]


def _end_apps(ctx: Context, found: Departure) -> None:
    """Remove a batch of a hospital's apps; each removal asks the vendor to delete the hospital's data."""
    page = installations.list_installations(ctx, found.tenant, PageQuery(limit=APPS_AT_ONCE))
    if len(page) < APPS_AT_ONCE:
        store.save(ctx.tx, replace(found, apps_ended_at=ctx.now))
    # In one order, as any two that remove several.
    for id_ in sorted(each.id for each in page):
        installations.uninstall(ctx, id_)


def _erase(ctx: Context, found: Departure) -> None:
    progress: dict[str, Any] = {"step": 0, "after": [], "counts": {}} | dict(found.progress)
    step = int(progress["step"])
    if step >= len(_ERASED):
        _finish(ctx, found)
        return
    fate = _ERASED[step]
    rows, last = store.take_rows(ctx.tx, fate, found.tenant, progress["after"])
    counts = dict(progress["counts"])
    before = counts.get(fate.table, {"rows": 0, "digest": policy.NO_ROWS})
    counts[fate.table] = {
        "rows": before["rows"] + len(rows),
        "digest": policy.added(before["digest"], map(store.line, rows)),
    }
    if rows:
        store.erase(ctx.tx, fate, rows)
    progress = {"step": step + (not last), "after": last, "counts": counts}
    store.save(ctx.tx, replace(found, state=State.ERASING, progress=progress))
    if found.state is not State.ERASING:
        audit.record(ctx, _event("departures.departure.erase", found))


def _finish(ctx: Context, found: Departure) -> None:
    """Sign the list of what was erased and what stays."""
    newest = audit.newest_checkpoint(ctx)
    checkpoint = {} if newest is None else {"number": newest.number, "digest": newest.digest}
    kid = keys.ensure(ctx, Purpose.CHECKPOINT, "").kid
    key = keys.public_key(ctx, Purpose.CHECKPOINT, kid)
    record = policy.proof(found, now=ctx.now, checkpoint=checkpoint, key=key)
    kid, signature = keys.sign_bytes(ctx, Purpose.CHECKPOINT, policy.signed_bytes(record))
    done = replace(found, state=State.ERASED, record=record, kid=kid, signature=signature, erased_at=ctx.now)
    store.save(ctx.tx, done)
    rows = sum(each["rows"] for each in record["erased"])
    digest = policy.added(policy.NO_ROWS, [policy.signed_bytes(record)])
    audit.record(ctx, _event("departures.departure.finish", done, rows=rows, digest=digest))


def _event(action: str, found: Departure, **facts: object) -> Event:
    return Event(action, tenant=found.tenant, facts={"departure": found.id, **facts})
