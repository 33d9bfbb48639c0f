"""API routes of drills."""

from datetime import datetime
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request

from hilum.foundation.kernel.ids import ClientId, TenantId
from hilum.foundation.web.api import (
    Id,
    Page,
    Paging,
    Shown,
    Strict,
    api_router,
    audience,
    page_of,
    run_read,
    run_write,
)
from hilum.foundation.web.kit import Kit
from hilum.operations.drills import service
from hilum.operations.drills.models import ENDPOINTS, Measured
from hilum.operations.switch_administration import service as switch_administration

OWNERS = audience("platform_admin", "security")


class DrillAsked(Strict):
    """``client``: a canary, a backend service that reads only what belongs to no patient and is installed at ``tenant`` alone."""

    client: Id
    tenant: Id


class MeasuredSeen(Strict):
    """``refused``: how often an endpoint refused; ``last_open_ms``: how many milliseconds after the stop it last answered."""

    endpoint: Literal["gateway", "token", "introspection"]
    refused: Annotated[int, Field(ge=0, le=1_000_000)]
    last_open_ms: Annotated[float, Field(ge=0, le=3_600_000, allow_inf_nan=False)]


class DrillEnded(Strict):
    """What was seen from outside."""

    measured: Annotated[tuple[MeasuredSeen, ...], Field(max_length=len(ENDPOINTS))]


class MeasuredShown(Shown):
    endpoint: str
    refused: int
    last_open_ms: float


class DrillShown(Shown):
    """``containment``: the verdict of the switch's containment report; ``slowest_ms``: when its slowest worker refused."""

    id: str
    client: str
    app: str
    tenant: str
    switch: str
    began_by: str
    began_at: datetime
    ended_at: datetime | None
    passed: bool
    measured: list[MeasuredShown]
    containment: str
    slowest_ms: float | None
    faults: list[str]


def api(kit: Kit, read_window: switch_administration.ReadWindow) -> APIRouter:
    """Build the API routes of drills."""
    router = api_router(kit, "drills")

    @router.post("/drills", status_code=201, response_model=DrillShown, openapi_extra=OWNERS)
    async def begin(request: Request, body: DrillAsked) -> object:
        """Stop a canary, to measure until every endpoint refuses it. The switch ends by itself after three minutes."""
        verb = partial(service.begin, client_id=ClientId(body.client), tenant=TenantId(body.tenant))
        return await run_write(kit, request, verb)

    @router.post("/drills/{drill}/end", response_model=DrillShown, openapi_extra=OWNERS)
    async def end(request: Request, drill: Id, body: DrillEnded) -> object:
        """Release the canary, and record what was seen from outside, with the verdict of the containment report."""
        running = await run_read(kit, request, partial(service.get_running, drill_id=drill))
        report = await run_read(
            kit,
            request,
            partial(switch_administration.report, switch_id=running.switch, read_window=read_window),
        )
        measured = tuple(Measured(each.endpoint, each.refused, each.last_open_ms) for each in body.measured)
        verb = partial(service.end, drill_id=drill, measured=measured, report=report)
        return await run_write(kit, request, verb)

    @router.get("/drills", response_model=Page[DrillShown], openapi_extra=audience("staff"))
    async def list_drills(request: Request, query: Annotated[Paging, Query()]) -> object:
        """List drills, newest first."""
        found = await run_read(kit, request, partial(service.list_drills, page=query.page))
        return page_of(found, DrillShown.model_validate, query)

    return router
