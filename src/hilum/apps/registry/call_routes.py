"""API of an app's calls, for the members of its vendor."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Annotated, Protocol, TypeVar

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request

from hilum.apps.registry import calls
from hilum.apps.registry.models import CALLS
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.ids import AppId
from hilum.foundation.kernel.pages import PAGE_BOUND
from hilum.foundation.web.api import MEMBER, Id, Page, Shown, Strict, Word, api_router, audience, caller
from hilum.foundation.web.kit import Kit, trace_of
from hilum.records.audit.models import Event

T = TypeVar("T")


class Recorded(Protocol):
    """Reads something of the audit and records who read what before it returns (``audit.recorded_reads``)."""

    async def __call__(
        self, asked: Event, verb: Callable[[Context], tuple[T, Event]], *, actor: Actor, trace: Trace
    ) -> T: ...


class CallsAsked(Strict):
    """``after``: ``next`` of the previous page."""

    after: Word = ""
    limit: Annotated[int, Field(ge=1, le=PAGE_BOUND)] = CALLS


class CallShown(Shown):
    """One call. ``reason`` is the one in the app's answer. ``path``, ``rule`` and ``detail`` are of a sandbox's hospital only.

    ``without``: if its scopes did not suffice, what the app says that it needs and the hospital knowingly left out.
    """

    at: datetime
    request_id: str
    tenant: str
    client: str
    version: str
    interaction: str
    resource_type: str
    status: int
    reason: str
    latency_us: int
    sandbox: bool
    path: str
    rule: str
    detail: str
    without: tuple[str, ...]


def api(kit: Kit, recorded: Recorded, accesses: calls.Accesses, left_out: calls.LeftOutAt) -> APIRouter:
    """Build the API of an app's calls."""
    router = api_router(kit, "registry")

    @router.get("/apps/{app}/calls", response_model=Page[CallShown], openapi_extra=audience(MEMBER))
    async def list_calls(request: Request, app: Id, query: Annotated[CallsAsked, Query()]) -> object:
        """List the calls of an app of your own vendor, newest first, without patients, people and paths. The read is recorded."""
        verb = partial(
            calls.read_calls,
            app_id=AppId(app),
            accesses=accesses,
            after=query.after,
            limit=query.limit,
            left_out=left_out,
        )
        asked = calls.reading_of_calls(app, query.after, query.limit)
        actor = await caller(kit, request)
        page = await recorded(asked, verb, actor=actor, trace=trace_of(request))
        return {"items": page.calls, "next": page.next}

    return router
