"""API routes of the regulated lane."""

from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request

from hilum.apps.registry.models import SCOPES_BOUND
from hilum.foundation.kernel.ids import VersionId
from hilum.foundation.web.api import (
    Id,
    Page,
    Prose,
    Shown,
    Sorted,
    Strict,
    Word,
    audience,
    one_of,
    page_of,
    run_read,
    run_write,
)
from hilum.foundation.web.kit import Kit
from hilum.policy.matrix.models import StepCondition
from hilum.review.submissions import service
from hilum.review.submissions.lane_models import LANE_SORTS, LaneRequest, LaneState

READERS = audience("staff", "member")
ASKERS = audience("platform_admin", "vendor_owner", "vendor_developer")


class AccessAsked(Strict):
    """``scopes``: of one patient's own record, read and searched."""

    version: Id
    scopes: Annotated[tuple[Word, ...], Field(max_length=SCOPES_BOUND)]


class VerifyAsked(Strict):
    """``authentic``: the requester is who they claim to be."""

    authentic: bool
    reason: Prose


class LaneListed(Shown):
    """``due_at``: the deadline of the present step; null once it is over."""

    id: str
    app: str
    vendor: str
    version: str
    scopes: tuple[str, ...]
    state: LaneState
    asked_at: datetime
    due_at: datetime | None
    decided_at: datetime | None
    reason: str
    enabled_at: datetime | None
    certification: str


class LaneShown(LaneListed):
    """``lacking``: the policy's conditions that it still waits for."""

    lacking: tuple[StepCondition, ...]


class AccessQuery(Sorted):
    sort: Annotated[str, one_of(LANE_SORTS)] = ""


def _listed(found: LaneRequest) -> LaneListed:
    return LaneListed.model_validate(found)


def add_lane_routes(router: APIRouter, kit: Kit) -> None:
    """Add the routes of the regulated lane."""

    @router.post("/regulated-access", status_code=201, openapi_extra=ASKERS)
    async def ask_access(request: Request, body: AccessAsked) -> LaneListed:
        """Request access that regulation protects: answered in fixed business days, whatever else is reviewed or paid."""
        verb = partial(service.ask_access, version_id=VersionId(body.version), scopes=body.scopes)
        return _listed(await run_write(kit, request, verb))

    @router.get("/regulated-access", response_model=Page[LaneListed], openapi_extra=READERS)
    async def list_requests(request: Request, query: Annotated[AccessQuery, Query()]) -> object:
        """List requests for protected access: a vendor's member their own, the staff all."""
        found = await run_read(kit, request, partial(service.list_access, page=query.page))
        return page_of(found, _listed, query, key=LANE_SORTS.cursor(query.sort))

    @router.get("/regulated-access/{access}", openapi_extra=READERS)
    async def get_request(request: Request, access: Id) -> LaneShown:
        """Show a request for protected access, with what its next step lacks."""
        found, lacking = await run_read(kit, request, partial(service.view_access, request_id=access))
        return LaneShown(**_listed(found).model_dump(), lacking=lacking)

    @router.post("/regulated-access/{access}/verify", openapi_extra=audience("reviewer"))
    async def verify(request: Request, access: Id, body: VerifyAsked) -> LaneListed:
        """Record whether the requester is who they claim to be. If nothing else is lacking, the app is enabled at once."""
        verb = partial(service.verify_access, request_id=access, reason=body.reason, authentic=body.authentic)
        return _listed(await run_write(kit, request, verb))
