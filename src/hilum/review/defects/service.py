"""Report, tag, close and count defects."""

from dataclasses import replace
from datetime import datetime

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import AppVersion, Environment
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, Readers, Unavailable, not_shown
from hilum.foundation.kernel.ids import AppId
from hilum.foundation.kernel.limits import too_long
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.policy.matrix import service as policies
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.review.defects import policy, store
from hilum.review.defects.models import OPEN_BOUND, TEXT_BOUND, Defect, Leakage, NewDefect, Tag


def report(ctx: Context, order: NewDefect) -> Defect:
    """Record a defect of a version, and where it was first seen. Raises NotFound, NotPermitted, Invalid, Unavailable (too many are open)."""
    version = registry.get_version(ctx, order.version)
    app = registry.get_app(ctx, version.app)
    if not policy.may_report(ctx.actor, app.vendor):
        if not policy.may_see(ctx.actor, app.vendor):
            raise NotFound("version_not_found", "There is no such version.")
        raise audit.refusal(ctx, Event("defects.defect.report", app=app.id))
    if (
        not policy.may_judge(ctx.actor)
        and store.DEFECTS.count(ctx.tx, app=app.id, closed_at=None) >= OPEN_BOUND
    ):
        detail = f"{OPEN_BOUND} defects of this app are open. Ask the platform's staff to close those that are fixed."
        raise Unavailable("too_many_defects", detail)
    live = _live_since(ctx, version)
    if faults := policy.report_faults(order, live, ctx.now):
        raise Invalid(
            "defect_invalid", "The defect cannot be recorded as described; see fields.", fields=faults
        )
    found = Defect(
        id=ctx.ids.new("def"),
        app=app.id,
        vendor=app.vendor,
        version=version.id,
        label=version.label,
        seen_in=order.seen_in,
        severity=order.severity,
        summary=order.summary.strip(),
        first_seen_at=order.first_seen_at,
        went_live_at=live,
        reported_by=str(ctx.actor),
        reported_at=ctx.now,
    )
    store.DEFECTS.add(ctx.tx, found)
    facts = {"seen_in": found.seen_in.value, "severity": found.severity.value}
    audit.record(ctx, _event("defects.defect.report", found, **facts))
    return found


def tag(ctx: Context, defect_id: str, order: Tag) -> Defect:
    """Tag a defect: whether the sandbox could have shown it, in which scenario, or what it lacks (C127). The tag can be corrected until the defect is closed.

    Raises NotFound, NotPermitted, Invalid, Conflict (closed).
    """
    before = _judged(ctx, defect_id, "defects.defect.tag")
    if faults := policy.tag_faults(order):
        raise Invalid("tag_invalid", "The tag cannot be set as described; see fields.", fields=faults)
    scenario = order.scenario.strip()
    book = policies.current(ctx.as_actor(SYSTEM)).everywhere
    after = replace(
        before,
        reproducible=order.reproducible,
        scenario=scenario,
        proposed=bool(scenario) and scenario not in book.scenarios,
        gap=order.gap.strip(),
        tagged_by=str(ctx.actor),
        tagged_at=ctx.now,
    )
    store.DEFECTS.save(ctx.tx, after)
    facts = {"reproducible": after.reproducible, "scenario": after.scenario, "proposed": after.proposed}
    audit.record(ctx, _event("defects.defect.tag", after, **facts))
    return after


def close(ctx: Context, defect_id: str, outcome: str) -> Defect:
    """Close a defect, with what was done. Raises NotFound, NotPermitted, Invalid, Conflict (closed; seen in production and not tagged)."""
    before = _judged(ctx, defect_id, "defects.defect.close")
    if not outcome.strip() or len(outcome) > TEXT_BOUND:
        fields = {"outcome": too_long(TEXT_BOUND) if outcome.strip() else "missing"}
        raise Invalid("defect_invalid", "Say what was done.", fields=fields)
    if not policy.may_close(before):
        detail = "This defect was first seen in production. Tag it before you close it: `hilum defect tag`."
        raise Conflict("defect_untagged", detail)
    after = replace(before, closed_by=str(ctx.actor), closed_at=ctx.now, outcome=outcome.strip())
    store.DEFECTS.save(ctx.tx, after)
    audit.record(ctx, _event("defects.defect.close", after))
    return after


def view(ctx: Context, defect_id: str) -> Defect:
    """Get a defect. Raises NotFound, also for another vendor's."""
    return _visible(ctx, defect_id)


def list_defects(ctx: Context, page: PageQuery = FIRST_PAGE, *, app: AppId | None = None) -> list[Defect]:
    """List defects, newest first: staff get those of every app, a member those of their vendor's apps. Raises NotPermitted."""
    vendor = None if ctx.actor.is_platform else ctx.actor.vendor
    if not ctx.actor.is_platform and (vendor is None or not policy.may_see(ctx.actor, vendor)):
        raise not_shown("defects", Readers.VENDOR)
    return store.list_defects(ctx.tx, page, vendor=vendor, app=app)


def view_figures(ctx: Context) -> Leakage:
    """Return how many of the newest defects escaped to production (K2). Names no app; ``live`` caches it for the public."""
    found = store.read_newest(ctx.tx)
    certified = registry.read_certified(ctx, {each.app for each in found}) if found else None
    by_app = {} if certified is None else certified.certifications
    live = {
        each.version
        for all_ in by_app.values()
        for each in all_
        if each.environment is Environment.PRODUCTION
    }
    return policy.leakage(found, live)


def _live_since(ctx: Context, version: AppVersion) -> datetime | None:
    """Return when a version was first certified for production."""
    found = registry.certifications_of(ctx, version.app)
    moments = [
        each.certified_at
        for each in found
        if each.version == version.id and each.environment is Environment.PRODUCTION
    ]
    return min(moments, default=None)


def _visible(ctx: Context, defect_id: str, *, lock: bool = False) -> Defect:
    found = store.DEFECTS.get(ctx.tx, defect_id, lock=lock)
    if not policy.may_see(ctx.actor, found.vendor):
        raise NotFound("defect_not_found", "There is no such defect.")
    return found


def _judged(ctx: Context, defect_id: str, action: str) -> Defect:
    found = _visible(ctx, defect_id, lock=True)
    if not policy.may_judge(ctx.actor):
        raise audit.refusal(ctx, _event(action, found), "The platform's staff tags and closes defects.")
    if found.closed_at is not None:
        raise Conflict("defect_closed", "This defect is closed.")
    return found


def _event(action: str, found: Defect, **facts: object) -> Event:
    return Event(action, app=found.app, facts={"defect": found.id, "version": found.version, **facts})
