"""The public figure of defects."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request

from hilum.foundation.web.api import ANYONE, api_router, audience
from hilum.foundation.web.kit import Kit, trace_of
from hilum.review.defects.live import PublicFigures


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
    """Build the API route of the figure."""
    router, figures = api_router(kit, "defects"), PublicFigures(kit.uow)

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

    return router
