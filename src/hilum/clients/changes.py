"""Edits of clients: at once in the sandbox, held until a reviewer decides for a certified production client (C12)."""

from dataclasses import replace
from typing import Any

from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.clients import policy, store
from hilum.clients.models import ChangeState, Client, ClientChange, ClientEdit, ClientMetadata
from hilum.infra.context import Context
from hilum.kernel.errors import Conflict, Invalid, NotFound
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.registry import service as registry
from hilum.registry.policy import may_certify, may_see_vendor, reason_fault


def edit(ctx: Context, client: Client, order: ClientEdit) -> Client | ClientChange:
    """Edit a client that the caller has locked and may change; return it, or the change that waits for a reviewer.

    Raises Invalid, Conflict (changed since it was read, or another change of it waits).
    """
    if client.revision != order.revision:
        raise Conflict(
            "changed_since_read", "This was changed since you read it. Read it again, and repeat your change."
        )
    metadata = _validated(ctx, client, order)
    names = policy.changed_fields(client, metadata)
    certifications = registry.certifications_of(ctx, client.app)
    if not names or not policy.is_certified_for_production(client, certifications, ctx.now):
        return _apply(ctx, client, {name: getattr(metadata, name) for name in names})
    change = ClientChange(
        id=ctx.ids.new("chg"),
        client=client.id,
        app=client.app,
        vendor=registry.get_app(ctx, client.app).vendor,
        revision=client.revision,
        order={name: getattr(metadata, name) for name in names},
        before={name: getattr(client, name) for name in names},
        asked_by=str(ctx.actor),
        asked_at=ctx.now,
    )
    if not store.add_change(ctx.tx, change):
        detail = "Another change of this client waits for a reviewer. Withdraw it, or wait for the decision."
        raise Conflict("change_waits", detail)
    _record(ctx, "registry.change.ask", change)
    return change


def approve(ctx: Context, change_id: str) -> ClientChange:
    """Agree to a change as a reviewer: it is judged again, and takes effect exactly as it was asked for.

    Raises NotFound, NotPermitted, Invalid (no longer valid), Conflict (decided already, or the client was changed since).
    """
    if not may_certify(ctx.actor):
        raise audit.refusal(ctx, Event("registry.change.approve"))
    change = store.get_change(ctx.tx, change_id, lock=True)
    client = store.get_client(ctx.tx, change.client, lock=True)
    # The vendor of today did not ask for what the one before did.
    same = client.revision == change.revision and registry.get_app(ctx, client.app).vendor == change.vendor
    if not same and change.state is ChangeState.PENDING:
        detail = "What this would replace has changed since it was requested. Refuse it, and request it again if it is still needed."
        raise Conflict("target_changed", detail)
    after = _decide(ctx, change, ChangeState.APPLIED, "")
    metadata = _validated(ctx, client, ClientEdit(change.revision, **_texts(change)))
    _apply(ctx, client, {name: getattr(metadata, name) for name in change.order})
    _record(ctx, "registry.change.approve", after)
    return after


def refuse(ctx: Context, change_id: str, reason: str) -> ClientChange:
    """Refuse a change as a reviewer, or withdraw it as who may change the client. Nothing of it takes effect.

    Raises NotFound, NotPermitted, Invalid (the reason), Conflict (decided already).
    """
    change = _visible(ctx, change_id, lock=True)
    app = registry.get_app(ctx, change.app)
    if not may_certify(ctx.actor) and not policy.may_change_client(ctx.actor, app):
        raise audit.refusal(ctx, Event("registry.change.refuse", app=app.id, client=change.client))
    if fault := reason_fault(reason):
        raise Invalid("reason_invalid", "A reason is required; see fields.", fields={"reason": fault})
    after = _decide(ctx, change, ChangeState.REFUSED, reason)
    _record(ctx, "registry.change.refuse", after)
    return after


def view_change(ctx: Context, change_id: str) -> ClientChange:
    """Get a change that the actor may see. Raises NotFound."""
    return _visible(ctx, change_id)


def list_changes(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[ClientChange]:
    """List the changes that wait for a reviewer; to a vendor's member all of their own vendor's, decided or not."""
    return store.list_changes(ctx.tx, of=ctx.actor.vendor, page=page)


def _visible(ctx: Context, change_id: str, *, lock: bool = False) -> ClientChange:
    change = store.get_change(ctx.tx, change_id, lock=lock)
    if not may_see_vendor(ctx.actor, change.vendor):
        raise NotFound("change_not_found", "There is no such change.")
    return change


def _decide(ctx: Context, change: ClientChange, state: ChangeState, reason: str) -> ClientChange:
    after = replace(change, state=state, decided_by=str(ctx.actor), decided_at=ctx.now, reason=reason)
    if not store.save_change_decided(ctx.tx, after):
        raise Conflict("change_decided", f"This change was decided already: it is {change.state.value}.")
    return after


def _texts(change: ClientChange) -> dict[str, Any]:
    """Return a stored order as the arguments of an edit: what JSON keeps as lists are tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in change.order.items()}


def _validated(ctx: Context, client: Client, order: ClientEdit) -> ClientMetadata:
    metadata = policy.edited(client, order)
    if faults := policy.validate_client_metadata(metadata, now=ctx.now):
        raise Invalid("client_invalid", "The client metadata is invalid; see fields.", fields=faults)
    return metadata


def _apply(ctx: Context, client: Client, values: dict[str, Any]) -> Client:
    if values:
        store.save_metadata(ctx.tx, client.id, values)
        registry.announce_change(ctx, client.app)
        event = Event(
            "registry.client.change", app=client.app, client=client.id, facts={"changed": sorted(values)}
        )
        audit.record(ctx, event)
    return store.get_client(ctx.tx, client.id)


def _record(ctx: Context, action: str, change: ClientChange) -> None:
    facts = {
        "change": change.id,
        "fields": sorted(change.order),
        "asked_by": change.asked_by,
        "reason": change.reason,
    }
    audit.record(ctx, Event(action, app=change.app, client=change.client, facts=facts))
