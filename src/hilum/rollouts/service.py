"""Rollouts: started by two people, run by a job, stopped by one person."""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from hilum.approvals.models import Act, Approval, ApprovalKind, Asked, CarriedOut
from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.identity import service as identity
from hilum.infra.context import Context
from hilum.kernel.actor import Actor
from hilum.kernel.batches import batched
from hilum.kernel.errors import Conflict, HilumError, Invalid, NotPermitted, Readers, not_shown
from hilum.kernel.ids import AppId
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.policies import service as policies
from hilum.policies.models import ApplyOrder, CurrentVersions, DryRun, Widening
from hilum.registry import service as registry
from hilum.rollouts import policy, store
from hilum.rollouts.models import (
    UNFINISHED,
    Limits,
    Position,
    Rollout,
    RolloutOrder,
    RolloutState,
    Step,
    Verdict,
)
from hilum.sunsets import service as sunsets

ANNOUNCED_AT_ONCE = 500
"""How many steps of one run notify hospitals of a coming version."""
APPS_AT_ONCE = 500
"""Apps whose vendors are read in one statement."""
_RINGS = "The rings of this rollout are not valid."


def prepare(ctx: Context, order: RolloutOrder) -> None:
    """Compare the books of an order, before the transaction that needs the result."""
    policies.prepare(ctx, _everywhere(order))


def start(ctx: Context, order: RolloutOrder) -> Rollout | Asked:
    """Start a rollout at its first ring, or ask a second person if the version allows anything new.

    Raises NotPermitted, NotFound, Invalid, Conflict (another rollout runs, or as for ``policies.apply``), Unavailable.
    """
    new, run = _judged(ctx, order)
    if not new:
        return _begin(ctx, order, run, agreed_by="")
    if ctx.actor.acts_alone:
        raise _refusal(
            ctx, "takes_two_people", "This allows something new, which takes two people of the staff."
        )
    act = Act(ApprovalKind.ROLLOUT, None, str(order.version), _shown(order, new, run), _before(ctx))
    return Asked(identity.ask(ctx, act))


def _judged(ctx: Context, order: RolloutOrder) -> tuple[tuple[Widening, ...], DryRun | None]:
    if not policies.may_change(ctx.actor):
        raise _refusal(ctx, "not_permitted", "Only a platform administrator rolls a rule book out.")
    if fault := policy.rings_fault(order.rings):
        raise Invalid("rollout_invalid", _RINGS, fields={"rings": fault})
    for ring in order.rings:
        for tenant in ring.tenants:
            identity.get_tenant(ctx, tenant)
    # There would be nothing to roll back to, and the version's traffic would be compared with itself.
    if {order.version} == _versions_in_force(ctx):
        raise Conflict("already_in_force", "This version is in force everywhere already.")
    new, run = policies.judge_in_rings(ctx, _everywhere(order))
    if new and policy.dwell_before_everywhere(order.rings) < policies.current(ctx).everywhere.rollout.soak:
        fault = "shorter_than_soak"
        raise Invalid("rollout_invalid", _RINGS, fields={"rings": fault})
    if store.find_unfinished(ctx.tx) is not None:
        detail = "Another rollout is running. Let it end, or stop it first (`hilum policy stop-rollout`)."
        raise Conflict("rollout_running", detail)
    return new, run


def _versions_in_force(ctx: Context) -> set[int]:
    found = policies.in_force(ctx)
    return {found.everywhere, *found.at.values()}


def _everywhere(order: RolloutOrder) -> ApplyOrder:
    return ApplyOrder(order.version, (), order.after, order.reason)


def _shown(order: RolloutOrder, new: tuple[Widening, ...], run: DryRun | None) -> dict[str, Any]:
    """Return what the second person agrees to: the plan, everything newly allowed, and the dry run."""
    return {
        "version": order.version,
        "rings": policy.rings_document(order.rings),
        "limits": asdict(order.limits),
        "goes_back_by_itself": True,
        "reason": order.reason,
        **policies.shown(new, run),
    }


def _before(ctx: Context) -> dict[str, Any]:
    found = policies.in_force(ctx)
    at = {str(tenant): number for tenant, number in sorted(found.at.items())}
    return {"application": found.last, "everywhere": found.everywhere, "at": at}


