"""API routes of certification runs."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal, Protocol, TypeVar

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.ids import AppId, ClientId, TenantId
from hilum.foundation.web.api import (
    Id,
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
from hilum.records.audit.models import AccessPage, AccessQuery, Event
from hilum.review.certification_runs import by_hand, policy, service
from hilum.review.certification_runs.acting import EndAccess
from hilum.review.certification_runs.models import Fault, Row, Run, RunOrder, State, Upstream

T = TypeVar("T")
READERS = audience("staff", "member")
SCENARIOS_BOUND = 100
DEVELOPERS = audience("platform_admin", "vendor_owner", "vendor_developer")


class Recorded(Protocol):
    """Reads something of the audit and records who read what before it returns (``audit.recorded_reads``)."""

    async def __call__(
        self, asked: Event, verb: Callable[[Context], tuple[T, Event]], *, actor: Actor, trace: Trace
    ) -> T: ...


@dataclass(frozen=True, slots=True)
class Ports:
    """What runs need from elsewhere: the end of tokens, the journals, recorded reads of them, and the FHIR servers of sandbox hospitals."""

    read: service.ReadSealed
    recorded: Recorded
    accesses: Callable[[AccessQuery], AccessPage]
    set_fault: Callable[[Upstream], None]
    clear_faults: Callable[[str], None]
    by_hand: by_hand.ByHand
    end_access: EndAccess
    ground: service.ReadGround = service.ground_at


class RunAsked(Strict):
    """``client``: one of the version, of the sandbox; ``tenant``: a sandbox hospital at which it is installed.

    ``scenarios``: by name, those to take beyond what the policy requires of the version; ``*``: every one.
    """

    client: Id
    tenant: Id
    scenarios: list[Id | Literal["*"]] = Field(default_factory=list, max_length=SCENARIOS_BOUND)


class RunsQuery(Paging):
    app: Id | None = None


class ScenarioShown(BaseModel):
    """A scenario that the policy requires. ``how``: what to do in it; ``good``: what a well-made app does; ``outcome`` of a judged run."""

    name: str
    title: str
    how: str
    good: str
    outcome: str = ""
    sentence: str = ""
    fix: str = ""


class RunListed(Shown):
    """``scenario``: the one that is in progress. ``state``: open, passed, failed, incomplete or abandoned."""

    id: str
    app: str
    vendor: str
    version: str
    label: str
    client: str
    tenant: str
    policy_version: int
    tier: str
    state: State
    scenario: str
    opened_by: str
    opened_at: datetime
    expires_at: datetime
    ended_at: datetime | None


class GroundShown(Shown):
    """Where a run was made. ``own``: at a snapshot of the vendor's own, whose EHR it is and whose charts it may change; else at a hospital that all share.

    Of a snapshot: when it was reset last, and how many of its records were changed since then, when the run was opened and when it was judged;
    null: not known. ``reset_meanwhile``: it was reset while the run was open.
    """

    own: bool | None
    reset_at: datetime | None
    changed_before: int | None
    changed_at_end: int | None
    reset_meanwhile: bool


class RunShown(RunListed):
    """``result`` as it was signed by the key ``kid`` of the published key set; empty until the run was judged.

    ``signature``: Ed25519 over ``hilum evidence v1``, a line feed, and ``result`` as JSON with sorted keys and without spaces.
    """

    scenarios: list[ScenarioShown]
    ground: GroundShown
    result: dict[str, Any]
    kid: str
    signature: str


class RowShown(Shown):
    """One record of a run: a request of the app, or an event of the platform."""

    at: datetime
    name: str
    request: bool
    outcome: str
    reason: str
    status: int
    type: str
    asked: str
    latency_ms: int
    place: str


class RowsShown(BaseModel):
    items: list[RowShown]


class FaultShown(Shown):
    """What fails for a client at a sandbox hospital: ``unavailable``, ``slow``, ``short_pages``, ``conflict`` or ``lost_answer``."""

    client: str
    tenant: str
    fault: Fault
    until: datetime


class FaultsShown(BaseModel):
    items: list[FaultShown]


def shown(run: Run) -> RunShown:
    """Return a run with its scenarios and what was concluded about them."""
    concluded = {each["scenario"]: each for each in run.result.get("scenarios", ())}
    scenarios = []
    for name, title in run.scenarios.items():
        how, good = policy.advice(name)
        found = concluded.get(name, {})
        scenarios.append(
            ScenarioShown(
                name=name,
                title=title,
                how=how,
                good=good,
                **{each: found.get(each, "") for each in ("outcome", "sentence", "fix")},
            )
        )
    listed = RunListed.model_validate(run).model_dump()
    return RunShown(
        **listed,
        scenarios=scenarios,
        ground=GroundShown.model_validate(policy.ground_of(run)),
        result=dict(run.result),
        kid=run.kid,
        signature=run.signature,
    )


def api(kit: Kit, ports: Ports) -> APIRouter:
    """Build the API routes of certification runs."""
    router = api_router(kit, "evidence")
    _runs(router, kit, ports)
    _scenarios(router, kit, ports)
    _faults(router, kit, ports.by_hand)
    return router


def _runs(router: APIRouter, kit: Kit, ports: Ports) -> None:
    @router.post("/evidence-runs", status_code=201, openapi_extra=DEVELOPERS)
    async def open_run(request: Request, body: RunAsked) -> RunShown:
        """Open a certification run of a client's version at a sandbox hospital. What the app does there is its evidence from now on."""
        order = RunOrder(ClientId(body.client), TenantId(body.tenant), tuple(body.scenarios))
        return shown(
            await run_write(kit, request, partial(service.open_run, order=order, ground=ports.ground))
        )

    @router.get("/evidence-runs", response_model=Page[RunListed], openapi_extra=READERS)
    async def list_runs(request: Request, query: Annotated[RunsQuery, Query()]) -> object:
        """List certification runs, newest first: of your own vendor, or for the platform's staff of all."""
        app = None if query.app is None else AppId(query.app)
        found = await run_read(kit, request, partial(service.list_runs, page=query.page, app=app))
        return page_of(found, RunListed.model_validate, query)

    @router.get("/evidence-runs/{run_id}", openapi_extra=READERS)
    async def get_run(request: Request, run_id: Id) -> RunShown:
        """Show a run: what each scenario asks for, and once it was judged, the signed result."""
        return shown(await run_read(kit, request, partial(service.view, run_id=run_id)))

    @router.get("/evidence-runs/{run_id}/rows", openapi_extra=READERS)
    async def list_rows(request: Request, run_id: Id) -> RowsShown:
        """Show what the audit has of a run: of an open one the last requests, of a judged one every record. The read is recorded."""
        run = await run_read(kit, request, partial(service.view, run_id=run_id))
        rows: tuple[Row, ...]
        if run.rows:
            rows = policy.read_rows(run.rows)
        else:
            verb = partial(service.watch, run_id=run_id, accesses=ports.accesses)
            actor = await caller(kit, request)
            rows = await ports.recorded(service.watching(run_id), verb, actor=actor, trace=trace_of(request))
        return RowsShown(items=[RowShown.model_validate(each) for each in rows])

    @router.post("/evidence-runs/{run_id}/finish", openapi_extra=DEVELOPERS)
    async def finish(request: Request, run_id: Id) -> RunShown:
        """Judge a run by the audit alone, and sign the result. It counts for submissions of the version for 90 days, if it passed."""
        await run_write(kit, request, partial(service.end, run_id=run_id, late=True))
        await asyncio.to_thread(ports.clear_faults, run_id)
        records = await run_read(kit, request, partial(service.collect, run_id=run_id, read=ports.read))
        verb = partial(service.finish, run_id=run_id, records=records, ground=ports.ground)
        return shown(await run_write(kit, request, verb))

    @router.post("/evidence-runs/{run_id}/abandon", openapi_extra=DEVELOPERS)
    async def abandon(request: Request, run_id: Id) -> RunShown:
        """Abandon a run. Nothing of it counts."""
        given_up = await run_write(kit, request, partial(service.abandon, run_id=run_id))
        await asyncio.to_thread(ports.clear_faults, run_id)
        return shown(given_up)


