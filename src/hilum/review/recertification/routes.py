"""API routes of findings and of the round."""

from datetime import date, datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request

from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.foundation.web.api import (
    Id,
    Page,
    Paging,
    Shown,
    Sorted,
    Strict,
    api_router,
    audience,
    one_of,
    page_of,
    run_read,
    run_write,
)
from hilum.foundation.web.kit import Kit
from hilum.review.recertification import service
from hilum.review.recertification.drifting import Use
from hilum.review.recertification.models import SORTS, Criterion, Escalation, Finding, Round, Severity, State

READERS = audience("staff", "member")


class FindingsQuery(Sorted):
    """``app``: only those about this app, by id. ``overdue``: only those past their deadline."""

    app: Id | None = None
    state: State | None = None
    overdue: bool = False
    sort: Annotated[str, one_of(SORTS)] = ""


class FindingShown(Shown):
    """``due_at``: the deadline to fix it; ``seen_at``: when it was last confirmed."""

    id: str
    app: str
    vendor: str
    certification: str
    rule: str
    about: str
    severity: Severity
    state: State
    evidence: str
    reproduction: str
    fix: str
    opened_at: datetime
    seen_at: datetime
    due_at: datetime | None
    closed_at: datetime | None


class EscalationShown(Shown):
    """``level``: how far the app has climbed. ``due``: the level that its findings require; beyond ``level`` it waits for a person."""

    app: str
    level: str
    due: str
    looked_at: datetime | None
    asked_at: datetime | None


class FiguresQuery(Strict):
    """Over how many days."""

    days: Annotated[int, Field(ge=1, le=366)] = 90


class ShareShown(Shown):
    """K17 in a tier: ``count`` of ``of`` published apps are current; ``rows``: the apps that are not, at most a hundred."""

    tier: str
    of: int
    count: int
    rows: list[str]


class ExceptionsShown(Shown):
    """K14: ``open`` exceptions and the number of certified apps; exceptions granted and ended within the days; ``rows``: open ones, the oldest first."""

    open: int
    active_apps: int
    granted: int
    over: int
    median_age_days: int | None
    rows: list[str]


class OverRequestShown(Shown):
    """K5 in a tier: how many ``submissions`` asked for a scope ``beyond`` their declared workflows, and how many ``granted`` units of scopes are ``unused`` for 90 days."""

    tier: str
    submissions: int
    beyond: int
    granted: int
    unused: int


class OverRequestsShown(Shown):
    """K5 by tier. ``rows``: submissions that asked for a scope beyond; ``apps``: those with the most unused units."""

    tiers: list[OverRequestShown]
    rows: list[str]
    apps: list[str]


class FiguresShown(Shown):
    """Figures about certified apps, with the rows behind them."""

    days: int
    at: datetime
    currency: list[ShareShown]
    exceptions: ExceptionsShown
    over_requests: OverRequestsShown


class CriterionShown(Shown):
    """The result of a criterion: ``hits`` of ``of`` calls count against the app; empty for hospitals.

    ``limit``: percent, or milliseconds of latency. ``exceeded``: empty if there are too few calls to say.
    """

    criterion: Criterion
    limit: int
    hits: int | None
    of: int | None
    percent: float | None
    exceeded: bool | None


class ServiceShown(Shown):
    """The policy's criteria for an app's service, and their results."""

    app: str
    criteria: list[CriterionShown]


class RoundShown(Shown):
    """The progress of the round. ``ended_at`` is empty while it runs."""

    day: date | None
    done: int
    total: int
    began_at: datetime | None
    ended_at: datetime | None


