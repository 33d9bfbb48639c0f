"""API routes that resolve names and ids."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from hilum.apps.names import service
from hilum.apps.names.models import Kind
from hilum.foundation.web.api import Id, Line, Shown, Strict, api_router, audience, run_read
from hilum.foundation.web.kit import Kit
from hilum.identity.people.models import NAMES_BOUND

# Everybody but patients, who have no use for names in the API.
NAMERS = audience("staff", "member", "physician", "nurse", "analyst", "administrator", "front_desk")


class LookupQuery(Strict):
    """``named``: an id or the exact name. ``tenant``: the hospital of a person or facility; for members, the vendor's id."""

    kind: Kind
    named: Annotated[Line, Field(min_length=1)]
    tenant: Id | None = None


class NamesQuery(Strict):
    id: Annotated[tuple[Id, ...], Field(min_length=1, max_length=NAMES_BOUND)]


class MatchShown(Shown):
    id: str
    name: str
    of: str


class MatchesShown(BaseModel):
    items: list[MatchShown]


def api(kit: Kit) -> APIRouter:
    """Build the API routes of names."""
    router = api_router(kit, "lookups")

    @router.get("/lookups", openapi_extra=NAMERS)
    async def look_up(request: Request, query: Annotated[LookupQuery, Query()]) -> MatchesShown:
        """Find the ids of an app, vendor, hospital, client, person, facility or version by its exact name; ten at most."""
        verb = partial(service.find, kind=query.kind, named=query.named, place=query.tenant or "")
        found = await run_read(kit, request, verb)
        return MatchesShown(items=[MatchShown.model_validate(each) for each in found])

    @router.get("/names", openapi_extra=NAMERS)
    async def list_names(request: Request, query: Annotated[NamesQuery, Query()]) -> dict[str, str]:
        """Show names by ids, for records that hold ids. Names that the caller may not see are left out."""
        return await run_read(kit, request, partial(service.names, ids=query.id))

    return router
