"""API routes that no action declares: opening an emergency access, and a hospital's settings.

Opening is recorded about a launch, and the list of launches reads who their patients are. A change of the settings may wait for a second
administrator.
"""

from datetime import datetime
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request

from hilum.authorization.authorize import service as authorize
from hilum.authorization.authorize.service import PatientChoice, PatientDirectory, SignedIn
from hilum.authorization.breakglass import service
from hilum.authorization.breakglass.models import (
    NewUse,
    Settings,
    SettingsChange,
)
from hilum.authorization.launches.models import Launch
from hilum.foundation.actions.policy import shown
from hilum.foundation.actions.service import declared, response_model
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import LaunchId, PersonId, TenantId
from hilum.foundation.standards.fhir.labels import CATEGORIES
from hilum.foundation.web.api import (
    Id,
    Prose,
    Shown,
    Strict,
    Word,
    api_router,
    audience,
    run_read,
    run_write,
)
from hilum.foundation.web.approvals import WAITS, waits
from hilum.foundation.web.kit import Kit, trace_of
from hilum.identity.people import service as identity

CLINICIANS = audience("physician", "nurse")
REVIEWERS = audience("administrator")
USE_SHOWN = response_model(declared(service.view_use))


class UseAsked(Strict):
    """``reason``: what the emergency is, in a sentence that the hospital's administrators read."""

    launch: Id
    reason: Prose


class LaunchShown(Shown):
    """A launch of your own in which you could break the glass. What cannot be read of its patient now is empty."""

    id: str
    client: str
    app: str
    patient: str
    patient_name: str
    birth_date: str
    record_number: str
    created_at: datetime


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


def api(kit: Kit, directory: PatientDirectory) -> APIRouter:
    """Build the API routes of emergency accesses. ``directory`` reads who the patients of launches are."""
    router = api_router(kit, "break-glass")

    @router.get("/break-glass/launches", response_model=list[LaunchShown], openapi_extra=CLINICIANS)
    async def list_openable(request: Request) -> object:
        """List your open launches of the last 24 hours in which you could break the glass, at most 20, newest first."""
        reader, launches, names = await run_read(kit, request, _openable)
        ids, now = {each.patient for each in launches}, kit.clock.now()
        patients = await authorize.read_patients(directory, reader, ids, now, trace_of(request))
        return [_launch(each, names[each.client], patients.get(each.patient)) for each in launches]

    @router.post("/break-glass", status_code=201, response_model=USE_SHOWN, openapi_extra=CLINICIANS)
    async def open_use(request: Request, body: UseAsked) -> object:
        """Open the restricted records of a launch's patient for a few minutes; your hospital's administrators are notified at once."""
        order = NewUse(LaunchId(body.launch), body.reason)
        use = await run_write(kit, request, partial(service.open_use, order=order))
        return shown(service.BREAK_GLASS_USE, use, kit.clock.now())

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


def _openable(ctx: Context) -> tuple[SignedIn, list[Launch], dict[str, str]]:
    launches = service.list_openable(ctx)
    person = identity.get_person(ctx, PersonId(ctx.actor.id))
    assert person.tenant is not None, "a clinician is of a hospital"
    hospital = identity.get_tenant(ctx, person.tenant)
    return SignedIn(hospital, person), launches, service.app_names(ctx, launches)


def _launch(launch: Launch, app: str, found: PatientChoice | None) -> LaunchShown:
    patient = found or PatientChoice(launch.patient, "")
    return LaunchShown(
        id=launch.id,
        client=launch.client,
        app=app,
        patient=launch.patient,
        patient_name=patient.name,
        birth_date=patient.birth_date,
        record_number=patient.number,
        created_at=launch.created_at,
    )
