"""API routes of the use of clients' secrets and keys."""

from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request

from hilum.apps.clients import credentials
from hilum.apps.clients.models import CredentialKind
from hilum.foundation.kernel.ids import ClientId
from hilum.foundation.web.api import Id, Page, Paging, Shown, api_router, audience, page_of, run_read
from hilum.foundation.web.kit import Kit


class CredentialShown(Shown):
    """``last_used_at`` is exact to six hours; null if no use was recorded. ``unused``: proposed for removal."""

    kind: CredentialKind
    created_at: datetime | None
    last_used_at: datetime | None
    ends_at: datetime | None
    unused: bool
    kid: str = ""


class UnusedClientShown(Shown):
    client: str
    app: str
    vendor: str
    name: str
    credentials: tuple[CredentialShown, ...]


def api(kit: Kit) -> APIRouter:
    """Build the API routes."""
    router = api_router(kit, "clients")

    @router.get(
        "/clients/{client}/credentials",
        response_model=Page[CredentialShown],
        openapi_extra=audience("staff", "administrator", "member"),
    )
    async def list_credentials(request: Request, client: Id) -> object:
        """List the secrets and keys of a client, with their last use and end. There are at most three, and the keys.

        A key is listed if it is registered inline or was used lately, at most twenty of the latter; a long ``kid`` as ``#`` with its digest.
        """
        verb = partial(credentials.list_with_keys, client_id=ClientId(client))
        found = await run_read(kit, request, verb)
        return {"items": [CredentialShown.model_validate(each) for each in found]}

    @router.get(
        "/unused-credentials",
        response_model=Page[UnusedClientShown],
        openapi_extra=audience("staff", "member"),
    )
    async def list_unused(request: Request, query: Annotated[Paging, Query()]) -> object:
        """List clients with secrets or keys that nobody used for 90 days, proposed for removal; nothing is removed by itself."""
        found = await run_read(kit, request, partial(credentials.list_unused, page=query.page))
        return page_of(found, UnusedClientShown.model_validate, query, key=lambda each: each.client)

    return router
