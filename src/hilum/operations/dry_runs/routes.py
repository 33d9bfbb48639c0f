"""API routes of dry runs of the policy."""

from collections.abc import Mapping
from datetime import date, datetime
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from hilum.apps.installations.models import NarrowOrder
from hilum.apps.installations.service import Permits
from hilum.apps.registry.models import SCOPES_BOUND
from hilum.controls.switches.models import BURST_BOUND, RATE_BOUND_PER_S, Quota
from hilum.foundation.kernel.ids import AppId, FacilityId
from hilum.foundation.web.api import (
    MEMBER,
    Id,
    Page,
    Paging,
    Shown,
    Strict,
    Word,
    api_router,
    audience,
    page_of,
    run_read,
    run_write,
)
from hilum.foundation.web.kit import Kit
from hilum.identity.people.models import FACILITIES_BOUND, Role
from hilum.operations.dry_runs import narrowing, observing, service
from hilum.operations.dry_runs.models import REPLAYED, Kind, ObservedCount, StoredRow, Tried
from hilum.operations.dry_runs.quotas import ReadCalls
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import NUMBER_BOUND, DryRun

OWNERS = audience("platform_admin")
STAFF = audience("staff")
READERS = audience("staff", "administrator")


class DryRunAsked(Strict):
    version: Annotated[int, Field(ge=1, le=NUMBER_BOUND)]


class DryRunShown(Shown):
    """A dry run. ``after`` is the last application when it began; ``counts`` are its numbers, which only the platform's staff see.

    It serves to put ``version`` in force while nothing else is applied, for seven days.
    """

    id: str
    version: int
    version_digest: str
    state: str
    after: int
    since: datetime | None
    asked_by: str
    asked_at: datetime
    finished_at: datetime | None
    progress: int
    decisions: int
    digest: str
    counts: dict[str, int]
    fault: str


class LimitShown(BaseModel):
    path: str
    before: str
    after: str


class DecisionChangeShown(BaseModel):
    """Equal decisions that would turn out differently: ``allow_to_refuse``, ``allow_to_less`` or ``refuse_to_allow``."""

    tenant: str
    app: str
    client: str
    verdict: str
    scope: str
    resource_type: str
    interaction: str
    number: int
    first: datetime
    last: datetime
    example: str


class AppShown(BaseModel):
    """A client for which other scopes, another tier or other limits would hold; a tier is empty where nothing is admitted."""

    app: str
    client: str
    category: str
    tier_before: str
    tier_after: str
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    limits: tuple[LimitShown, ...]
    hospitals: int


class CertificationShown(BaseModel):
    """A certification of which less would be admitted, from the moment the version is applied, or which would end sooner. ``lapses``: nothing.

    ``until``: when it would end; ``served_until``: until when hospitals that have the app may keep using it, with its grace.
    """

    app: str
    client: str
    version: str
    environment: str
    loss: str
    lost: tuple[str, ...]
    until: datetime
    hospitals: int
    served_until: datetime | None = None


class LapseShown(BaseModel):
    """What would lapse of an app: everywhere, or at one ``tenant``.

    ``what``: ``certificate_ends`` (it is older than the life that it would have), ``grace_ends``, ``gap_ends`` (a gap between two certifications would be bridged no more: what was issued before the moment in ``which`` ends), ``agreements_end`` and ``refresh_tokens_end`` (of
    people), ``agreements_missing`` (between vendor and hospital), ``proofs_missing``, ``app_stopped``, ``app_suspended`` (for findings that are
    overdue), ``exception_ends``. ``which`` names it, ``number`` counts
    it. ``before`` and ``until``: when it ends now, and when it would; without ``until`` once the version is applied.
    """

    tenant: str
    app: str
    client: str
    what: str
    which: tuple[str, ...]
    number: int
    before: datetime | None
    until: datetime | None


class RefusedShown(BaseModel):
    """How many ``requests`` or ``launches`` would have been refused, or ``agreements`` in force and ``refresh_tokens`` would have ended, for one reason.

    ``missing_agreements``: how many kinds of agreements the vendor and the hospital would need and do not have.
    """

    reason: str
    number: int
    of: str


class QuotaTrialShown(BaseModel):
    """Another quota, tried on ``calls`` since a moment: how many permitted ones it would have refused, and how many it would have permitted that were refused for their quota."""

    calls: int
    since: datetime
    refused: int
    permitted: int


