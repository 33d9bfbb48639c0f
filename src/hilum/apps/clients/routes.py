"""API routes of clients and of the system clients of a tenant."""

from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field
from starlette.requests import Request

from hilum.apps.clients import service
from hilum.apps.clients.models import (
    A_DAY_BOUND,
    ORIGINS_BOUND,
    REDIRECT_URIS_BOUND,
    SECRET_OVERLAP,
    SECRET_OVERLAP_MAX,
    BackendUse,
    Client,
    ClientEdit,
    ClientMetadata,
    ClientType,
    Deployment,
    NewClient,
    NewSystemClient,
)
from hilum.apps.clients.transfers import Transferred, ignored
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import EditState, Environment
from hilum.foundation.kernel.ids import AppId, ClientId, TenantId, VendorId, VersionId
from hilum.foundation.web.api import (
    Id,
    Line,
    Moment,
    Page,
    Paging,
    Prose,
    Shown,
    Strict,
    Word,
    api_router,
    audience,
    page_of,
    run_read,
    run_write,
)
from hilum.foundation.web.approvals import (
    WAITS,
    ApprovalAsked,
    may_wait_for_reviewer,
    waits,
    waits_for_reviewer,
)
from hilum.foundation.web.kit import Kit
from hilum.foundation.web.reviewed import add_reviewed

DailyBound = Annotated[int, Field(ge=0, le=A_DAY_BOUND)]


class BackendUseAsked(Strict):
    """``calls_a_day``, ``writes_a_day``: the most that it does in a day at one hospital; ``patients_a_day``: whose records it reads then.

    ``hours``: when it calls, in UTC, such as ``22:00-05:00`` or ``mon-fri 22:00-05:00``.
    """

    purpose: Prose
    population: Prose
    schedule: Prose
    approver: Prose = ""
    calls_a_day: DailyBound | None = None
    writes_a_day: DailyBound | None = None
    patients_a_day: DailyBound | None = None
    hours: Line | None = None


class ClientAsked(Strict):
    """Named as in RFC 7591 where it has the field. ``scope`` is space-separated."""

    app: Id
    version: Id
    client_name: Line
    client_type: ClientType
    deployment: Deployment
    environment: Environment = Environment.SANDBOX
    # Twice the bound: one more than allowed is refused by the
    # module, with its code, and only absurd lists by the schema.
    redirect_uris: Annotated[tuple[str, ...], Field(max_length=REDIRECT_URIS_BOUND * 2)] = ()
    launch_url: str = ""
    origins: Annotated[tuple[str, ...], Field(max_length=ORIGINS_BOUND * 2)] = ()
    scope: Annotated[str, Field(max_length=20_000)] = ""
    jwks: dict[str, Any] | None = None
    jwks_uri: str = ""
    grant_types: Annotated[tuple[str, ...], Field(max_length=10)] = ()
    expires_at: Moment | None = None
    backend_use: BackendUseAsked | None = None


class SystemClientAsked(Strict):
    client_type: ClientType
    client_name: Line


class SecretAsked(Strict):
    overlap_s: Annotated[int, Field(ge=0, le=int(SECRET_OVERLAP_MAX.total_seconds()))] = int(
        SECRET_OVERLAP.total_seconds()
    )


class EditAsked(Strict):
    """Omitted fields stay. ``revision`` is the one that was read. ``jwks`` replaces ``jwks_uri``, and the other way round."""

    revision: Word
    redirect_uris: Annotated[tuple[str, ...], Field(max_length=REDIRECT_URIS_BOUND * 2)] | None = None
    launch_url: Annotated[str, Field(max_length=2_000)] | None = None
    origins: Annotated[tuple[str, ...], Field(max_length=ORIGINS_BOUND * 2)] | None = None
    scope: Annotated[str, Field(max_length=20_000)] | None = None
    jwks: dict[str, Any] | None = None
    jwks_uri: Annotated[str, Field(max_length=2_000)] | None = None
    grant_types: Annotated[tuple[str, ...], Field(max_length=10)] | None = None


