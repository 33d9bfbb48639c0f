"""The API's view of the record: accesses, events, a live stream of decisions, and why a request was answered as it was."""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

import orjson
from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from hilum.audit import policy, service
from hilum.audit.follow import ResumePoint, Tail
from hilum.audit.journal_records import AccessReader
from hilum.audit.models import (
    AccessPage,
    AccessQuery,
    Event,
    EventPage,
    EventQuery,
    Explanation,
    RecordedEvent,
)
from hilum.audit.policy import may_read
from hilum.audit.reader_slots import READS, STREAMS, ReaderSlots
from hilum.audit.stream import Pace, Stream, Streamed, fits, read_resume_point
from hilum.infra import lanes
from hilum.infra.context import Context
from hilum.infra.lanes import Lane
from hilum.kernel.actor import Actor, ActorKind
from hilum.kernel.errors import HilumError, NotFound, NotPermitted
from hilum.kernel.pages import PAGE_BOUND
from hilum.web.api import Id, Moment, Strict, Word, api_router, audience, caller, run_read
from hilum.web.kit import Kit, trace_of

T = TypeVar("T")

READERS = ("platform_admin", "security", "auditor", "administrator")


class RecordQuery(Strict):
    """Filters, all of which must match."""

    tenant: Word = ""
    app: Word = ""
    client: Word = ""
    person: Word = ""
    launch: Word = ""
    authorization: Word = ""
    limit: Annotated[int, Field(ge=1, le=PAGE_BOUND)] = PAGE_BOUND


class PastQuery(RecordQuery):
    """``since`` is inclusive, ``before`` exclusive; ``after``: ``next`` of the previous page."""

    since: Moment | None = None
    before: Moment | None = None
    after: Word = ""


class AccessesQuery(PastQuery):
    """``outcome``: done, refused, not_done or unknown; ``reason``: why it was refused."""

    patient: Word = ""
    outcome: Literal["", "done", "refused", "not_done", "unknown"] = ""
    reason: Word = ""


class EventsQuery(PastQuery):
    action: Word = ""


def api(
    kit: Kit,
    reader: Callable[[], AccessReader],
    pace: Pace = Pace(),  # noqa: B008 - a frozen value
    at_stop: Callable[[Callable[[], None]], None] = lambda _: None,
    rule_book: service.RuleBook = service.no_rule_book,
) -> APIRouter:
    """Build the API routes of the audit. ``reader`` opens a reader of all journals of the installation.

    ``at_stop`` registers what ends the streams when the process stops, since they would never end by themselves.
    """
    router = api_router(kit, "audit")
    tail = Tail(reader, kit.clock, pace.poll_s)
    reads = ReaderSlots(READS)
    at_stop(lambda: tail.end("server_stops"))

    @router.get("/accesses", openapi_extra=audience(*READERS))
    async def list_accesses(request: Request, query: Annotated[AccessesQuery, Query()]) -> Response:
        """List FHIR requests and their decisions, newest first; ``next`` is the ``after`` of the next page. The read is recorded."""
        read_event = policy.reading(Event("audit.access.list"), _filters(query))

        def verb(ctx: Context) -> tuple[AccessPage, Event]:
            # Judged in the transaction that reads: a role that was taken away a moment ago counts.
            _judge(ctx, query.tenant)
            page = reader().page(AccessQuery(**query.model_dump()))
            return page, policy.reading(read_event, _filters(query), given=len(page.accesses))

        page = await _read_and_record(kit, request, reads, read_event, verb)
        return _json({"items": [asdict(access) for access in page.accesses], "next": page.next})

    @router.get("/audit/events", openapi_extra=audience(*READERS))
    async def list_audit_events(request: Request, query: Annotated[EventsQuery, Query()]) -> Response:
        """List events of the control plane, newest first; ``next`` is the ``after`` of the next page. The read is recorded."""
        read_event = policy.reading(Event("audit.event.list"), _filters(query))

        def verb(ctx: Context) -> tuple[EventPage, Event]:
            _judge(ctx, query.tenant)
            page = service.list_events(ctx, EventQuery(**query.model_dump()))
            return page, policy.reading(read_event, _filters(query), given=len(page.events))

        page = await _read_and_record(kit, request, reads, read_event, verb)
        return _json({"items": [_event(each) for each in page.events], "next": page.next})

    @router.get("/explain/{request_id}", openapi_extra=audience(*READERS))
    async def explain(request: Request, request_id: Id) -> Response:
        """Explain why a request was answered as it was. The read is recorded."""
        read_event = policy.reading(Event("audit.request.explain"), {"request_id": request_id})

        def verb(ctx: Context) -> tuple[Explanation, Event]:
            found = service.explain(ctx, request_id, reader(), rule_book)
            if not all(may_read(ctx.actor, tenant) for tenant in policy.tenants_of(found)):
                # The same answer as for an unknown id: nobody learns which ids other tenants have.
                raise NotFound("request_unknown", "Nothing was recorded under this request id.")
            return found, policy.explaining(read_event, request_id, found)

        return _json(explanation_json(await _read_and_record(kit, request, reads, read_event, verb)))

    _add_stream(router, kit, tail, pace, reads)
    return router