class InstallationShown(BaseModel):
    """An app at a hospital for which other scopes or limits would hold. ``agreements`` lose scopes, ``ended`` of them all.

    ``refused``: what would have been refused in the last 90 days, by reason; of launches in the last 60.
    """

    tenant: str
    app: str
    client: str
    loss: str
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    limits: tuple[LimitShown, ...]
    agreements: int
    ended: int
    refused: tuple[RefusedShown, ...] = ()
    quota: QuotaTrialShown | None = None


class ObservedShown(InstallationShown):
    """What is observed of an app at a hospital: from ``until`` on it loses ``lost`` and has other ``limits``."""

    version: int
    until: date
    dry_run: str
    counted_at: datetime


class HospitalShown(BaseModel):
    """What would change at a hospital: apps, agreements and decisions, in numbers. ``over_quota``, ``within_quota``: calls that other quotas would refuse or permit."""

    tenant: str
    version_before: int
    apps: int
    lapsing: int
    agreements: int
    ended: int
    refused: int
    less: int
    allowed: int
    over_quota: int = 0
    within_quota: int = 0


SHOWN: Mapping[Kind, tuple[type[BaseModel], str]] = {
    Kind.DECISION_CHANGE: (DecisionChangeShown, "List the decisions that would turn out differently."),
    Kind.APP: (AppShown, "List the apps that the version would alter."),
    Kind.CERTIFICATION: (CertificationShown, "List the certifications of which less would be admitted."),
    Kind.LAPSE: (
        LapseShown,
        "List what would lapse beside scopes, and what two people allowed that keeps an app from it for a time.",
    ),
    Kind.INSTALLATION: (
        InstallationShown,
        "List, hospital by hospital, the apps that the version would alter.",
    ),
    Kind.HOSPITAL: (HospitalShown, "List the hospitals where anything would change."),
}


class RowPaging(Paging):
    """``tenant`` and ``app`` select rows."""

    after: Annotated[str, Field(pattern=r"^[0-9]{0,9}$")] = ""
    tenant: Id | None = None
    app: Id | None = None


class AppPaging(Paging):
    after: Annotated[str, Field(pattern=r"^([0-9]{1,9}-[0-9]{1,9})?$")] = ""


class QuotaTried(Strict):
    rate_per_s: Annotated[float, Field(gt=0, le=RATE_BOUND_PER_S)]
    burst: Annotated[int, Field(ge=1, le=BURST_BOUND)]


class NarrowingAsked(Strict):
    """``scopes``, ``roles``, ``facilities``: those that would stay; without one of them all do. Launch and identity scopes stay in any case.

    ``denied``: facilities that would be denied. ``quota``: one of the hospital's own, tried on the recorded requests.
    ``days``: how far back what was permitted is tried; launches, by roles and facilities, are kept for 60.
    """

    scopes: Annotated[tuple[Word, ...], Field(max_length=SCOPES_BOUND)] | None = None
    roles: Annotated[frozenset[Word], Field(max_length=len(Role))] | None = None
    facilities: Annotated[frozenset[Id], Field(max_length=FACILITIES_BOUND)] | None = None
    denied: Annotated[frozenset[Id], Field(max_length=FACILITIES_BOUND)] = frozenset()
    quota: QuotaTried | None = None
    days: Annotated[int, Field(ge=1, le=REPLAYED.days)] = REPLAYED.days


class NarrowedUseShown(Shown):
    scope: str
    resource_type: str
    interaction: str
    verdict: str
    number: int
    last: datetime


class RefusedLaunchesShown(Shown):
    """``facility`` is empty for launches that named none."""

    reason: str
    role: str
    facility: str
    number: int


class LaunchTrialShown(Shown):
    """How many launches there were ``since`` then, and how many of them would have been refused; ``rows`` are the most frequent."""

    since: datetime
    number: int
    refused: int
    rows: tuple[RefusedLaunchesShown, ...]


class NarrowingShown(Shown):
    """``refused`` and ``less``: how many of the ``permitted`` requests would be refused, or answered in part; ``rows`` are the most frequent.

    ``unjudged`` are those of which it is not on record by which scopes they were permitted.
    ``launches``: of roles or facilities that are tried; ``beyond_quota``: permitted requests that the quota would have refused.
    """

    installation: str
    scopes: tuple[str, ...]
    since: datetime
    permitted: int
    unjudged: int
    refused: int
    less: int
    rows: list[NarrowedUseShown]
    whole: bool
    launches: LaunchTrialShown | None = None
    beyond_quota: int | None = None


