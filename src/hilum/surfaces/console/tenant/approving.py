"""The approval of an app: what it may have here, what it needs and what for, and the choice of less."""

from typing import Any

from starlette.responses import Response

from hilum.apps.installations import service as installations
from hilum.apps.installations.models import Installation, InstallOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import environment_of
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid, NotFound
from hilum.foundation.kernel.ids import AppId
from hilum.foundation.web.forms import Form
from hilum.review.listings import service as listings
from hilum.review.submissions.service import reasons_of
from hilum.surfaces.console import fields, service
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.tenant import forms as choices
from hilum.surfaces.console.tenant.apps import own


async def show_approve(visit: Visit) -> Response:
    """Show what a hospital would approve, to be narrowed before it does."""
    return await _approval(visit)


async def _approval(visit: Visit, given: Form = fields.NO_FORM, error: Invalid | None = None) -> Response:
    facts = await visit.read(lambda ctx: _approvable(ctx, visit))
    return visit.render(
        "console/tenant/approve.html",
        first=not given.values,
        needed=choices.needed(given, error),
        **fields.answered(given, error),
        **facts,
    )


def _approvable(ctx: Context, visit: Visit) -> dict[str, Any]:
    tenant, app = own(ctx), registry.view_app(ctx, AppId(visit.param()))
    installed = installations.current(ctx, tenant.id, app)
    environment = environment_of(tenant)
    scopes = installations.certified_scopes(ctx, app.id, environment)
    if not scopes and installed is None:
        raise NotFound(
            "app_not_certified",
            "This app is not certified for your hospital, so there is nothing to approve.",
        )
    needs = installations.needs_at(ctx, tenant, app.id, reasons_of)
    return {
        "app": app,
        "suspended": registry.suspension_of(ctx, app),
        "published": listings.is_published(ctx, app.id),
        "vendor": service.names(ctx, [app.vendor]).vendor(app.vendor),
        "installed": installed,
        "groups": choices.groups(scopes, needs),
        "silent": needs.optional is None,
        "asked": choices.what_for(scopes, needs),
        "works": choices.works(ctx, tenant.id, app, scopes),
        "roles": choices.roles(frozenset(choices.ROLES)),
        "ends": choices.ENDS,
        "revision": "",
    }


async def approve(visit: Visit, form: Form) -> Response:
    """Install an app for the roles, the work and the permissions that were chosen, until a day."""

    def verb(ctx: Context) -> Installation:
        tenant, app = own(ctx), registry.view_app(ctx, AppId(visit.param()))
        environment = environment_of(tenant)
        certified = installations.certified_scopes(ctx, app.id, environment)
        scopes = choices.chosen(certified, form, choices.works(ctx, tenant.id, app, certified))
        order = InstallOrder(
            tenant.id,
            app.id,
            frozenset(form.many("role")),
            scopes,
            choices.end(form, visit.kit.clock.now()),
            anyway=form.one("anyway") == "yes",
        )
        return installations.install(ctx, order, reasons_of)

    try:
        installed = await visit.write(verb)
    except Invalid as error:
        return await _approval(visit, form, error)
    return to(address("tenant.app", installed.app))
