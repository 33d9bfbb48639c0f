"""API routes of snapshots."""

from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request

from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.web.api import (
    Id,
    Line,
    Page,
    Paging,
    Shown,
    Strict,
    api_router,
    audience,
    caller,
    page_of,
    run_read,
    run_write,
)
from hilum.foundation.web.kit import Kit, trace_of
from hilum.hospitals.vendor_hospitals import service
from hilum.hospitals.vendor_hospitals.live import Snapshots
from hilum.hospitals.vendor_hospitals.models import Furnisher, NewSnapshot, State

READERS = audience("staff", "member")
OPENERS = audience("vendor_owner", "vendor_developer", "vendor_security")
MAKERS = audience("vendor_owner", "vendor_developer")


class SnapshotAsked(Strict):
    """``template``: the synthetic hospital that it is copied from."""

    name: Line
    template: Id = "general"


class SnapshotShown(Shown):
    """``id`` is the hospital, as in every address of it."""

    id: str
    vendor: str
    name: str
    template: str
    state: State
    made_by: str
    made_at: datetime
    reset_at: datetime
    used_at: datetime


class PersonShown(Shown):
    username: str
    name: str
    role: str
    fhir_user: str


class AppShown(Shown):
    client: str
    name: str


class CardShown(Shown):
    """The credentials of a snapshot, new with each reset. ``password`` is that of its people; administrators have none."""

    tenant: str
    fhir: str
    issuer: str
    launch_api: str
    simulator: str
    client_id: str
    client_secret: str
    password: str
    people: list[PersonShown]
    apps: list[AppShown]


def api(kit: Kit, furnisher: Furnisher) -> APIRouter:
    """Build the API routes of snapshots."""
    router, live = api_router(kit, "snapshots"), Snapshots(kit.uow, kit.ids, furnisher)

    @router.post("/sandbox-snapshots", status_code=201, openapi_extra=MAKERS)
    async def create_snapshot(request: Request, body: SnapshotAsked) -> SnapshotShown:
        """Make a synthetic hospital of your vendor's own, with its people, charts and EHR, and install your apps there."""
        actor = await caller(kit, request)
        order = NewSnapshot(body.name, body.template)
        return SnapshotShown.model_validate(await live.create(order, actor=actor, trace=trace_of(request)))

    @router.get("/sandbox-snapshots", response_model=Page[SnapshotShown], openapi_extra=READERS)
    async def list_snapshots(request: Request, query: Annotated[Paging, Query()]) -> object:
        """List the snapshots of your vendor; staff see those of every vendor."""
        found = await run_read(kit, request, partial(service.list_snapshots, page=query.page))
        return page_of(found, SnapshotShown.model_validate, query)

    @router.get("/sandbox-snapshots/{snapshot}", openapi_extra=READERS)
    async def show_snapshot(request: Request, snapshot: Id) -> SnapshotShown:
        """Show one snapshot."""
        verb = partial(service.view, snapshot_id=TenantId(snapshot))
        return SnapshotShown.model_validate(await run_read(kit, request, verb))

    @router.get("/sandbox-snapshots/{snapshot}/card", openapi_extra=OPENERS)
    async def show_snapshot_card(request: Request, snapshot: Id) -> CardShown:
        """Show the credentials of a snapshot: addresses, the EHR's secret, people and their password. The read is recorded as a use."""
        verb = partial(service.open_card, snapshot_id=TenantId(snapshot), furnisher=furnisher)
        found = await run_write(kit, request, verb)
        tenant, card = found.snapshot.id, found.card
        return CardShown(
            tenant=tenant,
            fhir=kit.urls.fhir_base(tenant),
            issuer=kit.urls.issuer(tenant),
            launch_api=kit.urls.launches(tenant),
            simulator=found.simulator,
            client_id=card.client_id,
            client_secret=card.client_secret,
            password=card.password,
            people=[PersonShown.model_validate(each) for each in found.people],
            apps=[AppShown.model_validate(each) for each in card.apps],
        )

    @router.post("/sandbox-snapshots/{snapshot}/reset", openapi_extra=MAKERS)
    async def reset_snapshot(request: Request, snapshot: Id) -> SnapshotShown:
        """Reset a snapshot to its template's charts, end everything issued there, and renew its secrets."""
        actor = await caller(kit, request)
        found = await live.reset(TenantId(snapshot), actor=actor, trace=trace_of(request))
        return SnapshotShown.model_validate(found)

    @router.put("/sandbox-snapshots/{snapshot}/apps", openapi_extra=MAKERS)
    async def put_snapshot_apps(request: Request, snapshot: Id) -> SnapshotShown:
        """Install your vendor's apps that are certified for the sandbox now."""
        actor = await caller(kit, request)
        found = await live.put_apps(TenantId(snapshot), actor=actor, trace=trace_of(request))
        return SnapshotShown.model_validate(found)

    @router.delete(
        "/sandbox-snapshots/{snapshot}",
        openapi_extra=audience("vendor_owner", "vendor_developer", "platform_admin"),
    )
    async def remove_snapshot(request: Request, snapshot: Id) -> SnapshotShown:
        """Remove a snapshot with its charts. The next one of your vendor may have its address."""
        actor = await caller(kit, request)
        found = await live.remove(TenantId(snapshot), actor=actor, trace=trace_of(request))
        return SnapshotShown.model_validate(found)

    return router
