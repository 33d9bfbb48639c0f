"""API routes of tenants and facilities."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ids import FacilityId, TenantId
from hilum.foundation.pictures import live as pictures
from hilum.foundation.pictures.models import ENCODED_BOUND
from hilum.foundation.web.api import (
    Id,
    Line,
    Page,
    Paging,
    Shown,
    Sorted,
    Strict,
    Word,
    api_router,
    audience,
    one_of,
    page_of,
    run_read,
    run_write,
)
from hilum.foundation.web.approvals import WAITS, waits
from hilum.foundation.web.kit import Kit
from hilum.foundation.web.urls import Urls
from hilum.identity.people import branding, policy, service
from hilum.identity.people.models import (
    ATTACHMENT_HOSTS_BOUND,
    CREDENTIALS_BOUND,
    EHR_ORIGINS_BOUND,
    HEADERS_BOUND,
    PEM_BOUND,
    PROFILES,
    QUIRKS_BOUND,
    SCOPE_BOUND,
    TENANT_SORTS,
    Branding,
    Facility,
    MovedReads,
    NewFacility,
    Tenant,
    TenantChange,
    TokenAuth,
    UpstreamKind,
    UpstreamRef,
    UpstreamSecrets,
)

Seal = Callable[[UpstreamSecrets, UpstreamRef], str]
"""Seals what a FHIR server accepts Hilum by, for that server alone."""
Secret = Annotated[str, Field(max_length=CREDENTIALS_BOUND, pattern=r"^[\x20-\x7e]*$")]
Pem = Annotated[str, Field(max_length=PEM_BOUND)]
ProfileName = Literal["azure", "epic", "google", "hapi", "medplum", "oracle"]


class UpstreamAsked(Strict):
    kind: UpstreamKind = UpstreamKind.EMBEDDED
    url: Word = ""
    authorization: Secret = ""
    """The Authorization header that the FHIR server requires; stored sealed and never shown."""
    token_auth: TokenAuth | None = None
    """Set if the server wants access tokens: how Hilum authenticates at ``token_url``, as ``client_id``."""
    token_url: Word = ""
    client_id: Word = ""
    scope: Annotated[str, Field(max_length=SCOPE_BOUND)] = ""
    client_secret: Secret = ""
    """Of ``client_id``; stored sealed and never shown. Not for ``private_key_jwt``, whose public keys are in ``upstream_jwks``."""
    headers: dict[str, Secret] = Field(default_factory=dict, max_length=HEADERS_BOUND)
    """Others that each request bears, such as the key of a subscription; stored sealed and never shown."""
    authorities: Pem = ""
    """Certificates in PEM by which the server's own is verified, in place of the system's."""
    certificate: Pem = ""
    """The certificate that Hilum shows to the server, with its chain, in PEM."""
    key: Pem = ""
    """Its private key in PEM, without a password; stored sealed and never shown."""
    public_url: Word = ""
    """The base that the server writes in its answers, if it differs from ``url``, for example behind a proxy."""
    attachment_hosts: Annotated[tuple[Word, ...], Field(max_length=ATTACHMENT_HOSTS_BOUND)] = ()
    """Apps see addresses of attachments only on these hosts; addresses on any other, and signed links on all, are withheld."""
    profile: ProfileName | None = None
    """Which product it is, whose quirks are added to ``quirks``."""
    quirks: Annotated[tuple[Word, ...], Field(max_length=QUIRKS_BOUND)] = ()
    """What it does otherwise than FHIR says: ``page=N``, ``no-form``, ``id-alone``, ``one-patient``, ``patient-criteria``, ``ignores=PARAMETER``."""


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
    language: Word | None = None
    """The language of pages for a browser that states none, ``en`` or ``es``; empty: English."""
    time_zone: Word | None = None
    """The zone of times on pages, such as ``Europe/Madrid``; empty: UTC."""


class BrandingAsked(Strict):
    """``colour``: such as ``#0b6b74``. ``logo``: a PNG or JPEG in base64, 16 to 512 pixels a side, at most 64 KiB. An empty text removes either."""

    colour: Word | None = None
    logo: Annotated[str | None, Field(max_length=ENCODED_BOUND)] = None


