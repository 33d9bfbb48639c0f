"""Which webhooks receive requests for disposal: two people agree to each, since the requests name patients (ADR 29)."""

from typing import Any

from hilum.approvals.models import Act, Approval, ApprovalKind, Asked, CarriedOut
from hilum.approvals.policy import may_decide
from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.identity import service as identity
from hilum.infra.context import Context
from hilum.kernel.actor import Actor
from hilum.kernel.errors import Conflict, NotPermitted
from hilum.kernel.ids import TenantId
from hilum.notices import service as notices
from hilum.notices.models import Endpoint, EventKind

ASK = "disposals.receiver.ask"


def ask(ctx: Context, webhook_id: str) -> Asked:
    """Ask a second person to let a webhook receive requests for disposal: an owner of its vendor, or the platform's staff.

    Raises NotFound, NotPermitted, Conflict (it receives them, or does not subscribe to them), Unavailable (too many wait).
    """
    endpoint = notices.managed_endpoint(ctx, webhook_id)
    event = Event(ASK, app=endpoint.app, facts={"endpoint": endpoint.id, "vendor": endpoint.vendor})
    if ctx.actor.acts_alone or not may_decide(ctx.actor, TenantId(endpoint.vendor)):
        detail = "Only an owner of the vendor or an administrator of the platform requests this, and another one of them approves it."
        raise audit.refusal(ctx, event, detail)
    _require_subscribed(endpoint)
    act = Act(ApprovalKind.WEBHOOK, TenantId(endpoint.vendor), endpoint.id, _shown(endpoint))
    return Asked(identity.ask(ctx, act))


def _require_subscribed(endpoint: Endpoint) -> None:
    if endpoint.agreed_by:
        raise Conflict("webhook_agreed", "This webhook already receives disposal requests.")
    if endpoint.events and EventKind.DISPOSAL_REQUESTED.value not in endpoint.events:
        detail = (
            f"This webhook does not subscribe to {EventKind.DISPOSAL_REQUESTED.value}. Add one that does."
        )
        raise Conflict("webhook_not_subscribed", detail)


def _shown(endpoint: Endpoint) -> dict[str, Any]:
    """Return what the second person sees and agrees to: the whole address."""
    return {
        "vendor": endpoint.vendor,
        "app": endpoint.app,
        "url": endpoint.url,
        "events": list(endpoint.events),
        "created_by": endpoint.created_by,
    }


def _carry_out(ctx: Context, approval: Approval, asker: Actor) -> CarriedOut:
    if not may_decide(asker, approval.act.tenant):
        raise NotPermitted("not_permitted", "The person who requested this may no longer do so.")
    endpoint = notices.locked_endpoint(ctx, approval.act.target)
    _require_subscribed(endpoint)
    if dict(approval.act.order) != _shown(endpoint):
        raise Conflict(
            "target_changed", "The webhook has changed since it was shown. Refuse this, and request it again."
        )
    return CarriedOut(notices.agree_endpoint(ctx, endpoint, str(ctx.actor)).id)


CARRY_OUT = {ApprovalKind.WEBHOOK: _carry_out}
