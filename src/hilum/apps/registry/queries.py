"""Queries of the registry on behalf of an actor, each with its permission check."""

from collections.abc import Collection, Mapping

import orjson

from hilum.apps.registry import catalogue_store, policy, store
from hilum.apps.registry.models import (
    App,
    AppOrder,
    AppsPage,
    AppsQuery,
    AppState,
    AppVersion,
    Certification,
    Profile,
    Vendor,
)
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel import base64url
from hilum.foundation.kernel.actor import require_platform
from hilum.foundation.kernel.errors import Invalid, NotFound, Readers, not_shown
from hilum.foundation.kernel.ids import AppId, TenantId, VendorId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery


def list_vendors(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[Vendor]:
    """List vendors by id; a tenant's administrator does not see vendors of apps that exist only at another tenant. Raises NotPermitted."""
    own = ctx.actor.vendor
    if own is not None and policy.may_see_vendor(ctx.actor, own):
        return [store.VENDORS.get(ctx.tx, own)] if page.holds(own) else []
    if not policy.may_read_catalogue(ctx.actor):
        raise not_shown("the catalogue", Readers.CATALOGUE)
    seen_from = None if ctx.actor.is_platform else ctx.actor.tenant
    return catalogue_store.list_vendors(ctx.tx, seen_from=seen_from, page=page)


def apps_of_vendors(ctx: Context, vendors: Collection[VendorId]) -> list[AppId]:
    """List the apps of some vendors, which must be few enough for one statement; for the platform itself."""
    return catalogue_store.apps_of_vendors(ctx.tx, vendors)


def list_apps(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[App]:
    """List apps by id; a tenant's administrator does not see apps that exist only at another tenant. Raises NotPermitted."""
    own = ctx.actor.vendor
    if own is not None and policy.may_see_vendor(ctx.actor, own):
        return store.list_apps(ctx.tx, of=own, page=page)
    if not policy.may_read_catalogue(ctx.actor):
        raise not_shown("the catalogue", Readers.CATALOGUE)
    seen_from = None if ctx.actor.is_platform else ctx.actor.tenant
    return store.list_apps(ctx.tx, seen_from=seen_from, page=page)


def suspension_of(ctx: Context, app: App) -> str:
    """Return since when and why an app is suspended, as a sentence; empty if it is not."""
    if app.state is AppState.ACTIVE:
        return ""
    query = EventQuery(action="registry.app.suspend", app=app.id, outcome="done", limit=1)
    for each in audit.list_events(ctx, query).events:
        why = each.event.facts.get("reason", "the reason was purged")
        return f"The app has been suspended since {each.at:%Y-%m-%d %H:%M} UTC: {why}"
    return "The app is suspended."


def view_app(ctx: Context, app_id: AppId) -> App:
    """Get an app that the actor may see. Raises NotFound."""
    app = store.APPS.get(ctx.tx, app_id)
    # Answered like an id that does not exist: which apps another hospital runs is not disclosed.
    if not policy.may_see_app(ctx.actor, app):
        raise NotFound("app_not_found", "There is no such app.")
    return app


def view_profile(ctx: Context, app_id: AppId) -> tuple[App, Profile]:
    """Get an app that the actor may see, with what its vendor states about it. Raises NotFound."""
    app = view_app(ctx, app_id)
    return app, store.get_profile(ctx.tx, app.id)


def read_profiles(ctx: Context, of: Collection[AppId]) -> dict[AppId, Profile]:
    """Read what is stated about some apps, of those about which anything is; for the platform itself."""
    return catalogue_store.read_profiles(ctx.tx, of)


def list_versions(ctx: Context, app_id: AppId, page: PageQuery = FIRST_PAGE) -> list[AppVersion]:
    """List an app's versions, newest first. Raises NotFound."""
    return store.VERSIONS.newest(ctx.tx, page, app=view_app(ctx, app_id).id)


def list_certifications(ctx: Context, app_id: AppId, page: PageQuery = FIRST_PAGE) -> list[Certification]:
    """List an app's certifications, newest first, including withdrawn ones. Raises NotFound."""
    return store.CERTIFICATIONS.newest(ctx.tx, page, app=view_app(ctx, app_id).id)


def browse_apps(ctx: Context, query: AppsQuery) -> AppsPage:
    """List a page of the catalogue as far as the actor may see it: filtered, in the query's order. Raises NotPermitted, Invalid (the cursor)."""
    own, seen_from = ctx.actor.vendor, _seen_from(ctx)
    if own is not None and query.vendor != own:
        raise not_shown("the apps of other vendors", Readers.HOSPITALS)
    found = catalogue_store.browse(ctx.tx, query, _key_of(query.after), seen_from=seen_from)
    vendors = catalogue_store.vendor_names(ctx.tx, {each.vendor for each in found})
    total = catalogue_store.count(ctx.tx, query, seen_from=seen_from)
    full = len(found) == query.limit
    return AppsPage(tuple(found), vendors, total, _cursor_of(found[-1], query.order) if full else "")


def app_names(ctx: Context, of: Collection[AppId]) -> Mapping[AppId, str]:
    """Return apps' names by their ids, without those that the actor may not see."""
    seen_from = _seen_from(ctx)
    found = catalogue_store.app_names(ctx.tx, of)
    return {
        app: name for app, (name, at) in found.items() if seen_from is None or at is None or at == seen_from
    }


def vendor_names(ctx: Context, of: Collection[VendorId]) -> Mapping[VendorId, str]:
    """Return vendors' names by their ids, for actors who may see the catalogue. Raises NotPermitted."""
    _seen_from(ctx)
    return catalogue_store.vendor_names(ctx.tx, of)


def find_vendors(ctx: Context, text: str, limit: int) -> list[tuple[VendorId, str]]:
    """List vendors whose name contains a text; for the staff. Raises NotPermitted."""
    require_platform(ctx.actor)
    return catalogue_store.find_vendors(ctx.tx, text, limit)


def _seen_from(ctx: Context) -> TenantId | None:
    """Return the tenant from which the actor sees the catalogue; None for one who sees all of it. Raises NotPermitted."""
    own = ctx.actor.vendor
    if own is not None and policy.may_see_vendor(ctx.actor, own):
        return None
    if not policy.may_read_catalogue(ctx.actor):
        raise not_shown("the catalogue", Readers.CATALOGUE)
    return None if ctx.actor.is_platform else ctx.actor.tenant


def _cursor_of(last: App, order: AppOrder) -> str:
    # The name as the database lowers it: SQLite lowers ASCII letters only, PostgreSQL all.
    by_name = order in {AppOrder.NAME, AppOrder.NAME_DOWN}
    return base64url.encode(orjson.dumps([last.name if by_name else last.id, last.id]))


def _key_of(cursor: str) -> tuple[str, str] | None:
    if not cursor:
        return None
    try:
        key, app = orjson.loads(base64url.decode(cursor))
        return str(key), str(app)
    except (ValueError, TypeError) as error:
        fields = {"after": "cursor_unknown"}
        raise Invalid("cursor_unknown", "The address of this page is not valid.", fields=fields) from error
