"""API routes of clocks and published figures, draws and appeals."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request

from hilum.foundation.web.api import Id, Page, audience, page_of, run_read, run_write
from hilum.foundation.web.kit import Kit, trace_of
from hilum.review.submissions import service
from hilum.review.submissions.clock_bodies import (
    AppealAsked,
    AppealDecision,
    AppealShown,
    AppealsQuery,
    ClocksShown,
    DrawShown,
    FiguresShown,
    appeal_shown,
    clock_shown,
    draw_shown,
    figures_shown,
)

READERS, STAFF, ANYBODY = audience("staff", "member"), audience("staff"), audience("anyone")
APPELLANTS = audience("platform_admin", "vendor_owner", "vendor_developer")


def add_clock_routes(router: APIRouter, kit: Kit) -> None:
    """Add the routes of clocks, figures and appeals."""

    @router.get("/submissions/{submission}/clocks", openapi_extra=READERS)
    async def get_clocks(request: Request, submission: Id) -> ClocksShown:
        """Show the clocks of a submission: what the platform has used, and what the vendor took to answer."""
        found = await run_read(kit, request, partial(service.view_clocks, submission_id=submission))
        now = kit.clock.now()
        return ClocksShown(clocks=tuple(clock_shown(each, now) for each in found))

    @router.get("/review/figures", openapi_extra=ANYBODY)
    async def get_figures(request: Request) -> FiguresShown:
        """Show how long reviews took, and how many appeals were right, within a year."""
        made_at, found = await kit.uow.read(service.view_figures, trace=trace_of(request))
        return figures_shown(made_at, found)

    @router.get("/submissions/{submission}/draw", openapi_extra=STAFF)
    async def get_draw(request: Request, submission: Id) -> DrawShown:
        """Show whether a submission with clean checks was drawn to be examined by a person."""
        found, same = await run_read(kit, request, partial(service.view_draw, submission_id=submission))
        return draw_shown(found, same=same)

    _appeals(router, kit)


def _appeals(router: APIRouter, kit: Kit) -> None:
    one = "/submissions/{submission}/appeal"

    @router.post(one, status_code=201, openapi_extra=APPELLANTS)
    async def appeal(request: Request, submission: Id, body: AppealAsked) -> AppealShown:
        """Appeal against a rejection, once, within 30 days."""
        verb = partial(service.appeal, submission_id=submission, text=body.text)
        return appeal_shown(await run_write(kit, request, verb))

    @router.get(one, openapi_extra=READERS)
    async def get_appeal(request: Request, submission: Id) -> AppealShown:
        """Show the appeal against a rejection."""
        return appeal_shown(
            await run_read(kit, request, partial(service.view_appeal, submission_id=submission))
        )

    @router.post(f"{one}/decide", openapi_extra=audience("reviewer"))
    async def decide_appeal(request: Request, submission: Id, body: AppealDecision) -> AppealShown:
        """Decide an appeal, as a reviewer who had no part in the rejection."""
        verb = partial(
            service.decide_appeal, submission_id=submission, reason=body.reason, overturn=body.overturn
        )
        return appeal_shown(await run_write(kit, request, verb))

    @router.get("/appeals", response_model=Page[AppealShown], openapi_extra=STAFF)
    async def list_appeals(request: Request, query: Annotated[AppealsQuery, Query()]) -> object:
        """List appeals against rejections."""
        verb = partial(service.list_appeals, page=query.page, state=query.state)
        found = await run_read(kit, request, verb)
        return page_of(found, appeal_shown, query, key=lambda each: each.submission)
