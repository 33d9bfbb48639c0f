"""API routes of kill switches and quotas."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Self, TypeVar

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from hilum.controls.switches import service as controls
from hilum.controls.switches.models import (
    BURST_BOUND,
    KEY_BOUND,
    RATE_BOUND_PER_S,
    RATE_LEAST_PER_S,
    REASON_BOUND,
    SWITCH_SORTS,
    EngageOrder,
    Mode,
    Quota,
    QuotaLevel,
    Switch,
    Target,
    TargetKind,
)
from hilum.foundation.infra import lanes
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.errors import NotFound, NotPermitted
from hilum.foundation.web.api import (
    Id,
    Moment,
    Page,
    Paging,
    Prose,
    Shown,
    Sorted,
    Strict,
    api_router,
    audience,
    caller,
    one_of,
    page_of,
    run_read,
    run_write,
)
from hilum.foundation.web.kit import Kit, trace_of
from hilum.operations.switch_administration import previews, service
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, Outcome

T = TypeVar("T")


class SwitchShown(BaseModel):
    """``in_force`` is as of the response. ``release_asked_by``: the first of the two people who release a wide switch."""

    id: str
    kind: TargetKind
    key: str
    mode: Mode
    reason: str
    tenant: str
    engaged_by: str
    engaged_at: datetime
    expires_at: datetime | None
    released_by: str
    released_at: datetime | None
    release_asked_by: str
    in_force: bool

    @classmethod
    def of(cls, switch: Switch, now: datetime) -> Self:
        """Build it from the present state of a switch."""
        return cls(
            id=switch.id,
            kind=switch.target.kind,
            key=switch.target.key,
            mode=switch.mode,
            reason=switch.reason,
            tenant=switch.tenant,
            engaged_by=switch.engaged_by,
            engaged_at=switch.engaged_at,
            expires_at=switch.expires_at,
            released_by=switch.released_by,
            released_at=switch.released_at,
            release_asked_by=switch.release_asked_by,
            # Computed here and not by clients, whose clocks differ.
            in_force=switch.in_force(now),
        )


class SwitchAsked(Strict):
    """``key`` is the target's id; see docs/reference/switch-targets.md."""

    kind: TargetKind
    # Printable ASCII: the key is shown in pages, records and logs, and is compared byte by byte.
    key: Annotated[str, Field(max_length=KEY_BOUND, pattern=r"^[\x20-\x7e]*$")] = ""
    mode: Mode = Mode.FULL_STOP
    reason: Annotated[Prose, Field(max_length=REASON_BOUND)]
    expires_at: Moment | None = None


class QuotaValue(Shown):
    rate_per_s: float
    burst: int


class QuotaAsked(Strict):
    # NaN is neither above nor below a bound: excluded by name, so that its refusal does not depend on how a
    # validator compares.
    rate_per_s: Annotated[float, Field(ge=RATE_LEAST_PER_S, le=RATE_BOUND_PER_S, allow_inf_nan=False)]
    burst: Annotated[int, Field(ge=1, le=BURST_BOUND)]


class QuotaShown(Shown):
    app: str
    tenant: str
    level: QuotaLevel
    quota: QuotaValue
    set_by: str
    set_at: datetime


class ListQuery(Paging):
    tenant: Id | None = None


class SwitchesQuery(Sorted):
    tenant: Id | None = None
    sort: Annotated[str, one_of(SWITCH_SORTS)] = ""


class PreviewQuery(Strict):
    kind: TargetKind
    key: Annotated[str, Field(max_length=KEY_BOUND, pattern=r"^[\x20-\x7e]*$")] = ""


class StandInShown(Shown):
    """``workflows``: those that both declare; empty if it is of the same category only."""

    app: str
    name: str
    category: str
    workflows: tuple[str, ...]


class HospitalPreviewShown(Shown):
    """``launches`` of the last day that have not ended, ``encounters`` they are in, ``tokens`` in force, ``people`` of the last hour."""

    tenant: str
    launches: int
    encounters: int
    tokens: int
    people: int
    stand_ins: tuple[StandInShown, ...]


class PreviewShown(BaseModel):
    """What a full stop would hit now. ``counted`` is false for scopes and resource types: what uses them is not known by its tokens.

    ``without_stand_in``: hospitals where a stopped app is installed and no other one could stand in.
    """

    kind: TargetKind
    key: str
    counted: bool
    hospitals: tuple[HospitalPreviewShown, ...]
    without_stand_in: tuple[str, ...]


class SignedReport(BaseModel):
    """``report`` as it was signed by the key ``kid``, the audit's; see docs/how-to/operations.md for what its fields mean."""

    report: dict[str, Any]
    kid: str
    signature: str


def api(
    kit: Kit,
    read_window: service.ReadWindow,
    held: Callable[[Actor], AbstractContextManager[None]],
    open_launches: previews.OpenLaunches,
) -> APIRouter:
    """Build the API routes of switches and quotas. ``held`` limits how many reports are read at a time."""
    router = api_router(kit, "controls")
    _preview(router, kit, open_launches)
    _switches(router, kit)
    _reports(router, kit, read_window, held)
    _quotas(router, kit)
    return router


