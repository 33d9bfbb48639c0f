"""The API of evidence holds, which keep payloads from being purged."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.web.api import (
    Id,
    Moment,
    Page,
    Paging,
    Strict,
    Word,
    api_router,
    audience,
    page_of,
    run_read,
    run_write,
)
from hilum.foundation.web.kit import Kit
from hilum.records.audit import service
from hilum.records.audit.models import HOLD_REASON_BOUND, Hold

HasTenant = Callable[[Context, TenantId], bool]
KEEPERS = ("platform_admin", "security")
READERS = (*KEEPERS, "auditor")


class HoldOrder(Strict):
    """What to hold, and why. Without ``since`` all payloads are held."""

    reason: Annotated[str, Field(min_length=1, max_length=HOLD_REASON_BOUND)]
    since: Moment | None = None
    tenant: Annotated[Word, Field(max_length=32)] = ""
    app: Annotated[Word, Field(max_length=64)] = ""
    patient: Annotated[Word, Field(max_length=64)] = ""


class HoldShown(Strict):
    id: str
    tenant: str
    app: str
    patient: str
    since: datetime
    reason: str
    placed_by: str
    placed_at: datetime
    released_by: str
    released_at: datetime | None


def api(kit: Kit, has_tenant: HasTenant) -> APIRouter:
    """Build the API routes of evidence holds. ``has_tenant`` checks whether a tenant exists; it is the identity module's."""
    router = api_router(kit, "audit")

    @router.get("/holds", response_model=Page[HoldShown], openapi_extra=audience(*READERS))
    async def list_holds(request: Request, query: Annotated[Paging, Query()]) -> object:
        """List the holds in force, oldest first."""
        found = await run_read(kit, request, partial(service.list_holds, page=query.page))
        return page_of(found, _shown, query)

    @router.post("/holds", status_code=201, openapi_extra=audience(*KEEPERS))
    async def place_hold(request: Request, body: HoldOrder) -> HoldShown:
        """Place a hold: while it is in force, no payload recorded since its moment is purged."""
        about = {"tenant": body.tenant, "app": body.app, "patient": body.patient}

        # The check of the tenant and the hold are one transaction: the tenant cannot vanish in between.
        def place(ctx: Context) -> Hold:
            known = not body.tenant or has_tenant(ctx, TenantId(body.tenant))
            return service.place_hold(ctx, body.reason, since=body.since, about=about, tenant_known=known)

        return _shown(await run_write(kit, request, place))

    @router.post("/holds/{hold}/release", openapi_extra=audience(*KEEPERS))
    async def release_hold(request: Request, hold: Id) -> HoldShown:
        """Release a hold. The person who placed it cannot release it."""
        return _shown(await run_write(kit, request, partial(service.release_hold, hold=hold)))

    return router


def _shown(hold: Hold) -> HoldShown:
    return HoldShown(**asdict(hold))