def _scenarios(router: APIRouter, kit: Kit, ports: Ports) -> None:
    @router.post("/evidence-runs/{run_id}/scenarios/{scenario}/begin", openapi_extra=DEVELOPERS)
    async def begin(request: Request, run_id: Id, scenario: Id) -> RunShown:
        """Begin a scenario: its fault is made for this app at this hospital, and ends by itself after three minutes."""
        verb = partial(service.begin, run_id=run_id, scenario=scenario, end_access=ports.end_access)
        begun, upstream = await run_write(kit, request, verb)
        # After the commit: a fault that did not reach the FHIR server shows in no record, so nothing counts as met by it.
        await asyncio.to_thread(ports.clear_faults, run_id)
        if upstream is not None:
            await asyncio.to_thread(ports.set_fault, upstream)
        return shown(begun)

    @router.post("/evidence-runs/{run_id}/scenarios/end", openapi_extra=DEVELOPERS)
    async def end(request: Request, run_id: Id) -> RunShown:
        """End the scenario that is in progress, and undo its fault."""
        ended = await run_write(kit, request, partial(service.end, run_id=run_id))
        await asyncio.to_thread(ports.clear_faults, run_id)
        return shown(ended)


def _faults(router: APIRouter, kit: Kit, servers: by_hand.ByHand) -> None:
    @router.put("/clients/{client}/sandbox-faults/{tenant}/{fault}", openapi_extra=DEVELOPERS)
    async def make_fault(request: Request, client: Id, tenant: Id, fault: Id) -> FaultShown:
        """Make a sandbox hospital's FHIR server fail for what this client asks, for three minutes. Nobody else meets it."""
        verb = partial(by_hand.make, client_id=client, tenant=tenant, kind=fault)
        made = await run_write(kit, request, verb)
        await asyncio.to_thread(servers.make, made)
        return FaultShown.model_validate(made)

    @router.get("/clients/{client}/sandbox-faults", openapi_extra=READERS)
    async def list_faults(request: Request, client: Id) -> FaultsShown:
        """List what fails for a client now, by its own vendor's hand; faults of runs and of the simulator are shown there."""
        own = await run_read(kit, request, partial(by_hand.own, client_id=client))
        found = await asyncio.to_thread(servers.find, own)
        return FaultsShown(items=[FaultShown.model_validate(each) for each in found])

    @router.delete(
        "/clients/{client}/sandbox-faults/{tenant}/{fault}", status_code=204, openapi_extra=DEVELOPERS
    )
    async def end_fault(request: Request, client: Id, tenant: Id, fault: Id) -> None:
        """End a fault before its time. One that has ended already stays so."""
        verb = partial(by_hand.end, client_id=client, tenant=tenant, kind=fault)
        ended = await run_write(kit, request, verb)
        await asyncio.to_thread(servers.end, ended.client, ended.tenant, ended.fault)
