"""Asking for what takes two people, approving it as the second person, and refusing it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from hilum.controls.approvals import policy, store
from hilum.controls.approvals.models import (
    ABOUT_A_CLIENT,
    ABOUT_A_PERSON,
    APPROVAL_LIFE,
    APPROVALS_KEPT,
    APPROVALS_PENDING_BOUND,
    SEALED_KEPT,
    Act,
    Agreed,
    Approval,
    ApprovalKind,
    ApprovalState,
    CarriedOut,
)
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.errors import (
    DECIDED,
    FACTOR_STALE,
    NO_RIGHT,
    Conflict,
    NotFound,
    Unavailable,
    not_shown,
)
from hilum.foundation.kernel.ids import PersonId, TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PAGE_BOUND, PageQuery
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

_DETAILS = {
    "approval_over": "This has already been decided, or has expired. Request it again if it is still needed.",
    "hospital_decides": "Two administrators of the hospital decide this, and the platform's staff are none of them.",
    "asked_by_you": "You requested this, so a colleague must approve it.",
    "about_you": "This is about your own account, so a colleague must approve it.",
    "account_too_new": "Your account is less than a week old, so you cannot be one of the two people that this needs. Ask a colleague.",
    "factor_stale": FACTOR_STALE,
    "asker_no_longer_counts": "The person who requested this is inactive, is or was stopped, or has an account less than a week old. Refuse it, then request it yourself.",
}


@dataclass(frozen=True, slots=True)
class Acts:
    """What the modules above provide: who counts as one of two people now, and how each kind of act is carried out.

    ``one_of_two(ctx, person, since)`` returns the person as an actor, or None. For the asker ``since`` is when they asked: a full stop
    on them ends what they asked before it. ``carry_out`` runs as the second person and gets the asker; it judges the act again with the
    asker's rights, and raises Conflict if what it replaces has changed. ``prepare`` computes, in a transaction of its own before that one,
    what would hold it up; it decides nothing.
    """

    one_of_two: Callable[[Context, PersonId, datetime], Actor | None]
    carry_out: Mapping[ApprovalKind, Callable[[Context, Approval, Actor], CarriedOut]]
    prepare: Mapping[ApprovalKind, Callable[[Context, Approval], None]]


def ask(ctx: Context, act: Act, *, counts: bool, approval_id: str = "") -> Approval:
    """Record an act as waiting for a second person. ``counts``: whether the actor counts as one of two people.

    Raises NotPermitted (the actor does not count, or has not entered a second factor lately), Unavailable (too many wait).
    """
    approval = Approval(
        id=approval_id or ctx.ids.new("apr"),
        act=act,
        asked_by=PersonId(ctx.actor.id),
        asked_at=ctx.now,
        expires_at=ctx.now + APPROVAL_LIFE,
    )
    if not counts:
        event = _event("approvals.approval.ask", approval, reason="account_too_new")
        raise audit.refusal(ctx, event, _DETAILS["account_too_new"])
    if ctx.actor.unconfirmed:
        event = _event("approvals.approval.ask", approval, reason="factor_stale")
        raise audit.refusal(ctx, event, FACTOR_STALE)
    # Bounded by tenant, so that no hospital fills the table for the others.
    if store.count_pending(ctx.tx, act.tenant, ctx.now) >= APPROVALS_PENDING_BOUND:
        raise Unavailable(
            "too_many_approvals",
            "Too many requests wait for a second person. Approve or refuse some of them first.",
        )
    store.APPROVALS.add(ctx.tx, approval)
    audit.record(ctx, _event("approvals.approval.ask", approval))
    return approval


def prepare(ctx: Context, approval_id: str, *, acts: Acts) -> None:
    """Compute what carrying out an approval needs, before the transaction that does. Raises NotFound."""
    approval = _visible(ctx, approval_id)
    if approval.act.kind in acts.prepare:
        acts.prepare[approval.act.kind](ctx, approval)


def approve(ctx: Context, approval_id: str, *, acts: Acts) -> Agreed:
    """Approve what another asked for; it is judged again and carried out, or it keeps waiting and nothing changes.

    Raises NotFound, NotPermitted, Conflict (decided meanwhile, or it cannot be carried out as it was asked).
    """
    # Locked before it is judged: two colleagues who approve at once must not both carry it out.
    approval = _visible(ctx, approval_id, lock=True)
    fault, asker = _fault(ctx, approval, acts)
    if fault == "approval_over":
        raise Conflict(fault, _DETAILS[fault])
    if fault or asker is None:
        event = _event("approvals.approval.approve", approval, reason=fault)
        raise audit.refusal(ctx, event, _DETAILS.get(fault, NO_RIGHT))
    try:
        done = acts.carry_out[approval.act.kind](ctx, approval, asker)
    except DECIDED as error:  # a refusal commits what was written before it: here that would be half an act
        raise Conflict(error.code, error.detail) from error
    decided = _decided(ctx, approval, ApprovalState.APPROVED, target=done.target)
    if not store.save_decided(ctx.tx, decided):
        raise Conflict("concurrent_change", "A colleague decided this at the same moment. Read it again.")
    audit.record(ctx, _event("approvals.approval.approve", approval, target=done.target))
    return Agreed(decided, done)


def _fault(ctx: Context, approval: Approval, acts: Acts) -> tuple[str, Actor | None]:
    """Return why the actor may not approve, and who asked if they still count."""
    asker = acts.one_of_two(ctx, approval.asked_by, approval.asked_at)
    # The asker is judged as of when they asked, the second person as of now: a full stop on the
    # asker since then ends what they asked for, even once it is released.
    of_age = acts.one_of_two(ctx, PersonId(ctx.actor.id), ctx.now) is not None
    return policy.decision_fault(approval, ctx.actor, asker=asker, of_age=of_age, now=ctx.now), asker


def list_for_actor(ctx: Context, *, acts: Acts) -> list[Approval]:
    """List what waits for the actor as the second person, oldest first. Raises NotPermitted."""
    return [each for each in list_waiting(ctx) if _fault(ctx, each, acts)[0] in {"", "factor_stale"}]


def list_waiting(ctx: Context) -> list[Approval]:
    """List what waits at the actor's place, oldest first; for staff their own before that of hospitals and vendors. Raises NotPermitted."""
    found = list_pending(ctx, page=PageQuery(limit=PAGE_BOUND))
    if ctx.actor.kind is not ActorKind.STAFF:
        return found
    # Read apart: one administrator of a hospital may ask for as much as a page holds.
    own = store.list_pending(ctx.tx, ctx.now, tenant=TenantId(""), page=PageQuery(limit=PAGE_BOUND))
    return [*own, *(each for each in found if each.act.tenant is not None)][:PAGE_BOUND]