def _tried(body: NarrowingAsked) -> Tried:
    order = NarrowOrder(
        scopes=body.scopes,
        roles=body.roles,
        facilities=None if body.facilities is None else frozenset(map(FacilityId, body.facilities)),
        denied=frozenset(map(FacilityId, body.denied)),
    )
    quota = body.quota
    return Tried(order, None if quota is None else Quota(quota.rate_per_s, quota.burst), body.days)


def api(kit: Kit, permits: Permits, calls: ReadCalls) -> APIRouter:
    """Build the API routes of dry runs. ``permits`` reads what was permitted to clients, ``calls`` when they called."""
    router = api_router(kit, "policies")

    @router.post("/policies/dry-runs", status_code=202, response_model=DryRunShown, openapi_extra=OWNERS)
    async def ask_dry_run(request: Request, body: DryRunAsked) -> object:
        """Start a dry run of a version: the decisions of the last 90 days are judged under it. A job carries it out."""
        return await run_write(kit, request, partial(policies.ask_dry_run, version=body.version))

    @router.get("/policies/dry-runs", response_model=Page[DryRunShown], openapi_extra=READERS)
    async def list_dry_runs(request: Request, query: Annotated[Paging, Query()]) -> object:
        """List dry runs, newest first."""
        found = await run_read(kit, request, partial(service.list_runs, page=query.page))
        return page_of(found, DryRunShown.model_validate, query)

    @router.get("/policies/dry-runs/{run}", response_model=DryRunShown, openapi_extra=READERS)
    async def get_dry_run(request: Request, run: Id) -> DryRun:
        """Show a dry run."""
        return await run_read(kit, request, partial(service.view, run_id=run))

    @router.post(
        "/installations/{installation}/try-narrowing",
        response_model=NarrowingShown,
        openapi_extra=READERS,
    )
    async def try_narrowing(request: Request, installation: Id, body: NarrowingAsked) -> object:
        """List what an installed app was permitted, and would not be by fewer scopes; nothing changes."""
        verb = partial(
            narrowing.try_narrowing,
            installation_id=installation,
            tried=_tried(body),
            permits=permits,
            calls=calls,
        )
        return await run_read(kit, request, verb)

    _observed(router, kit)
    for kind in Kind:
        _rows(router, kit, kind)
    return router


def _observed(router: APIRouter, kit: Kit) -> None:
    @router.get("/policies/observed", response_model=Page[ObservedShown], openapi_extra=READERS)
    async def list_observed(request: Request, query: Annotated[RowPaging, Query()]) -> object:
        """List what the policy in force observes and would have refused, by app, hospital and reason, as it was counted last.

        With ``tenant`` of the version in force there, else of the one everywhere. It is counted once a day.
        """
        verb = partial(
            observing.list_observed, page=query.page, tenant=query.tenant or "", app=query.app or ""
        )
        return page_of(await run_read(kit, request, verb), _count, query, key=lambda each: _number(each.row))

    @router.get(
        "/apps/{app}/observed", response_model=Page[ObservedShown], openapi_extra=audience(MEMBER, "staff")
    )
    async def list_observed_of_app(request: Request, app: Id, query: Annotated[AppPaging, Query()]) -> object:
        """List what the policy observes of an app of your own vendor, hospital by hospital: from which day on what will be refused.

        With what would have been refused already, as it was counted last. It is counted once a day.
        """
        verb = partial(observing.list_of_app, app_id=AppId(app), page=query.page)
        return page_of(await run_read(kit, request, verb), _count, query, key=lambda each: each.key)


def _count(found: ObservedCount) -> Any:
    more = {
        "version": found.version,
        "until": found.until,
        "dry_run": found.dry_run,
        "counted_at": found.counted_at,
    }
    return {**found.row.fields, **more}


def _rows(router: APIRouter, kit: Kit, kind: Kind) -> None:
    model, summary = SHOWN[kind]
    who = READERS if kind in service.FOR_HOSPITALS else STAFF

    @router.get(
        f"/policies/dry-runs/{{run}}/{kind.value.replace('_', '-')}",
        response_model=Page[model],  # type: ignore[valid-type]
        name=f"list_dry_run_{kind.value}",
        description=summary,
        openapi_extra=who,
    )
    async def list_rows(request: Request, run: Id, query: Annotated[RowPaging, Query()]) -> object:
        verb = partial(
            service.list_rows,
            run_id=run,
            kind=kind,
            page=query.page,
            tenant=query.tenant or "",
            app=query.app or "",
        )
        return page_of(await run_read(kit, request, verb), _fields, query, key=_number)


def _fields(row: StoredRow) -> Any:
    return row.fields


def _number(row: StoredRow) -> str:
    return str(row.number)
