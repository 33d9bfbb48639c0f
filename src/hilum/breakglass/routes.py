"""API routes of emergency accesses and of a hospital's settings for them."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from hilum.breakglass import policy, service
from hilum.breakglass.models import (
    SORTS,
    NewUse,
    Settings,
    SettingsChange,
    Use,
    UseQuery,
    UseState,
    Verdict,
)
from hilum.kernel.ids import LaunchId, TenantId
from hilum.standards.fhir.labels import CATEGORIES
from hilum.web.api import (
    Id,
    Page,
    Prose,
    Shown,
    Sorted,
    Strict,
    Word,
    api_router,
    audience,
    one_of,
    page_of,
    run_read,
    run_write,
)
from hilum.web.approvals import WAITS, waits
from hilum.web.kit import Kit

CLINICIANS = audience("physician", "nurse")
REVIEWERS = audience("administrator")
CONCERNED = audience("physician", "nurse", "administrator")


class UseAsked(Strict):
    """``reason``: what the emergency is, in a sentence that the hospital's administrators read."""

    launch: Id
    reason: Prose


class ReviewAsked(Strict):
    verdict: Verdict
    note: Prose


class LaunchShown(Shown):
    """A launch of your own in which you could break the glass."""

    id: str
    client: str
    patient: str
    created_at: datetime


class UseShown(BaseModel):
    """An emergency access. ``patient`` is the launch's; ``review_by``: when the review by somebody else is due."""

    id: str
    tenant: str
    state: UseState
    person: str
    role: str
    app: str
    client: str
    launch: str
    patient: str
    reason: str
    categories: list[str]
    opened_at: datetime
    ends_at: datetime
    ended_at: datetime | None
    ended_by: str
    review_by: datetime
    reviewed_at: datetime | None
    reviewed_by: str
    verdict: str
    note: str

    @classmethod
    def of(cls, use: Use, now: datetime) -> "UseShown":
        shown = {name: getattr(use, name) for name in cls.model_fields if name != "state"}
        return cls(state=policy.state_of(use, now), **shown | {"categories": list(use.categories)})


class UsesQuery(Sorted):
    """``waiting``: only those without a review; ``findings``: only those whose review is overdue."""

    waiting: bool = False
    findings: bool = False
    sort: Annotated[str, one_of(SORTS)] = ""


class SettingsShown(Shown):
    """What a hospital allows. ``review_hours``: within how many hours of its beginning a use must be reviewed."""

    tenant: str
    enabled: bool
    categories: list[str]
    minutes: int
    per_day: int
    review_hours: int


class SettingsAsked(Strict):
    """The settings to change. A change that permits more, or a later review, waits for a second administrator."""

    enabled: bool | None = None
    categories: Annotated[tuple[Word, ...] | None, Field(max_length=len(CATEGORIES))] = None
    minutes: int | None = None
    per_day: int | None = None
    review_hours: int | None = None


def api(kit: Kit) -> APIRouter:
    """Build the API routes of emergency accesses."""
    router = api_router(kit, "break-glass")

    def shown(use: Use) -> UseShown:
        return UseShown.of(use, kit.clock.now())

    @router.get("/break-glass/launches", response_model=list[LaunchShown], openapi_extra=CLINICIANS)
    async def list_openable(request: Request) -> object:
        """List your open launches of the last 24 hours in which you could break the glass, at most 20, newest first."""
        return [
            LaunchShown.model_validate(each) for each in await run_read(kit, request, service.list_openable)
        ]

    @router.post("/break-glass", status_code=201, response_model=UseShown, openapi_extra=CLINICIANS)
    async def open_use(request: Request, body: UseAsked) -> object:
        """Open the restricted records of a launch's patient for a few minutes; your hospital's administrators are notified at once."""
        order = NewUse(LaunchId(body.launch), body.reason)
        return shown(await run_write(kit, request, partial(service.open_use, order=order)))

    @router.get("/break-glass", response_model=Page[UseShown], openapi_extra=CONCERNED)
    async def list_uses(request: Request, query: Annotated[UsesQuery, Query()]) -> object:
        """List emergency accesses: all of your hospital, or your own."""
        filters = UseQuery(waiting=query.waiting, findings=query.findings)
        verb = partial(service.list_uses, query=filters, page=query.page)
        return page_of(await run_read(kit, request, verb), shown, query, key=SORTS.cursor(query.sort))

    @router.get("/break-glass/{use}", response_model=UseShown, openapi_extra=CONCERNED)
    async def view_use(request: Request, use: Id) -> object:
        """Get one emergency access."""
        return shown(await run_read(kit, request, partial(service.view_use, use_id=use)))

    @router.post("/break-glass/{use}/end", response_model=UseShown, openapi_extra=CONCERNED)
    async def end_use(request: Request, use: Id) -> object:
        """End an emergency access before its time."""
        return shown(await run_write(kit, request, partial(service.end_use, use_id=use)))

    @router.post("/break-glass/{use}/review", response_model=UseShown, openapi_extra=REVIEWERS)
    async def review(request: Request, use: Id, body: ReviewAsked) -> object:
        """Review somebody else's emergency access: a verdict and a note."""
        verb = partial(service.review, use_id=use, verdict=body.verdict.value, note=body.note)
        return shown(await run_write(kit, request, verb))

    @router.get(
        "/tenants/{tenant}/break-glass",
        response_model=SettingsShown,
        openapi_extra=audience("staff", "physician", "nurse", "administrator"),
    )
    async def view_settings(request: Request, tenant: Id) -> object:
        """Get what a hospital allows."""
        verb = partial(service.view_settings, tenant=TenantId(tenant))
        return SettingsShown.model_validate(await run_read(kit, request, verb))

    @router.patch(
        "/tenants/{tenant}/break-glass",
        response_model=SettingsShown,
        responses=WAITS,
        openapi_extra=REVIEWERS,
    )
    async def change_settings(request: Request, tenant: Id, body: SettingsAsked) -> object:
        """Change what your hospital allows. A change that permits more, or a later review, waits for a second administrator."""
        change = SettingsChange(**body.model_dump())
        verb = partial(service.change_settings, tenant_id=TenantId(tenant), change=change)
        done: Any = await run_write(kit, request, verb)
        return SettingsShown.model_validate(done) if isinstance(done, Settings) else waits(done)

    return router