class ChangeShown(Shown):
    """An edit of a certified production client. ``order`` replaces ``before`` once a reviewer agrees."""

    id: str
    client: str
    app: str
    vendor: str
    order: dict[str, Any]
    before: dict[str, Any]
    asked_by: str
    asked_at: datetime
    state: EditState
    decided_by: str
    decided_at: datetime | None
    reason: str


class TransferAsked(Strict):
    to: Id


class TransferShown(Shown):
    app: str
    vendor: str
    to: str
    asked_by: str
    asked_at: datetime
    expires_at: datetime


class AdoptAsked(Strict):
    version: Id


class SecretShown(Shown):
    expires_at: datetime | None


class ClientShown(Shown):
    """Of each secret, ``secrets`` shows only when it ends."""

    id: str
    app: str
    version: str
    environment: Environment
    type: ClientType
    deployment: Deployment
    name: str
    redirect_uris: tuple[str, ...]
    launch_uri: str
    origins: tuple[str, ...]
    scopes: tuple[str, ...]
    # The model has no field for the digest, so no list or page can show it by mistake.
    secrets: tuple[SecretShown, ...]
    jwks: dict[str, Any] | None
    jwks_uri: str
    grant_types: tuple[str, ...]
    expires_at: datetime | None
    dynamic: bool
    created_at: datetime | None
    revision: str


class ClientMade(ClientShown):
    """``client_secret`` is shown only in this response; null for a client without one."""

    client_secret: str | None = None


SYSTEM_CLIENT_KEEPERS = audience("platform_admin", "administrator")
DEVELOPERS = audience("platform_admin", "vendor_owner", "vendor_developer")
ROTATORS = audience("platform_admin", "administrator", "vendor_owner", "vendor_developer", "vendor_security")
READERS = audience("staff", "administrator", "member")


def api(kit: Kit, *, barred: registry.Barred, transferred: Transferred = ignored) -> APIRouter:
    """Build the API routes of clients. ``transferred`` is called for each app that has another vendor."""
    router = api_router(kit, "registry")
    _clients(router, kit)
    _changes(router, kit, barred)
    _transfers(router, kit, transferred)
    return router


def _transfers(router: APIRouter, kit: Kit, transferred: Transferred) -> None:
    owners, path = audience("vendor_owner"), "/apps/{app}/transfer"

    @router.post(path, status_code=201, response_model=TransferShown, openapi_extra=owners)
    async def offer_app(request: Request, app: Id, body: TransferAsked) -> object:
        """Offer an app to another vendor, whose owner must agree within two weeks."""
        verb = partial(service.offer_app, app_id=AppId(app), to=VendorId(body.to))
        return await run_write(kit, request, verb)

    @router.get(path, response_model=TransferShown, openapi_extra=audience("staff", "member"))
    async def get_transfer(request: Request, app: Id) -> object:
        """Show the open offer of an app."""
        return await run_read(kit, request, partial(service.view_transfer, app_id=AppId(app)))

    @router.post(f"{path}/accept", status_code=204, openapi_extra=owners)
    async def accept_app(request: Request, app: Id) -> None:
        """Take over an app that is offered to your vendor.

        Its tokens, secrets, keys and certifications end; hospitals and people are asked again.
        """
        verb = partial(service.accept_app, app_id=AppId(app), transferred=transferred)
        await run_write(kit, request, verb)

    @router.delete(path, response_model=TransferShown, openapi_extra=owners)
    async def decline_app(request: Request, app: Id) -> object:
        """Withdraw an offer, or decline one that was made to your vendor."""
        return await run_write(kit, request, partial(service.decline_app, app_id=AppId(app)))


def _changes(router: APIRouter, kit: Kit, barred: registry.Barred) -> None:
    held = may_wait_for_reviewer(ChangeShown)

    @router.patch("/clients/{client}", response_model=ClientShown, responses=held, openapi_extra=DEVELOPERS)
    async def edit_client(request: Request, client: Id, body: EditAsked) -> object:
        """Edit redirect URIs, launch URL, origins, scopes, keys or grant types of a client.

        For a client that is certified for production, nothing changes before a reviewer agrees (202).
        """
        asked = body.model_dump(exclude={"launch_url", "scope"})
        scopes = None if body.scope is None else tuple(body.scope.split())
        order = ClientEdit(**asked, launch_uri=body.launch_url, scopes=scopes)
        found = await run_write(kit, request, partial(service.edit, client_id=ClientId(client), order=order))
        return found if isinstance(found, Client) else waits_for_reviewer(ChangeShown.model_validate(found))

    add_reviewed(router, kit, "/client-changes", ChangeShown, service.held_edits(barred))


