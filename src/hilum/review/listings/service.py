"""Publish certified apps, end that, and list what hospitals see."""

import json
from dataclasses import replace

from hilum.apps.registry import service as registry
from hilum.apps.registry.policy import may_read_catalogue, may_see_app, may_see_vendor, reason_fault
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, Readers, not_shown
from hilum.foundation.kernel.ids import AppId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.policy.matrix import service as policies
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.review.certificates import service as certificates
from hilum.review.listings import policy, store
from hilum.review.listings.models import Listed, Listing, Statement
from hilum.review.submissions import service as review


def publish(ctx: Context, app_id: AppId, reason: str) -> Listed:
    """Publish an app as its vendor (C111): hospitals see it while it is validly certified. Raises NotFound, NotPermitted, Invalid, Conflict."""
    app = registry.get_app(ctx, app_id)
    event = Event("listings.listing.publish", app=app.id, facts={"reason": reason.strip()})
    if not policy.may_publish(ctx.actor, app.vendor):
        if not may_see_app(ctx.actor, app):
            raise NotFound("app_not_found", "There is no such app.")
        raise audit.refusal(ctx, event, "Only owners and developers of its vendor publish an app.")
    _require_reason(reason)
    held = store.find_listing(ctx.tx, app.id, lock=True)
    if held is not None and held.published:
        raise Conflict("already_published", "The app is already published.")
    listing = Listing(
        app.id,
        app.vendor,
        app.name,
        published=True,
        by=str(ctx.actor),
        at=ctx.now,
        reason=reason.strip(),
        hidden=held is not None and held.hidden,
    )
    store.save_listing(ctx.tx, listing)
    audit.record(ctx, event)
    return _listed(ctx, listing)


def unpublish(ctx: Context, app_id: AppId, reason: str) -> Listed:
    """End the listing of an app; existing installations keep working. Raises NotFound, NotPermitted, Invalid, Conflict."""
    app = registry.get_app(ctx, app_id)
    event = Event("listings.listing.unpublish", app=app.id, facts={"reason": reason.strip()})
    if not policy.may_unpublish(ctx.actor, app.vendor):
        if not may_see_app(ctx.actor, app):
            raise NotFound("app_not_found", "There is no such app.")
        raise audit.refusal(ctx, event)
    _require_reason(reason)
    held = store.find_listing(ctx.tx, app.id, lock=True)
    if held is None or not held.published:
        raise Conflict("not_published", "The app is not published.")
    after = replace(held, published=False, by=str(ctx.actor), at=ctx.now, reason=reason.strip())
    store.save_listing(ctx.tx, after)
    audit.record(ctx, event)
    return _listed(ctx, after)


def _require_reason(reason: str) -> None:
    if fault := reason_fault(reason):
        raise Invalid("reason_invalid", "A reason is required; see fields.", fields={"reason": fault})


def hide(ctx: Context, app: AppId) -> None:
    """Hide the listing of an app for now, for the platform itself."""
    _set_hidden(ctx, app, hidden=True)


def unhide(ctx: Context, app: AppId) -> None:
    """Show the listing of an app again, for the platform itself."""
    _set_hidden(ctx, app, hidden=False)


def _set_hidden(ctx: Context, app: AppId, *, hidden: bool) -> None:
    held = store.find_listing(ctx.tx, app, lock=True)
    if held is not None and held.hidden is not hidden:
        store.save_listing(ctx.tx, replace(held, hidden=hidden))
        audit.record(ctx, Event(f"listings.listing.{'hide' if hidden else 'unhide'}", app=app))


def list_listings(ctx: Context, page: PageQuery = FIRST_PAGE) -> tuple[list[Listed], str]:
    """List listings by app: a hospital's administrator gets the visible ones, staff all, a member their own.

    Also returns where the next page begins: a hospital's page may have fewer than ``page.limit`` rows although more follow. Raises
    NotPermitted.
    """
    own = ctx.actor.vendor
    is_member = own is not None and may_see_vendor(ctx.actor, own)
    if not is_member and not may_read_catalogue(ctx.actor):
        raise not_shown("the catalogue", Readers.CATALOGUE)
    vendor = own if is_member else None
    published = None if is_member or ctx.actor.is_platform else True
    found = store.list_listings(ctx.tx, page, vendor=vendor, published=published)
    current = certificates.current_of_all(ctx, [each.app for each in found])
    is_open = _open_categories(ctx)
    apps = registry.read_apps(ctx, [each.app for each in found])
    listed = [Listed(each, current.get(each.app), apps[each.app].category in is_open) for each in found]
    following = found[-1].app if len(found) == page.limit else ""
    return [each for each in listed if published is None or policy.is_visible(each)], following


def view(ctx: Context, app_id: AppId) -> Listed:
    """Get the listing of an app. Raises NotFound (also where a hospital does not see it)."""
    listing = store.find_listing(ctx.tx, app_id)
    if listing is not None:
        found = _listed(ctx, listing)
        if ctx.actor.is_platform or may_see_vendor(ctx.actor, listing.vendor):
            return found
        if may_read_catalogue(ctx.actor) and policy.is_visible(found):
            return found
    raise NotFound("listing_not_found", "The app is not listed.")


def statements(ctx: Context, app_id: AppId) -> tuple[Statement, ...]:
    """Return the statements about the listed version of an app. Raises as ``view``. There are none if it was certified without a submission."""
    certificate = view(ctx, app_id).certificate
    every = registry.certifications_of(ctx, app_id) if certificate is not None else ()
    found = next((each for each in every if certificate is not None and each.id == certificate.id), None)
    if certificate is None or found is None or not found.submission:
        return ()
    # As the system: everybody who sees the listing may see this.
    reading = ctx.as_actor(SYSTEM)
    try:
        submission = review.view(reading, found.submission).submission
        disciplines = review.view_disciplines(reading, found.submission).disciplines
    except NotFound:
        return ()
    run = review.last_runs(reading, [submission]).get(submission.id)
    return policy.statements_of(
        json.loads(submission.content or "{}"),
        run,
        disciplines,
        version=certificate.label,
        at=submission.submitted_at or submission.created_at,
    )


def is_published(ctx: Context, app_id: AppId) -> bool:
    """Check whether an app is published now, and shown; without a permission check."""
    listing = store.find_listing(ctx.tx, app_id)
    return listing is not None and policy.is_visible(_listed(ctx, listing))


def _listed(ctx: Context, listing: Listing) -> Listed:
    category = registry.get_app(ctx.as_actor(SYSTEM), listing.app).category
    certificate = certificates.current_of(ctx, listing.app)
    return Listed(listing, certificate, category in _open_categories(ctx))


def _open_categories(ctx: Context) -> set[str]:
    book = policies.current(ctx.as_actor(SYSTEM)).everywhere
    return {name for name, category in book.categories.items() if category.open}


def published(ctx: Context) -> set[AppId]:
    """Return every published app, without a permission check."""
    return store.read_published(ctx.tx)
