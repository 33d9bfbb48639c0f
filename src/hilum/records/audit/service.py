"""Recording and reading events, checkpoints, verification, purges and holds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import (
    NO_RIGHT,
    Conflict,
    Invalid,
    NotFound,
    NotPermitted,
    Unavailable,
    not_shown,
)
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.foundation.kernel.times import EPOCH
from hilum.records.audit import event_store, explanation, partition, policy, sealed, store, verification
from hilum.records.audit.journal_records import AccessReader
from hilum.records.audit.models import (
    COUNTED_REFUSALS,
    HOLD_REASON_BOUND,
    HOLDS_BOUND,
    PURGE_ACTION,
    PURGE_AFTER_MIN,
    Access,
    AccessPage,
    AccessQuery,
    ActivityPage,
    Anchored,
    Background,
    Checkpoint,
    Event,
    EventPage,
    EventQuery,
    Explanation,
    Head,
    Hold,
    Outcome,
    PartRecord,
    RecordedEvent,
    SealedQuery,
    SealedRecords,
    Stream,
    Verdict,
)
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose

ReadBackground = Callable[[Context, str, Sequence[Access], Sequence[RecordedEvent]], Background]
"""(request id, its accesses, the events that led to it) -> what other rooms know of it; this room does not know policies and names."""
_SALT_BYTES = 16
_NOBODY: Mapping[str, str] = {}
_HOLD_STAFF_ONLY = "Only platform administrators and security staff may place and release holds."


def record(ctx: Context, event: Event) -> None:
    """Record an event in this transaction, at the end of this process's chain.

    Call it last in a verb, after ``advance_epoch``: it locks the chain's row until commit.
    """
    # seq 0: the store assigns it, under the lock of the chain's row.
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


def refusal(ctx: Context, event: Event, detail: str = NO_RIGHT) -> NotPermitted:
    """Record that an action was refused, and return the error to raise. Its code is the event's reason, by default ``not_permitted``.

    The record stays, because a transaction that ends in a decided refusal commits (security decision 3).
    """
    refused = policy.refused(event, event.reason or "not_permitted")
    record(ctx, refused)
    error = NotPermitted(refused.reason, detail)
    error.recorded = True
    return error


def record_count(ctx: Context, action: str, *, tenant: str, source: str, count: int) -> None:
    """Record as one event how many requests from an address were refused that were not recorded one by one."""
    event = Event(action, Outcome.REFUSED, tenant=tenant, reason=COUNTED_REFUSALS, facts={"count": count})
    record(replace(ctx, trace=replace(ctx.trace, source=source)), event)


def list_events(ctx: Context, query: EventQuery) -> EventPage:
    """List a page of events, newest first, as the actor may see them. The route checks which tenant's events the caller may read."""
    page = event_store.list_events(ctx.tx, query)
    return replace(page, events=tuple(policy.as_shown_to(ctx.actor, each) for each in page.events))


def reading_of(query: AccessQuery | EventQuery, given: int = 0) -> Event:
    """Return the event that records a read of accesses or events: its filters, and how many records it returned."""
    action = "audit.access.list" if isinstance(query, AccessQuery) else "audit.event.list"
    filters = {name: str(value) for name, value in asdict(query).items() if value and name != "limit"}
    return policy.reading(Event(action), filters, given=given)


def read_accesses(
    ctx: Context, query: AccessQuery, page: Callable[[AccessQuery], AccessPage]
) -> tuple[AccessPage, Event]:
    """Return a page of accesses, newest first, with the event to record before it is shown. Raises NotPermitted."""
    require_reader(ctx, query.tenant)
    found = page(query)
    return found, reading_of(query, len(found.accesses))


def read_events(ctx: Context, query: EventQuery) -> tuple[EventPage, Event]:
    """Return a page of events, newest first, with the event to record before it is shown. Raises NotPermitted."""
    require_reader(ctx, query.tenant)
    found = list_events(ctx, query)
    return found, reading_of(query, len(found.events))


def read_activity(
    ctx: Context, query: AccessQuery, page: Callable[[AccessQuery], AccessPage], refused: Sequence[str]
) -> tuple[ActivityPage, Event]:
    """Return a page of accesses with the refused events of some actions among them, with the event to record before it is shown.

    Those events have no patient or run that can be searched for. Raises NotPermitted, Invalid.
    """
    require_reader(ctx, query.tenant)
    of_accesses, of_events = policy.activity_from(query.after)
    found = page(replace(query, **({"after": ""} | of_accesses)))
    events = EventPage(())
    if not query.patient and not query.run and query.outcome in {"", Outcome.REFUSED}:
        shared = ("tenant", "app", "client", "person", "launch", "authorization", "reason", "since", "limit")
        same: dict[str, Any] = {name: getattr(query, name) for name in shared} | of_events
        events = list_events(ctx, EventQuery(outcome=Outcome.REFUSED, actions=tuple(refused), **same))
    merged = policy.activity(found, events)
    return merged, reading_of(query, len(merged.records))


