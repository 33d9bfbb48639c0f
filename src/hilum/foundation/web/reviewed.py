"""API routes of edits that a reviewer decides, the same for every kind.

What is edited is known to the modules above, which hand over the verbs of their kind.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Query
from starlette.requests import Request

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.pages import PageQuery
from hilum.foundation.web.api import (
    Id,
    Page,
    Paging,
    Prose,
    Shown,
    Strict,
    audience,
    page_of,
    run_read,
    run_write,
)
from hilum.foundation.web.kit import Kit

SEEN = audience("staff", "member")


class AgreedAsked(Strict):
    reason: Prose = ""


class RefusedAsked(Strict):
    reason: Prose


class Edits(Protocol):
    """The verbs of one kind of edits."""

    def list_page(self, ctx: Context, page: PageQuery) -> Sequence[object]: ...
    def view(self, ctx: Context, edit_id: str) -> object: ...
    @property
    def approve(self) -> Any: ...
    @property
    def refuse(self) -> Any: ...


def add_reviewed(router: APIRouter, kit: Kit, path: str, shown: type[Shown], edits: Edits) -> None:
    """Add the routes that list, show, approve and refuse edits of one kind at a path."""

    @router.get(path, response_model=Page[shown], openapi_extra=SEEN)  # type: ignore[valid-type]
    async def list_edits(request: Request, query: Annotated[Paging, Query()]) -> object:
        """List edits that wait for a reviewer; a vendor's member sees all of their own vendor."""
        found = await run_read(kit, request, partial(edits.list_page, page=query.page))
        return page_of(found, shown.model_validate, query)

    @router.get(f"{path}/{{edit}}", response_model=shown, openapi_extra=SEEN)
    async def get_edit(request: Request, edit: Id) -> object:
        """Show an edit: what it would replace, and how it was decided."""
        return await run_read(kit, request, partial(edits.view, edit_id=edit))

    @router.post(f"{path}/{{edit}}/approve", response_model=shown, openapi_extra=audience("reviewer"))
    async def approve_edit(request: Request, edit: Id, body: AgreedAsked | None = None) -> object:
        """Approve an edit as a reviewer; it takes effect now, exactly as requested. The vendor sees the reason, if any.

        People are asked again if it changes the purpose of an app.
        """
        reason = body.reason if body else ""
        return await run_write(kit, request, lambda ctx: edits.approve(ctx, edit, reason))

    @router.post(
        f"{path}/{{edit}}/refuse",
        response_model=shown,
        openapi_extra=audience("reviewer", "platform_admin", "vendor_owner", "vendor_developer"),
    )
    async def refuse_edit(request: Request, edit: Id, body: RefusedAsked) -> object:
        """Refuse an edit as a reviewer, or withdraw it, with a reason."""
        return await run_write(kit, request, lambda ctx: edits.refuse(ctx, edit, body.reason))
