"""API routes of notices and webhook endpoints."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field
from starlette.requests import Request

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.web.api import (
    Cursor,
    Id,
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
from hilum.foundation.web.kit import Kit
from hilum.records.notices import policy, service
from hilum.records.notices.models import (
    OVERLAP,
    OVERLAP_MAX,
    URL_BOUND,
    Channel,
    Endpoint,
    NewEndpoint,
    NoticeQuery,
    State,
)
from hilum.records.notices.templates import EVENTS

RequireOwner = Callable[[Context, str, str], None]
"""Raises NotFound if there is no such vendor, or no such app of it."""
MANAGERS = audience("platform_admin")
READERS = audience("platform_admin", "security", "auditor")
ENDPOINT_MANAGERS = audience("platform_admin", "vendor_owner", "vendor_developer")
SECRET_KEEPERS = audience("platform_admin", "vendor_owner", "vendor_developer", "vendor_security")
ENDPOINT_READERS = audience("platform_admin", "security", "auditor", "member")


class NoticesQuery(Paging):
    state: State | None = None
    channel: Channel | None = None
    vendor: Id | None = None
    recipient: Annotated[Word, Field(max_length=254)] = ""


class NoticeShown(Shown):
    """``recipient`` is a mail address or an endpoint's id. ``reason`` and ``status`` are those of the last attempt."""

    id: str
    channel: Channel
    kind: str
    recipient: str
    vendor: str
    app: str
    state: State
    reason: str
    status: int
    attempts: int
    facts: dict[str, str]
    created_at: datetime
    next_at: datetime
    ends_at: datetime
    settled_at: datetime | None


class WebhookAsked(Strict):
    """``events`` is left out for all. With ``app`` only events about that app are sent."""

    vendor: Id
    url: Annotated[Word, Field(max_length=URL_BOUND)]
    app: Id | None = None
    events: Annotated[tuple[Cursor, ...], Field(max_length=len(EVENTS))] = ()


class WebhooksQuery(Paging):
    vendor: Id | None = None


class RotationAsked(Strict):
    """``overlap_hours``: how long the old secret signs as well."""

    overlap_hours: Annotated[int, Field(ge=0, le=int(OVERLAP_MAX / timedelta(hours=1)))] = int(
        OVERLAP / timedelta(hours=1)
    )


class WebhookShown(BaseModel):
    id: str
    vendor: str
    app: str
    url: str
    events: tuple[str, ...]
    created_at: datetime
    created_by: str
    disabled: str
    paused_until: datetime | None
    failures: int
    last_status: int
    last_reason: str
    last_at: datetime | None
    old_secret_until: datetime | None


class WebhookWithSecret(WebhookShown):
    """An endpoint with its secret, which is shown only here."""

    secret: str


def _fields(endpoint: Endpoint) -> dict[str, Any]:
    names = WebhookShown.model_fields.keys() - {"old_secret_until"}
    return {name: getattr(endpoint, name) for name in names} | {"old_secret_until": endpoint.old_until}


def _shown(endpoint: Endpoint) -> WebhookShown:
    return WebhookShown(**_fields(endpoint))


def api(kit: Kit, require_owner: RequireOwner, *, private: bool) -> APIRouter:
    """Build the API routes. ``private``: endpoints on loopback are accepted."""
    router = api_router(kit, "notices")
    _notices(router, kit)
    _webhooks(router, kit, require_owner, private=private)
    return router


