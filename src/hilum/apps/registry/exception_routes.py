"""API routes of the tier of a version, and of exceptions for one app."""

from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.requests import Request

from hilum.apps.registry import service
from hilum.apps.registry.models import AppVersion, ReviewSource
from hilum.controls.approvals.models import Asked
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import AppId, TenantId, VersionId
from hilum.foundation.web.api import (
    Id,
    Moment,
    Page,
    Paging,
    Prose,
    Shown,
    Strict,
    Word,
    audience,
    page_of,
    run_read,
    run_write,
)
from hilum.foundation.web.approvals import WAITS, waits
from hilum.foundation.web.kit import Kit
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Assessment, ExceptionKind, ExceptionOrder, PolicyException, Tier


class ExceptionAsked(Strict):
    """What the policy is to say otherwise: ``raised_tier`` (a reviewer, at once), or, by two people, ``lowered_tier``, ``autonomous_writes`` at a ``tenant``, ``waived_requirement``.

    All but the last are of a ``version``; a requirement such as ``evidence.security_test`` is of an ``app``, in the entry of its ``tier``.
    ``control``: what is done instead. ``ends_at`` is bounded by ``exceptions.longest`` of the policy; a raised tier has none.
    """

    kind: ExceptionKind
    app: Id | None = None
    version: Id | None = None
    tenant: Id | None = None
    tier: Tier | None = None
    requirement: Word = ""
    reason: Prose
    control: Prose | None = None
    ends_at: Moment | None = None


class ExceptionsQuery(Paging):
    kind: ExceptionKind | None = None


class EndAsked(Strict):
    reason: Prose


class ExceptionShown(Shown):
    """``state``: ``in_force``, or why it does not apply: ended, expired, book_changed, requirement_changed. ``tenant`` None: everywhere.

    ``owner`` asked for it, ``agreed_by`` is the second person. A lowered ``tier`` applies as long as nothing but ``rules`` makes the version's
    tier higher.
    """

    id: str
    kind: ExceptionKind
    app: str
    version: str | None
    tenant: str | None
    state: str
    reason: str
    control: str
    tier: str
    requirement: str
    computed: str
    category: str
    rules: tuple[str, ...]
    book_digest: str
    owner: str
    agreed_by: str
    starts_at: datetime
    ends_at: datetime | None
    ended_at: datetime | None
    ended_by: str


class TierReasonShown(Shown):
    rule: str
    tier: Tier
    sentence: str
    scope: str


class TierShown(BaseModel):
    """The tier of a version with all that it is certified for, by the policy everywhere. ``computed``: that of the rules alone.

    ``excess``: the scopes that none of the workflows that it declares needs; shown where the version itself is asked for.
    """

    app: str
    version: str
    tier: Tier
    computed: Tier
    sentence: str
    reasons: tuple[TierReasonShown, ...]
    excess: tuple[str, ...] = ()


class DeltaReviewShown(Shown):
    """``certified``: the tier of the certification; ``computed``: the one now, which ``sentence`` explains.

    ``source``: whether the policy or the observed use asks for the review.
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


READERS = audience("staff", "administrator")


def add_tiers(router: APIRouter, kit: Kit) -> None:
    """Add the routes of the tier of a version, and of delta reviews."""

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
            return _tier(found, assessed, service.excess_certified(ctx, found))

        return await run_read(kit, request, work)


def add_exceptions(router: APIRouter, kit: Kit, *, barred: service.Barred) -> None:
    """Add the routes of exceptions."""

    @router.get("/policies/exceptions", response_model=Page[ExceptionShown], openapi_extra=READERS)
    async def list_exceptions(request: Request, query: Annotated[ExceptionsQuery, Query()]) -> object:
        """List exceptions, newest first, each with whether it applies now."""
        verb = partial(policies.shown_exceptions, page=query.page, kind=query.kind)
        found = await run_read(kit, request, verb)
        return page_of(found, lambda each: _shown(*each), query, key=lambda each: each[0].id)

    @router.post(
        "/policies/exceptions",
        status_code=201,
        response_model=ExceptionShown,
        responses=WAITS,
        openapi_extra=audience("platform_admin", "reviewer", "administrator"),
    )
    async def ask_exception(request: Request, body: ExceptionAsked) -> object:
        """Raise the tier of a version at once, or ask a second person for an exception that loosens something (202)."""
        order = ExceptionOrder(
            body.kind,
            AppId(body.app or ""),
            body.reason,
            VersionId(body.version) if body.version else None,
            TenantId(body.tenant) if body.tenant else None,
            "" if body.tier is None else body.tier.value,
            body.requirement,
            body.control or "",
            body.ends_at,
        )
        done = await run_write(kit, request, partial(service.ask_exception, order=order))
        return waits(done) if isinstance(done, Asked) else _shown(done, "")

    @router.post(
        "/policies/exceptions/{exception}/end",
        response_model=ExceptionShown,
        openapi_extra=audience("platform_admin", "reviewer", "administrator"),
    )
    async def end_exception(request: Request, exception: Id, body: EndAsked) -> object:
        """End an exception at once. One person does it; a raised tier another reviewer than the one who raised it."""
        verb = partial(service.end_exception, exception_id=exception, reason=body.reason, barred=barred)
        return _shown(await run_write(kit, request, verb), "ended")


def _shown(exception: PolicyException, fault: str) -> ExceptionShown:
    return ExceptionShown.model_validate(asdict(exception) | {"state": fault or "in_force"})


def _tier(version: AppVersion, found: Assessment, excess: tuple[str, ...]) -> TierShown:
    return TierShown(
        app=version.app,
        version=version.id,
        tier=found.tier,
        computed=found.tier if found.computed is None else found.computed,
        sentence=str(found),
        reasons=tuple(map(TierReasonShown.model_validate, found.reasons)),
        excess=excess,
    )
