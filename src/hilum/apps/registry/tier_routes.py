"""API routes of tiers that people set, and of exceptions for one version of an app."""

from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from hilum.apps.registry import service
from hilum.apps.registry.models import AppVersion, ReviewSource
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import TenantId, VersionId
from hilum.foundation.web.api import (
    Id,
    Moment,
    Page,
    Paging,
    Prose,
    Shown,
    Strict,
    audience,
    page_of,
    run_read,
    run_write,
)
from hilum.foundation.web.approvals import WAITS, waits
from hilum.foundation.web.kit import Kit
from hilum.policy.matrix.models import Assessment, Tier


class RaiseAsked(Strict):
    tier: Tier
    reason: Prose


class RaiseEndAsked(Strict):
    reason: Prose


class LowerAsked(Strict):
    """``control``: what is done instead. ``ends_at`` is bounded by ``exceptions.longest`` of the rule book."""

    tier: Tier
    reason: Prose
    control: Prose
    ends_at: Moment


class AutonomyAsked(Strict):
    """``tenant``: the hospital at which the AI may write with no person in between. ``control``: what is done instead. ``ends_at`` is bounded by ``exceptions.longest``."""

    tenant: Id
    reason: Prose
    control: Prose
    ends_at: Moment


class TierReasonShown(Shown):
    rule: str
    tier: Tier
    sentence: str
    scope: str


class TierShown(BaseModel):
    """The tier of a version with all that it is certified for, by the rule book everywhere. ``computed``: that of the rules alone.

    ``excess``: the scopes that none of the workflows that it declares needs; shown where the version itself is asked for.
    """

    app: str
    version: str
    tier: Tier
    computed: Tier
    sentence: str
    reasons: tuple[TierReasonShown, ...]
    excess: tuple[str, ...] = ()


class RaisedShown(BaseModel):
    app: str
    version: str
    label: str
    tier: Tier
    reason: str
    raised_by: str
    raised_at: datetime


class DeltaReviewShown(Shown):
    """``certified``: the tier of the certification; ``computed``: the one now, which ``sentence`` explains.

    ``source``: whether the rule book or the observed use asks for the review.
    """

    id: str
    app: str
    version: str
    certification: str
    certified: Tier
    computed: Tier
    source: ReviewSource
    sentence: str
    opened_at: datetime


REVIEWERS = audience("reviewer")


def add_tiers(router: APIRouter, kit: Kit, *, barred: service.Barred) -> None:
    """Add the routes of raised and shown tiers."""

    @router.get("/raised-tiers", response_model=Page[RaisedShown], openapi_extra=audience("staff"))
    async def list_raised(request: Request, query: Annotated[Paging, Query()]) -> object:
        """List the versions whose tier a reviewer raised, newest first."""
        found = await run_read(kit, request, partial(service.list_raised, page=query.page))
        return page_of(found, _raised, query)

    @router.get("/delta-reviews", response_model=Page[DeltaReviewShown], openapi_extra=audience("staff"))
    async def list_delta_reviews(request: Request, query: Annotated[Paging, Query()]) -> object:
        """List the certifications whose tier has risen since, or whose use exceeds what was declared, newest first: each needs a delta review."""
        found = await run_read(kit, request, partial(service.list_delta_reviews, page=query.page))
        return page_of(found, DeltaReviewShown.model_validate, query)

    @router.get("/app-versions/{version}/tier", openapi_extra=audience("staff", "administrator", "member"))
    async def assess_version(request: Request, version: Id) -> TierShown:
        """Show the tier of a version, and why."""

        def work(ctx: Context) -> TierShown:
            found, assessed = service.assess_version(ctx, VersionId(version))
            shown = _tier(found, assessed)
            return shown.model_copy(update={"excess": service.excess_certified(ctx, found)})

        return await run_read(kit, request, work)

    @router.post("/app-versions/{version}/raise-tier", openapi_extra=REVIEWERS)
    async def raise_tier(request: Request, version: Id, body: RaiseAsked) -> TierShown:
        """Raise the tier of a version at once. What the cell of the higher tier does not allow is withheld; nothing is widened."""
        verb = partial(service.raise_tier, version_id=VersionId(version), tier=body.tier, reason=body.reason)
        return _tier(*await run_write(kit, request, verb))

    @router.post("/app-versions/{version}/end-raise", openapi_extra=REVIEWERS)
    async def end_raise(request: Request, version: Id, body: RaiseEndAsked) -> TierShown:
        """End the raise of a version's tier. Another reviewer does it than the one who raised it."""
        verb = partial(service.end_raise, version_id=VersionId(version), reason=body.reason, barred=barred)
        return _tier(*await run_write(kit, request, verb))


def add_exceptions(router: APIRouter, kit: Kit) -> None:
    """Add the routes by which two people allow a version something for a time."""

    @router.post(
        "/app-versions/{version}/lower-tier",
        status_code=202,
        responses=WAITS,
        openapi_extra=audience("platform_admin"),
    )
    async def lower_tier(request: Request, version: Id, body: LowerAsked) -> Response:
        """Ask a second person to let a version count as of a lower tier than the computed one, until a date."""
        order = body.model_dump()
        verb = partial(service.lower_tier, version_id=VersionId(version), **order)
        return waits(await run_write(kit, request, verb))

    @router.post(
        "/app-versions/{version}/autonomous-writes",
        status_code=202,
        responses=WAITS,
        openapi_extra=audience("administrator"),
    )
    async def allow_autonomous_writes(request: Request, version: Id, body: AutonomyAsked) -> Response:
        """Ask a second person of a hospital to let a version's AI write there with no person in between, until a date."""
        verb = partial(
            service.allow_autonomous_writes,
            tenant=TenantId(body.tenant),
            version_id=VersionId(version),
            reason=body.reason,
            ends_at=body.ends_at,
            control=body.control,
        )
        return waits(await run_write(kit, request, verb))


def _tier(version: AppVersion, found: Assessment) -> TierShown:
    return TierShown(
        app=version.app,
        version=version.id,
        tier=found.tier,
        computed=found.tier if found.computed is None else found.computed,
        sentence=str(found),
        reasons=tuple(map(TierReasonShown.model_validate, found.reasons)),
    )


def _raised(version: AppVersion) -> RaisedShown:
    assert version.raised is not None, "only raised ones are listed"
    return RaisedShown(app=version.app, version=version.id, label=version.label, **asdict(version.raised))
