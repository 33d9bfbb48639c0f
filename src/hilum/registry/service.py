"""Registering vendors, apps and versions; certifying and suspending them."""

from collections.abc import Collection, Iterator
from dataclasses import replace

from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.infra.context import Context
from hilum.kernel.errors import Conflict, Invalid
from hilum.kernel.ids import AppId, TenantId, VendorId, VersionId
from hilum.registry import making, policy, store
from hilum.registry.making import add_certification, add_single_tenant_app
from hilum.registry.models import (
    App,
    AppState,
    AppVersion,
    Certification,
    CertifyOrder,
    NewApp,
    NewVendor,
    Vendor,
)
from hilum.registry.views import (
    list_apps,
    list_certifications,
    list_vendors,
    list_versions,
    view_app,
)

__all__ = [
    "add_certification",
    "add_single_tenant_app",
    "list_apps",
    "list_certifications",
    "list_vendors",
    "list_versions",
    "view_app",
]


def add_vendor(ctx: Context, order: NewVendor) -> Vendor:
    """Add a vendor. Raises NotPermitted, Invalid."""
    if not policy.may_register(ctx.actor):
        raise making.refused(ctx, "registry.vendor.add")
    if faults := policy.vendor_faults(order):
        raise Invalid("vendor_invalid", "The vendor cannot be added as described.", fields=faults)
    vendor = Vendor(
        VendorId(ctx.ids.new("ven")),
        order.name.strip(),
        order.support_contact,
        order.security_contact,
        order.website,
    )
    store.add_vendor(ctx.tx, vendor)
    audit.record(ctx, Event("registry.vendor.add", facts={"vendor": vendor.id}))
    return vendor


def add_app(ctx: Context, order: NewApp) -> App:
    """Add an app of a vendor. Raises NotPermitted, Invalid, NotFound (the vendor)."""
    if not policy.may_register(ctx.actor):
        raise making.refused(ctx, "registry.app.add")
    store.get_vendor(ctx.tx, order.vendor)
    if faults := policy.app_faults(order):
        raise Invalid("app_invalid", "The app cannot be added as described.", fields=faults)
    return making.add_app(ctx, order, None)


def add_version(ctx: Context, app_id: AppId, label: str) -> AppVersion:
    """Add a version of an app; it keeps client ids, installations and history (C5). Raises NotPermitted, Invalid, NotFound, Conflict."""
    if not policy.may_register(ctx.actor):
        raise making.refused(ctx, "registry.version.add", app=app_id)
    app = store.get_app(ctx.tx, app_id)
    if fault := policy.label_fault(label):
        raise Invalid("version_invalid", "The version's label cannot be taken.", fields={"label": fault})
    version = AppVersion(VersionId(ctx.ids.new("ver")), app.id, label.strip(), ctx.now)
    if not store.add_version(ctx.tx, version):
        raise Conflict("version_exists", "The app has a version of this label already.")
    audit.record(ctx, Event("registry.version.add", app=app.id, facts={"version": version.id}))
    return version


def certify(ctx: Context, order: CertifyOrder) -> Certification:
    """Record that review allowed a version certain scopes until a day. Raises NotPermitted, NotFound, Invalid."""
    version = store.get_version(ctx.tx, order.version)
    if not policy.may_certify(ctx.actor):
        raise making.refused(ctx, "registry.certification.add", app=version.app)
    if faults := policy.certify_faults(order, now=ctx.now):
        raise Invalid("certification_invalid", "The version cannot be certified so.", fields=faults)
    making.change(ctx, version.app)
    return add_certification(ctx, version.app, order)


def withdraw_certification(ctx: Context, certification_id: str) -> Certification:
    """Withdraw a certification; its tokens stop with the next snapshot. Raises NotFound, NotPermitted, Conflict."""
    found = store.get_certification(ctx.tx, certification_id)
    if not policy.may_certify(ctx.actor):
        raise making.refused(ctx, "registry.certification.withdraw", app=found.app)
    if not store.save_withdrawn(ctx.tx, found.id, ctx.now):
        raise Conflict("certification_withdrawn", "This certification was withdrawn already.")
    facts = {"certification": found.id, "version": found.version}
    making.change(ctx, found.app)
    audit.record(ctx, Event("registry.certification.withdraw", app=found.app, facts=facts))
    return replace(found, withdrawn_at=ctx.now)


def suspend_app(ctx: Context, app_id: AppId, reason: str) -> App:
    """Suspend an app everywhere, with a reason. Raises NotFound, NotPermitted, Invalid, Conflict."""
    event = Event("registry.app.suspend", app=app_id, facts={"reason": reason})
    return _set_state(ctx, app_id, AppState.SUSPENDED, event)


def resume_app(ctx: Context, app_id: AppId, reason: str) -> App:
    """End an app's suspension, with a reason. Raises NotFound, NotPermitted, Invalid, Conflict."""
    event = Event("registry.app.resume", app=app_id, facts={"reason": reason})
    return _set_state(ctx, app_id, AppState.ACTIVE, event)


def certifications_of(ctx: Context, app: AppId) -> list[Certification]:
    """List an app's certifications, newest first, for the rooms that judge by them. Without a bound."""
    return sorted(store.read_certifications(ctx.tx, [app]), key=lambda each: each.id, reverse=True)


def read_certifications(ctx: Context, of: Collection[AppId] | None) -> Iterator[Certification]:
    """Read the certifications of some apps (None: of all), withdrawn ones too."""
    return store.read_certifications(ctx.tx, of)


def read_apps(ctx: Context, of: Collection[AppId] | None) -> dict[AppId, App]:
    """Read some apps (None: all) by id."""
    return store.read_apps(ctx.tx, of)


def list_apps_of(ctx: Context, tenant: TenantId) -> list[AppId]:
    """List the apps that live at one tenant only."""
    return store.list_apps_of(ctx.tx, tenant)


def forget_apps(ctx: Context, of: Collection[AppId]) -> list[App]:
    """Forget apps that live at one tenant, with vendor, versions and certifications; return them."""
    found = list(store.read_apps(ctx.tx, of).values())
    store.delete_apps(ctx.tx, of)
    for app in found:
        making.change(ctx, app.id)
    return found


def get_app(ctx: Context, app_id: AppId) -> App:
    """Get an app. Raises NotFound."""
    return store.get_app(ctx.tx, app_id)


def get_version(ctx: Context, version_id: VersionId) -> AppVersion:
    """Get a version of an app. Raises NotFound."""
    return store.get_version(ctx.tx, version_id)


def get_vendor(ctx: Context, vendor_id: VendorId) -> Vendor:
    """Get a vendor. Raises NotFound."""
    return store.get_vendor(ctx.tx, vendor_id)


def _set_state(ctx: Context, app_id: AppId, state: AppState, event: Event) -> App:
    app = store.get_app(ctx.tx, app_id)
    if not policy.may_suspend(ctx.actor):
        raise making.refused(ctx, event.action, app=app_id)
    if fault := policy.reason_fault(event.facts["reason"]):
        raise Invalid("reason_invalid", "Say why.", fields={"reason": fault})
    since = ctx.now if state is AppState.ACTIVE else app.active_since
    after = replace(app, state=state, active_since=since)
    if not store.save_app_state(ctx.tx, after):
        raise Conflict("app_state_unchanged", f"The app is {state.value} already.")
    making.change(ctx, app.id)
    audit.record(ctx, event)
    return after
