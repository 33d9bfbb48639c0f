"""Held edits of apps and clients: hold, list, decide, refuse (C12)."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from hilum.apps.registry import policy, store
from hilum.apps.registry.held_models import EditState, HeldEdit
from hilum.apps.registry.held_store import HeldRows
from hilum.apps.registry.models import App
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, Readers, not_shown
from hilum.foundation.kernel.ids import VendorId
from hilum.foundation.kernel.pages import PageQuery
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

Barred = Callable[[Context, App], bool]
"""Checks whether a reviewer has a conflict of interest with an app's vendor, and so may not certify or approve anything of it (C101)."""


@dataclass(frozen=True, slots=True)
class HeldKind:
    """A kind of held edit: its rows, and the audit actions of its steps."""

    rows: HeldRows
    ask_action: str
    approve_action: str
    refuse_action: str


@dataclass(frozen=True, slots=True)
class HeldEdits:
    """What is done with held edits of one kind, for the API and the consoles. ``approve`` and ``refuse`` take an edit's id and a reason."""

    kind: HeldKind
    approve: Callable[[Context, str, str], HeldEdit]
    refuse: Callable[[Context, str, str], HeldEdit]

    def list_page(self, ctx: Context, page: PageQuery) -> list[HeldEdit]:
        """List the edits that wait for a reviewer; to a vendor's member all of their own vendor's, decided or not. Raises NotPermitted."""
        own = ctx.actor.vendor
        if not policy.may_see_vendor(ctx.actor, own or VendorId("")):
            raise not_shown("edits that wait for a reviewer", Readers.VENDOR)
        return self.kind.rows.list_page(ctx.tx, of=own, page=page)

    def view(self, ctx: Context, edit_id: str) -> HeldEdit:
        """Get an edit that the actor may see. Raises NotFound."""
        return view_held(ctx, self.kind, edit_id)


def hold(ctx: Context, kind: HeldKind, waiting: HeldEdit) -> HeldEdit:
    """Hold an edit until a reviewer decides. Raises Conflict (another one waits)."""
    if not kind.rows.add_new(ctx.tx, waiting):
        noun = kind.rows.noun
        detail = f"Another {noun} of this {kind.rows.edits} waits for a reviewer. Withdraw it, or wait for the decision."
        raise Conflict(f"{noun}_waits", detail)
    _record(ctx, kind, kind.ask_action, waiting)
    return waiting


def get_for_approval(ctx: Context, kind: HeldKind, edit_id: str, barred: Barred) -> HeldEdit:
    """Lock an edit that a reviewer without a conflict of interest with the app's vendor approves. Raises NotPermitted, NotFound."""
    if not policy.may_certify(ctx.actor):
        raise audit.refusal(ctx, Event(kind.approve_action))
    found = kind.rows.get(ctx.tx, edit_id, lock=True)
    if barred(ctx, store.APPS.get(ctx.tx, found.app)):
        detail = "You have a conflict of interest with this vendor, so a colleague must judge its changes."
        raise audit.refusal(
            ctx, Event(kind.approve_action, app=found.app, reason="conflict_of_interest"), detail
        )
    return found


def decide_applied(
    ctx: Context, kind: HeldKind, found: HeldEdit, *, same: bool, reason: str = ""
) -> HeldEdit:
    """Save that an edit is applied; ``same``: what it replaces is as it was asked for. The caller applies it in this transaction.

    Raises Invalid (the reason), Conflict (decided already, or the target was changed since).
    """
    if reason and (fault := policy.reason_fault(reason)):
        raise Invalid("reason_invalid", "The reason is not valid; see fields.", fields={"reason": fault})
    if not same and found.state is EditState.PENDING:
        detail = "What this would replace has changed since it was requested. Refuse it, and request it again if it is still needed."
        raise Conflict("target_changed", detail)
    return _decide(ctx, kind, found, EditState.APPLIED, reason)


def record_applied(ctx: Context, kind: HeldKind, after: HeldEdit) -> HeldEdit:
    """Record that an edit was applied."""
    _record(ctx, kind, kind.approve_action, after)
    return after


def refuse_held(
    ctx: Context, kind: HeldKind, edit_id: str, reason: str, may_withdraw: Callable[[HeldEdit], bool]
) -> HeldEdit:
    """Refuse an edit as a reviewer, or withdraw it as an actor who may. It has no effect.

    Raises NotFound, NotPermitted, Invalid (the reason), Conflict (decided already).
    """
    found = view_held(ctx, kind, edit_id, lock=True)
    if not policy.may_certify(ctx.actor) and not may_withdraw(found):
        raise audit.refusal(ctx, Event(kind.refuse_action, app=found.app, client=found.client or ""))
    if fault := policy.reason_fault(reason):
        raise Invalid("reason_invalid", "A reason is required; see fields.", fields={"reason": fault})
    after = _decide(ctx, kind, found, EditState.REFUSED, reason)
    _record(ctx, kind, kind.refuse_action, after)
    return after


def view_held(ctx: Context, kind: HeldKind, edit_id: str, *, lock: bool = False) -> HeldEdit:
    """Get an edit that the actor may see. Raises NotFound."""
    found = kind.rows.get(ctx.tx, edit_id, lock=lock)
    if not policy.may_see_vendor(ctx.actor, found.vendor):
        raise NotFound(f"{kind.rows.noun}_not_found", f"There is no such {kind.rows.noun.replace('_', ' ')}.")
    return found


def _decide(ctx: Context, kind: HeldKind, found: HeldEdit, state: EditState, reason: str) -> HeldEdit:
    after = replace(found, state=state, decided_by=str(ctx.actor), decided_at=ctx.now, reason=reason)
    if not kind.rows.save_decided(ctx.tx, after):
        noun = kind.rows.noun
        raise Conflict(f"{noun}_decided", f"This {noun} was decided already: it is {found.state.value}.")
    return after


def _record(ctx: Context, kind: HeldKind, action: str, found: HeldEdit) -> None:
    facts = {
        kind.rows.noun: found.id,
        "fields": sorted(found.order),
        "asked_by": found.asked_by,
        "reason": found.reason,
    }
    audit.record(ctx, Event(action, app=found.app, client=found.client or "", facts=facts))
