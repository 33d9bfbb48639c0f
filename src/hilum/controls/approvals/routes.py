"""The API's routes of approvals."""

from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel
from starlette.requests import Request

from hilum.controls.approvals import service
from hilum.controls.approvals.service import Acts
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.web.api import Id, Page, Paging, api_router, audience, page_of, run_read, run_write
from hilum.foundation.web.approvals import ApprovalShown, with_secret
from hilum.foundation.web.kit import Kit

SECONDS = audience("platform_admin", "security", "administrator", "vendor_owner")


class ApprovalsQuery(Paging):
    tenant: Id | None = None


class LinkShown(BaseModel):
    """A one-time link, shown only here. Its owner opens ``url`` and sets the password. ``url`` is null if the link was mailed to them."""

    url: str | None
    expires_at: datetime
    mailed: bool


class ApprovalAgreed(ApprovalShown):
    """What was approved; ``target`` is the id that it created or changed. The last three are shown in this answer only.

    ``enrolment`` works with the setup code that the asker was shown; a link that was mailed works with ``setup_code``, which is for its
    owner, by another way than mail. ``secret_end`` is the second half of a client's secret, of which the asker has the first.
    """

    enrolment: LinkShown | None
    setup_code: str | None
    secret_end: str | None


def api(kit: Kit, acts: Acts) -> APIRouter:
    """Build the API routes of approvals. ``acts`` come from the modules above."""
    router = api_router(kit, "approvals")

    @router.get("/approvals", response_model=Page[ApprovalShown], openapi_extra=SECONDS)
    async def list_approvals(request: Request, query: Annotated[ApprovalsQuery, Query()]) -> object:
        """List what waits for a second person, oldest first."""
        tenant = None if query.tenant is None else TenantId(query.tenant)
        verb = partial(service.list_pending, tenant=tenant, page=query.page)
        found = await run_read(kit, request, verb)
        return page_of(found, ApprovalShown.of, query)

    @router.get("/approvals/{approval}", openapi_extra=SECONDS)
    async def get_approval(request: Request, approval: Id) -> ApprovalShown:
        """Show what one approval is about, and how it was decided."""
        return ApprovalShown.of(await run_read(kit, request, partial(service.view, approval_id=approval)))

    @router.post("/approvals/{approval}/approve", response_model=ApprovalAgreed, openapi_extra=SECONDS)
    async def approve(request: Request, approval: Id) -> Response:
        """Approve as the second person: the act is judged again, and carried out now exactly as it was asked."""
        await run_read(kit, request, partial(service.prepare, approval_id=approval, acts=acts))
        verb = partial(service.approve, approval_id=approval, acts=acts)
        agreed = await run_write(kit, request, verb)
        done = agreed.done
        link = None
        if done.link_expires_at is not None:
            url = kit.urls.enrol(agreed.approval.act.tenant or "", done.link) if done.link else None
            link = LinkShown(url=url, expires_at=done.link_expires_at, mailed=url is None)
        more = {
            "enrolment": link,
            "setup_code": done.setup_code or None,
            "secret_end": done.secret_end or None,
        }
        return with_secret(ApprovalAgreed.of(agreed.approval, **more), 200)

    @router.post("/approvals/{approval}/refuse", openapi_extra=SECONDS)
    async def refuse(request: Request, approval: Id) -> ApprovalShown:
        """Refuse what another asked for, or withdraw what you asked for."""
        return ApprovalShown.of(await run_write(kit, request, partial(service.refuse, approval_id=approval)))

    return router
