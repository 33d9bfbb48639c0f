"""API routes of listings."""

from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request

from hilum.foundation.kernel.ids import AppId
from hilum.foundation.web.api import (
    Id,
    Page,
    Paging,
    Prose,
    Shown,
    Strict,
    api_router,
    audience,
    run_read,
    run_write,
)
from hilum.foundation.web.kit import Kit
from hilum.review.listings import policy, service
from hilum.review.listings.models import Basis, Listed

READERS = audience("staff", "administrator", "member")


class Reasoned(Strict):
    """Why."""

    reason: Prose


class ListingShown(Shown):
    """``visible``: hospitals see it now. ``certificate``: the id of the app's certificate, with its state and end."""

    app: str
    name: str
    vendor: str
    published: bool
    hidden: bool
    visible: bool
    by: str
    at: datetime
    reason: str
    certificate: str
    certificate_status: str
    label: str
    certified_until: datetime | None


class StatementShown(Shown):
    """``basis``: ``verified`` by a check of the platform or a reviewer ``at`` a moment, or ``attested`` by the vendor (``text``)."""

    basis: Basis
    what: str
    version: str
    at: datetime
    text: str


class StatementsShown(Shown):
    """The statements about the certified version; empty if it was certified without a submission."""

    app: str
    statements: list[StatementShown]


def api(kit: Kit) -> APIRouter:
    """Build the API routes of listings."""
    router = api_router(kit, "listings")

    @router.get("/listings", response_model=Page[ListingShown], openapi_extra=READERS)
    async def list_listings(request: Request, query: Annotated[Paging, Query()]) -> object:
        """List listings by app. A hospital's administrator gets the visible ones, staff all, a vendor's member their own."""
        found: tuple[list[Listed], str] = await run_read(
            kit, request, partial(service.list_listings, page=query.page)
        )
        return {"items": [_shown(each) for each in found[0]], "next": found[1]}

    @router.get("/listings/{app}", openapi_extra=READERS)
    async def get_listing(request: Request, app: Id) -> ListingShown:
        """Show the listing of an app."""
        return _shown(await run_read(kit, request, partial(service.view, app_id=AppId(app))))

    @router.get("/listings/{app}/statements", openapi_extra=READERS)
    async def get_statements(request: Request, app: Id) -> StatementsShown:
        """Show which statements about an app are verified, with version and date, and which only its vendor makes."""
        found = await run_read(kit, request, partial(service.statements, app_id=AppId(app)))
        return StatementsShown(app=app, statements=[StatementShown.model_validate(each) for each in found])

    @router.post("/listings/{app}/publish", openapi_extra=audience("vendor_owner", "vendor_developer"))
    async def publish(request: Request, app: Id, body: Reasoned) -> ListingShown:
        """Publish an app of yours, with a reason: hospitals see it while it is validly certified and its category is open."""
        verb = partial(service.publish, app_id=AppId(app), reason=body.reason)
        return _shown(await run_write(kit, request, verb))

    enders = audience("platform_admin", "security", "vendor_owner", "vendor_developer")

    @router.post("/listings/{app}/unpublish", openapi_extra=enders)
    async def unpublish(request: Request, app: Id, body: Reasoned) -> ListingShown:
        """End the listing of an app, with a reason. Existing installations keep working."""
        verb = partial(service.unpublish, app_id=AppId(app), reason=body.reason)
        return _shown(await run_write(kit, request, verb))

    return router


def _shown(found: Listed) -> ListingShown:
    listing, certificate = found.listing, found.certificate
    return ListingShown(
        app=listing.app,
        name=listing.name,
        vendor=listing.vendor,
        published=listing.published,
        hidden=listing.hidden,
        visible=policy.is_visible(found),
        by=listing.by,
        at=listing.at,
        reason=listing.reason,
        certificate="" if certificate is None else certificate.id,
        certificate_status="" if certificate is None else certificate.status.name.lower(),
        label="" if certificate is None else certificate.label,
        certified_until=None if certificate is None else certificate.expires_at,
    )
