"""API routes of deletion requests."""

from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request

from hilum.apps.deletion_requests import service
from hilum.apps.deletion_requests.models import Answer, Cause, DeletionRequestQuery, State
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


class DeletionRequestsQuery(Paging):
    vendor: Id | None = None
    tenant: Id | None = None
    app: Id | None = None
    state: State | None = None


class AnswerAsked(Strict):
    """``reason``: why something is kept; only for ``kept``."""

    answer: Answer
    reason: Prose = ""


class DeletionRequestShown(Shown):
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


class DeletionRequestAsked(DeletionRequestShown):
    """``patient``: whose data is to be deleted, for who may answer; empty for everybody's."""

    patient: str


def api(kit: Kit) -> APIRouter:
    """Build the API routes of deletion requests."""
    router = api_router(kit, "deletion_requests")

    @router.get("/deletion-requests", response_model=Page[DeletionRequestShown], openapi_extra=READERS)
    async def list_deletion_requests(
        request: Request, query: Annotated[DeletionRequestsQuery, Query()]
    ) -> object:
        """List deletion requests, oldest first."""
        wanted = DeletionRequestQuery(
            VendorId(query.vendor) if query.vendor else None,
            TenantId(query.tenant) if query.tenant else None,
            AppId(query.app) if query.app else None,
            query.state,
        )
        found = await run_read(kit, request, partial(service.list_requests, query=wanted, page=query.page))
        return page_of(found, DeletionRequestShown.model_validate, query)

    @router.get(
        "/deletion-requests/{deletion_request}", response_model=DeletionRequestAsked, openapi_extra=READERS
    )
    async def get_deletion_request(request: Request, deletion_request: Id) -> object:
        """Show a deletion request."""
        return await run_read(
            kit, request, partial(service.get_request, deletion_request_id=deletion_request)
        )

    @router.post(
        "/deletion-requests/{deletion_request}/answer",
        response_model=DeletionRequestShown,
        openapi_extra=VENDORS,
    )
    async def answer_deletion_request(request: Request, deletion_request: Id, body: AnswerAsked) -> object:
        """Answer a deletion request, as an owner of the vendor: everything was deleted, or something is kept, with the reason."""
        verb = partial(
            service.answer, deletion_request_id=deletion_request, answer=body.answer, reason=body.reason
        )
        return await run_write(kit, request, verb)

    return router
