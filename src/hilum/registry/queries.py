"""Queries of the registry on behalf of an actor, each with its permission check."""

from hilum.infra.context import Context
from hilum.kernel.errors import NotFound, NotPermitted
from hilum.kernel.ids import AppId
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.registry import policy, store
from hilum.registry.models import App, AppVersion, Certification, Profile, Vendor


def list_vendors(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[Vendor]:
    """List vendors by id; a tenant's administrator does not see vendors of apps that exist only at another tenant. Raises NotPermitted."""
    own = ctx.actor.vendor
    if own is not None and policy.may_see_vendor(ctx.actor, own):
        return [store.get_vendor(ctx.tx, own)] if own > page.after else []
    if not policy.may_read_catalogue(ctx.actor):
        raise NotPermitted("not_permitted", "You may not see this.")
    seen_from = None if ctx.actor.is_platform else ctx.actor.tenant
    return store.list_vendors(ctx.tx, seen_from=seen_from, page=page)


def list_apps(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[App]:
    """List apps by id; a tenant's administrator does not see apps that exist only at another tenant. Raises NotPermitted."""
    own = ctx.actor.vendor
    if own is not None and policy.may_see_vendor(ctx.actor, own):
        return store.list_apps(ctx.tx, of=own, page=page)
    if not policy.may_read_catalogue(ctx.actor):
        raise NotPermitted("not_permitted", "You may not see this.")
    seen_from = None if ctx.actor.is_platform else ctx.actor.tenant
    return store.list_apps(ctx.tx, seen_from=seen_from, page=page)


def view_app(ctx: Context, app_id: AppId) -> App:
    """Get an app that the actor may see. Raises NotFound."""
    app = store.get_app(ctx.tx, app_id)
    # Answered like an id that does not exist: which apps another hospital runs is not disclosed.
    if not policy.may_see_app(ctx.actor, app):
        raise NotFound("app_not_found", "There is no such app.")
    return app


def view_profile(ctx: Context, app_id: AppId) -> tuple[App, Profile]:
    """Get an app that the actor may see, with what its vendor states about it. Raises NotFound."""
    app = view_app(ctx, app_id)
    return app, store.find_profile(ctx.tx, app.id)


def list_versions(ctx: Context, app_id: AppId, page: PageQuery = FIRST_PAGE) -> list[AppVersion]:
    """List an app's versions, newest first. Raises NotFound."""
    return store.list_versions(ctx.tx, view_app(ctx, app_id).id, page)


def list_certifications(ctx: Context, app_id: AppId, page: PageQuery = FIRST_PAGE) -> list[Certification]:
    """List an app's certifications, newest first, including withdrawn ones. Raises NotFound."""
    return store.list_certifications(ctx.tx, view_app(ctx, app_id).id, page)