def _clients(router: APIRouter, kit: Kit) -> None:
    @router.post("/clients", status_code=201, openapi_extra=DEVELOPERS)
    async def add_client(request: Request, body: ClientAsked) -> ClientMade:
        """Register a client. Its secret is shown only in this response."""
        order = NewClient(AppId(body.app), VersionId(body.version), _metadata(body))
        return _created(*await run_write(kit, request, partial(service.add_client, order=order)))

    @router.post(
        "/tenants/{tenant}/system-clients",
        status_code=202,
        response_model=ApprovalAsked,
        openapi_extra=SYSTEM_CLIENT_KEEPERS,
    )
    async def ask_system_client(request: Request, tenant: Id, body: SystemClientAsked) -> Response:
        """Ask for an EHR or a resource server of a tenant, which a second person must approve: it speaks for the whole tenant.

        Its secret is ``secret_start`` of this response followed by ``secret_end`` of the approval.
        """
        order = NewSystemClient(TenantId(tenant), body.client_type, body.client_name)
        return waits(await run_write(kit, request, partial(service.ask_system_client, order=order)))

    @router.get(
        "/apps/{app}/clients",
        response_model=Page[ClientShown],
        openapi_extra=READERS,
    )
    async def list_clients(request: Request, app: Id, query: Annotated[Paging, Query()]) -> object:
        """List an app's clients; a tenant's administrator sees only those of its own system clients."""
        verb = partial(service.list_clients, app_id=AppId(app), page=query.page)
        return page_of(await run_read(kit, request, verb), ClientShown.model_validate, query)

    @router.get("/clients/{client}", response_model=ClientShown, openapi_extra=READERS)
    async def get_client(request: Request, client: Id) -> object:
        """Show a client."""
        return await run_read(kit, request, partial(service.view_client, client_id=ClientId(client)))

    @router.post(
        "/clients/{client}/secret", response_model=ClientMade, responses=WAITS, openapi_extra=ROTATORS
    )
    async def rotate_secret(request: Request, client: Id, body: SecretAsked) -> object:
        """Create a new secret of a client. The previous one works until the overlap ends.

        For an EHR or a resource server, a second person must approve it (202).
        """
        overlap = timedelta(seconds=body.overlap_s)
        verb = partial(service.ask_secret, client_id=ClientId(client), overlap=overlap)
        result = await run_write(kit, request, verb)
        return _created(*result) if isinstance(result, tuple) else waits(result)

    @router.put("/clients/{client}/version", response_model=ClientShown, openapi_extra=DEVELOPERS)
    async def adopt_version(request: Request, client: Id, body: AdoptAsked) -> object:
        """Move a client to another certified version of its app."""
        verb = partial(service.adopt_version, client_id=ClientId(client), version_id=VersionId(body.version))
        return await run_write(kit, request, verb)


def _metadata(body: ClientAsked) -> ClientMetadata:
    use = body.backend_use
    return ClientMetadata(
        name=body.client_name,
        type=body.client_type,
        deployment=body.deployment,
        environment=body.environment,
        redirect_uris=body.redirect_uris,
        launch_uri=body.launch_url,
        origins=body.origins,
        scopes=tuple(body.scope.split()),
        jwks=body.jwks,
        jwks_uri=body.jwks_uri,
        grant_types=body.grant_types,
        expires_at=body.expires_at,
        backend_use=BackendUse(**use.model_dump()) if use else None,
    )


def _created(client: Client, secret: str) -> ClientMade:
    shown = ClientShown.model_validate(client)
    return ClientMade(**shown.model_dump(), client_secret=secret or None)
