"""Edits of an app's texts: a description at once, name and purpose held until a reviewer decides if the app is certified (C12)."""

from dataclasses import replace

from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.infra.context import Context
from hilum.kernel.errors import Conflict, Invalid, NotFound
from hilum.kernel.ids import AppId
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.registry import app_edit_store, policy, service, store
from hilum.registry.app_edit_models import HELD, AppEdit, AppEditOrder, AppEditState
from hilum.registry.models import App, Environment
from hilum.standards import names


def edit(ctx: Context, app_id: AppId, order: AppEditOrder) -> tuple[App, AppEdit | None]:
    """Edit an app; return it, and what of the edit waits for a reviewer.

    Raises NotFound, NotPermitted, Invalid, Conflict (changed since it was read, or another edit of it waits).
    """
    service.get_changeable(ctx, app_id, "registry.app.edit")
    app = store.get_app(ctx.tx, app_id, lock=True)
    if app.revision != order.revision:
        raise Conflict("changed_since_read", policy.both_sides(app, order))
    changed = policy.edited_texts(app, order)
    _require_valid(ctx, app, changed)
    certifications = service.certifications_of(ctx, app.id)
    certified = any(policy.is_in_force(each, Environment.PRODUCTION, ctx.now) for each in certifications)
    held = {name: text for name, text in changed.items() if certified and name in HELD}
    waiting = _hold(ctx, app, held) if held else None
    app = _apply(ctx, app, {name: text for name, text in changed.items() if name not in held})
    return app, waiting


def _hold(ctx: Context, app: App, texts: dict[str, str]) -> AppEdit:
    before = {name: getattr(app, name) for name in texts}
    waiting = AppEdit(ctx.ids.new("aed"), app.id, app.vendor, texts, before, str(ctx.actor), ctx.now)
    if not app_edit_store.add_edit(ctx.tx, waiting):
        detail = "Another edit of this app waits for a reviewer. Withdraw it, or wait for the decision."
        raise Conflict("edit_waits", detail)
    _record(ctx, "registry.edit.ask", waiting)
    return waiting


def approve(ctx: Context, edit_id: str) -> AppEdit:
    """Agree to an edit as a reviewer: it is judged again, and takes effect exactly as it was asked for.

    Raises NotFound, NotPermitted, Invalid (no longer valid), Conflict (decided already, or the texts were changed since).
    """
    if not policy.may_certify(ctx.actor):
        raise audit.refusal(ctx, Event("registry.edit.approve"))
    found = app_edit_store.get_edit(ctx.tx, edit_id, lock=True)
    app = store.get_app(ctx.tx, found.app, lock=True)
    # The vendor of today did not ask for what the one before did. A description that was changed since is no obstacle.
    same = app.vendor == found.vendor and all(
        getattr(app, name) == text for name, text in found.before.items()
    )
    if not same and found.state is AppEditState.PENDING:
        detail = "What this would replace has changed since it was requested. Refuse it, and request it again if it is still needed."
        raise Conflict("target_changed", detail)
    after = _decide(ctx, found, AppEditState.APPLIED, "")
    _require_valid(ctx, app, found.order)
    _apply(ctx, app, dict(found.order))
    _record(ctx, "registry.edit.approve", after)
    return after


def refuse(ctx: Context, edit_id: str, reason: str) -> AppEdit:
    """Refuse an edit as a reviewer, or withdraw it as who may change the app. Nothing of it takes effect.

    Raises NotFound, NotPermitted, Invalid (the reason), Conflict (decided already).
    """
    found = _visible(ctx, edit_id, lock=True)
    vendor = store.get_app(ctx.tx, found.app).vendor
    if not policy.may_certify(ctx.actor) and not policy.may_change(ctx.actor, vendor):
        raise audit.refusal(ctx, Event("registry.edit.refuse", app=found.app))
    if fault := policy.reason_fault(reason):
        raise Invalid("reason_invalid", "A reason is required; see fields.", fields={"reason": fault})
    after = _decide(ctx, found, AppEditState.REFUSED, reason)
    _record(ctx, "registry.edit.refuse", after)
    return after


def view_edit(ctx: Context, edit_id: str) -> AppEdit:
    """Get an edit that the actor may see. Raises NotFound."""
    return _visible(ctx, edit_id)


def list_edits(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[AppEdit]:
    """List the edits that wait for a reviewer; to a vendor's member all of their own vendor's, decided or not."""
    return app_edit_store.list_edits(ctx.tx, of=ctx.actor.vendor, page=page)


def _visible(ctx: Context, edit_id: str, *, lock: bool = False) -> AppEdit:
    found = app_edit_store.get_edit(ctx.tx, edit_id, lock=lock)
    if not policy.may_see_vendor(ctx.actor, found.vendor):
        raise NotFound("edit_not_found", "There is no such edit.")
    return found


def _decide(ctx: Context, found: AppEdit, state: AppEditState, reason: str) -> AppEdit:
    after = replace(found, state=state, decided_by=str(ctx.actor), decided_at=ctx.now, reason=reason)
    if not app_edit_store.save_edit_decided(ctx.tx, after):
        raise Conflict("edit_decided", f"This edit was decided already: it is {found.state.value}.")
    return after


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
    )
    store.save_texts(ctx.tx, after)
    if "name" in texts:
        # The old name stays the vendor's: whoever took it would be taken for this app.
        store.add_name(ctx.tx, app.vendor, after.name, names.forms(after.name))
    service.announce_change(ctx, app.id)
    audit.record(ctx, Event("registry.app.edit", app=app.id, facts={"changed": sorted(texts)}))
    return after


def _record(ctx: Context, action: str, found: AppEdit) -> None:
    facts = {
        "edit": found.id,
        "fields": sorted(found.order),
        "asked_by": found.asked_by,
        "reason": found.reason,
    }
    audit.record(ctx, Event(action, app=found.app, facts=facts))