def _preview(router: APIRouter, kit: Kit, open_launches: previews.OpenLaunches) -> None:
    # Before /switches/{switch_id}, which would take the word for an id.
    @router.get("/switches/preview", openapi_extra=audience("platform_admin", "security", "administrator"))
    async def preview_switch(request: Request, query: Annotated[PreviewQuery, Query()]) -> PreviewShown:
        """Show what a full stop of a target would hit now, and which apps could stand in. For who may engage it; nothing is stopped."""
        target = Target(query.kind, query.key)
        verb = partial(previews.preview, target=target, open_launches=open_launches)
        found = await run_read(kit, request, verb)
        return PreviewShown(
            kind=target.kind,
            key=target.key,
            counted=found.counted,
            hospitals=tuple(map(HospitalPreviewShown.model_validate, found.hospitals)),
            without_stand_in=tuple(map(str, found.without_stand_in)),
        )


def _switches(router: APIRouter, kit: Kit) -> None:

    def switch(engaged: Switch) -> SwitchShown:
        return SwitchShown.of(engaged, kit.clock.now())

    @router.post(
        "/switches", status_code=201, openapi_extra=audience("platform_admin", "security", "administrator")
    )
    async def engage_switch(request: Request, body: SwitchAsked) -> SwitchShown:
        """Engage a kill switch; one person is enough."""
        order = EngageOrder(Target(body.kind, body.key), body.mode, body.reason, body.expires_at)
        # Any of the three roles may call; which targets each may stop is the module's decision, not the route's.
        return switch(await run_write(kit, request, partial(service.engage, order=order)))

    @router.get(
        "/switches", response_model=Page[SwitchShown], openapi_extra=audience("staff", "administrator")
    )
    async def list_switches(request: Request, query: Annotated[SwitchesQuery, Query()]) -> object:
        """List switches, newest first or in the order that is asked for, including released ones."""
        found = await run_read(
            kit, request, partial(controls.list_switches, tenant=query.tenant, page=query.page)
        )
        return page_of(found, switch, query, key=SWITCH_SORTS.cursor(query.sort))

    @router.get("/switches/{switch_id}", openapi_extra=audience("staff", "administrator"))
    async def get_switch(request: Request, switch_id: Id) -> SwitchShown:
        """Show a switch."""
        return switch(await run_read(kit, request, partial(controls.get_switch, switch_id=switch_id)))

    @router.post(
        "/switches/{switch_id}/release", openapi_extra=audience("platform_admin", "security", "administrator")
    )
    async def release_switch(request: Request, switch_id: Id) -> SwitchShown:
        """Release a switch, but not one on oneself. A wide one is released only when a second member of the staff asks too."""
        return switch(await run_write(kit, request, partial(service.release, switch_id=switch_id)))


def _reports(
    router: APIRouter,
    kit: Kit,
    read_window: service.ReadWindow,
    held: Callable[[Actor], AbstractContextManager[None]],
) -> None:
    @router.get(
        "/switches/{switch_id}/containment",
        openapi_extra=audience("platform_admin", "security", "auditor", "administrator"),
    )
    async def report_containment(request: Request, switch_id: Id) -> SignedReport:
        """Report whether any answer left to the switch's target after the last worker confirmed it, signed. The read is recorded."""
        actor, trace = await caller(kit, request), trace_of(request)

        async def write(verb: Callable[[Context], T]) -> T:
            return await kit.uow.write(verb, actor=actor, trace=trace)

        lane = Lane.AUDIT if actor.kind is ActorKind.PERSON else Lane.STAFF_AUDIT
        with held(actor), lanes.using(lane):
            try:
                verb = partial(service.report, switch_id=switch_id, read_window=read_window)
                found = await kit.uow.read(verb, actor=actor, trace=trace)
            except (NotFound, NotPermitted) as refusal:
                event = Event(service.REPORT, Outcome.REFUSED, reason=refusal.code)
                await write(partial(audit.record, event=event))
                raise
        return SignedReport.model_validate(await write(partial(service.sign_report, found=found)))


def _quotas(router: APIRouter, kit: Kit) -> None:
    @router.get("/quotas", response_model=Page[QuotaShown], openapi_extra=audience("staff", "administrator"))
    async def list_quotas(request: Request, query: Annotated[ListQuery, Query()]) -> object:
        """List quotas that were set, by app, tenant and level."""
        verb = partial(controls.list_quotas, tenant=query.tenant, page=query.page)
        found = await run_read(kit, request, verb)
        return page_of(found, QuotaShown.model_validate, query, key=lambda each: each.key)

    @router.put(
        "/quotas/{app}/{tenant}",
        status_code=204,
        openapi_extra=audience("platform_admin", "security", "administrator"),
    )
    async def set_quota(request: Request, app: Id, tenant: Id, body: QuotaAsked) -> None:
        """Set a quota. A tenant's own quota can only narrow the platform's."""
        quota = Quota(body.rate_per_s, body.burst)
        await run_write(kit, request, partial(service.set_quota, app=app, tenant=tenant, quota=quota))

    @router.delete(
        "/quotas/{app}/{tenant}",
        status_code=204,
        openapi_extra=audience("platform_admin", "security", "administrator"),
    )
    async def remove_quota(request: Request, app: Id, tenant: Id) -> None:
        """Remove a quota, the platform's or the tenant's depending on the caller."""
        await run_write(kit, request, partial(service.set_quota, app=app, tenant=tenant, quota=None))