class TenantShown(BaseModel):
    id: str
    name: str
    upstream_kind: UpstreamKind
    upstream_url: str
    upstream_public_url: str
    upstream_token_auth: TokenAuth | None
    upstream_token_url: str
    upstream_client_id: str
    upstream_scope: str
    upstream_jwks: str
    """Where the server finds the keys of ``private_key_jwt``; empty for other ways."""
    attachment_hosts: list[str]
    quirks: list[str]
    base_url: str
    ehr_origins: list[str]
    moved_reads: MovedReads
    sandbox: bool
    active: bool
    colour: str
    logo: str
    """The digest of its logo, which is at ``/logos/hospital/{id}/{logo}.png``; empty if it has none."""
    left_at: datetime | None
    language: str = ""
    time_zone: str = ""


class FacilityAsked(Strict):
    """``reference``: ``Location/<id>`` or ``Organization/<id>`` at the hospital's FHIR server."""

    tenant: Id
    name: Line
    legal_entity: Line
    reference: Word


class FacilityShown(Shown):
    id: str
    tenant: str
    name: str
    legal_entity: str
    reference: str
    created_at: datetime
    removed_at: datetime | None


class TenantsQuery(Sorted):
    sort: Annotated[str, one_of(TENANT_SORTS)] = ""


class FacilitiesQuery(Paging):
    tenant: Id | None = None


AddFacility = Callable[[Context, NewFacility], Facility]
"""Adds a facility and lets the modules above follow (``installations.service.add_facility``)."""


def api(kit: Kit, seal: Seal, add_facility: AddFacility = service.add_facility) -> APIRouter:
    """Build the API routes of tenants and facilities. People are in enrolment's routes; ``seal`` comes from upstream."""
    router = api_router(kit, "identity")
    _tenants(router, kit, seal)
    _branding(router, kit)
    _facilities(router, kit, add_facility)
    return router


def _tenants(router: APIRouter, kit: Kit, seal: Seal) -> None:
    @router.post("/tenants", status_code=201, openapi_extra=audience("platform_admin"))
    async def add_tenant(request: Request, body: NewTenantAsked) -> TenantShown:
        """Add a tenant; on a sandbox platform a synthetic one only, elsewhere a real one only."""
        # A sandbox with one real hospital would not start again: its published credentials must reach nobody real.
        if body.sandbox != kit.is_sandbox:
            fields = {"sandbox": "sandbox_in_production" if body.sandbox else "real_in_sandbox"}
            raise Invalid("tenant_invalid", "The hospital cannot be added as described.", fields=fields)
        tenant = Tenant(
            id=TenantId(body.id),
            name=body.name,
            upstream=_upstream(body.upstream, seal),
            base_url=body.base_url,
            ehr_origins=body.ehr_origins,
            moved_reads=body.moved_reads,
            sandbox=body.sandbox,
        )
        return _tenant(await run_write(kit, request, partial(service.add_tenant, tenant=tenant)), kit.urls)

    @router.get(
        "/tenants", response_model=Page[TenantShown], openapi_extra=audience("staff", "administrator")
    )
    async def list_tenants(request: Request, query: Annotated[TenantsQuery, Query()]) -> object:
        """List the tenants that the caller may see."""
        tenants = await run_read(kit, request, partial(service.view_tenants, page=query.page))
        return page_of(
            tenants, lambda each: _tenant(each, kit.urls), query, key=TENANT_SORTS.cursor(query.sort)
        )

    @router.get("/tenants/{tenant}", openapi_extra=audience("staff", "administrator"))
    async def get_tenant(request: Request, tenant: Id) -> TenantShown:
        """Get a tenant."""
        found = await run_read(kit, request, partial(service.view_tenant, tenant=TenantId(tenant)))
        return _tenant(found, kit.urls)

    @router.patch(
        "/tenants/{tenant}",
        response_model=TenantShown,
        responses=WAITS,
        openapi_extra=audience("platform_admin", "administrator"),
    )
    async def update_tenant(request: Request, tenant: Id, body: TenantChangeAsked) -> object:
        """Change a tenant. Its administrator may change its name, ``moved_reads``, language and time zone.

        A change of its FHIR server, of the credentials for it or of ``base_url``, or a new origin of its EHR, waits for a second person (202).
        """
        change = TenantChange(
            name=body.name,
            base_url=body.base_url,
            ehr_origins=body.ehr_origins,
            moved_reads=body.moved_reads,
            active=body.active,
            language=body.language,
            time_zone=body.time_zone,
            upstream=None if body.upstream is None else _upstream(body.upstream, seal),
        )
        verb = partial(service.update_tenant, tenant_id=TenantId(tenant), change=change)
        outcome = await run_write(kit, request, verb)
        return _tenant(outcome, kit.urls) if isinstance(outcome, Tenant) else waits(outcome)


