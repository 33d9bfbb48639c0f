"""API routes of defects."""

from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from hilum.foundation.kernel.ids import AppId, VersionId
from hilum.foundation.web.api import (
    ANYONE,
    Id,
    Moment,
    Page,
    Paging,
    Prose,
    Shown,
    Strict,
    Word,
    api_router,
    audience,
    page_of,
    run_read,
    run_write,
)
from hilum.foundation.web.kit import Kit, trace_of
from hilum.review.defects import service
from hilum.review.defects.live import PublicFigures
from hilum.review.defects.models import TEXT_BOUND, NewDefect, Seen, Severity, Tag

READERS = audience("staff", "member")
REPORTERS = audience("platform_admin", "security", "reviewer", "vendor_owner", "vendor_developer")
JUDGES = audience("platform_admin", "security", "reviewer")
Text = Annotated[Prose, Field(max_length=TEXT_BOUND)]


class DefectAsked(Strict):
    """``seen_in``: where it was first seen. ``production`` needs a version certified for it, and a time after that."""

    version: Id
    seen_in: Seen
    severity: Severity
    summary: Text
    first_seen_at: Moment


class TagAsked(Strict):
    """``scenario``: the one of the policy, or a new one, in which the sandbox shows the defect. ``gap``: what the sandbox lacks if it cannot."""

    reproducible: bool
    scenario: Word = ""
    gap: Text = ""


class CloseAsked(Strict):
    outcome: Text


class DefectsQuery(Paging):
    app: Id | None = None


class DefectShown(Shown):
    """``reproducible`` is null until it is tagged. ``proposed``: the policy had no such scenario when it was tagged."""

    id: str
    app: str
    vendor: str
    version: str
    label: str
    seen_in: Seen
    severity: Severity
    summary: str
    first_seen_at: datetime
    went_live_at: datetime | None
    reported_by: str
    reported_at: datetime
    reproducible: bool | None
    scenario: str
    proposed: bool
    gap: str
    tagged_by: str
    tagged_at: datetime | None
    closed_by: str
    closed_at: datetime | None
    outcome: str


class LeakageShown(BaseModel):
    """K2: of ``all`` defects of versions that went live, those that ``escaped`` (first seen in production within 90 days of go-live).

    Of these, how many are ``tagged``, and ``reproducible``.

    Computed once an hour.
    """

    made_at: datetime
    escaped: int
    all: int
    share: float | None
    tagged: int
    reproducible: int
    reproducible_share: float | None


def api(kit: Kit) -> APIRouter:
    """Build the API routes of defects."""
    router, figures = api_router(kit, "defects"), PublicFigures(kit.uow)

    @router.post("/defects", status_code=201, openapi_extra=REPORTERS)
    async def report_defect(request: Request, body: DefectAsked) -> DefectShown:
        """Record a defect of a version, with where it was first seen."""
        order = NewDefect(
            VersionId(body.version), body.seen_in, body.severity, body.summary, body.first_seen_at
        )
        return DefectShown.model_validate(await run_write(kit, request, partial(service.report, order=order)))

    @router.get("/defects", response_model=Page[DefectShown], openapi_extra=READERS)
    async def list_defects(request: Request, query: Annotated[DefectsQuery, Query()]) -> object:
        """List defects, newest first; a vendor's members get those of their apps."""
        app = None if query.app is None else AppId(query.app)
        found = await run_read(kit, request, partial(service.list_defects, page=query.page, app=app))
        return page_of(found, DefectShown.model_validate, query)

    @router.get("/defect-figures", openapi_extra=audience(ANYONE))
    async def show_defect_figures(request: Request) -> LeakageShown:
        """Show how many defects escaped to production, and how many of those the sandbox could have shown (K2)."""
        made_at, found = await figures.read(trace_of(request))
        return LeakageShown(
            made_at=made_at,
            escaped=found.escaped,
            all=found.all,
            share=found.share,
            tagged=found.tagged,
            reproducible=found.reproducible,
            reproducible_share=found.reproducible_share,
        )

    @router.get("/defects/{defect}", openapi_extra=READERS)
    async def show_defect(request: Request, defect: Id) -> DefectShown:
        """Show one defect."""
        return DefectShown.model_validate(
            await run_read(kit, request, partial(service.view, defect_id=defect))
        )

    @router.put("/defects/{defect}/tag", openapi_extra=JUDGES)
    async def tag_defect(request: Request, defect: Id, body: TagAsked) -> DefectShown:
        """State whether the sandbox could have shown it, and by what, or what it lacks."""
        order = Tag(body.reproducible, body.scenario, body.gap)
        verb = partial(service.tag, defect_id=defect, order=order)
        return DefectShown.model_validate(await run_write(kit, request, verb))

    @router.post("/defects/{defect}/close", openapi_extra=JUDGES)
    async def close_defect(request: Request, defect: Id, body: CloseAsked) -> DefectShown:
        """Close a defect, with what was done. One first seen in production must be tagged before."""
        verb = partial(service.close, defect_id=defect, outcome=body.outcome)
        return DefectShown.model_validate(await run_write(kit, request, verb))

    return router
