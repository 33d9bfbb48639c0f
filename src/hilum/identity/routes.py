"""The API's routes of tenants."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from hilum.identity import policy, service
from hilum.identity.models import (
    ATTACHMENT_HOSTS_BOUND,
    CREDENTIALS_BOUND,
    EHR_ORIGINS_BOUND,
    MovedReads,
    Tenant,
    TenantChange,
    UpstreamKind,
    UpstreamRef,
)
from hilum.kernel.errors import Invalid
from hilum.kernel.ids import TenantId
from hilum.web.api import (
    Id,
    Line,
    Page,
    Paging,
    Strict,
    Word,
    api_router,
    audience,
    page_of,
    run_read,
    run_write,
)
from hilum.web.approvals import WAITS, waits
from hilum.web.kit import Kit

Seal = Callable[[str, str], str]
"""(the text of an Authorization header, address of the FHIR server) -> sealed credentials."""


class UpstreamAsked(Strict):
    kind: UpstreamKind = UpstreamKind.EMBEDDED
    url: Word = ""
    authorization: Annotated[str, Field(max_length=CREDENTIALS_BOUND, pattern=r"^[\x20-\x7e]*$")] = ""
    """The Authorization header that the FHIR server requires; stored sealed and never shown."""
    public_url: Word = ""
    """The base that the server writes in its answers, if it differs from ``url``, for example behind a proxy."""
    attachment_hosts: Annotated[tuple[Word, ...], Field(max_length=ATTACHMENT_HOSTS_BOUND)] = ()
    """Apps see addresses of attachments only on these hosts; addresses on any other, and signed links on all, are withheld."""


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
    upstream_public_url: str
    attachment_hosts: list[str]
    base_url: str
    ehr_origins: list[str]
    moved_reads: MovedReads
    sandbox: bool
    active: bool


def api(kit: Kit, seal: Seal) -> APIRouter:
    """Build the API routes of tenants. People are in enrolment's routes; ``seal`` comes from upstream."""
    router = api_router(kit, "identity")
    _tenants(router, kit, seal)
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
        return _tenant(await run_write(kit, request, partial(service.add_tenant, tenant=tenant)))

    @router.get(
        "/tenants", response_model=Page[TenantShown], openapi_extra=audience("staff", "administrator")
    )
    async def list_tenants(request: Request, query: Annotated[Paging, Query()]) -> object:
        """List the tenants that the caller may see."""
        found = await run_read(kit, request, partial(service.view_tenants, page=query.page))
        return page_of(found, _tenant, query)

    @router.get("/tenants/{tenant}", openapi_extra=audience("staff", "administrator"))
    async def get_tenant(request: Request, tenant: Id) -> TenantShown:
        """Show a tenant."""
        return _tenant(await run_read(kit, request, partial(service.view_tenant, tenant=TenantId(tenant))))

    @router.patch(
        "/tenants/{tenant}",
        response_model=TenantShown,
        responses=WAITS,
        openapi_extra=audience("platform_admin", "administrator"),
    )
    async def update_tenant(request: Request, tenant: Id, body: TenantChangeAsked) -> object:
        """Change a tenant: its administrator its name and habits, the platform all but id and kind.

        Another FHIR server, other credentials for it, another origin and another EHR's origin wait, with the whole change, for a second
        person (202).
        """
        asked = TenantChange(
            name=body.name,
            base_url=body.base_url,
            ehr_origins=body.ehr_origins,
            moved_reads=body.moved_reads,
            active=body.active,
            upstream=None if body.upstream is None else _upstream(body.upstream, seal),
        )
        verb = partial(service.update_tenant, tenant_id=TenantId(tenant), change=asked)
        found = await run_write(kit, request, verb)
        return _tenant(found) if isinstance(found, Tenant) else waits(found)


def _upstream(asked: UpstreamAsked, seal: Seal) -> UpstreamRef:
    hosts = asked.attachment_hosts
    upstream = UpstreamRef(asked.kind, asked.url, public_url=asked.public_url, attachment_hosts=hosts)
    # Before sealing: credentials are bound to the host of a valid address.
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
        upstream_public_url=tenant.upstream.public_url,
        attachment_hosts=list(tenant.upstream.attachment_hosts),
        base_url=tenant.base_url,
        ehr_origins=list(tenant.ehr_origins),
        moved_reads=tenant.moved_reads,
        sandbox=tenant.sandbox,
        active=tenant.active,
    )