def _notices(router: APIRouter, kit: Kit) -> None:
    @router.get("/notices", response_model=Page[NoticeShown], openapi_extra=READERS)
    async def list_notices(request: Request, query: Annotated[NoticesQuery, Query()]) -> object:
        """List mail and webhooks, newest first. One-time links are never shown."""
        wanted = NoticeQuery(query.state, query.channel, query.vendor or "", query.recipient)
        found = await run_read(kit, request, partial(service.list_notices, query=wanted, page=query.page))
        return page_of(found, NoticeShown.model_validate, query)

    @router.get("/notices/{notice}", response_model=NoticeShown, openapi_extra=READERS)
    async def get_notice(request: Request, notice: Id) -> object:
        """Show a notice."""
        return await run_read(kit, request, partial(service.get_notice, notice_id=notice))

    @router.post("/notices/{notice}/resend", response_model=NoticeShown, openapi_extra=MANAGERS)
    async def resend_notice(request: Request, notice: Id) -> object:
        """Send a notice again that is unknown or dead; its recipient may get it twice."""
        return await run_write(kit, request, partial(service.resend, notice_id=notice))


def _webhooks(router: APIRouter, kit: Kit, require_owner: RequireOwner, *, private: bool) -> None:
    @router.post(
        "/webhooks", status_code=201, response_model=WebhookWithSecret, openapi_extra=ENDPOINT_MANAGERS
    )
    async def add_webhook(request: Request, body: WebhookAsked) -> object:
        """Register where a vendor receives webhooks. The answer holds the secret that signs them, which is shown only once."""
        order = NewEndpoint(body.vendor, body.url, body.app or "", body.events)

        def verb(ctx: Context) -> object:
            # Who may not register learns nothing about which vendors there are: the verb judges that first.
            if policy.may_manage_endpoints(ctx.actor, order.vendor):
                require_owner(ctx, order.vendor, order.app)
            elif ctx.actor.vendor is not None and ctx.actor.vendor != order.vendor:
                raise NotFound("vendor_not_found", "There is no such vendor.")
            made = service.add_endpoint(ctx, order, private=private)
            return WebhookWithSecret(**_fields(made.endpoint), secret=made.secret)

        return await run_write(kit, request, verb)

    @router.get("/webhooks", response_model=Page[WebhookShown], openapi_extra=ENDPOINT_READERS)
    async def list_webhooks(request: Request, query: Annotated[WebhooksQuery, Query()]) -> object:
        """List webhook endpoints, of one vendor or of all; to members those of their vendor."""
        verb = partial(service.list_endpoints, vendor=query.vendor or "", page=query.page)
        return page_of(await run_read(kit, request, verb), _shown, query)

    @router.post("/webhooks/{webhook}/rotate", response_model=WebhookWithSecret, openapi_extra=SECRET_KEEPERS)
    async def rotate_webhook(request: Request, webhook: Id, body: RotationAsked) -> object:
        """Create a new secret; the old one signs as well until the overlap is over. 0 ends it now, for one that leaked."""
        overlap = timedelta(hours=body.overlap_hours)
        made = await run_write(
            kit, request, partial(service.rotate_secret, endpoint_id=webhook, overlap=overlap)
        )
        return WebhookWithSecret(**_fields(made.endpoint), secret=made.secret)

    @router.post("/webhooks/{webhook}/ping", response_model=NoticeShown, openapi_extra=ENDPOINT_MANAGERS)
    async def ping_webhook(request: Request, webhook: Id) -> object:
        """Send a test event; the notice shows how it was answered."""
        return await run_write(kit, request, partial(service.ping, endpoint_id=webhook))

    @router.post("/webhooks/{webhook}/resume", response_model=WebhookShown, openapi_extra=ENDPOINT_MANAGERS)
    async def resume_webhook(request: Request, webhook: Id) -> object:
        """Call an endpoint again that is disabled or paused."""
        return _shown(await run_write(kit, request, partial(service.resume_endpoint, endpoint_id=webhook)))

    @router.delete("/webhooks/{webhook}", status_code=204, openapi_extra=ENDPOINT_MANAGERS)
    async def remove_webhook(request: Request, webhook: Id) -> Response:
        """Remove an endpoint; what still waits for it is given up."""
        await run_write(kit, request, partial(service.remove_endpoint, endpoint_id=webhook))
        return Response(status_code=204)
