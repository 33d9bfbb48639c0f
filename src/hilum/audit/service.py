"""Recording events, reading them back, checkpoints and verification."""

from collections.abc import Mapping

from hilum.audit import policy, store
from hilum.audit.models import Checkpoint, Event, EventPage, EventQuery, Head, RecordedEvent
from hilum.infra.context import Context
from hilum.kernel.errors import Conflict
from hilum.keys import service as keys
from hilum.keys.models import Purpose

_SALT_BYTES = 16


def record(ctx: Context, event: Event) -> None:
    """Record the event in this transaction, at the end of this process's chain.

    Call it last in a verb, after ``advance_epoch``: it holds the chain's row until commit.
    """
    recorded = RecordedEvent(
        writer=ctx.writer or "unnamed",
        seq=0,
        at=ctx.now,
        actor=str(ctx.actor),
        request_id=ctx.trace.request_id,
        event=event,
        source=ctx.trace.source,
        correlation_id=ctx.trace.correlation_id,
    )
    store.append(ctx.tx, recorded, ctx.ids.secret(_SALT_BYTES).encode())


def list_events(ctx: Context, query: EventQuery) -> EventPage:
    """Read a page of events, newest first. Who may read which tenant's is judged by the edge."""
    return store.list_events(ctx.tx, query)


def checkpoint(ctx: Context, heads: Mapping[str, Head]) -> Checkpoint | None:
    """Sign the heads that moved since the last checkpoint: the control chains' own, and the access chains' as given.

    Gives None when nothing moved. ``heads`` maps ``access/<writer>`` to the journal's durable head.
    """
    now = dict(heads) | store.control_heads(ctx.tx)
    moved = policy.changed(now, store.covered_heads(ctx.tx))
    if not moved:
        return None
    last = store.last_checkpoint(ctx.tx)
    number, previous = 1, policy.NO_CHECKPOINT
    if last is not None:
        number = last[0].number + 1
        previous = policy.checkpoint_digest(last[1], last[0].signature)
    signed = store.checkpoint_signed_bytes(number, ctx.now, moved, previous)
    kid, signature = keys.sign_bytes(ctx, Purpose.CHECKPOINT, signed)
    made = Checkpoint(number, ctx.now, moved, kid, signature, previous)
    if not store.add_checkpoint(ctx.tx, made):
        raise Conflict("checkpoint_taken", "Another process made this checkpoint.")
    return made
