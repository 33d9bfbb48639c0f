"""The API's tenants and people."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from hilum.identity import policy, service
from hilum.identity.models import (
    CREDENTIALS_BOUND,
    EHR_ORIGINS_BOUND,
    PEOPLE_PAGE_BOUND,
    PROXIES_BOUND,
    TENANTS_PAGE_BOUND,
    MovedReads,
    NewPerson,
    Tenant,
    TenantChange,
    UpstreamKind,
    UpstreamRef,
)
from hilum.kernel.errors import Invalid
from hilum.kernel.ids import PersonId, TenantId
from hilum.web.api import Id, Line, Page, Paging, Shown, Strict, Word, audience, change, look, page_of
from hilum.web.kit import Kit

Seal = Callable[[str, str], str]
"""(the text of an Authorization header, address of the FHIR server) -> sealed credentials."""


class UpstreamAsked(Strict):
    kind: UpstreamKind = UpstreamKind.EMBEDDED
    url: Word = ""
    authorization: Annotated[str, Field(max_length=CREDENTIALS_BOUND, pattern=r"^[\x20-\x7e]*$")] = ""
    """The Authorization header that the FHIR server wants; stored sealed and never shown."""


class NewTenantAsked(Strict):
    id: Annotated[str, Field(max_length=32)]
    name: Line
    upstream: UpstreamAsked = UpstreamAsked()
    base_url: Word = ""
    ehr_origins: Annotated[tuple[Word, ...], Field(max_length=EHR_ORIGINS_BOUND)] = ()
    moved_reads: MovedReads = MovedReads.REFUSE
    sandbox: bool = False


class TenantChangeAsked(Strict):
    name: Line | None = None
    upstream: UpstreamAsked | None = None
    base_url: Word | None = None
    ehr_origins: Annotated[tuple[Word, ...] | None, Field(max_length=EHR_ORIGINS_BOUND)] = None
    moved_reads: MovedReads | None = None
    active: bool | None = None


class TenantShown(BaseModel):
    id: str
    name: str
    upstream_kind: UpstreamKind
    upstream_url: str
    base_url: str
    ehr_origins: list[str]
    moved_reads: MovedReads
    sandbox: bool
    active: bool


class NewPersonAsked(Strict):
    """``tenant`` is left out for the platform's staff."""

    tenant: Id | None = None
    username: Line
    name: Line
    role: Line
    fhir_user: Word = ""
    patients: Annotated[tuple[Word, ...], Field(max_length=PROXIES_BOUND)] = ()


class PersonShown(Shown):
    id: str
    tenant: str | None
    username: str
    name: str
    role: str
    fhir_user: str
    patients: tuple[str, ...]
    active: bool
    created_at: datetime | None


class PeopleQuery(Paging):
    tenant: Id | None = None


def api(kit: Kit, seal: Seal) -> APIRouter:
    """Give the API routes of tenants and people. ``seal`` is the upstream room's."""
    router = APIRouter(prefix="/api/v1", tags=["identity"])
    _tenants(router, kit, seal)
    _people(router, kit)
    return router


