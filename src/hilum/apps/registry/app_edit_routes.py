"""API routes of edits of apps."""

import base64
from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request

from hilum.apps.registry import app_edits, held
from hilum.apps.registry.app_edit_models import AppEditOrder
from hilum.apps.registry.held_models import EditState
from hilum.apps.registry.routes import DEVELOPERS, AppShown
from hilum.foundation.kernel.ids import AppId
from hilum.foundation.pictures import live as pictures
from hilum.foundation.pictures.models import ENCODED_BOUND
from hilum.foundation.web.api import (
    Id,
    Line,
    Prose,
    Shown,
    Strict,
    api_router,
    run_read,
    run_write,
)
from hilum.foundation.web.approvals import may_wait_for_reviewer, waits_for_reviewer
from hilum.foundation.web.kit import Kit
from hilum.foundation.web.reviewed import SEEN, add_reviewed


class AppEditAsked(Strict):
    """``revision`` is the app's when it was read. Omitted fields stay.

    ``logo``: a PNG or JPEG in base64, 16 to 512 pixels a side and at most 64 KiB; an empty text removes it.
    """

    revision: Id
    name: Line | None = None
    description: Prose | None = None
    purpose: Prose | None = None
    logo: Annotated[str | None, Field(max_length=ENCODED_BOUND)] = None


class LogoShown(Shown):
    """A PNG in base64."""

    png: str


class AppEditShown(Shown):
    """An edit of an app's name, purpose or logo (by digest). ``order`` replaces ``before`` once a reviewer agrees."""

    id: str
    app: str
    vendor: str
    order: dict[str, str]
    before: dict[str, str]
    asked_by: str
    asked_at: datetime
    state: EditState
    decided_by: str
    decided_at: datetime | None
    reason: str


def api(kit: Kit, barred: held.Barred) -> APIRouter:
    """Build the API routes."""
    router = api_router(kit, "registry")
    responses = may_wait_for_reviewer(AppEditShown)

    @router.patch("/apps/{app}", response_model=AppShown, responses=responses, openapi_extra=DEVELOPERS)
    async def edit_app(request: Request, app: Id, body: AppEditAsked) -> object:
        """Edit the name, description, purpose or logo of an app. A description changes at once.

        Of an app that is certified for production, name, purpose and logo change only when a reviewer agrees (202).
        """
        logo = None if body.logo is None else await pictures.decoded(body.logo, "logo")
        order = AppEditOrder(body.revision, body.name, body.description, body.purpose, logo)
        found, waiting = await run_write(
            kit, request, partial(app_edits.edit, app_id=AppId(app), order=order)
        )
        return found if waiting is None else waits_for_reviewer(AppEditShown.model_validate(waiting))

    add_reviewed(router, kit, "/app-edits", AppEditShown, app_edits.held_edits(barred))

    @router.get("/app-edits/{edit}/logo", response_model=LogoShown, openapi_extra=SEEN)
    async def get_edit_logo(request: Request, edit: Id) -> object:
        """Show the logo of an edit, which has no public address until a reviewer approves it."""
        content = await run_read(kit, request, partial(app_edits.read_logo, edit_id=edit))
        return LogoShown(png=base64.b64encode(content).decode())

    return router
