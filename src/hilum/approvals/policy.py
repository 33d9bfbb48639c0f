"""Who may be the second person, and what keeps somebody from agreeing. Pure.

Source: security decision 25; docs/adr/0029-two-people-are-two.md, docs/adr/0038-what-takes-two-people.md
"""

import hashlib
import json
from datetime import datetime

from hilum.approvals.models import Act, Approval, ApprovalState
from hilum.controls.policy import administers, rules_the_platform
from hilum.kernel.actor import Actor, ActorKind
from hilum.kernel.ids import TenantId


def may_decide(actor: Actor, tenant: TenantId | None) -> bool:
    """Check whether an actor may be the second person for an act at a tenant (None: the staff's), and see what waits there."""
    if actor.kind is ActorKind.STAFF:
        return rules_the_platform(actor)
    return administers(actor, tenant or "")


def decision_fault(
    approval: Approval, actor: Actor, *, asker: Actor | None, of_age: bool, now: datetime
) -> str:
    """Return why this actor may not agree to what was asked; empty when they may.

    ``asker`` is who asked, if they still count as one of two people, else None; ``of_age``: whether the actor does. Whether the asker may
    still do just this, the room that owns the act judges.
    INVARIANT: nobody agrees to what they asked for, nor to what is about themselves.
    """
    if approval.state is not ApprovalState.PENDING or now >= approval.expires_at:
        return "approval_over"
    if not may_decide(actor, approval.act.tenant):
        return "not_permitted"
    if actor.id == approval.asked_by:
        return "asked_by_you"
    if actor.id == approval.act.target:
        return "about_you"
    if not of_age:
        return "account_too_new"
    if asker is None or asker.id != approval.asked_by or not may_decide(asker, approval.act.tenant):
        return "asker_no_longer_counts"
    return ""


def may_refuse(approval: Approval, actor: Actor) -> bool:
    """Check whether an actor may see an approval and turn down what was asked; who asked takes it back so."""
    return may_decide(actor, approval.act.tenant) or actor.id == approval.asked_by


def order_digest(act: Act) -> str:
    """Return what the record keeps of an act: the same when it was asked for and when it was carried out."""
    parts = [act.kind.value, act.tenant or "", act.target, dict(act.order), dict(act.before), act.sealed]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
