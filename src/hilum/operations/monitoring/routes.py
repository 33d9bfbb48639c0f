"""The API route of an app's service, which no action declares: the counts of calls are read by the audit."""

from datetime import date
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request

from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.foundation.web.api import Id, Shown, Strict, api_router, audience, run_read
from hilum.foundation.web.kit import Kit
from hilum.operations.monitoring import service
from hilum.operations.monitoring.models import DAYS_BOUND, ServiceView
from hilum.operations.monitoring.policy import figures
from hilum.operations.monitoring.service import READERS, ReadServed
from hilum.records.audit.models import Served


class ServiceQuery(Strict):
    """``days`` includes today. An administrator's ``tenant`` is their own."""

    days: Annotated[int, Field(ge=1, le=DAYS_BOUND)] = 7
    tenant: Id | None = None


class ServedShown(Shown):
    """How calls ended. ``refused``: not permitted, or no such record. ``mistaken``: malformed, too large or too costly. ``throttled``: the quota was used up.

    ``failed``: the hospital's server or the platform did not answer. ``within_ms``: what 95 of 100 answers took at most; empty without
    answers, or if it was more than ten seconds.
    """

    calls: int
    answered: int
    refused: int
    mistaken: int
    throttled: int
    failed: int
    within_ms: int | None


class DayShown(ServedShown):
    """The calls of a day (UTC)."""

    day: date


class HospitalShown(ServedShown):
    """The calls at a hospital."""

    tenant: str


class ServiceShown(Shown):
    """The service of an app. ``by_tenant``: the busiest hundred hospitals."""

    app: str
    days: int
    tenant: str
    total: ServedShown
    by_day: list[DayShown]
    by_tenant: list[HospitalShown]


def api(kit: Kit, served: ReadServed) -> APIRouter:
    """Build the API routes of monitoring."""
    router = api_router(kit, "monitoring")

    @router.get("/apps/{app}/service", openapi_extra=audience(*READERS))
    async def get_service(request: Request, app: Id, query: Annotated[ServiceQuery, Query()]) -> ServiceShown:
        """Show how an app's calls ended, by day and hospital: answered and how fast, refused, mistaken, throttled or failed."""
        tenant = None if query.tenant is None else TenantId(query.tenant)
        verb = partial(service.view_service, app_id=AppId(app), days=query.days, tenant=tenant, served=served)
        found: ServiceView = await run_read(kit, request, verb)
        return ServiceShown(
            app=found.app,
            days=found.days,
            tenant=found.tenant,
            total=ServedShown(**_numbers(found.total)),
            by_day=[DayShown(day=day, **_numbers(each)) for day, each in found.by_day.items()],
            by_tenant=[HospitalShown(tenant=at, **_numbers(each)) for at, each in found.by_tenant.items()],
        )

    return router


def _numbers(found: Served) -> dict[str, Any]:
    return figures(found) | {"within_ms": found.within_ms()}