def _add_stream(router: APIRouter, kit: Kit, tail: Tail, pace: Pace, reads: ReaderSlots) -> None:
    streams = ReaderSlots(STREAMS)

    @router.get("/events", openapi_extra=audience(*READERS))
    async def stream(request: Request, query: Annotated[RecordQuery, Query()]) -> Response:
        """Stream every worker's decisions as they become durable (server-sent events), from now or from ``Last-Event-ID``.

        The stream ends when the reader loses the right to read. Opening it, and how many decisions were sent, is recorded.
        """
        filters = _filters(query)
        read_event = policy.reading(Event("audit.stream.open"), filters)
        asked = request.headers.get("last-event-id", "")

        def verb(ctx: Context) -> tuple[tuple[Actor, str, ResumePoint | None], Event]:
            _judge(ctx, query.tenant)
            bound_to = f"{ctx.actor} {sorted(filters.items())}"
            return (ctx.actor, bound_to, read_resume_point(asked, bound_to)), read_event

        actor, bound_to, left = await _read_and_record(kit, request, reads, read_event, verb)
        streams.acquire(actor)
        with ExitStack() as unless_it_starts:
            unless_it_starts.callback(streams.release, actor)
            follower = await tail.follow(fits(filters))
            unless_it_starts.pop_all()
        created = Stream(
            reader=actor,
            tail=tail,
            follower=follower,
            pace=pace,
            clock=kit.clock,
            ids=kit.ids,
            bound_to=bound_to,
            # Repeats the whole authentication, so that a revoked token, a stopped person and a changed role
            # all end the stream.
            check_reader=lambda: run_read(kit, request, partial(_judge, tenant=query.tenant)),
        )
        return Streamed(
            created.parts(left),
            stall_s=pace.stall_s,
            ended=partial(_end, kit, request, created, filters, streams),
        )


def _judge(ctx: Context, tenant: str) -> None:
    if not may_read(ctx.actor, tenant):
        raise NotPermitted("audit_not_yours", "Set `tenant` to one whose audit you may read.")


def _filters(query: RecordQuery) -> dict[str, str]:
    given = query.model_dump(exclude={"limit"}, exclude_defaults=True)
    return {name: str(value) for name, value in given.items()}


async def _read_and_record(
    kit: Kit,
    request: Request,
    reads: ReaderSlots,
    read_event: Event,
    verb: Callable[[Context], tuple[T, Event]],
) -> T:
    """Read, record who read what, and only then return the data (C155). ``read_event`` is the event recorded for a refusal.

    The event is written in a transaction of its own, because a long search inside a write transaction would block all writers. Raises
    TooManyReads, before anything is read, when the reader or the tenant has too many reads running.
    """
    trace = trace_of(request)
    actor = await caller(kit, request)

    async def record(event: Event) -> None:
        await kit.uow.write(partial(service.record, event=event), actor=actor, trace=trace)

    with reads.held(actor), lanes.using(_lane_of(actor)):
        try:
            result, event = await kit.uow.read(verb, actor=actor, trace=trace)
        # A refused read is evidence too. Other errors say nothing about the reader.
        except (NotFound, NotPermitted) as refusal:
            await record(policy.refused(read_event, refusal.code))
            raise
        await record(event)
    return result


def _lane_of(actor: Actor) -> Lane:
    return Lane.AUDIT if actor.kind is ActorKind.PERSON else Lane.STAFF_AUDIT


def explanation_json(found: Explanation) -> dict[str, Any]:
    """Return an explanation as JSON-serializable values, for the API and the command line."""
    return {
        "request_id": found.request_id,
        "sentences": list(found.sentences),
        "accesses": [asdict(access) for access in found.accesses],
        "events": [_event(each) for each in found.events],
    }


def _event(recorded: RecordedEvent) -> dict[str, Any]:
    return asdict(recorded.event) | {
        name: value for name, value in asdict(recorded).items() if name != "event"
    }


async def _end(
    kit: Kit, request: Request, stream: Stream, filters: dict[str, str], streams: ReaderSlots
) -> None:
    """Release a stream and record how many decisions it sent. Errors are dropped: the reader has gone, and the opening is recorded."""
    stream.tail.leave(stream.follower)
    streams.release(stream.reader)
    event = policy.reading(Event("audit.stream.close"), filters, given=stream.given)
    event = replace(event, facts=event.facts | {"dropped": stream.dropped, "why": stream.why})
    # RuntimeError: the process is stopping and its threads have ended.
    with suppress(HilumError, RuntimeError):
        await kit.uow.write(
            partial(service.record, event=event), actor=stream.reader, trace=trace_of(request)
        )


def _json(value: dict[str, Any]) -> Response:
    return Response(orjson.dumps(value), media_type="application/json", headers={"cache-control": "no-store"})
