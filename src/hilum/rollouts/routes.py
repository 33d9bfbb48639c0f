"""API routes of rollouts."""

from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from hilum.approvals.models import Asked
from hilum.kernel.ids import TenantId
from hilum.policies.models import NUMBER_BOUND, TENANTS_BOUND
from hilum.rollouts import policy, service
from hilum.rollouts.models import (
    DECISIONS_BOUND,
    DWELL_BOUND,
    LEAST_DECISIONS,
    POINTS_BOUND,
    REFUSED_POINTS,
    RINGS_BOUND,
    SLOW_POINTS,
    Limits,
    Ring,
    Rollout,
    RolloutOrder,
    RolloutState,
)
from hilum.web.api import (
    Id,
    Page,
    Paging,
    Prose,
    Strict,
    api_router,
    audience,
    page_of,
    run_read,
    run_write,
)
from hilum.web.approvals import WAITS, waits
from hilum.web.kit import Kit

OWNERS = audience("platform_admin")
STAFF = audience("staff")
Number = Annotated[int, Field(ge=0, le=NUMBER_BOUND)]
Points = Annotated[int, Field(ge=1, le=POINTS_BOUND)]


class RingAsked(Strict):
    """``tenants`` is empty in the last ring, which is everywhere. ``dwell_s``: seconds before the next ring."""

    tenants: Annotated[tuple[Id, ...], Field(max_length=TENANTS_BOUND)] = ()
    dwell_s: Annotated[int, Field(ge=0, le=int(DWELL_BOUND.total_seconds()))]


class LimitsAsked(Strict):
    """How many percentage points the shares of refused decisions and of slow answers may rise by, and how many decisions a judgement needs."""

    refused_points: Points = REFUSED_POINTS
    slow_points: Points = SLOW_POINTS
    least_decisions: Annotated[int, Field(ge=1, le=DECISIONS_BOUND)] = LEAST_DECISIONS


class RolloutAsked(Strict):
    """``after``: ``last`` of the versions in force, as the caller has read it. The last ring is everywhere."""

    version: Number
    rings: Annotated[tuple[RingAsked, ...], Field(max_length=RINGS_BOUND)]
    after: Number
    reason: Prose
    limits: LimitsAsked = LimitsAsked()


class StopAsked(Strict):
    reason: Prose


class RolloutShown(BaseModel):
    """``before``: the versions in force when it began. ``measured``: the finding for each ring that it reached, and when."""

    id: str
    version: int
    digest: str
    state: RolloutState
    why: str
    rings: list[dict[str, Any]]
    limits: dict[str, Any]
    reason: str
    before: dict[str, Any]
    dry_run: str
    asked_by: str
    agreed_by: str
    began_at: datetime
    ended_at: datetime | None
    measured: dict[str, Any]

    @classmethod
    def of(cls, plan: Rollout) -> Self:
        """Build it of a rollout."""
        plain = {name: value for name, value in policy.document(plan).items() if name != "what"}
        return cls(
            **plain,
            state=plan.state,
            why=plan.why,
            ended_at=plan.ended_at,
            measured=dict(plan.measured),
        )


def api(kit: Kit) -> APIRouter:
    """Build the API routes of rollouts."""
    router = api_router(kit, "rollouts")

    @router.post(
        "/policies/rollouts",
        status_code=201,
        response_model=RolloutShown,
        responses=WAITS,
        openapi_extra=OWNERS,
    )
    async def start(request: Request, body: RolloutAsked) -> object:
        """Roll a version out in rings of hospitals. It goes back by itself on a regression. What allows something new waits for a second person (202)."""
        order = _order(body)
        await run_read(kit, request, partial(service.prepare, order=order))
        done = await run_write(kit, request, partial(service.start, order=order))
        return waits(done) if isinstance(done, Asked) else RolloutShown.of(done)

    @router.get("/policies/rollouts", response_model=Page[RolloutShown], openapi_extra=STAFF)
    async def list_rollouts(request: Request, query: Annotated[Paging, Query()]) -> object:
        """List rollouts, newest first."""
        found = await run_read(kit, request, partial(service.list_rollouts, page=query.page))
        return page_of(found, RolloutShown.of, query, key=lambda plan: plan.id)

    @router.get("/policies/rollouts/{rollout}", openapi_extra=STAFF)
    async def get_rollout(request: Request, rollout: Id) -> RolloutShown:
        """Show a rollout: its rings, its position and what was measured."""
        return RolloutShown.of(await run_read(kit, request, partial(service.view, plan_id=rollout)))

    @router.post("/policies/rollouts/{rollout}/stop", openapi_extra=OWNERS)
    async def stop(request: Request, rollout: Id, body: StopAsked) -> RolloutShown:
        """Stop a rollout where it is: it no longer advances or goes back. This takes one person."""
        verb = partial(service.stop, plan_id=rollout, reason=body.reason)
        return RolloutShown.of(await run_write(kit, request, verb))

    return router


def _order(body: RolloutAsked) -> RolloutOrder:
    rings = tuple(
        Ring(tuple(map(TenantId, each.tenants)), timedelta(seconds=each.dwell_s)) for each in body.rings
    )
    return RolloutOrder(body.version, rings, body.after, body.reason, Limits(**body.limits.model_dump()))