def _branding(router: APIRouter, kit: Kit) -> None:
    @router.put(
        "/tenants/{tenant}/branding", openapi_extra=audience("platform_admin", "administrator", large=True)
    )
    async def set_branding(request: Request, tenant: Id, body: BrandingAsked) -> TenantShown:
        """Set the colour and the logo that the hospital's sign-in, consent and connected-apps pages show; what is left out stays."""
        logo = None if body.logo is None else await pictures.decoded(body.logo, "logo")
        asked = Branding(body.colour, logo)
        verb = partial(branding.set_branding, tenant_id=TenantId(tenant), asked=asked)
        return _tenant(await run_write(kit, request, verb), kit.urls)


def _facilities(router: APIRouter, kit: Kit, added: AddFacility) -> None:
    rulers = audience("platform_admin", "administrator")

    @router.post("/facilities", status_code=201, response_model=FacilityShown, openapi_extra=rulers)
    async def add_facility(request: Request, body: FacilityAsked) -> object:
        """Add a facility to a hospital; apps that are installed for all facilities may be opened there."""
        order = NewFacility(TenantId(body.tenant), body.name, body.legal_entity, body.reference)
        return await run_write(kit, request, lambda ctx: added(ctx, order))

    @router.get(
        "/facilities", response_model=Page[FacilityShown], openapi_extra=audience("staff", "administrator")
    )
    async def list_facilities(request: Request, query: Annotated[FacilitiesQuery, Query()]) -> object:
        """List the facilities in use."""
        tenant = None if query.tenant is None else TenantId(query.tenant)
        facilities = await run_read(
            kit, request, partial(service.list_facilities, tenant=tenant, page=query.page)
        )
        return page_of(facilities, FacilityShown.model_validate, query)

    @router.delete("/facilities/{facility}", response_model=FacilityShown, openapi_extra=rulers)
    async def remove_facility(request: Request, facility: Id) -> object:
        """Remove a facility; launches and tokens there stop at once."""
        verb = partial(service.remove_facility, facility_id=FacilityId(facility))
        return await run_write(kit, request, verb)


def _upstream(asked: UpstreamAsked, seal: Seal) -> UpstreamRef:
    secrets = UpstreamSecrets(asked.authorization, asked.client_secret, asked.headers, asked.key)
    known = PROFILES[asked.profile].quirks if asked.profile else ()
    upstream = UpstreamRef(
        asked.kind,
        asked.url,
        public_url=asked.public_url,
        attachment_hosts=asked.attachment_hosts,
        token_auth=asked.token_auth,
        token_url=asked.token_url,
        client_id=asked.client_id,
        scope=asked.scope,
        authorities=asked.authorities,
        certificate=asked.certificate,
        quirks=tuple(dict.fromkeys((*known, *asked.quirks))),
    )
    # Checked before sealing, which binds the credentials to the host.
    if fault := policy.upstream_fault(upstream) or policy.secrets_fault(upstream, secrets):
        raise Invalid(
            "tenant_invalid", "The FHIR server cannot be reached as described.", fields={"upstream": fault}
        )
    if secrets == UpstreamSecrets():
        return upstream
    return replace(upstream, credentials_sealed=seal(secrets, upstream))


def _tenant(tenant: Tenant, urls: Urls) -> TenantShown:
    return TenantShown(
        id=tenant.id,
        name=tenant.name,
        upstream_kind=tenant.upstream.kind,
        upstream_url=tenant.upstream.url,
        upstream_public_url=tenant.upstream.public_url,
        upstream_token_auth=tenant.upstream.token_auth,
        upstream_token_url=tenant.upstream.token_url,
        upstream_client_id=tenant.upstream.client_id,
        upstream_scope=tenant.upstream.scope,
        upstream_jwks=urls.upstream_jwks(tenant.id) if tenant.upstream.token_auth is TokenAuth.KEY else "",
        attachment_hosts=list(tenant.upstream.attachment_hosts),
        quirks=list(tenant.upstream.quirks),
        base_url=tenant.base_url,
        ehr_origins=list(tenant.ehr_origins),
        moved_reads=tenant.moved_reads,
        sandbox=tenant.sandbox,
        active=tenant.active,
        colour=tenant.colour,
        logo=tenant.logo,
        language=tenant.language,
        time_zone=tenant.time_zone,
        left_at=tenant.left_at,
    )
