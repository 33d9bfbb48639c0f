"""The API's view of the record: accesses, events, a live stream of decisions, and why a request was answered as it was."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hilum.audit import service
from hilum.audit.live import Journal
from hilum.audit.models import PAGE_BOUND, Access, AccessQuery, EventQuery, Explanation, RecordedEvent
from hilum.audit.policy import may_read
from hilum.audit.rows import AccessReader
from hilum.infra.context import Context
from hilum.kernel.errors import NotFound, NotPermitted
from hilum.web.api import Id, Strict, Word, audience, look
from hilum.web.kit import Kit

STREAM_BEAT_S = 10.0
READERS = ("platform_admin", "security", "auditor", "tenant_admin")


class RecordQuery(Strict):
    """Every member that is given must fit."""

    tenant: Word = ""
    app: Word = ""
    client: Word = ""
    person: Word = ""
    launch: Word = ""
    authorization: Word = ""
    limit: Annotated[int, Field(ge=1, le=PAGE_BOUND)] = PAGE_BOUND


class AccessesQuery(RecordQuery):
    patient: Word = ""
    before: datetime | None = None


class EventsQuery(RecordQuery):
    action: Word = ""
    before: Word = ""


def api(kit: Kit, journal: Journal, reader: Callable[[], AccessReader]) -> APIRouter:
    """Give the API routes of the record. ``reader`` opens what reads all journals of the installation."""
    router = APIRouter(prefix="/api/v1", tags=["audit"])

    def judged(ctx: Context, tenant: str) -> None:
        if not may_read(ctx.actor, tenant):
            raise NotPermitted("audit_not_yours", "Name a tenant whose record you may read.")

    @router.get("/accesses", openapi_extra=audience(*READERS))
    async def list_accesses(request: Request, query: Annotated[AccessesQuery, Query()]) -> Response:
        """List FHIR requests and their decisions, newest first."""

        def verb(ctx: Context) -> list[Access]:
            judged(ctx, query.tenant)
            return reader().newest(AccessQuery(**query.model_dump()))

        found = await look(kit, request, verb)
        return _json({"items": [asdict(access) for access in found]})

    @router.get("/audit/events", openapi_extra=audience(*READERS))
    async def list_audit_events(request: Request, query: Annotated[EventsQuery, Query()]) -> Response:
        """List events of the control plane, newest first; ``next`` is the ``before`` of the next page."""

        def verb(ctx: Context) -> Any:
            judged(ctx, query.tenant)
            return service.list_events(ctx, EventQuery(**query.model_dump()))

        page = await look(kit, request, verb)
        return _json({"items": [_event(each) for each in page.events], "next": page.next})

    @router.get("/explain/{request_id}", openapi_extra=audience(*READERS))
    async def explain(request: Request, request_id: Id) -> Response:
        """Say why a request was answered as it was."""

        def verb(ctx: Context) -> Explanation:
            found = service.explain(ctx, request_id, reader())
            tenants = {access.tenant for access in found.accesses} or {e.event.tenant for e in found.events}
            if not all(may_read(ctx.actor, tenant) for tenant in tenants):
                raise NotFound("request_unknown", "Nothing was recorded under this request id.")
            return found

        return _json(explained(await look(kit, request, verb)))

    @router.get("/events", openapi_extra=audience(*READERS))
    async def stream(request: Request, query: Annotated[RecordQuery, Query()]) -> Response:
        """Stream decisions as they become durable (server-sent events)."""
        await look(kit, request, partial(judged, tenant=query.tenant))
        wanted = {name: value for name, value in query.model_dump(exclude={"limit"}).items() if value}
        return StreamingResponse(
            _stream(journal, wanted), media_type="text/event-stream", headers={"cache-control": "no-store"}
        )

    return router


def explained(found: Explanation) -> dict[str, Any]:
    """Give an explanation as JSON-able values, for the API and the command line."""
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


async def _stream(journal: Journal, wanted: dict[str, str]) -> AsyncIterator[bytes]:
    def fits(access: Access) -> bool:
        return all(getattr(access, name) == value for name, value in wanted.items())

    with journal.subscribe(fits) as subscription:
        yield b": listening\n\n"
        while True:
            try:
                access = await asyncio.wait_for(subscription.next(), STREAM_BEAT_S)
            except TimeoutError:
                yield b": still here\n\n"
                continue
            yield b"event: decision\ndata: " + orjson.dumps(asdict(access)) + b"\n\n"


def _json(value: dict[str, Any]) -> Response:
    return Response(orjson.dumps(value), media_type="application/json", headers={"cache-control": "no-store"})
