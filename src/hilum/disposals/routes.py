"""API routes of disposal requests."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel
from starlette.requests import Request

from hilum.disposals import policy, receivers, service
from hilum.disposals.models import SORTS, Answer, AnswerOrder, Cause, Disposal, DisposalQuery, State
from hilum.kernel.ids import AppId, TenantId, VendorId
from hilum.keys import service as keys
from hilum.keys.models import Purpose
from hilum.web.api import (
    Id,
    Page,
    Prose,
    Sorted,
    Strict,
    api_router,
    audience,
    one_of,
    page_of,
    run_read,
    run_write,
)
from hilum.web.approvals import WAITS, waits
from hilum.web.kit import Kit, trace_of

READERS = audience("staff", "administrator", "member")
VENDORS = audience("member")
OWNERS = audience("platform_admin", "vendor_owner")


class DisposalsQuery(Sorted):
    vendor: Id | None = None
    tenant: Id | None = None
    app: Id | None = None
    state: State | None = None
    sort: Annotated[str, one_of(SORTS)] = ""

    def asked(self) -> DisposalQuery:
        return DisposalQuery(
            VendorId(self.vendor) if self.vendor else None,
            TenantId(self.tenant) if self.tenant else None,
            AppId(self.app) if self.app else None,
            self.state,
        )


class AnswerAsked(Strict):
    """``legal_reason``: by which law something is kept; only for ``retained`` and ``partly``."""

    answer: Answer
    legal_reason: Prose = ""


class DisposalShown(BaseModel):
    """``tenant`` is empty for every hospital.

    ``overdue_at`` is set once no answer came in time, ``escalated_at`` once the hospital was notified; both stay after a late answer.

    The patient is in the signed text alone, which only the app receives.
    """

    id: str
    state: State
    cause: Cause
    vendor: str
    app: str
    tenant: str
    client: str
    authorization: str
    requested_at: datetime
    due_at: datetime
    announced_at: datetime | None
    overdue_at: datetime | None
    escalated_at: datetime | None
    legal_reason: str
    answered_at: datetime | None
    answered_by: str

    @classmethod
    def of(cls, disposal: Disposal, now: datetime) -> "DisposalShown":
        return cls(
            id=disposal.id,
            state=policy.state_of(disposal, now),
            cause=disposal.cause,
            vendor=disposal.vendor,
            app=disposal.app,
            tenant=disposal.tenant,
            client=disposal.client,
            authorization=disposal.authorization,
            requested_at=disposal.requested_at,
            due_at=disposal.due_at,
            announced_at=disposal.announced_at,
            overdue_at=disposal.overdue_at,
            escalated_at=disposal.escalated_at,
            legal_reason=disposal.legal_reason,
            answered_at=disposal.answered_at,
            answered_by=disposal.answered_by,
        )


def api(kit: Kit) -> APIRouter:
    """Build the API routes of disposal requests."""
    router = api_router(kit, "disposals")

    def shown(disposal: Disposal) -> DisposalShown:
        return DisposalShown.of(disposal, kit.clock.now())

    @router.get("/disposals/keys", openapi_extra=audience("anyone"))
    async def list_keys(request: Request) -> dict[str, Any]:
        """Show the keys that verify the signed text of every disposal request, as a JWK set. The key is made with the first request."""
        verb = partial(keys.public_jwks, purpose=Purpose.DISPOSAL, ring="")
        return dict(await kit.uow.read(verb, trace=trace_of(request)))

    @router.get("/disposals", response_model=Page[DisposalShown], openapi_extra=READERS)
    async def list_disposals(request: Request, query: Annotated[DisposalsQuery, Query()]) -> object:
        """List disposal requests, oldest first or in the order that is asked for; with ``state=overdue`` the findings."""
        verb = partial(service.list_requests, query=query.asked(), page=query.page)
        return page_of(await run_read(kit, request, verb), shown, query, key=SORTS.cursor(query.sort))

    @router.get("/disposals/{disposal}", response_model=DisposalShown, openapi_extra=READERS)
    async def get_disposal(request: Request, disposal: Id) -> object:
        """Show a disposal request."""
        return shown(await run_read(kit, request, partial(service.get_request, disposal_id=disposal)))

    @router.post("/disposals/{disposal}/answer", response_model=DisposalShown, openapi_extra=VENDORS)
    async def answer_disposal(request: Request, disposal: Id, body: AnswerAsked) -> object:
        """Answer a disposal request, as an owner of the vendor: disposed, retained or partly, with the legal reason for what is kept."""
        order = AnswerOrder(body.answer, body.legal_reason)
        return shown(
            await run_write(kit, request, partial(service.answer, disposal_id=disposal, order=order))
        )

    @router.post("/webhooks/{webhook}/disposals", status_code=202, responses=WAITS, openapi_extra=OWNERS)
    async def ask_receiver(request: Request, webhook: Id) -> Response:
        """Ask a second person to let a webhook receive requests for disposal, which name patients (202)."""
        return waits(await run_write(kit, request, partial(receivers.ask, webhook_id=webhook)))

    return router
