"""Transfer of an app to another vendor: both owners agree, and what was agreed with the first one ends (C14)."""

from collections.abc import Callable

from hilum.apps.clients import store
from hilum.apps.clients.models import TRANSFER_LIFE, Transfer
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound
from hilum.foundation.kernel.ids import AppId, VendorId
from hilum.identity.people.models import VendorRight
from hilum.identity.people.policy import may_as_member
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

OFFERS_SHOWN = 50
"""Offers to one vendor that are listed."""


def offer_app(ctx: Context, app_id: AppId, to: VendorId) -> Transfer:
    """Offer an app to another vendor, as an owner of its own. Nothing changes before an owner of that one accepts.

    The platform's staff cannot stand in for either. Raises NotFound, NotPermitted, Invalid, Conflict (another offer waits).
    """
    app = registry.get_changeable(ctx, app_id, "registry.transfer.offer", VendorRight.TRANSFER)
    if not may_as_member(ctx.actor, app.vendor, VendorRight.TRANSFER):
        raise audit.refusal(ctx, Event("registry.transfer.offer", app=app.id))
    if to == app.vendor:
        raise Invalid(
            "transfer_invalid", "The app belongs to this vendor already.", fields={"to": "vendor_unchanged"}
        )
    registry.get_vendor(ctx, to)
    transfer = Transfer(app.id, app.vendor, to, str(ctx.actor), ctx.now, ctx.now + TRANSFER_LIFE)
    if not store.add_transfer(ctx.tx, transfer):
        raise Conflict(
            "transfer_waits", "This app is offered to a vendor already. Withdraw that offer first."
        )
    _record(ctx, "registry.transfer.offer", transfer)
    return transfer


Transferred = Callable[[Context, AppId, VendorId], None]
"""Called with an app that went to another vendor, and the vendor that it had before."""


def ignored(_: Context, __: AppId, ___: VendorId) -> None:
    """Do nothing."""


def accept_app(ctx: Context, app_id: AppId, *, transferred: Transferred = ignored) -> App:
    """Take an app over, as an owner of the vendor to which it is offered. ``transferred`` is called within the transaction.

    Its tokens and what it could be authenticated with end, its certifications are withdrawn, and installations and people's agreements from
    before are no longer valid. Raises NotFound, NotPermitted, Conflict (decided meanwhile).
    """
    transfer = view_transfer(ctx, app_id)
    if not may_as_member(ctx.actor, transfer.to, VendorRight.TRANSFER):
        raise audit.refusal(ctx, Event("registry.transfer.accept", app=app_id))
    app = registry.get_app(ctx, app_id)
    # First: what a colleague of the former vendor adds at this moment, a client or a certification, is found and ends below.
    registry.lock_as_read(ctx, app)
    # A former vendor's offer does not count.
    if transfer.vendor != app.vendor:
        raise Conflict("transfer_decided", "This app has another vendor now. Ask its owner for a new offer.")
    _end(ctx, transfer)
    # The former vendor knows its secrets and has its keys.
    store.delete_credentials(ctx.tx, app_id)
    after = registry.change_owner(ctx, app, transfer.to)
    _record(ctx, "registry.transfer.accept", transfer)
    transferred(ctx, app_id, transfer.vendor)
    return after


def decline_app(ctx: Context, app_id: AppId) -> Transfer:
    """Withdraw an offer as an owner of the one vendor, or decline it as an owner of the other. Raises NotFound, NotPermitted, Conflict."""
    transfer = view_transfer(ctx, app_id)
    if not any(
        may_as_member(ctx.actor, each, VendorRight.TRANSFER) for each in (transfer.vendor, transfer.to)
    ):
        raise audit.refusal(ctx, Event("registry.transfer.decline", app=app_id))
    _end(ctx, transfer)
    _record(ctx, "registry.transfer.decline", transfer)
    return transfer


def view_transfer(ctx: Context, app_id: AppId) -> Transfer:
    """Get the offer of an app that waits, as the staff or a member of one of both vendors. Raises NotFound."""
    found = store.find_transfer(ctx.tx, app_id, ctx.now)
    involved = found is not None and ctx.actor.vendor in {found.vendor, found.to}
    if found is None or not (ctx.actor.is_platform or involved):
        raise NotFound("transfer_not_found", "This app is not offered to a vendor now.")
    return found


def list_offers(ctx: Context) -> list[Transfer]:
    """List the apps that are offered now to the vendor of whom the actor is a member, the oldest offers first."""
    if not ctx.actor.vendor:
        return []
    return store.list_transfers_to(ctx.tx, VendorId(ctx.actor.vendor), ctx.now, OFFERS_SHOWN)


def is_offered_to(ctx: Context, app_id: AppId) -> bool:
    """Check whether an app is offered now to the vendor of whom the actor is a member, so that they may know its name."""
    if not ctx.actor.vendor:
        return False
    found = store.find_transfer(ctx.tx, app_id, ctx.now)
    return found is not None and found.to == ctx.actor.vendor


def _end(ctx: Context, transfer: Transfer) -> None:
    if not store.TRANSFERS.delete(ctx.tx, app=transfer.app, asked_at=transfer.asked_at):
        raise Conflict("transfer_decided", "This offer was decided at the same moment. Read the app again.")


def _record(ctx: Context, action: str, transfer: Transfer) -> None:
    facts = {"from": transfer.vendor, "to": transfer.to, "asked_by": transfer.asked_by}
    audit.record(ctx, Event(action, app=transfer.app, facts=facts))
