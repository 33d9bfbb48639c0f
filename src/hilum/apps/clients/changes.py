"""Edits of clients: at once in the sandbox, held until a reviewer decides for a certified production client (C12)."""

from functools import partial
from typing import Any

from hilum.apps.clients import policy, store
from hilum.apps.clients.models import Client, ClientEdit, ClientMetadata
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import HeldEdit
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

CLIENT_CHANGE = registry.HeldKind(
    store.CHANGES, "registry.change.ask", "registry.change.approve", "registry.change.refuse"
)


def edit(ctx: Context, client: Client, order: ClientEdit) -> Client | HeldEdit:
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
    grace = registry.grace_of(ctx, registry.get_app(ctx, client.app).category)
    if not names or not policy.is_certified_for_production(client, certifications, ctx.now, grace):
        return _apply(ctx, client, {name: getattr(metadata, name) for name in names})
    change = HeldEdit(
        ctx.ids.new("chg"),
        client.app,
        registry.get_app(ctx, client.app).vendor,
        order={name: getattr(metadata, name) for name in names},
        before={name: getattr(client, name) for name in names},
        asked_by=str(ctx.actor),
        asked_at=ctx.now,
        client=client.id,
        revision=client.revision,
    )
    return registry.hold(ctx, CLIENT_CHANGE, change)


def approve(ctx: Context, change_id: str, reason: str = "", *, barred: registry.Barred) -> HeldEdit:
    """Approve a change as a reviewer: it is judged again, and takes effect exactly as requested.

    Raises NotFound, NotPermitted, Invalid (no longer valid, or the reason is not), Conflict (decided already, or the client was changed since).
    """
    change = registry.get_for_approval(ctx, CLIENT_CHANGE, change_id, barred)
    client = _client_of(ctx, change)
    # The present vendor did not request a former vendor's change.
    same = client.revision == change.revision and registry.get_app(ctx, client.app).vendor == change.vendor
    after = registry.decide_applied(ctx, CLIENT_CHANGE, change, same=same, reason=reason)
    metadata = _validated(ctx, client, ClientEdit(change.revision, **_texts(change)))
    _apply(ctx, client, {name: getattr(metadata, name) for name in change.order})
    return registry.record_applied(ctx, CLIENT_CHANGE, after)


def refuse(ctx: Context, change_id: str, reason: str) -> HeldEdit:
    """Refuse a change as a reviewer, or withdraw it as an actor who may change the client (``registry.refuse_held``)."""

    def may_withdraw(change: HeldEdit) -> bool:
        return policy.may_change_client(ctx.actor, registry.get_app(ctx, change.app))

    return registry.refuse_held(ctx, CLIENT_CHANGE, change_id, reason, may_withdraw)


def held_edits(barred: registry.Barred) -> registry.HeldEdits:
    """Return what is done with held edits of clients."""
    return registry.HeldEdits(CLIENT_CHANGE, partial(approve, barred=barred), refuse)


def _client_of(ctx: Context, change: HeldEdit) -> Client:
    assert change.client is not None, "a change of a client states it"
    return store.get_client(ctx.tx, change.client, lock=True)


def _texts(change: HeldEdit) -> dict[str, Any]:
    """Return a stored order as the arguments of an edit: what JSON keeps as lists are tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in change.order.items()}


def _validated(ctx: Context, client: Client, order: ClientEdit) -> ClientMetadata:
    metadata = policy.edited(client, order)
    if faults := policy.validate_client_metadata(metadata, now=ctx.now):
        raise Invalid("client_invalid", "The client metadata is invalid; see fields.", fields=faults)
    return metadata


def _apply(ctx: Context, client: Client, values: dict[str, Any]) -> Client:
    if values:
        store.CLIENTS.change(ctx.tx, values, id=client.id)
        registry.announce_change(ctx, client.app)
        event = Event(
            "registry.client.change", app=client.app, client=client.id, facts={"changed": sorted(values)}
        )
        audit.record(ctx, event)
    return store.get_client(ctx.tx, client.id)
