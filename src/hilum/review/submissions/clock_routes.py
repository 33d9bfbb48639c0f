"""API routes of clocks, published figures and appeals."""

from functools import partial

from fastapi import APIRouter
from starlette.requests import Request

from hilum.foundation.web.api import Id, audience, run_read, run_write
from hilum.foundation.web.kit import Kit, trace_of
from hilum.review.submissions import service
from hilum.review.submissions.bodies import SubmissionShown, shown
from hilum.review.submissions.clock_bodies import (
    AppealAsked,
    ClocksShown,
    FiguresShown,
    clock_shown,
    figures_shown,
)

READERS, ANYBODY = audience("staff", "member"), audience("anyone")
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

    @router.post("/submissions/{submission}/appeal", response_model=SubmissionShown, openapi_extra=APPELLANTS)
    async def appeal(request: Request, submission: Id, body: AppealAsked) -> object:
        """Appeal against a rejection, once, within 30 days: reviewers who had no part in it judge again what failed."""
        verb = partial(service.appeal, submission_id=submission, text=body.text)
        return shown(await run_write(kit, request, verb))