def _tenants(router: APIRouter, kit: Kit, seal: Seal) -> None:
    @router.post("/tenants", status_code=201, openapi_extra=audience("platform_admin"))
    async def add_tenant(request: Request, body: NewTenantAsked) -> TenantShown:
        """Add a tenant; a synthetic one only to a sandbox platform."""
        if body.sandbox and not kit.is_sandbox:
            fields = {"sandbox": "sandbox_in_production"}
            raise Invalid("tenant_invalid", "The tenant cannot be added as described.", fields=fields)
        tenant = Tenant(
            id=TenantId(body.id),
            name=body.name,
            upstream=_upstream(body.upstream, seal),
            base_url=body.base_url,
            ehr_origins=body.ehr_origins,
            moved_reads=body.moved_reads,
            sandbox=body.sandbox,
        )
        return _tenant(await change(kit, request, partial(service.add_tenant, tenant=tenant)))

    @router.get("/tenants", response_model=Page[TenantShown], openapi_extra=audience("staff", "tenant_admin"))
    async def list_tenants(request: Request, query: Annotated[Paging, Query()]) -> object:
        """List the tenants that the caller may see."""
        verb = partial(service.view_tenants, after=query.after, limit=TENANTS_PAGE_BOUND)
        found = await look(kit, request, verb)
        return page_of(found, _tenant, bound=TENANTS_PAGE_BOUND, key=lambda each: each.id)

    @router.get("/tenants/{tenant}", openapi_extra=audience("staff", "tenant_admin"))
    async def get_tenant(request: Request, tenant: Id) -> TenantShown:
        """Show a tenant."""
        return _tenant(await look(kit, request, partial(service.view_tenant, tenant=TenantId(tenant))))

    @router.patch("/tenants/{tenant}", openapi_extra=audience("platform_admin", "tenant_admin"))
    async def update_tenant(request: Request, tenant: Id, body: TenantChangeAsked) -> TenantShown:
        """Change a tenant: its administrator its name and habits, the platform all but id and kind."""
        asked = TenantChange(
            name=body.name,
            base_url=body.base_url,
            ehr_origins=body.ehr_origins,
            moved_reads=body.moved_reads,
            active=body.active,
            upstream=None if body.upstream is None else _upstream(body.upstream, seal),
        )
        verb = partial(service.update_tenant, tenant_id=TenantId(tenant), change=asked)
        return _tenant(await change(kit, request, verb))


def _people(router: APIRouter, kit: Kit) -> None:
    @router.post("/people", status_code=201, openapi_extra=audience("platform_admin", "tenant_admin"))
    async def add_person(request: Request, body: NewPersonAsked) -> PersonShown:
        """Add somebody to a tenant, or to the staff. A password is set apart."""
        order = NewPerson(
            tenant=None if body.tenant is None else TenantId(body.tenant),
            username=body.username,
            name=body.name,
            role=body.role,
            fhir_user=body.fhir_user,
            patients=body.patients,
        )
        return PersonShown.model_validate(
            await change(kit, request, partial(service.add_person, order=order))
        )

    @router.get(
        "/people", response_model=Page[PersonShown], openapi_extra=audience("platform_admin", "tenant_admin")
    )
    async def list_people(request: Request, query: Annotated[PeopleQuery, Query()]) -> object:
        """List people of a tenant by username; without one, the staff."""
        tenant = None if query.tenant is None else TenantId(query.tenant)
        found = await look(kit, request, partial(service.list_people, tenant=tenant, after=query.after))
        return page_of(
            found, PersonShown.model_validate, bound=PEOPLE_PAGE_BOUND, key=lambda each: each.username
        )

    @router.get("/people/{person}", openapi_extra=audience("oneself", "platform_admin", "tenant_admin"))
    async def get_person(request: Request, person: Id) -> PersonShown:
        """Show somebody."""
        return PersonShown.model_validate(
            await look(kit, request, partial(service.view_person, person_id=PersonId(person)))
        )

    @router.delete("/people/{person}", openapi_extra=audience("platform_admin", "tenant_admin"))
    async def deactivate_person(request: Request, person: Id) -> PersonShown:
        """Deactivate somebody for good."""
        verb = partial(service.deactivate_person, person_id=PersonId(person))
        return PersonShown.model_validate(await change(kit, request, verb))


def _upstream(asked: UpstreamAsked, seal: Seal) -> UpstreamRef:
    upstream = UpstreamRef(asked.kind, asked.url)
    if fault := policy.upstream_fault(upstream):
        raise Invalid(
            "tenant_invalid", "The FHIR server cannot be reached as described.", fields={"upstream": fault}
        )
    if not asked.authorization:
        return upstream
    if asked.kind is UpstreamKind.EMBEDDED:
        fields = {"upstream": "credentials_unexpected"}
        raise Invalid("tenant_invalid", "The embedded FHIR server takes no credentials.", fields=fields)
    return replace(upstream, credentials_sealed=seal(asked.authorization, asked.url))


def _tenant(tenant: Tenant) -> TenantShown:
    return TenantShown(
        id=tenant.id,
        name=tenant.name,
        upstream_kind=tenant.upstream.kind,
        upstream_url=tenant.upstream.url,
        base_url=tenant.base_url,
        ehr_origins=list(tenant.ehr_origins),
        moved_reads=tenant.moved_reads,
        sandbox=tenant.sandbox,
        active=tenant.active,
    )