def refuse(ctx: Context, approval_id: str) -> Approval:
    """Refuse what another asked for, or withdraw what the actor asked for. Raises NotFound, Conflict (decided already)."""
    approval = _visible(ctx, approval_id, lock=True)
    decided = _decided(ctx, approval, ApprovalState.REFUSED)
    if approval.state is not ApprovalState.PENDING or not store.save_decided(ctx.tx, decided):
        raise Conflict("approval_over", _DETAILS["approval_over"])
    audit.record(ctx, _event("approvals.approval.refuse", approval))
    return decided


def view(ctx: Context, approval_id: str) -> Approval:
    """Get an approval that the actor may decide, or asked for. Raises NotFound."""
    return _visible(ctx, approval_id)


def list_pending(
    ctx: Context, *, tenant: TenantId | None = None, page: PageQuery = FIRST_PAGE
) -> list[Approval]:
    """List what waits at a tenant or a vendor; without one at the actor's own, and for staff everywhere. Raises NotPermitted."""
    own = ctx.actor.vendor
    tenant = tenant or ctx.actor.tenant or (TenantId(own) if own else None)
    if not policy.may_decide(ctx.actor, tenant):
        raise not_shown("what waits for a second person", "those who may be that person")
    return store.list_pending(ctx.tx, ctx.now, tenant=tenant, page=page)


def end_all(ctx: Context) -> None:
    """Expire every pending approval, after a restore."""
    store.end_all(ctx.tx, ctx.now)


def purge(ctx: Context) -> int:
    """Delete old approvals, and sooner what was sealed with those that expired; return how many. Call again until it returns 0."""
    return store.purge(ctx.tx, sealed_before=ctx.now - SEALED_KEPT, before=ctx.now - APPROVALS_KEPT)


def _visible(ctx: Context, approval_id: str, *, lock: bool = False) -> Approval:
    approval = store.APPROVALS.get(ctx.tx, approval_id, lock=lock)
    # What waits may show an order about a person or another hospital, so to others it does not exist.
    if not policy.may_refuse(approval, ctx.actor):
        raise NotFound("approval_not_found", "There is no such approval.")
    return approval


def _decided(ctx: Context, approval: Approval, state: ApprovalState, *, target: str = "") -> Approval:
    act = replace(approval.act, target=target or approval.act.target)
    return replace(approval, act=act, state=state, decided_by=PersonId(ctx.actor.id), decided_at=ctx.now)


def _event(action: str, approval: Approval, *, target: str = "", reason: str = "") -> Event:
    act = approval.act
    target = target or act.target
    facts = {
        "approval": approval.id,
        "kind": act.kind.value,
        "asked_by": approval.asked_by,
        "order": policy.order_digest(act),
    }
    if act.order.get("reason"):
        facts["reason"] = str(act.order["reason"])
    person, client = (target if act.kind in kinds else "" for kinds in (ABOUT_A_PERSON, ABOUT_A_CLIENT))
    return Event(action, tenant=act.tenant or "", person=person, client=client, reason=reason, facts=facts)
