"""API routes of hospitals' identity providers, of the hosts that may serve them, and of links between subjects and accounts."""

from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ids import PersonId, TenantId
from hilum.foundation.web.api import (
    Id,
    Line,
    Page,
    Paging,
    Shown,
    Strict,
    Word,
    api_router,
    audience,
    caller,
    page_of,
    run_read,
    run_write,
)
from hilum.foundation.web.approvals import WAITS, waits
from hilum.foundation.web.kit import Kit, trace_of
from hilum.identity.federation import live, policy, service
from hilum.identity.federation.live import Providers
from hilum.identity.federation.models import (
    ROWS_BOUND,
    SCOPES_BOUND,
    SECRET_BOUND,
    ClientAuth,
    Host,
    LinkBy,
    LinkedPerson,
    Passwords,
    Provider,
    RoleRow,
    Settings,
)
from hilum.identity.federation.service import Change
from hilum.identity.federation.trial import try_out
from hilum.records.keys.live import vault

KEEPERS = audience("platform_admin", "administrator")
READERS = audience("staff", "administrator")
HOST_KEEPERS = audience("platform_admin")
Words = Annotated[tuple[Word, ...], Field(max_length=SCOPES_BOUND)]


class Row(Strict):
    """A value of the role claim, and the role that it gives."""

    value: Line
    role: Word


class ProviderAsked(Strict):
    """Settings of a provider. An omitted one keeps its value, or has its default in a new provider. ``client_secret`` is stored sealed.

    ``passwords``: which people of the hospital may also sign in with a password. ``adds_people``: unknown people get an account at their
    first sign-in. ``link_by``: the claim by which a subject is matched with an existing account.
    """

    name: Line | None = None
    issuer: Word | None = None
    client_id: Line | None = None
    client_auth: ClientAuth | None = None
    client_secret: Annotated[str, Field(max_length=SECRET_BOUND, pattern=r"^[\x20-\x7e]*$")] = ""
    algorithm: Word | None = None
    scopes: Words | None = None
    subject_claim: Word | None = None
    username_claim: Word | None = None
    name_claim: Word | None = None
    fhir_user_claim: Word | None = None
    role_claim: Word | None = None
    role_table: Annotated[tuple[Row, ...] | None, Field(max_length=ROWS_BOUND)] = None
    roles: Annotated[tuple[Word, ...] | None, Field(max_length=20)] = None
    userinfo: bool | None = None
    adds_people: bool | None = None
    link_by: LinkBy | None = None
    passwords: Passwords | None = None
    acr_values: Words | None = None
    factor_amr: Words | None = None
    factor_acr: Words | None = None
    max_age_s: int | None = None
    session_life_s: int | None = None
    active: bool | None = None


class NewProviderAsked(ProviderAsked):
    """As ``ProviderAsked``, for a hospital."""

    tenant: Id


class ProviderChangeAsked(ProviderAsked):
    """As ``ProviderAsked``. ``number``: the ``number`` of the provider that you read."""

    number: int


class ProviderShown(BaseModel):
    """A provider. Register ``redirect_uri`` there, and ``backchannel_logout_uri`` if it sends logout tokens."""

    id: str
    tenant: str
    number: int
    name: str
    issuer: str
    client_id: str
    client_auth: ClientAuth
    algorithm: str
    scopes: list[str]
    subject_claim: str
    username_claim: str
    name_claim: str
    fhir_user_claim: str
    role_claim: str
    role_table: list[Row]
    roles: list[str]
    userinfo: bool
    adds_people: bool
    link_by: LinkBy
    passwords: Passwords
    acr_values: list[str]
    factor_amr: list[str]
    factor_acr: list[str]
    max_age_s: int
    session_life_s: int
    active: bool
    redirect_uri: str
    post_logout_redirect_uri: str
    backchannel_logout_uri: str
    changed_at: datetime
    changed_by: str


class FindingShown(Shown):
    check: str
    ok: bool
    detail: str


class TrialShown(Shown):
    """The checks of a trial; ``ok`` if all of them passed."""

    ok: bool
    findings: list[FindingShown]