def require_reader(ctx: Context, tenant: str) -> None:
    """Check that the actor may read the audit of a tenant (empty: of all). Raises NotPermitted."""
    # In the transaction that reads: a role that was just taken away applies at once.
    if not policy.may_read(ctx.actor, tenant):
        raise NotPermitted("audit_not_yours", "Set `tenant` to one whose audit you may read.")


def read_explanation(
    ctx: Context, request_id: str, reader: AccessReader, background: ReadBackground
) -> tuple[Explanation, Event]:
    """Return why a request was answered as it was, with the event to record before it is shown. Raises NotFound, also for one of others."""
    found = explain(ctx, request_id, reader, background)
    if not all(policy.may_read(ctx.actor, tenant) for tenant in policy.tenants_of(found)):
        raise _request_unknown()
    return found, policy.explaining(reading_a_request(request_id), request_id, found)


def _request_unknown() -> NotFound:
    # The same words whatever the reason: nobody learns from them which ids others have.
    return NotFound(
        "request_unknown",
        "Nothing was recorded under this request id. What does not exist or is malformed leaves no record, and of many refusals of one network or one person in a minute only the first do.",
    )


def reading_a_request(request_id: str) -> Event:
    """Return the event that records a read of an explanation."""
    return policy.reading(Event("audit.request.explain"), {"request_id": request_id})


def checkpoint(ctx: Context, heads: Mapping[str, Head], *, after: int) -> Checkpoint | None:
    """Sign the heads that moved since the last checkpoint: those of the control chains, and ``heads`` of the access chains.

    Returns None if no head moved. ``heads`` maps ``access/<writer>`` to the journal's durable head, and ``after`` is the number of
    the newest checkpoint (0: none) before they were read. Raises Conflict if there is a newer checkpoint: it may state newer heads,
    and a checkpoint that moves a chain back would look like tampering.
    """
    # The caller read the heads before this transaction. If a checkpoint was created meanwhile, it may state
    # newer heads than these, and signing older ones after it looks like a cut chain.
    last = store.last_checkpoint(ctx.tx)
    number, previous = 1, policy.NO_CHECKPOINT
    if last is not None:
        number = last[0].number + 1
        previous = policy.checkpoint_digest(last[1], last[0].signature)
    if number != after + 1:
        raise _checkpoint_taken()
    # Only heads that moved are signed: an idle chain costs nothing, however many there were.
    now = dict(heads) | store.moved_control_heads(ctx.tx)
    moved = policy.changed(now, store.covered_heads(ctx.tx, now))
    if not moved:
        return None
    if number % policy.CHECKPOINT_STRIDE == 0:
        stretch = store.checkpoints(ctx.tx, after=number - policy.CHECKPOINT_STRIDE)
        moved = {name: head for one, _ in stretch for name, head in one.heads.items()} | moved
    signed = store.checkpoint_signed_bytes(number, ctx.now, moved, previous)
    kid, signature = keys.sign_bytes(ctx, Purpose.CHECKPOINT, signed)
    created = Checkpoint(number, ctx.now, moved, kid, signature, previous)
    # Two jobs processes may compute the same number; the primary key decides.
    if not store.add_checkpoint(ctx.tx, created):
        raise _checkpoint_taken()
    return created


def thin_checkpoints(ctx: Context, after: str) -> str:
    """Delete those of the next old checkpoints that nothing needs any longer; return the last number, empty if there are no more. For the job."""
    old = store.old_checkpoints(ctx.tx, int(after or 0), before=ctx.now - policy.CHECKPOINTS_KEPT)
    latest = store.covered_heads(ctx.tx, {name for checkpoint in old for name in checkpoint.heads})
    # What the next one that stays states, this one need not. Earlier releases stated each head once.
    for stays, _ in store.numbered_checkpoints(ctx.tx, {policy.next_stride(one.number) for one in old}):
        latest = policy.changed(latest, stays.heads)
    thinned = [one.number for one in old if not policy.is_needed(one, latest, ctx.now)]
    store.delete_checkpoints(ctx.tx, thinned)
    return str(old[-1].number) if len(old) == store.THIN_BATCH else ""


def _checkpoint_taken() -> Conflict:
    return Conflict("checkpoint_taken", "Another process created this checkpoint; read the heads again.")


