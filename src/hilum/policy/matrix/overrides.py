"""Overrides: an overridable rule of the tier, or requirement of a cell, that two people set aside for one app, with a reason, a compensating control and an end (C207).

``in_force.override_fault`` judges one when it is used.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from hilum.controls.approvals.models import Act, Approval, ApprovalKind, Asked, CarriedOut
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import NotPermitted, Unavailable
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.identity.people import service as identity
from hilum.policy.matrix import allowances, requirements, rollout
from hilum.policy.matrix.allowance_store import OVERRIDES
from hilum.policy.matrix.allowances import invalid, stated_faults
from hilum.policy.matrix.in_force import levelled
from hilum.policy.matrix.models import (
    Book,
    TierRule,
)
from hilum.policy.matrix.override_models import (
    OVERRIDES_BOUND,
    Level,
    Override,
    OverrideOrder,
)
from hilum.policy.matrix.rendering import render_rule
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event


def _event(action: str, override: Override, reason: str) -> Event:
    facts = {
        "override": override.id,
        "target": override.rule,
        "reason": reason,
        "detail": f"until {override.ends_at:%Y-%m-%d %H:%M} UTC; instead of the rule: {override.control}",
        "asked_by": override.asked_by,
    }
    return Event(action, app=override.app, tenant=override.tenant or "", facts=facts)


OVERRIDE = allowances.Kind(
    "override",
    OVERRIDES,
    OVERRIDES_BOUND,
    _event,
    "policies.override.add",
    "policies.override.end",
)


def override_faults(order: OverrideOrder, book: Book, now: datetime) -> dict[str, str]:
    """Return the error code of each invalid field of an order under the book in force. Pure."""
    faults: dict[str, str] = {}
    found = levelled(book, order.rule)
    if found is None:
        faults["rule"] = "rule_unknown"
    elif found[0] is not Level.OVERRIDABLE:
        faults["rule"] = "rule_not_overridable"
    elif order.tenant is not None and requirements.is_of_review(book, order.rule):
        faults["tenant"] = "judged_by_review"
    return faults | stated_faults(order, book.longest_override, now)


def _rule(book: Book, name: str) -> TierRule | None:
    return next((each for each in book.tier_rules if each.name == name), None)


def _shown(book: Book, name: str) -> dict[str, Any]:
    """Return a rule as the second person sees it."""
    if (rule := _rule(book, name)) is not None:
        return render_rule(rule)
    requirement = requirements.find(book, name)
    assert requirement is not None, "an order on a rule that is not there is invalid"
    return requirements.shown(requirement)


def ask_override(ctx: Context, order: OverrideOrder, book: Book) -> Asked:
    """Ask a second person to set a rule of the book in force aside for an app. The caller has found the app.

    Raises NotPermitted, NotFound (the tenant), Invalid, Unavailable (too many are in force, or wait).
    """
    event = Event("policies.override.ask", app=order.app, tenant=order.tenant or "")
    if not rollout.may_change(ctx.actor):
        raise audit.refusal(ctx, event, "Only a platform administrator asks for an override.")
    if ctx.actor.acts_alone:
        detail = "An override takes two people of the staff. Use the API."
        raise audit.refusal(ctx, replace(event, reason="takes_two_people"), detail)
    before = _judged(ctx, order, book)
    asked = {
        "rule": order.rule,
        "app": order.app,
        "tenant": order.tenant,
        "reason": order.reason,
        "control": order.control,
        "ends_at": order.ends_at.isoformat(),
    }
    return Asked(identity.ask(ctx, Act(ApprovalKind.OVERRIDE, None, order.app, asked, before)))


def _judged(ctx: Context, order: OverrideOrder, book: Book) -> dict[str, Any]:
    """Check an order, and return the overridden rule as the second person sees it."""
    if order.tenant is not None:
        identity.get_tenant(ctx, order.tenant)
    if faults := override_faults(order, book, ctx.now):
        raise invalid("override", faults, book.longest_override)
    if OVERRIDES.count_live(ctx.tx, ctx.now) >= OVERRIDES_BOUND:
        raise Unavailable("too_many_overrides", "Too many overrides are in force. End some of them first.")
    return {"rule": _shown(book, order.rule)}


def carry_out_override(ctx: Context, approval: Approval, asker: Actor, book: Book) -> CarriedOut:
    """Set the rule aside, as the second person who agreed. Raises Conflict if the rule is not the one that was shown."""
    order = order_of(approval.act)
    if not rollout.may_change(asker):
        raise NotPermitted("not_permitted", "The person who requested this override may no longer do so.")
    identity.require_unchanged(approval.act, _judged(ctx, order, book))
    found = levelled(book, order.rule)
    assert found is not None, "it was judged"
    made = Override(
        id=ctx.ids.new("ovr"),
        rule=order.rule,
        rule_digest=found[1],
        app=order.app,
        tenant=order.tenant,
        reason=order.reason,
        control=order.control,
        ends_at=order.ends_at,
        asked_by=str(asker),
        agreed_by=str(ctx.actor),
        agreed_at=ctx.now,
    )
    return CarriedOut(allowances.add(ctx, OVERRIDE, made).id)


def order_of(act: Act) -> OverrideOrder:
    """Return the order of a pending act."""
    asked = act.order
    return OverrideOrder(
        asked["rule"],
        AppId(asked["app"]),
        TenantId(asked["tenant"]) if asked["tenant"] else None,
        asked["reason"],
        asked["control"],
        datetime.fromisoformat(asked["ends_at"]),
    )


def end_override(ctx: Context, override_id: str, reason: str) -> Override:
    """End an override at once (``allowances.end``). Raises NotFound, NotPermitted, Conflict (it is over)."""
    return allowances.end(ctx, OVERRIDE, override_id, reason)


def live_overrides(ctx: Context) -> Mapping[AppId, tuple[Override, ...]]:
    """Return the overrides that have not ended, by app."""
    return allowances.live(ctx, OVERRIDE)
