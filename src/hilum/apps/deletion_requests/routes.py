"""API routes of disposal requests."""

from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request

from hilum.apps.deletion_requests import service
from hilum.apps.deletion_requests.models import Answer, Cause, DisposalQuery, State
from hilum.foundation.kernel.ids import AppId, TenantId, VendorId
from hilum.foundation.web.api import (
    Id,
    Page,
    Paging,
    Prose,
    Shown,
    Strict,
    api_router,
    audience,
    page_of,
    run_read,
    run_write,
)
from hilum.foundation.web.kit import Kit

READERS = audience("staff", "administrator", "member")
VENDORS = audience("member")


class DisposalsQuery(Paging):
    vendor: Id | None = None
    tenant: Id | None = None
    app: Id | None = None
    state: State | None = None


class AnswerAsked(Strict):
    """``reason``: why something is kept; only for ``kept``."""

    answer: Answer
    reason: Prose = ""


class DisposalShown(Shown):
    """``tenant`` is empty for every hospital."""

    id: str
    state: State
    cause: Cause
    vendor: str
    app: str
    tenant: str
    authorization: str
    requested_at: datetime
    due_at: datetime
    reason: str
    answered_at: datetime | None
    answered_by: str


class DisposalAsked(DisposalShown):
    """``patient``: whose data is to be deleted, for who may answer; empty for everybody's."""

    patient: str


def api(kit: Kit) -> APIRouter:
    """Build the API routes of disposal requests."""
    router = api_router(kit, "disposals")

    @router.get("/disposals", response_model=Page[DisposalShown], openapi_extra=READERS)
    async def list_disposals(request: Request, query: Annotated[DisposalsQuery, Query()]) -> object:
        """List disposal requests, oldest first."""
        wanted = DisposalQuery(
            VendorId(query.vendor) if query.vendor else None,
            TenantId(query.tenant) if query.tenant else None,
            AppId(query.app) if query.app else None,
            query.state,
        )
        found = await run_read(kit, request, partial(service.list_requests, query=wanted, page=query.page))
        return page_of(found, DisposalShown.model_validate, query)

    @router.get("/disposals/{disposal}", response_model=DisposalAsked, openapi_extra=READERS)
    async def get_disposal(request: Request, disposal: Id) -> object:
        """Show a disposal request."""
        return await run_read(kit, request, partial(service.get_request, disposal_id=disposal))

    @router.post("/disposals/{disposal}/answer", response_model=DisposalShown, openapi_extra=VENDORS)
    async def answer_disposal(request: Request, disposal: Id, body: AnswerAsked) -> object:
        """Answer a disposal request, as an owner of the vendor: everything was deleted, or something is kept, with the reason."""
        verb = partial(service.answer, disposal_id=disposal, answer=body.answer, reason=body.reason)
        return await run_write(kit, request, verb)

    return router