def newest_checkpoint(ctx: Context) -> Anchored | None:
    """Return the newest checkpoint as an anchor stores it; None if there is none."""
    last = store.last_checkpoint(ctx.tx)
    if last is None:
        return None
    newest, signed = last
    return Anchored(newest.number, newest.at, policy.checkpoint_digest(signed, newest.signature))


def verify(ctx: Context, reader: AccessReader, anchors: Sequence[Anchored] = ()) -> Verdict:
    """Verify that nothing in any chain was edited, removed or reordered. Also counts records that no checkpoint covers yet.

    ``anchors`` state which checkpoints must exist. Read them before this transaction begins: a checkpoint anchored later is not
    visible in it, and would be reported as missing.
    """
    return verification.verify(ctx, reader, anchors)


def anchor_faults(ctx: Context, anchors: Sequence[Anchored]) -> list[str]:
    """Compare anchored checkpoints with the stored ones, and read nothing else; return what is gone or another one, in sentences."""
    faults = policy.Faults()
    met, newest = dict.fromkeys((one.number for one in anchors), ""), newest_checkpoint(ctx)
    for stored, signed in store.numbered_checkpoints(ctx.tx, met):
        met[stored.number] = policy.checkpoint_digest(signed, stored.signature)
    policy.judge_anchors(anchors, met, faults, last=newest.number if newest else 0, now=ctx.now)
    return [f"{sentence[:1].upper()}{sentence[1:]}." for sentence in faults.sentences()]


def read_partition(
    ctx: Context, reader: AccessReader, tenant: str, walked: Callable[[int], None] = lambda _: None
) -> Iterator[PartRecord]:
    """Yield every record about a tenant, of events and of accesses, for its export. The caller records that it was read."""
    return partition.read(ctx, reader, tenant, walked)


def no_background(*_: object) -> Background:
    """Return that nothing else is known of a request."""
    return Background()


def explain(
    ctx: Context,
    request_id: str,
    reader: AccessReader,
    background: ReadBackground = no_background,
) -> Explanation:
    """Return why a request was answered as it was: its records, the events that led to it, and sentences.

    Raises NotFound when nothing was recorded under the id. The route checks which tenants' requests the caller may read.
    """
    accesses = reader.find(request_id)
    own = list_events(ctx, EventQuery(request_id=request_id)).events
    if not accesses and not own:
        raise _request_unknown()
    # Each query is bounded, so an explanation reads a bounded number of rows whatever happened to the app.
    events = list(own)
    for query in explanation.queries(accesses):
        events += list_events(ctx, query).events
    related = explanation.related(request_id, accesses, events)
    return explanation.explain(request_id, accesses, related, background(ctx, request_id, accesses, related))


def read_sealed(ctx: Context, reader: AccessReader, query: SealedQuery) -> SealedRecords:
    """Return the records of a run as evidence, with the proof that they are as they were written."""
    found = sealed.accesses(ctx, reader, query.run, query.since)
    faults = list(found.faults)
    events: dict[tuple[str, int], RecordedEvent] = {}
    for each in query.queries:
        asked = replace(each, since=query.since)
        for _ in range(query.pages):
            page = event_store.list_events(ctx.tx, asked)
            events |= {(each.writer, each.seq): each for each in page.events}
            asked = replace(asked, after=page.next)
            if not page.next:
                break
        else:
            faults.append("Too many events were recorded in the meantime to read them all.")
    links, wrong = sealed.event_links(ctx, events.values())
    held = tuple((each, links[key]) for key, each in events.items() if key in links)
    return SealedRecords(tuple(found.accesses), held, (*faults, *wrong))


def purgeable_before(ctx: Context, before: datetime) -> datetime:
    """Return the moment before which payloads may be purged: ``before``, or the start of the earliest hold if that is sooner."""
    # A hold does not choose records; from its moment on it keeps everybody's (see `Hold`).
    held = store.held_since(ctx.tx)
    return before if held is None else min(before, held)


