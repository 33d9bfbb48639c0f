"""API routes of clients and of the peers of a tenant."""

from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field
from starlette.requests import Request

from hilum.clients import service
from hilum.clients.models import (
    ORIGINS_BOUND,
    REDIRECT_URIS_BOUND,
    SECRET_OVERLAP,
    SECRET_OVERLAP_MAX,
    BackendUse,
    Client,
    ClientMetadata,
    ClientType,
    Deployment,
    NewClient,
    NewPeer,
)
from hilum.kernel.ids import AppId, ClientId, TenantId, VersionId
from hilum.registry.models import Environment
from hilum.web.api import (
    Id,
    Line,
    Moment,
    Page,
    Paging,
    Prose,
    Shown,
    Strict,
    api_router,
    audience,
    page_of,
    run_read,
    run_write,
)
from hilum.web.approvals import WAITS, ApprovalAsked, waits
from hilum.web.kit import Kit


class BackendUseAsked(Strict):
    purpose: Prose
    population: Prose
    schedule: Prose
    approver: Prose


class ClientAsked(Strict):
    """Named as in RFC 7591 where it has the field. ``scope`` is space-separated."""

    app: Id
    version: Id
    client_name: Line
    client_type: ClientType
    deployment: Deployment
    environment: Environment = Environment.SANDBOX
    # Twice the bound: one more than allowed is refused by the room, with its code, and only absurd lists by
    # the schema.
    redirect_uris: Annotated[tuple[str, ...], Field(max_length=REDIRECT_URIS_BOUND * 2)] = ()
    launch_url: str = ""
    origins: Annotated[tuple[str, ...], Field(max_length=ORIGINS_BOUND * 2)] = ()
    scope: Annotated[str, Field(max_length=20_000)] = ""
    jwks: dict[str, Any] | None = None
    jwks_uri: str = ""
    grant_types: Annotated[tuple[str, ...], Field(max_length=10)] = ()
    expires_at: Moment | None = None
    backend_use: BackendUseAsked | None = None


class PeerAsked(Strict):
    client_type: ClientType
    client_name: Line


class SecretAsked(Strict):
    overlap_s: Annotated[int, Field(ge=0, le=int(SECRET_OVERLAP_MAX.total_seconds()))] = int(
        SECRET_OVERLAP.total_seconds()
    )


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


class ClientMade(ClientShown):
    """``client_secret`` is shown only in this response; null for a client without one."""

    client_secret: str | None = None


PEER_KEEPERS = audience("platform_admin", "administrator")
DEVELOPERS = audience("platform_admin", "vendor_owner", "vendor_developer")
ROTATORS = audience("platform_admin", "administrator", "vendor_owner", "vendor_developer", "vendor_security")
READERS = audience("staff", "administrator", "member")


def api(kit: Kit) -> APIRouter:
    """Build the API routes of clients."""
    router = api_router(kit, "registry")
    _clients(router, kit)
    return router


def _clients(router: APIRouter, kit: Kit) -> None:
    @router.post("/clients", status_code=201, openapi_extra=DEVELOPERS)
    async def add_client(request: Request, body: ClientAsked) -> ClientMade:
        """Register a client. Its secret is shown only in this response."""
        order = NewClient(AppId(body.app), VersionId(body.version), _metadata(body))
        return _created(*await run_write(kit, request, partial(service.add_client, order=order)))

    @router.post(
        "/tenants/{tenant}/peers", status_code=202, response_model=ApprovalAsked, openapi_extra=PEER_KEEPERS
    )
    async def ask_peer(request: Request, tenant: Id, body: PeerAsked) -> Response:
        """Ask for an EHR or a resource server of a tenant, which a second person must approve: it speaks for the whole tenant.

        Its secret is ``secret_start`` of this response followed by ``secret_end`` of the approval.
        """
        order = NewPeer(TenantId(tenant), body.client_type, body.client_name)
        return waits(await run_write(kit, request, partial(service.ask_peer, order=order)))

    @router.get(
        "/apps/{app}/clients",
        response_model=Page[ClientShown],
        openapi_extra=READERS,
    )
    async def list_clients(request: Request, app: Id, query: Annotated[Paging, Query()]) -> object:
        """List an app's clients; a tenant's administrator sees only those of its own peers."""
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