def _order(act: Act) -> RolloutOrder:
    return RolloutOrder(
        act.order["version"],
        policy.read_rings(act.order["rings"]),
        act.before["application"],
        act.order["reason"],
        Limits(**act.order["limits"]),
    )


def _prepare(ctx: Context, approval: Approval) -> None:
    prepare(ctx, _order(approval.act))


def _carry_out(ctx: Context, approval: Approval, asker: Actor) -> CarriedOut:
    act, as_asker = approval.act, ctx.as_actor(asker)
    identity.require_unchanged(act, _before(as_asker))
    order = _order(act)
    new, run = _judged(as_asker, order)
    if dict(act.order) != _shown(order, new, run):
        detail = "The widenings or the dry run have changed since this was requested. Refuse this, and request it again."
        raise Conflict("target_changed", detail)
    return CarriedOut(_begin(as_asker, order, run, agreed_by=str(ctx.actor)).id)


def _begin(ctx: Context, order: RolloutOrder, run: DryRun | None, *, agreed_by: str) -> Rollout:
    before = policies.in_force(ctx)
    plan = Rollout(
        id=ctx.ids.new("rol"),
        version=order.version,
        digest=policies.get_signed(ctx, order.version).digest,
        rings=order.rings,
        limits=order.limits,
        reason=order.reason,
        before=CurrentVersions(before.everywhere, dict(before.at), before.last),
        dry_run="" if run is None else run.id,
        asked_by=str(ctx.actor),
        agreed_by=agreed_by,
        began_at=ctx.now,
    )
    store.add(ctx.tx, plan)
    _record(ctx, "policies.rollout.start", plan, agreed_by=agreed_by)
    _reach(ctx, plan, Position((), before.last), run)
    return plan


def _reach(ctx: Context, plan: Rollout, position: Position, run: DryRun | None = None) -> None:
    """Put the version in force at the next ring."""
    number = len(position.reached) + 1
    reason = f"Ring {number} of {len(plan.rings)} of rollout {plan.id}: {plan.reason}"
    order = ApplyOrder(plan.version, plan.rings[number - 1].tenants, position.last, reason)
    policies.apply_step(ctx, order, agreed_by=plan.agreed_by, run=run)


# --- carried on by the job -----------------------------------------------------------------------------------------------------


def unfinished(ctx: Context) -> tuple[Rollout, Position] | None:
    """Return the open rollout and its position; None if there is none. Raises Unavailable."""
    plan = store.find_unfinished(ctx.tx)
    if plan is None:
        return None
    return plan, _position(ctx, plan)


def announce(ctx: Context, plan_id: str) -> bool:
    """Notify the next few hospitals of later rings of the coming version; return whether there is more to do. For the job. Raises Unavailable."""
    plan = store.get(ctx.tx, plan_id)
    # Only a running rollout reaches further rings.
    if plan.state is not RolloutState.RUNNING:
        return False
    return sunsets.notify_ahead(ctx, policy.ahead_of(plan))


def _position(ctx: Context, plan: Rollout) -> Position:
    """Return the position of a rollout. Raises Unavailable if the rule book does not match what was signed."""
    return policy.position(plan, policies.applications_after(ctx, plan.before.last, 2 * len(plan.rings)))


def carry_out_verdict(ctx: Context, plan_id: str, seen: Position, verdict: Verdict) -> Rollout:
    """Carry out a verdict, unless anything changed since it was read; for the job.

    A regression is recorded first; the next transaction goes back (``roll_back``). Raises Conflict, Unavailable.
    """
    plan = store.get(ctx.tx, plan_id, lock=True)
    position = _position(ctx, plan)
    if plan.state is not RolloutState.RUNNING:
        return plan
    if position.overtaken or not position.reached:
        return _end(ctx, plan, RolloutState.OVERTAKEN, "Something else was applied meanwhile.")
    if position != seen:
        return plan
    measured = {"rings": [asdict(each) for each in verdict.rings], "at": ctx.now.isoformat()}
    plan = replace(plan, why=verdict.why, measured=measured)
    match verdict.step:
        case Step.GO_BACK:
            paused = replace(plan, state=RolloutState.PAUSED)
            store.save_state(ctx.tx, paused)
            _record(ctx, "policies.rollout.pause", paused, why=verdict.why)
            return paused
        case Step.FINISH:
            return _end(ctx, plan, RolloutState.DONE, verdict.why)
        case Step.ADVANCE:
            _reach(ctx, plan, position)
            _record(ctx, "policies.rollout.advance", plan, ring=len(position.reached) + 1)
    store.save_state(ctx.tx, plan)
    return plan


