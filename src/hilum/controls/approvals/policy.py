"""Who may be the second person, and why an actor may not approve. Pure.

Source: security decision 25; docs/adr/0029-two-people-are-two.md
"""

import hashlib
import json
from datetime import datetime

from hilum.controls.approvals.models import OF_THE_HOSPITAL, Act, Approval, ApprovalState
from hilum.controls.switches.policy import administers, owns_vendor, rules_the_platform
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.ids import TenantId


def may_decide(actor: Actor, tenant: TenantId | None) -> bool:
    """Check whether an actor may be the second person at a tenant or a vendor (None: for the staff), and so see what waits there."""
    if actor.kind is ActorKind.STAFF:
        return rules_the_platform(actor)
    return administers(actor, tenant or "") or owns_vendor(actor, tenant or "")


def decision_fault(
    approval: Approval, actor: Actor, *, asker: Actor | None, of_age: bool, now: datetime
) -> str:
    """Return why this actor may not approve; empty if they may.

    ``asker``: who asked, if they still count as one of two people, else None. ``of_age``: whether the actor counts. Whether the asker
    still has the right to this very act is judged by the module that owns it.
    INVARIANT: nobody approves what they asked for, nor what is about themselves.
    """
    if approval.state is not ApprovalState.PENDING or now >= approval.expires_at:
        return "approval_over"
    if not may_decide(actor, approval.act.tenant):
        return "not_permitted"
    if not _counts(actor, approval.act):
        return "hospital_decides"
    if actor.id == approval.asked_by:
        return "asked_by_you"
    # The second person is a check, and nobody checks an act about themselves, even one that a
    # colleague requested.
    if actor.id == approval.act.target:
        return "about_you"
    if not of_age:
        return "account_too_new"
    if actor.unconfirmed:
        return "factor_stale"
    if asker is None or asker.id != approval.asked_by or not _counts(asker, approval.act):
        return "asker_no_longer_counts"
    return ""


def _counts(actor: Actor, act: Act) -> bool:
    """Check whether an actor is one of those of whom two decide an act."""
    outside = act.kind in OF_THE_HOSPITAL and actor.kind is ActorKind.STAFF
    return not outside and may_decide(actor, act.tenant)


def may_refuse(approval: Approval, actor: Actor) -> bool:
    """Check whether an actor may see and refuse an approval: a possible second person, or the asker, who withdraws it so."""
    return may_decide(actor, approval.act.tenant) or actor.id == approval.asked_by


def order_digest(act: Act) -> str:
    """Return the digest of an act for the audit record; equal digests prove that what was carried out is what was asked for."""
    # What is sealed counts too: the halves of a secret and the digest of a setup code are part of
    # what was agreed to.
    parts = [act.kind.value, act.tenant or "", act.target, dict(act.order), dict(act.before), act.sealed]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
