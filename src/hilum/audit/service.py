"""Recording events, reading them back, checkpoints and verification."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from hilum.audit import explaining, policy, store, verification
from hilum.audit.models import (
    PURGE_ACTION,
    PURGE_AFTER_MIN,
    Anchored,
    Checkpoint,
    Event,
    EventPage,
    EventQuery,
    Explanation,
    Head,
    RecordedEvent,
    Stream,
    Verdict,
)
from hilum.audit.rows import AccessReader
from hilum.infra.context import Context
from hilum.kernel.errors import Conflict, Invalid, NotFound
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


def checkpoint(ctx: Context, heads: Mapping[str, Head], *, after: int) -> Checkpoint | None:
    """Sign the heads that moved since the last checkpoint: the control chains' own, and the access chains' as given.

    Gives None when nothing moved. ``heads`` maps ``access/<writer>`` to the journal's durable head, and ``after`` is the number of
    the newest checkpoint (0: none) before they were read. Raises Conflict when there is another since: it may state newer heads,
    and a checkpoint that puts a chain back is what somebody who cut it would make.
    """
    last = store.last_checkpoint(ctx.tx)
    number, previous = 1, policy.NO_CHECKPOINT
    if last is not None:
        number = last[0].number + 1
        previous = policy.checkpoint_digest(last[1], last[0].signature)
    if number != after + 1:
        raise _taken()
    now = dict(heads) | store.control_heads(ctx.tx)
    moved = policy.changed(now, store.covered_heads(ctx.tx))
    if not moved:
        return None
    signed = store.checkpoint_signed_bytes(number, ctx.now, moved, previous)
    kid, signature = keys.sign_bytes(ctx, Purpose.CHECKPOINT, signed)
    made = Checkpoint(number, ctx.now, moved, kid, signature, previous)
    if not store.add_checkpoint(ctx.tx, made):
        raise _taken()
    return made


def _taken() -> Conflict:
    return Conflict("checkpoint_taken", "Another process made this checkpoint.")


def newest_checkpoint(ctx: Context) -> Anchored | None:
    """Give what an anchor keeps of the newest checkpoint."""
    last = store.last_checkpoint(ctx.tx)
    if last is None:
        return None
    made, signed = last
    return Anchored(made.number, made.at, policy.checkpoint_digest(signed, made.signature))


def verify(ctx: Context, reader: AccessReader, anchors: Sequence[Anchored] = ()) -> Verdict:
    """Tell whether nothing in any chain was edited, removed or reordered; counts the tail that no checkpoint covers yet.

    ``anchors``, read before this transaction began, tell which checkpoints there must be.
    """
    return verification.verify(ctx, reader, anchors)


def explain(ctx: Context, request_id: str, reader: AccessReader) -> Explanation:
    """Say why a request was answered as it was: its records, the events that led there, and plain sentences.

    Raises NotFound when nothing was recorded under the id. Who may ask about which tenant is judged by the edge.
    """
    accesses = reader.find(request_id)
    own = store.list_events(ctx.tx, EventQuery(request_id=request_id)).events
    if not accesses and not own:
        raise NotFound("request_unknown", "Nothing was recorded under this request id.")
    events = list(own)
    for query in explaining.queries(accesses):
        events += store.list_events(ctx.tx, query).events
    return explaining.explain(request_id, accesses, events)


def purge_payloads(ctx: Context, kind: str, before: datetime) -> int:
    """Purge the payloads of a class that are older than ``before``; tells how many went. Call again while it is not 0.

    The class is the room an action begins with, or ``access``: the purge of accesses is recorded here, and then carried out by
    ``AccessReader.purge``. The chain keeps every digest.
    """
    if before > ctx.now - PURGE_AFTER_MIN:
        fault = f"is less than {PURGE_AFTER_MIN.days} days ago"
        raise Invalid("purge_too_early", f"The moment {fault}.", fields={"before": fault})
    removed = 0 if kind == Stream.ACCESS else store.purge_control(ctx.tx, kind, before)
    done = store.purges(ctx.tx).get(kind)
    if done is None or done < before:
        record(ctx, Event(PURGE_ACTION, reason=f"{kind} before {before.isoformat()}"))
    return removed