def api(kit: Kit, use: Use) -> APIRouter:
    """Build the API routes of revalidation."""
    router = api_router(kit, "findings")
    _judgements(router, kit)
    _service(router, kit, use)

    @router.get("/findings", response_model=Page[FindingShown], openapi_extra=READERS)
    async def list_findings(request: Request, query: Annotated[FindingsQuery, Query()]) -> object:
        """List findings about certified apps by id: a vendor's member their own, the staff all."""
        verb = partial(
            service.list_findings,
            page=query.page,
            app=query.app or "",
            state=query.state,
            overdue=query.overdue,
        )
        return page_of(
            await run_read(kit, request, verb),
            FindingShown.model_validate,
            query,
            key=SORTS.cursor(query.sort),
        )

    @router.get(
        "/tenants/{tenant}/findings",
        response_model=Page[FindingShown],
        openapi_extra=audience("staff", "administrator"),
    )
    async def list_seen_at(request: Request, tenant: Id, query: Annotated[Paging, Query()]) -> object:
        """List by id the open findings about uncertified calls that apps made at a hospital."""
        verb = partial(service.list_seen_at, tenant=TenantId(tenant), page=query.page)
        return page_of(await run_read(kit, request, verb), FindingShown.model_validate, query)

    @router.get("/findings/{finding}", openapi_extra=READERS)
    async def get_finding(request: Request, finding: Id) -> FindingShown:
        """Show a finding: its rule, evidence, reproduction and fix."""
        found: Finding = await run_read(kit, request, partial(service.view_finding, finding_id=finding))
        return FindingShown.model_validate(found)

    @router.get("/revalidation", openapi_extra=audience("staff"))
    async def get_progress(request: Request) -> RoundShown:
        """Show the progress of the round over all certified apps."""
        found: Round = await run_read(kit, request, service.progress)
        return RoundShown.model_validate(found)

    @router.get("/revalidation/apps", response_model=Page[EscalationShown], openapi_extra=audience("staff"))
    async def list_escalations(request: Request, query: Annotated[Paging, Query()]) -> object:
        """List apps that were escalated, or will once a person decides."""
        found = await run_read(kit, request, partial(service.list_escalations, page=query.page))
        return page_of(found, _escalation, query, key=lambda each: str(each.app))

    @router.get("/revalidation/apps/{app}", openapi_extra=READERS)
    async def get_escalation(request: Request, app: Id) -> EscalationShown:
        """Show how far an app has was escalated."""
        return _escalation(await run_read(kit, request, partial(service.view_escalation, app_id=AppId(app))))

    askers = audience("platform_admin", "reviewer", "vendor_owner", "vendor_developer")

    @router.post("/revalidation/apps/{app}", status_code=202, openapi_extra=askers)
    async def ask(request: Request, app: Id) -> EscalationShown:
        """Request a check of a certified app within a minute or two, for example after a fix."""
        return _escalation(await run_write(kit, request, partial(service.ask, app_id=AppId(app))))

    return router


def _judgements(router: APIRouter, kit: Kit) -> None:
    @router.get("/revalidation/figures", openapi_extra=audience("staff"))
    async def get_figures(request: Request, query: Annotated[FiguresQuery, Query()]) -> FiguresShown:
        """Show how many published apps are current, by tier (K17), how many exceptions are open (K14) and over-request (K5), with the rows behind them."""
        found = await run_read(kit, request, partial(service.view_figures, days=query.days))
        return FiguresShown.model_validate(found)


def _service(router: APIRouter, kit: Kit, use: Use) -> None:
    who = audience("staff", "member", "administrator")

    @router.get("/revalidation/apps/{app}/service", openapi_extra=who)
    async def get_service(request: Request, app: Id) -> ServiceShown:
        """Show whether a certified app meets the policy's criteria for its service, over four weeks. Hospitals see the results without numbers."""
        found = await run_read(kit, request, partial(service.view_service, app_id=AppId(app), use=use))
        return ServiceShown(app=app, criteria=[CriterionShown.model_validate(each) for each in found])


def _escalation(found: Escalation) -> EscalationShown:
    return EscalationShown(
        app=found.app,
        level=found.level.name.lower(),
        due=found.due.name.lower(),
        looked_at=found.looked_at,
        asked_at=found.asked_at,
    )