class HostAsked(Strict):
    """``origin``: scheme, host and port, such as https://login.hospital.example."""

    origin: Word


class HostShown(Shown):
    id: str
    origin: str
    added_at: datetime
    added_by: str


class LinkAsked(Strict):
    """``subject`` is what the provider states about the person, usually in ``sub``."""

    provider: Id
    person: Id
    subject: Line


class LinkShown(Shown):
    id: str
    tenant: str
    issuer: str
    subject: str
    person: str
    linked_at: datetime
    linked_by: str
    seen_at: datetime | None


class OfTenant(Paging):
    tenant: Id | None = None

    @property
    def place(self) -> TenantId | None:
        return None if self.tenant is None else TenantId(self.tenant)


def api(kit: Kit, providers: Providers, end_grants: service.EndGrants, *, loopback: bool) -> APIRouter:
    """Build the API routes. ``loopback``: hosts of this machine may be allowed, in a plain sandbox."""
    router = api_router(kit, "federation")
    _providers(router, kit, providers)
    _hosts(router, kit, loopback=loopback)
    _links(router, kit, end_grants)
    return router


def _providers(router: APIRouter, kit: Kit, providers: Providers) -> None:
    @router.post(
        "/identity-providers",
        status_code=201,
        response_model=ProviderShown,
        responses=WAITS,
        openapi_extra=KEEPERS,
    )
    async def add_provider(request: Request, body: NewProviderAsked) -> object:
        """Set up an identity provider of a hospital; it waits for a second person (202)."""
        change = _change(body, kit, Settings("", "", ""))
        verb = partial(service.add_provider, tenant=TenantId(body.tenant), change=change)
        outcome = await run_write(kit, request, verb)
        return _shown(outcome, kit) if isinstance(outcome, Provider) else waits(outcome)

    @router.get("/identity-providers", response_model=Page[ProviderShown], openapi_extra=READERS)
    async def list_providers(request: Request, query: Annotated[OfTenant, Query()]) -> object:
        """List identity providers, at most four a hospital."""
        verb = partial(service.list_providers, tenant=query.place, page=query.page)
        return page_of(await run_read(kit, request, verb), partial(_shown, kit=kit), query)

    @router.get("/identity-providers/{provider}", response_model=ProviderShown, openapi_extra=READERS)
    async def get_provider(request: Request, provider: Id) -> object:
        """Show an identity provider."""
        return _shown(await run_read(kit, request, partial(service.view_provider, provider_id=provider)), kit)

    @router.patch(
        "/identity-providers/{provider}",
        response_model=ProviderShown,
        responses=WAITS,
        openapi_extra=KEEPERS,
    )
    async def change_provider(request: Request, provider: Id, body: ProviderChangeAsked) -> object:
        """Change an identity provider. A change that only narrows applies at once; any other waits for a second person (202)."""
        actor = await caller(kit, request)
        trace = trace_of(request)
        view = partial(service.view_provider, provider_id=provider)
        before = await kit.uow.read(view, actor=actor, trace=trace)
        change = _change(body, kit, before.settings)
        verb = partial(service.change_provider, provider_id=provider, change=change, number=body.number)
        outcome = await kit.uow.write(verb, actor=actor, trace=trace)
        return _shown(outcome, kit) if isinstance(outcome, Provider) else waits(outcome)

    @router.post("/identity-providers/{provider}/try", response_model=TrialShown, openapi_extra=KEEPERS)
    async def try_provider(request: Request, provider: Id) -> object:
        """Check everything that a sign-in needs: discovery, keys, clock, the client's credentials and its redirect URI."""
        result, allowed = await run_write(kit, request, partial(service.trial, provider_id=provider))
        returns_to = kit.urls.returns_to(result.tenant, result.id)
        return await try_out(providers, result, allowed, returns_to=returns_to, clock=kit.clock)


