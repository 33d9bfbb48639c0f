"""API routes of what hospitals share of their approvals."""

from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, StringConstraints
from starlette.requests import Request

from hilum.kernel.ids import AppId, TenantId
from hilum.precedents import service
from hilum.precedents.models import REASONS_BOUND, WHOLE, Kind, SharingOrder
from hilum.web.api import (
    Id,
    Line,
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
from hilum.web.kit import Kit

READERS = audience("staff", "administrator")
# As many, and as long, as fit into a request's line and headers (32 KiB) with every character escaped.
SCOPES_ASKED = 30
ROLES_ASKED = 20
Scope = Annotated[Word, StringConstraints(max_length=200)]
Role = Annotated[Line, StringConstraints(max_length=40)]


class PrecedentsAsked(Strict):
    """``scope`` (at most 30) and ``role``: what you would grant; by default what you grant already, or else everything certified."""

    app: Id
    scope: Annotated[tuple[Scope, ...], Field(max_length=SCOPES_ASKED)] = ()
    role: Annotated[frozenset[Role], Field(max_length=ROLES_ASKED)] = frozenset()


class SharingAsked(Strict):
    """``app`` null: every app without its own choice.

    ``shares`` null: for an app, as the hospital chose in general. ``reasons``: why the app was approved, shown to other hospitals.
    """

    app: Id | None = None
    shares: bool | None = None
    reasons: Annotated[str, Field(max_length=REASONS_BOUND)] = ""


class SharingShown(Shown):
    """``app`` is ``*`` for the general choice."""

    app: str
    shares: bool
    reasons: str
    changed_by: str
    changed_at: datetime


class TermsShown(Shown):
    """``asked``: the scopes certified then. ``everywhere``: at all facilities. ``pinned``: limited to networks."""

    scopes: list[str]
    asked: list[str]
    roles: frozenset[str] | None
    agreements: frozenset[str]
    everywhere: bool
    workflow: str
    pinned: bool
    expires_at: datetime | None


class ControlShown(Shown):
    kind: Kind
    what: list[str]
    sentence: str


class PrecedentShown(Shown):
    """``open``: terms that differ from yours, for you to decide; ``same``: those that do not."""

    tenant: str
    hospital: str
    terms: TermsShown
    approved_at: datetime
    validated_at: datetime | None
    reasons: str
    open: list[ControlShown]
    same: list[Kind]


class ScenarioOutcome(Shown):
    title: str
    outcome: str


class EvidenceShown(Shown):
    """The certified run: its signed result by digest, key and signature."""

    certification: str
    run: str
    ended_at: datetime
    scenarios: list[ScenarioOutcome]
    result: str
    kid: str
    signature: str


class PrecedentsShown(BaseModel):
    items: list[PrecedentShown]
    evidence: EvidenceShown | None


def api(kit: Kit) -> APIRouter:
    """Build the API routes of precedents."""
    router = api_router(kit, "precedents")

    @router.get("/tenants/{tenant}/precedents", openapi_extra=READERS)
    async def list_precedents(
        request: Request, tenant: Id, query: Annotated[PrecedentsAsked, Query()]
    ) -> PrecedentsShown:
        """Show the approvals of an app that other hospitals share, and how their terms differ from this hospital's."""
        verb = partial(
            service.find,
            tenant_id=TenantId(tenant),
            app_id=AppId(query.app),
            scopes=query.scope or None,
            roles=query.role or None,
        )
        found = await run_read(kit, request, verb)
        return PrecedentsShown(
            items=[PrecedentShown.model_validate(each) for each in found.items],
            evidence=None if found.evidence is None else EvidenceShown.model_validate(found.evidence),
        )

    @router.get("/tenants/{tenant}/sharing", response_model=Page[SharingShown], openapi_extra=READERS)
    async def list_sharing(request: Request, tenant: Id, query: Annotated[Paging, Query()]) -> object:
        """List which of its approvals a hospital shares, by app."""
        verb = partial(service.list_sharing, tenant=TenantId(tenant), page=query.page)
        found = await run_read(kit, request, verb)
        return page_of(found, SharingShown.model_validate, query, key=lambda each: str(each.app))

    @router.put("/tenants/{tenant}/sharing", openapi_extra=audience("administrator"))
    async def set_sharing(request: Request, tenant: Id, body: SharingAsked) -> SharingShown | None:
        """Set whether a hospital shares its approval of an app, or of every one. Nothing is shared before that."""
        app = None if body.app in {None, WHOLE} else AppId(body.app or "")
        order = SharingOrder(TenantId(tenant), app, body.shares, body.reasons)
        made = await run_write(kit, request, partial(service.set_sharing, order=order))
        return None if made is None else SharingShown.model_validate(made)

    return router
