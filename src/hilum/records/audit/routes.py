"""The API's view of the record: accesses, events, a live stream of decisions, and why a request was answered the way it was."""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from functools import partial
from typing import Annotated, Any, Literal, Protocol, TypeVar

import orjson
from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import HilumError
from hilum.foundation.kernel.pages import PAGE_BOUND
from hilum.foundation.web.api import Id, Moment, Strict, Word, api_router, audience, caller, run_read
from hilum.foundation.web.kit import Kit, trace_of
from hilum.records.audit import policy, service
from hilum.records.audit.follow import ResumePoint, Tail
from hilum.records.audit.journal_records import AccessReader
from hilum.records.audit.models import AccessQuery, Event, EventQuery, Explanation, RecordedEvent
from hilum.records.audit.reader_slots import READS, STREAMS, ReaderSlots
from hilum.records.audit.recorded_reads import RecordedReads
from hilum.records.audit.stream import Pace, Stream, Streamed, fits, read_resume_point

T = TypeVar("T")


class Read(Protocol):
    """Reads and records, as RecordedReads does, on behalf of a request's caller."""

    async def __call__(
        self, request: Request, asked: Event, verb: Callable[[Context], tuple[T, Event]], /
    ) -> T: ...


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
    background: service.ReadBackground = service.no_background,
) -> APIRouter:
    """Build the API routes of the audit. ``reader`` opens a reader of all journals of the installation.

    ``at_stop`` registers what ends the streams when the process stops, since they would never end by themselves.
    """
    router = api_router(kit, "audit")
    tail = Tail(reader, kit.clock, pace.poll_s)
    reads = RecordedReads(kit.uow, READS)
    at_stop(lambda: tail.end("server_stops"))

    async def read(request: Request, asked: Event, verb: Callable[[Context], tuple[T, Event]]) -> T:
        return await reads.run(asked, verb, actor=await caller(kit, request), trace=trace_of(request))

    @router.get("/accesses", openapi_extra=audience(*READERS))
    async def list_accesses(request: Request, query: Annotated[AccessesQuery, Query()]) -> Response:
        """List FHIR requests and their decisions, newest first; ``next`` is the ``after`` of the next page. The read is recorded."""
        asked = AccessQuery(**query.model_dump())
        verb = partial(service.read_accesses, query=asked, page=lambda wanted: reader().page(wanted))
        page = await read(request, service.reading_of(asked), verb)
        return _json({"items": [asdict(access) for access in page.accesses], "next": page.next})

    @router.get("/audit/events", openapi_extra=audience(*READERS))
    async def list_audit_events(request: Request, query: Annotated[EventsQuery, Query()]) -> Response:
        """List events of the control plane, newest first; ``next`` is the ``after`` of the next page. The read is recorded."""
        asked = EventQuery(**query.model_dump())
        page = await read(request, service.reading_of(asked), partial(service.read_events, query=asked))
        return _json({"items": [_event(each) for each in page.events], "next": page.next})

    @router.get("/explain/{request_id}", openapi_extra=audience(*READERS))
    async def explain(request: Request, request_id: Id) -> Response:
        """Explain why a request was answered as it was. The read is recorded."""

        def verb(ctx: Context) -> tuple[Explanation, Event]:
            return service.read_explanation(ctx, request_id, reader(), background)

        return _json(explanation_json(await read(request, service.reading_a_request(request_id), verb)))

    _add_stream(router, kit, tail, pace, read)
    return router


def _add_stream(router: APIRouter, kit: Kit, tail: Tail, pace: Pace, read: Read) -> None:
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
            service.require_reader(ctx, query.tenant)
            bound_to = f"{ctx.actor} {sorted(filters.items())}"
            return (ctx.actor, bound_to, read_resume_point(asked, bound_to)), read_event

        actor, bound_to, left = await read(request, read_event, verb)
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
            check_reader=lambda: run_read(kit, request, partial(service.require_reader, tenant=query.tenant)),
        )
        return Streamed(
            created.parts(left),
            stall_s=pace.stall_s,
            ended=partial(_end, kit, request, created, filters, streams),
        )


def _filters(query: RecordQuery) -> dict[str, str]:
    given = query.model_dump(exclude={"limit"}, exclude_defaults=True)
    return {name: str(value) for name, value in given.items()}


def explanation_json(found: Explanation) -> dict[str, Any]:
    """Return an explanation as JSON-serializable values, for the API and the command line."""
    return {
        "request_id": found.request_id,
        "why": [fact._asdict() for fact in found.why],
        "about": [fact._asdict() for fact in found.about],
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
    # Moments end in Z, as in every other answer of the API.
    written = orjson.dumps(value, option=orjson.OPT_UTC_Z)
    return Response(written, media_type="application/json", headers={"cache-control": "no-store"})