def _hosts(router: APIRouter, kit: Kit, *, loopback: bool) -> None:
    @router.post(
        "/identity-provider-hosts",
        status_code=201,
        response_model=HostShown,
        responses=WAITS,
        openapi_extra=HOST_KEEPERS,
    )
    async def add_host(request: Request, body: HostAsked) -> object:
        """Allow a host to serve identity providers; it waits for a second person (202)."""
        verb = partial(service.add_host, origin=body.origin, loopback=loopback)
        outcome = await run_write(kit, request, verb)
        return outcome if isinstance(outcome, Host) else waits(outcome)

    @router.get("/identity-provider-hosts", response_model=Page[HostShown], openapi_extra=READERS)
    async def list_hosts(request: Request, query: Annotated[Paging, Query()]) -> object:
        """List the hosts that may serve identity providers."""
        listed = await run_read(kit, request, partial(service.list_hosts, page=query.page))
        return page_of(listed, HostShown.model_validate, query)

    @router.delete("/identity-provider-hosts/{host}", status_code=204, openapi_extra=HOST_KEEPERS)
    async def remove_host(request: Request, host: Id) -> None:
        """Remove a host from the list. Nobody is redirected there, and nothing is fetched from it, from then on."""
        await run_write(kit, request, partial(service.remove_host, host_id=host))


def _links(router: APIRouter, kit: Kit, end_grants: service.EndGrants) -> None:
    @router.post(
        "/identity-links", status_code=201, response_model=LinkShown, responses=WAITS, openapi_extra=KEEPERS
    )
    async def link(request: Request, body: LinkAsked) -> object:
        """Link a subject of a provider with an account; it waits for a second person (202)."""
        verb = partial(
            service.link, provider_id=body.provider, subject=body.subject, person_id=PersonId(body.person)
        )
        outcome = await run_write(kit, request, verb)
        return outcome if isinstance(outcome, LinkedPerson) else waits(outcome)

    @router.get("/identity-links", response_model=Page[LinkShown], openapi_extra=READERS)
    async def list_links(request: Request, query: Annotated[OfTenant, Query()]) -> object:
        """List who is linked with which subject of a provider."""
        verb = partial(service.list_links, tenant=query.place, page=query.page)
        return page_of(await run_read(kit, request, verb), LinkShown.model_validate, query)

    @router.delete("/identity-links/{link}", status_code=204, openapi_extra=KEEPERS)
    async def unlink(request: Request, link: Id) -> None:
        """Remove a link; the person's sessions and API tokens end, and what apps hold for them, offline access too."""
        await run_write(kit, request, partial(service.unlink, link_id=link, end_grants=end_grants))


def _change(asked: ProviderAsked, kit: Kit, before: Settings) -> Change:
    sent: dict[str, Any] = {
        name: value
        for name in Settings.__dataclass_fields__
        if (value := getattr(asked, name, None)) is not None
    }
    if asked.role_table is not None:
        sent["role_table"] = tuple(RoleRow(row.value, row.role) for row in asked.role_table)
    settings = replace(before, **sent)
    if not asked.client_secret:
        return Change(settings)
    # A secret is sealed for an issuer, so there must be one.
    if not settings.issuer:
        raise Invalid(
            "provider_invalid", "The provider cannot be set up as described.", fields={"issuer": "missing"}
        )
    if fault := policy.secret_fault(settings, asked.client_secret):
        raise Invalid(
            "provider_invalid",
            "The provider cannot be set up as described.",
            fields={"client_secret": fault},
        )
    return Change(settings, live.seal_secret(vault(), asked.client_secret, settings.issuer, kit.ids))


def _shown(provider: Provider, kit: Kit) -> ProviderShown:
    settings = provider.settings
    fields = {name: getattr(settings, name) for name in Settings.__dataclass_fields__}
    fields["role_table"] = [Row(value=row.value, role=row.role) for row in settings.role_table]
    urls = kit.urls
    return ProviderShown(
        id=provider.id,
        tenant=provider.tenant,
        number=provider.number,
        redirect_uri=urls.returns_to(provider.tenant, provider.id),
        post_logout_redirect_uri=urls.signout(provider.tenant),
        backchannel_logout_uri=urls.provider_logout(provider.tenant, provider.id),
        changed_at=provider.changed_at,
        changed_by=provider.changed_by,
        **fields,
    )
