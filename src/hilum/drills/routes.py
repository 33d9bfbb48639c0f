"""API routes of drills."""

from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from hilum.drills import service
from hilum.drills.models import DOORS, TRIES_BOUND, Door, Drill, DrillState, Figures
from hilum.kernel.ids import ClientId, TenantId
from hilum.switchboard import service as switchboard
from hilum.web.api import (
    Id,
    Line,
    Page,
    Paging,
    Strict,
    api_router,
    audience,
    page_of,
    run_read,
    run_write,
)
from hilum.web.kit import Kit

OWNERS = audience("platform_admin", "security")
Times = Annotated[int, Field(ge=0, le=TRIES_BOUND)]


class DrillAsked(Strict):
    """``client``: a canary, a backend service that reads only what belongs to no patient and is installed at ``tenant`` alone."""

    client: Id
    tenant: Id


class DoorSeen(Strict):
    """``closed``: how often an endpoint refused; ``last_open_ms``: how many milliseconds after the stop it last answered."""

    name: Line
    closed: Times
    last_open_ms: Annotated[float, Field(ge=0, le=3_600_000, allow_inf_nan=False)]
    unclear: Times = 0


class FiguresSeen(Strict):
    """What was seen from outside. ``revived``: a token from before worked after the release; ``works_again``: a new token worked."""

    doors: Annotated[tuple[DoorSeen, ...], Field(max_length=len(DOORS))]
    revived: bool
    works_again: bool


class DrillShown(BaseModel):
    """``record`` as it was signed by the key ``kid``, the audit's; empty until the drill has ended."""

    id: str
    client: str
    app: str
    tenant: str
    began_by: str
    began_at: datetime
    state: DrillState
    switch: str
    containment: dict[str, Any]
    record: dict[str, Any]
    kid: str
    signature: str
    ended_at: datetime | None

    @classmethod
    def of(cls, drill: Drill) -> Self:
        """Build it of a drill."""
        return cls.model_validate(asdict(drill))


def api(kit: Kit, read_window: switchboard.ReadWindow) -> APIRouter:
    """Build the API routes of drills."""
    router = api_router(kit, "drills")

    @router.post("/drills", status_code=201, openapi_extra=OWNERS)
    async def begin(request: Request, body: DrillAsked) -> DrillShown:
        """Begin a drill on a canary. Switches that a dead drill left engaged are released."""
        verb = partial(service.begin, client_id=ClientId(body.client), tenant=TenantId(body.tenant))
        return DrillShown.of(await run_write(kit, request, verb))

    @router.post("/drills/{drill}/engage", openapi_extra=OWNERS)
    async def engage(request: Request, drill: Id) -> DrillShown:
        """Stop the canary of a drill. The switch ends by itself after three minutes."""
        return DrillShown.of(await run_write(kit, request, partial(service.engage, drill_id=drill)))

    @router.post("/drills/{drill}/release", openapi_extra=OWNERS)
    async def release(request: Request, drill: Id) -> DrillShown:
        """Release the canary of a drill, after its containment report was stored."""
        found = await run_read(kit, request, partial(service.view, drill_id=drill))
        verb = partial(switchboard.report, switch_id=found.switch, read_window=read_window)
        report = await run_read(kit, request, verb)
        signed = await run_write(kit, request, partial(switchboard.sign_report, found=report))
        released = await run_write(kit, request, partial(service.release, drill_id=drill, report=signed))
        return DrillShown.of(released)

    @router.post("/drills/{drill}/finish", openapi_extra=OWNERS)
    async def finish(request: Request, drill: Id, body: FiguresSeen) -> DrillShown:
        """End a drill with what was seen from outside: passed or failed, recorded and signed."""
        doors = tuple(Door(each.name, each.closed, each.last_open_ms, each.unclear) for each in body.doors)
        figures = Figures(doors, body.revived, body.works_again)
        return DrillShown.of(
            await run_write(kit, request, partial(service.finish, drill_id=drill, figures=figures))
        )

    @router.get("/drills", response_model=Page[DrillShown], openapi_extra=audience("staff"))
    async def list_drills(request: Request, query: Annotated[Paging, Query()]) -> object:
        """List drills, newest first."""
        found = await run_read(kit, request, partial(service.list_drills, page=query.page))
        return page_of(found, DrillShown.of, query, key=lambda drill: drill.id)

    @router.get("/drills/{drill}", openapi_extra=audience("staff"))
    async def get_drill(request: Request, drill: Id) -> DrillShown:
        """Show a drill with its signed record."""
        return DrillShown.of(await run_read(kit, request, partial(service.view, drill_id=drill)))

    return router
