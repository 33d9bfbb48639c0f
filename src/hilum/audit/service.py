"""Recording events, reading them back, checkpoints and verification."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from hilum.audit import explanation, policy, store, verification
from hilum.audit.journal_records import AccessReader
from hilum.audit.models import (
    HOLD_REASON_BOUND,
    HOLDS_BOUND,
    PURGE_ACTION,
    PURGE_AFTER_MIN,
    Anchored,
    Checkpoint,
    Event,
    EventPage,
    EventQuery,
    Explanation,
    Head,
    Hold,
    Outcome,
    RecordedEvent,
    Stream,
    Verdict,
)
from hilum.infra.context import Context
from hilum.kernel.errors import Conflict, Invalid, NotFound, NotPermitted, Unavailable
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.keys import service as keys
from hilum.keys.models import Purpose

_SALT_BYTES = 16
_NOBODY: Mapping[str, str] = {}
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


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
    now = dict(heads) | store.moved_control_heads(ctx.tx)
    moved = policy.changed(now, store.covered_heads(ctx.tx, now))
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
    for query in explanation.queries(accesses):
        events += store.list_events(ctx.tx, query).events
    return explanation.explain(request_id, accesses, events)


def purgeable_before(ctx: Context, before: datetime) -> datetime:
    """Return up to which moment payloads may be purged: ``before``, or where the earliest hold begins."""
    held = store.held_since(ctx.tx)
    return before if held is None else min(before, held)


def purge_payloads(ctx: Context, kind: str, before: datetime) -> int:
    """Purge the payloads of a class that are older than ``before``; return how many went. Call again while it is not 0.

    The class is the room an action begins with, or ``access``: the purge of accesses is recorded here, and then carried out by
    ``AccessReader.purge``, up to what ``purgeable_before`` says. The chain keeps every digest; what is held stays.
    """
    if before > ctx.now - PURGE_AFTER_MIN:
        fault = f"is less than {PURGE_AFTER_MIN.days} days ago"
        raise Invalid("purge_too_early", f"The moment {fault}.", fields={"before": "purge_too_early"})
    before = purgeable_before(ctx, before)
    removed = 0 if kind == Stream.ACCESS else store.purge_control(ctx.tx, kind, before)
    done = store.purges(ctx.tx).get(kind) if removed or kind == Stream.ACCESS else before
    if done is None or done < before:
        record(ctx, Event(PURGE_ACTION, reason=f"{kind} before {before.isoformat()}"))
    return removed


def open_access_purge(ctx: Context, before: datetime) -> datetime:
    """Record a purge of accesses and return its horizon: ``AccessReader.purge`` may remove what is older, and nothing newer."""
    horizon = purgeable_before(ctx, before)
    purge_payloads(ctx, Stream.ACCESS, horizon)
    return horizon


def place_hold(
    ctx: Context,
    reason: str,
    *,
    since: datetime | None = None,
    about: Mapping[str, str] = _NOBODY,
    tenant_known: bool = False,
) -> Hold:
    """Hold evidence: nothing from ``since`` on is purged while it stands. ``about``: tenant, app and patient that it concerns.

    Raises NotPermitted, NotFound (a tenant that is not ``tenant_known``), Invalid, Unavailable (there are too many).
    """
    if not policy.may_hold(ctx.actor):
        raise _hold_refused(ctx, "audit.hold.place", "not_permitted")
    if about.get("tenant") and not tenant_known:
        raise NotFound("tenant_not_found", "There is no such tenant. `hilum tenant list` lists them.")
    if not reason.strip() or len(reason) > HOLD_REASON_BOUND:
        fault = f"is empty or longer than {HOLD_REASON_BOUND} characters"
        raise Invalid("hold_invalid", f"The reason {fault}.", fields={"reason": "reason_malformed"})
    if store.count_holds(ctx.tx) >= HOLDS_BOUND:
        raise Unavailable(
            "too_many_holds", "There are too many holds; release those that are no longer needed."
        )
    made = Hold(
        id=ctx.ids.new("hld"),
        since=since or _BEGINNING,
        reason=reason.strip(),
        placed_by=str(ctx.actor),
        placed_at=ctx.now,
        tenant=about.get("tenant", ""),
        app=about.get("app", ""),
        patient=about.get("patient", ""),
    )
    store.add_hold(ctx.tx, made)
    facts = {"hold": made.id, "since": made.since.isoformat(), "about": {k: v for k, v in about.items() if v}}
    record(ctx, Event("audit.hold.place", tenant=made.tenant, app=made.app, reason=made.reason, facts=facts))
    return made


def release_hold(ctx: Context, hold: str) -> Hold:
    """Release a hold. Whoever placed it needs somebody else for that. Raises NotFound, NotPermitted, Conflict."""
    found = store.find_hold(ctx.tx, hold)
    if found is None:
        raise NotFound("hold_not_found", "There is no such hold.")
    if not policy.may_hold(ctx.actor):
        raise _hold_refused(ctx, "audit.hold.release", "not_permitted")
    if found.placed_by == str(ctx.actor):
        raise _hold_refused(ctx, "audit.hold.release", "second_person_needed")
    if not store.save_released(ctx.tx, hold, str(ctx.actor), ctx.now):
        raise Conflict("hold_released", "This hold was released already.")
    record(ctx, Event("audit.hold.release", tenant=found.tenant, app=found.app, facts={"hold": hold}))
    return replace(found, released_by=str(ctx.actor), released_at=ctx.now)


def list_holds(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[Hold]:
    """List the holds in force. Raises NotPermitted."""
    if not policy.may_see_holds(ctx.actor):
        raise NotPermitted("not_permitted", "You may not see what is held.")
    return store.list_holds(ctx.tx, page)


def _hold_refused(ctx: Context, action: str, reason: str) -> NotPermitted:
    record(ctx, Event(action, Outcome.REFUSED, reason=reason))
    told = {
        "not_permitted": "You may not do this.",
        "second_person_needed": "Somebody else than who placed this hold must release it.",
    }
    return NotPermitted(reason, told[reason])
