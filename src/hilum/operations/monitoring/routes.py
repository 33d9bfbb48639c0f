"""API routes of monitoring."""

from datetime import date, datetime
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request

from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.foundation.web.api import Id, Page, Paging, Shown, Strict, api_router, audience, page_of, run_read
from hilum.foundation.web.kit import Kit
from hilum.operations.monitoring import service
from hilum.operations.monitoring.models import DAYS_BOUND, Alert, AlertKind, CloseReason, Run, ServiceView
from hilum.operations.monitoring.policy import figures
from hilum.operations.monitoring.service import ReadServed
from hilum.records.audit.models import Served

READERS = audience("staff", "administrator", "member")


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


class AlertState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"


class AlertsQuery(Paging):
    """``tenant`` and ``app``: only those at this hospital, or about this app, by id."""

    tenant: Id | None = None
    app: Id | None = None
    state: AlertState | None = None


class AlertShown(Shown):
    """Calls of an app at a hospital exceed a limit.

    ``figures``: the calls of the last hour in which they did; their ``within_ms`` is what 95 of 100 answers took at most, 0 if longer
    than ten seconds.

    ``limit``: percent, or milliseconds of a slow one. ``why``: why it is over.
    """

    id: str
    app: str
    tenant: str
    vendor: str
    kind: AlertKind
    limit: int
    figures: dict[str, int]
    opened_at: datetime
    seen_at: datetime
    closed_at: datetime | None
    why: CloseReason | None


class RunShown(Shown):
    """The last run over all apps. ``skipped``: how many pairs of app and hospital could not be judged, by reason."""

    at: datetime | None
    judged: int
    skipped: dict[str, int]
    open: int


def api(kit: Kit, served: ReadServed) -> APIRouter:
    """Build the API routes of monitoring."""
    router = api_router(kit, "monitoring")

    @router.get("/apps/{app}/service", openapi_extra=READERS)
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

    _alerts(router, kit)
    return router


def _alerts(router: APIRouter, kit: Kit) -> None:
    @router.get("/alerts", response_model=Page[AlertShown], openapi_extra=READERS)
    async def list_alerts(request: Request, query: Annotated[AlertsQuery, Query()]) -> object:
        """List alerts by id: a vendor's member gets those about its apps, an administrator those at their hospital, staff all."""
        verb = partial(
            service.list_alerts,
            page=query.page,
            tenant=query.tenant or "",
            app=query.app or "",
            is_open=None if query.state is None else query.state is AlertState.OPEN,
        )
        return page_of(await run_read(kit, request, verb), AlertShown.model_validate, query)

    @router.get("/alerts/{alert}", openapi_extra=READERS)
    async def get_alert(request: Request, alert: Id) -> AlertShown:
        """Show an alert: the limit, the calls that exceed it, and since when."""
        found: Alert = await run_read(kit, request, partial(service.view_alert, alert_id=alert))
        return AlertShown.model_validate(found)

    @router.get("/monitoring", openapi_extra=audience("staff"))
    async def get_run(request: Request) -> RunShown:
        """Show when all apps were last judged, and how many could not be, by reason."""
        found: Run = await run_read(kit, request, service.last_run)
        return RunShown.model_validate(found)


def _numbers(found: Served) -> dict[str, Any]:
    return figures(found) | {"within_ms": found.within_ms()}
