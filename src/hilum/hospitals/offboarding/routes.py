"""API routes of offboardings."""

from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.requests import Request

from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.web.api import (
    Id,
    Page,
    Paging,
    Prose,
    Strict,
    api_router,
    audience,
    page_of,
    run_read,
    run_write,
)
from hilum.foundation.web.approvals import WAITS, waits
from hilum.foundation.web.kit import Kit
from hilum.hospitals.offboarding import service
from hilum.hospitals.offboarding.models import ERASE_AFTER_DEFAULT, Offboarding, State, Waits

OWNERS = audience("administrator", "platform_admin", "security")


class OffboardingAsked(Strict):
    """``erase_after_days``: from 7 to 365."""

    reason: Prose
    erase_after_days: int = ERASE_AFTER_DEFAULT


class OffboardingPreview(BaseModel):
    """What is open or in force at a hospital, and would end; each number up to 100,000."""

    tenant: str
    has: dict[str, int]


class OffboardingShown(BaseModel):
    """``switch``: its containment report says whether anything passed. ``manifest``: the digest of the export."""

    id: str
    tenant: str
    name: str
    reason: str
    asked_by: str
    agreed_by: str
    left_at: datetime
    erase_at: datetime
    switch: str
    preview: dict[str, Any]
    state: State
    waits_for: Waits
    apps_ended_at: datetime | None
    manifest: str
    exported_at: datetime | None
    erased_at: datetime | None

    @classmethod
    def of(cls, found: tuple[Offboarding, Waits]) -> Self:
        """Build it of an offboarding and what its erasure waits for."""
        offboarding, waits_for = found
        return cls.model_validate(asdict(offboarding) | {"waits_for": waits_for})


def api(kit: Kit) -> APIRouter:
    """Build the API routes of offboardings."""
    router = api_router(kit, "offboardings")

    @router.get("/tenants/{tenant}/offboarding", openapi_extra=OWNERS)
    async def preview(request: Request, tenant: Id) -> OffboardingPreview:
        """Count what a hospital would lose by leaving the platform."""
        has = await run_read(kit, request, partial(service.preview, tenant=TenantId(tenant)))
        return OffboardingPreview(tenant=tenant, has=has)

    @router.post(
        "/tenants/{tenant}/offboarding",
        status_code=202,
        responses=WAITS,
        response_model=None,
        openapi_extra=OWNERS,
    )
    async def ask(request: Request, tenant: Id, body: OffboardingAsked) -> object:
        """Ask a second person to let a hospital leave. Once they agree all of it ends at once, for good, and later it is erased."""
        verb = partial(
            service.ask, tenant_id=TenantId(tenant), reason=body.reason, days=body.erase_after_days
        )
        return waits(await run_write(kit, request, verb))

    @router.get("/offboardings", response_model=Page[OffboardingShown], openapi_extra=audience("staff"))
    async def list_offboardings(request: Request, query: Annotated[Paging, Query()]) -> object:
        """List the hospitals that left, newest first."""
        found = await run_read(kit, request, partial(service.list_offboardings, page=query.page))
        return page_of(found, OffboardingShown.of, query, key=lambda each: each[0].id)

    @router.get("/offboardings/{offboarding}", openapi_extra=audience("staff"))
    async def get_offboarding(request: Request, offboarding: Id) -> OffboardingShown:
        """Show an offboarding: what the hospital had, its export, and what its erasure waits for."""
        return OffboardingShown.of(
            await run_read(kit, request, partial(service.view, offboarding_id=offboarding))
        )

    return router
