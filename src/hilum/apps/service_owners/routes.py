"""API routes of mandates."""

from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.requests import Request

from hilum.apps.service_owners import policy, service
from hilum.apps.service_owners.models import SORTS, Mandate, MandateQuery, MandateState, NewMandate
from hilum.foundation.kernel.ids import ClientId, PersonId, TenantId
from hilum.foundation.web.api import (
    ONESELF,
    Id,
    Moment,
    Page,
    Prose,
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

# Every person of a hospital may be an approver; the verbs show each their own mandates.
EVERYBODY = audience(ONESELF)


class MandateAsked(Strict):
    """Without ``ends_at`` it ends when the client does."""

    tenant: Id
    client: Id
    approver: Id
    ends_at: Moment | None = None


class MandateEnded(Strict):
    reason: Prose


class MandateShown(BaseModel):
    """``lost_at``: when its approver's loss began, which is a finding until another one agrees."""

    id: str
    tenant: str
    client: str
    app: str
    vendor: str
    state: MandateState
    purpose: str
    population: str
    schedule: str
    approver: str
    asked_by: str
    asked_at: datetime
    ends_at: datetime
    agreed_at: datetime | None
    ended_at: datetime | None
    ended_by: str
    end_reason: str
    lost_at: datetime | None

    @classmethod
    def of(cls, mandate: Mandate, now: datetime) -> "MandateShown":
        shown = {name: getattr(mandate, name) for name in cls.model_fields if name != "state"}
        return cls(state=policy.state_of(mandate, now), **shown)


class MandatesQuery(Sorted):
    """``findings``: only mandates whose approver was lost and that are not over."""

    tenant: Id | None = None
    findings: bool = False
    sort: Annotated[str, one_of(SORTS)] = ""


def api(kit: Kit) -> APIRouter:
    """Build the API routes of mandates."""
    router = api_router(kit, "mandates")

    def shown(mandate: Mandate) -> MandateShown:
        return MandateShown.of(mandate, kit.clock.now())

    @router.post(
        "/mandates", status_code=201, response_model=MandateShown, openapi_extra=audience("administrator")
    )
    async def ask(request: Request, body: MandateAsked) -> object:
        """Ask a person of your hospital to answer for a backend service; they agree themselves."""
        order = NewMandate(
            TenantId(body.tenant), ClientId(body.client), PersonId(body.approver), body.ends_at
        )
        return shown(await run_write(kit, request, partial(service.ask, order=order)))

    @router.get("/mandates", response_model=Page[MandateShown], openapi_extra=EVERYBODY)
    async def list_mandates(request: Request, query: Annotated[MandatesQuery, Query()]) -> object:
        """List mandates: your organisation's, or those that name you."""
        asked = MandateQuery(tenant=query.tenant or "", findings=query.findings)
        verb = partial(service.list_mandates, query=asked, page=query.page)
        return page_of(await run_read(kit, request, verb), shown, query, key=SORTS.cursor(query.sort))

    @router.get("/mandates/{mandate}", response_model=MandateShown, openapi_extra=EVERYBODY)
    async def get_mandate(request: Request, mandate: Id) -> object:
        """Get one mandate: what its approver is asked to agree to, or agreed to."""
        return shown(await run_read(kit, request, partial(service.get_mandate, mandate_id=mandate)))

    @router.post("/mandates/{mandate}/agree", response_model=MandateShown, openapi_extra=EVERYBODY)
    async def agree(request: Request, mandate: Id) -> object:
        """Agree to purpose, population, schedule and end, as the approver whom it names."""
        return shown(await run_write(kit, request, partial(service.agree, mandate_id=mandate)))

    @router.post("/mandates/{mandate}/end", response_model=MandateShown, openapi_extra=EVERYBODY)
    async def end(request: Request, mandate: Id, body: MandateEnded) -> object:
        """End a mandate, or decline it; the service gets no new tokens from then on."""
        verb = partial(service.end, mandate_id=mandate, reason=body.reason)
        return shown(await run_write(kit, request, verb))

    return router
