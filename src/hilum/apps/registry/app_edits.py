"""Edits of an app's texts and logo: a description at once, name, purpose and logo held until a reviewer decides if the app is certified (C12)."""

from dataclasses import replace
from functools import partial

from hilum.apps.registry import held, policy, service, store
from hilum.apps.registry.app_edit_models import EDITED, HELD, AppEditOrder
from hilum.apps.registry.grace import grace_of
from hilum.apps.registry.held import HeldEdits, HeldKind
from hilum.apps.registry.held_models import HeldEdit
from hilum.apps.registry.held_store import APP_EDITS
from hilum.apps.registry.models import App, Environment
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound
from hilum.foundation.kernel.ids import AppId
from hilum.foundation.pictures import service as pictures
from hilum.foundation.pictures.models import Owners
from hilum.foundation.standards import names
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

APP_EDIT = HeldKind(APP_EDITS, "registry.edit.ask", "registry.edit.approve", "registry.edit.refuse")


def edit(ctx: Context, app_id: AppId, order: AppEditOrder) -> tuple[App, HeldEdit | None]:
    """Edit an app; return it, and the part of the edit that waits for a reviewer.

    Raises NotFound, NotPermitted, Invalid, Conflict (changed since it was read, or another edit of it waits).
    """
    service.get_changeable(ctx, app_id, "registry.app.edit")
    app = store.APPS.get(ctx.tx, app_id, lock=True)
    if app.revision != order.revision:
        raise Conflict("changed_since_read", policy.both_sides(app, order))
    changed = policy.edited_texts(app, order)
    _require_valid(ctx, app, changed)
    # Not earlier: a refusal commits what was written, and this removes another edit's picture to make room.
    if order.logo is not None and "logo" in changed:
        pictures.keep(ctx, Owners.APP, app.id, order.logo)
    certifications = service.certifications_of(ctx, app.id)
    # An app in its grace is still used.
    at = ctx.now - grace_of(ctx, app.category)
    certified = any(policy.is_in_force(each, Environment.PRODUCTION, at) for each in certifications)
    waits = {name: text for name, text in changed.items() if certified and name in HELD}
    before = {name: getattr(app, name) for name in waits}
    made = HeldEdit(ctx.ids.new("aed"), app.id, app.vendor, waits, before, str(ctx.actor), ctx.now)
    waiting = held.hold(ctx, APP_EDIT, made) if waits else None
    app = _apply(ctx, app, {name: text for name, text in changed.items() if name not in waits})
    return app, waiting


def approve(ctx: Context, edit_id: str, reason: str = "", *, barred: held.Barred) -> HeldEdit:
    """Approve an edit as a reviewer: it is judged again, and takes effect exactly as requested. A reason is stored, and shown to the vendor.

    Raises NotFound, NotPermitted, Invalid (no longer valid), Conflict (decided already, or the texts were changed since).
    """
    found = held.get_for_approval(ctx, APP_EDIT, edit_id, barred)
    app = store.APPS.get(ctx.tx, found.app, lock=True)
    # The present vendor did not request a former vendor's edit. A description that changed since is not an obstacle.
    same = app.vendor == found.vendor and all(
        getattr(app, name) == text for name, text in found.before.items()
    )
    after = held.decide_applied(ctx, APP_EDIT, found, same=same, reason=reason)
    _require_valid(ctx, app, found.order)
    _apply(ctx, app, dict(found.order))
    return held.record_applied(ctx, APP_EDIT, after)


def refuse(ctx: Context, edit_id: str, reason: str) -> HeldEdit:
    """Refuse an edit as a reviewer, or withdraw it as an actor who may change the app (``held.refuse_held``)."""

    def may_withdraw(found: HeldEdit) -> bool:
        return policy.may_change(ctx.actor, store.APPS.get(ctx.tx, found.app).vendor)

    return held.refuse_held(ctx, APP_EDIT, edit_id, reason, may_withdraw)


def _require_valid(ctx: Context, app: App, texts: policy.Texts) -> None:
    faults = policy.text_faults(texts)
    if (
        "name" in texts
        and "name" not in faults
        and (fault := service.imitation_fault(ctx, app.vendor, texts["name"]))
    ):
        faults["name"] = fault
    if faults:
        raise Invalid("app_invalid", "The app is invalid; see fields.", fields=faults)


def _apply(ctx: Context, app: App, texts: dict[str, str]) -> App:
    if not texts:
        return app
    # People agreed to the purpose that they were shown, so they are asked again; the moment is that of the change.
    since = ctx.now if "purpose" in texts else app.purpose_since
    after = replace(
        app,
        name=texts.get("name", app.name),
        description=texts.get("description", app.description),
        purpose=texts.get("purpose", app.purpose),
        purpose_since=since,
        logo=texts.get("logo", app.logo),
    )
    store.APPS.save(ctx.tx, after, only=(*EDITED, "purpose_since"))
    if "name" in texts:
        # The old name stays reserved: another app with it would be mistaken for this one.
        store.add_name(ctx.tx, app.vendor, after.name, names.forms(after.name))
    if "logo" in texts:
        pictures.show(ctx, Owners.APP, app.id, after.logo)
    service.announce_change(ctx, app.id)
    audit.record(ctx, Event("registry.app.edit", app=app.id, facts={"changed": sorted(texts)}))
    return after


def read_logo(ctx: Context, edit_id: str) -> bytes:
    """Return the logo of an edit, for actors who may see the edit. Raises NotFound."""
    found = held.view_held(ctx, APP_EDIT, edit_id)
    digest = found.order.get("logo", "")
    content = pictures.find(ctx, Owners.APP, found.app, digest, shown=False) if digest else None
    if content is None:
        raise NotFound("picture_not_found", "This edit asks for no logo, or it was decided.")
    return content


def held_edits(barred: held.Barred) -> HeldEdits:
    """Return what is done with held edits of apps."""
    return HeldEdits(APP_EDIT, partial(approve, barred=barred), refuse)