def purge_payloads(ctx: Context, kind: str, before: datetime) -> int:
    """Purge payloads of a class older than ``before``; return how many. Call again until it returns 0.

    The class is the module an action begins with, or ``access``: the purge of accesses is only recorded here, and carried out by
    ``AccessReader.purge``. The chain keeps every digest, and payloads under a hold are kept. Raises Invalid.
    """
    # Refused and not clamped, since the caller believes in the moment that they gave.
    if before > ctx.now - PURGE_AFTER_MIN:
        fault = f"is less than {PURGE_AFTER_MIN.days} days ago"
        raise Invalid("purge_too_early", f"The moment {fault}.", fields={"before": "purge_too_early"})
    before = purgeable_before(ctx, before)
    removed = 0 if kind == Stream.ACCESS else store.purge_control(ctx.tx, kind, before)
    # Verification accepts a missing payload only before a recorded horizon, so the
    # purge is recorded in the same transaction. An event for each batch would fill the
    # record with purges; a horizon that is recorded already covers the next batches.
    done = store.purges(ctx.tx).get(kind) if removed or kind == Stream.ACCESS else before
    if done is None or done < before:
        record(ctx, Event(PURGE_ACTION, reason=f"{kind} before {before.isoformat()}"))
    return removed


def open_access_purge(ctx: Context, before: datetime) -> datetime:
    """Record a purge of accesses; return its horizon: ``AccessReader.purge`` may remove older payloads only."""
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
    """Create a hold: no payload from ``since`` on is purged while it is in force. ``about``: tenant, app and patient it concerns.

    Raises NotPermitted, NotFound (the tenant is not ``tenant_known``), Invalid, Unavailable (``HOLDS_BOUND`` is reached).
    """
    if not policy.may_hold(ctx.actor):
        raise refusal(ctx, Event("audit.hold.place"), _HOLD_STAFF_ONLY)
    # A hold on a mistyped tenant would be in force and found by nobody.
    if about.get("tenant") and not tenant_known:
        raise NotFound("tenant_not_found", "There is no such hospital. `hilum tenant list` lists them.")
    if not reason.strip() or len(reason) > HOLD_REASON_BOUND:
        fault = f"is empty or longer than {HOLD_REASON_BOUND} characters"
        raise Invalid("hold_invalid", f"The reason {fault}.", fields={"reason": "reason_malformed"})
    # It would keep nothing that is recorded until then, although somebody relies on it.
    if since is not None and since > ctx.now:
        raise Invalid(
            "hold_invalid",
            "Its first moment is in the future. Leave it out to keep everything.",
            fields={"since": "in_the_future"},
        )
    # Every purge reads the holds in force.
    if store.count_holds(ctx.tx) >= HOLDS_BOUND:
        raise Unavailable(
            "too_many_holds", f"There are already {HOLDS_BOUND} holds. Release those no longer needed."
        )
    placed = Hold(
        id=ctx.ids.new("hld"),
        since=since or EPOCH,
        reason=reason.strip(),
        placed_by=str(ctx.actor),
        placed_at=ctx.now,
        tenant=about.get("tenant", ""),
        app=about.get("app", ""),
        patient=about.get("patient", ""),
    )
    store.add_hold(ctx.tx, placed)
    concerned = {name: value for name, value in about.items() if value}
    facts = {"hold": placed.id, "since": placed.since.isoformat(), "about": concerned}
    event = Event("audit.hold.place", tenant=placed.tenant, app=placed.app, reason=placed.reason, facts=facts)
    record(ctx, event)
    return placed


def release_hold(ctx: Context, hold: str) -> Hold:
    """Release a hold. A second person must release it, not the one who placed it. Raises NotFound, NotPermitted, Conflict."""
    found = store.find_hold(ctx.tx, hold)
    if found is None:
        raise NotFound("hold_not_found", "There is no such hold. `hilum hold list` lists those in force.")
    if not policy.may_hold(ctx.actor):
        raise refusal(ctx, Event("audit.hold.release"), _HOLD_STAFF_ONLY)
    # Releasing lets evidence be purged, so nobody does it alone, even an administrator.
    if found.placed_by == str(ctx.actor):
        event = Event("audit.hold.release", reason="second_person_needed")
        raise refusal(ctx, event, "You placed this hold, so another person must release it.")
    # One statement decides between two releases at the same moment.
    if not store.save_released(ctx.tx, hold, str(ctx.actor), ctx.now):
        raise Conflict("hold_released", "This hold has already been released.")
    record(ctx, Event("audit.hold.release", tenant=found.tenant, app=found.app, facts={"hold": hold}))
    return replace(found, released_by=str(ctx.actor), released_at=ctx.now)


def holds_over(ctx: Context, tenant: str) -> list[str]:
    """Return the ids of the holds in force that may be about a tenant: those that name it, and those that name none."""
    return store.holds_over(ctx.tx, tenant)


def list_holds(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[Hold]:
    """List the holds in force. Raises NotPermitted."""
    # A refused look changes nothing and is not recorded; refused changes are, by `refusal`.
    if not policy.may_see_holds(ctx.actor):
        raise not_shown("holds", "staff who read the audit")
    return store.list_holds(ctx.tx, page)