def roll_back(ctx: Context, plan_id: str) -> Rollout:
    """Restore the versions in force before the rollout, and only these; for the job. Raises Unavailable."""
    plan = store.get(ctx.tx, plan_id, lock=True)
    if plan.state is not RolloutState.PAUSED:
        return plan
    position = _position(ctx, plan)
    if position.overtaken or not position.reached:
        return _end(ctx, plan, RolloutState.OVERTAKEN, "Something else was applied before it went back.")
    for order in policy.rollback_orders(plan, position, f"Rollout {plan.id} goes back by itself. {plan.why}"):
        policies.roll_back(ctx, order)
    return _end(ctx, plan, RolloutState.WENT_BACK, plan.why)


def note(ctx: Context, plan_id: str, why: str) -> None:
    """Record why a rollout could not continue."""
    plan = store.get(ctx.tx, plan_id, lock=True)
    if plan.state in UNFINISHED:
        store.save_state(ctx.tx, replace(plan, why=why))


def _end(ctx: Context, plan: Rollout, state: RolloutState, why: str) -> Rollout:
    ended = replace(plan, state=state, why=why, ended_at=ctx.now)
    store.save_state(ctx.tx, ended)
    _record(ctx, "policies.rollout.end", ended, state=state.value, why=why)
    return ended


# --- for people ----------------------------------------------------------------------------------------------------------------


def stop(ctx: Context, plan_id: str, reason: str) -> Rollout:
    """Stop a rollout where it is, so that it no longer advances or goes back. This takes one person. Raises NotPermitted, NotFound, Conflict."""
    if not policies.may_change(ctx.actor):
        raise _refusal(ctx, "not_permitted", "Only a platform administrator stops a rollout.")
    plan = store.get(ctx.tx, plan_id, lock=True)
    if plan.state not in UNFINISHED:
        raise Conflict("rollout_over", "This rollout is over.")
    # A rollout can be stopped in any state of the rule book; if the book cannot be applied, only the row says so.
    with suppress(HilumError):
        _apply_the_stop(ctx, plan, reason)
    return _end(ctx, plan, RolloutState.STOPPED, reason)


def _apply_the_stop(ctx: Context, plan: Rollout, reason: str) -> None:
    """Apply the version once more where it is in force already: an application that overtakes the rollout."""
    position = _position(ctx, plan)
    if position.overtaken or not position.reached:
        return
    tenants = plan.rings[len(position.reached) - 1].tenants
    order = ApplyOrder(plan.version, tenants, position.last, f"Rollout {plan.id} was stopped: {reason}")
    policies.apply_step(ctx, order, agreed_by="", run=None)


def view(ctx: Context, plan_id: str) -> Rollout:
    """Get a rollout. Raises NotPermitted, NotFound."""
    _require_reader(ctx)
    return store.get(ctx.tx, plan_id)


def list_rollouts(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[Rollout]:
    """List rollouts, newest first. Raises NotPermitted."""
    _require_reader(ctx)
    return store.list_plans(ctx.tx, page)


def vendors_of(ctx: Context, apps: Collection[str]) -> dict[str, str]:
    """Return the vendors of those apps that exist."""
    found: dict[str, str] = {}
    for some in batched(map(AppId, sorted(apps)), APPS_AT_ONCE):
        found |= {app.id: app.vendor for app in registry.read_apps(ctx, some).values()}
    return found


def _require_reader(ctx: Context) -> None:
    # A rollout contains other hospitals' names and figures.
    if not (policies.may_read(ctx.actor) and ctx.actor.is_platform):
        raise not_shown("rollouts", Readers.STAFF)


def _refusal(ctx: Context, reason: str, detail: str) -> NotPermitted:
    return audit.refusal(ctx, Event("policies.rollout.start", reason=reason), detail)


def _record(ctx: Context, action: str, plan: Rollout, **more: Any) -> None:
    facts = {"rollout": plan.id, "version": plan.version} | more
    audit.record(ctx, Event(action, facts=facts))


CARRY_OUT = {ApprovalKind.ROLLOUT: _carry_out}
PREPARE = {ApprovalKind.ROLLOUT: _prepare}
