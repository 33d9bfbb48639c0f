"""Registering, certifying and installing apps, and the facts that enforcement reads."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.clients import policy as rules
from hilum.clients.models import ClientMetadata, ClientType, Environment
from hilum.infra.context import Context
from hilum.kernel.errors import Conflict, Invalid, NotFound
from hilum.kernel.ids import AppId, ClientId, TenantId, VendorId, VersionId
from hilum.registry import making, policy, store
from hilum.registry.models import (
    App,
    AppState,
    AppVersion,
    Certification,
    CertifyOrder,
    Client,
    ClientFacts,
    NewApp,
    NewClient,
    NewVendor,
    Vendor,
)
from hilum.registry.peers import CARRY_OUT, add_peer, ask_peer, ask_secret, rotate_secret
from hilum.registry.views import (
    list_apps,
    list_certifications,
    list_clients,
    list_vendors,
    list_versions,
    view_app,
    view_client,
)

__all__ = [
    "CARRY_OUT",
    "add_peer",
    "ask_peer",
    "ask_secret",
    "list_apps",
    "list_certifications",
    "list_clients",
    "list_vendors",
    "list_versions",
    "rotate_secret",
    "view_app",
    "view_client",
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


def add_client(ctx: Context, order: NewClient) -> tuple[Client, str]:
    """Register a client of an app; the secret, if its type has one, is shown here and never again.

    Raises NotPermitted, NotFound, Conflict, Invalid with RFC 7591's field names.
    """
    if not policy.may_register(ctx.actor):
        raise making.refused(ctx, "registry.client.add", app=order.app)
    app = store.get_app(ctx.tx, order.app)
    version = store.get_version(ctx.tx, order.version)
    if version.app != app.id:
        raise NotFound("version_not_found", "The app has no such version.")
    if order.metadata.type in rules.WITH_SECRET - {ClientType.SYMMETRIC}:
        fields = {"client_type": "peers_belong_to_a_tenant"}
        raise Invalid("client_invalid", "An EHR or a resource server is added at its tenant.", fields=fields)
    making.change(ctx, app.id)
    return making.add_client(ctx, app, version.id, order.metadata, client_id=order.client_id)


def adopt_version(ctx: Context, client_id: ClientId, version_id: VersionId) -> Client:
    """Let a client count as another version of its app, one that is certified. Raises NotFound, NotPermitted, Invalid.

    An unbroken standing goes on, so that what was issued lives through the update (C5); a lapsed one begins here.
    """
    client = store.get_client(ctx.tx, client_id, lock=True)
    if not policy.may_register(ctx.actor):
        raise making.refused(ctx, "registry.client.adopt_version", app=client.app, client=client.id)
    version = store.get_version(ctx.tx, version_id)
    if version.app != client.app:
        raise NotFound("version_not_found", "The app has no such version.")
    standing = list(store.read_certifications(ctx.tx, [client.app]))
    if not any(
        each.version == version.id and policy.stands(each, client.environment, ctx.now) for each in standing
    ):
        raise Invalid(
            "version_not_certified", "This version is not certified.", fields={"version": "not_certified"}
        )
    held = policy.certification_of(client, standing)
    since = held[1] if held is not None and ctx.now < held[0].expires_at else ctx.now
    after = replace(client, version=version.id, adopted_at=ctx.now, certified_before=since)
    store.save_adoption(ctx.tx, after)
    facts = {"version": version.id}
    making.change(ctx, client.app)
    audit.record(ctx, Event("registry.client.adopt_version", app=client.app, client=client.id, facts=facts))
    return after


def certify(ctx: Context, order: CertifyOrder) -> Certification:
    """Record that review allowed a version certain scopes until a day. Raises NotPermitted, NotFound, Invalid."""
    version = store.get_version(ctx.tx, order.version)
    if not policy.may_certify(ctx.actor):
        raise making.refused(ctx, "registry.certification.add", app=version.app)
    if faults := policy.certify_faults(order, now=ctx.now):
        raise Invalid("certification_invalid", "The version cannot be certified so.", fields=faults)
    making.change(ctx, version.app)
    return making.add_certification(ctx, version.app, order)


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


def serves_backends_only(ctx: Context, app: AppId) -> bool:
    """Check whether an app has clients, and all of them are backend services."""
    return store.serves_backends_only(ctx.tx, app)


def origins_of(ctx: Context, apps: Collection[AppId]) -> frozenset[str]:
    """Return the origins of all clients of some apps."""
    return frozenset(origin for origins in store.read_origins(ctx.tx, apps) for origin in origins)


def facts_of_apps(ctx: Context, of: Collection[AppId] | None) -> dict[AppId, tuple[ClientFacts, ...]]:
    """Read what enforcement must know of the clients of some apps (None: of all), by app."""
    certifications: dict[AppId, list[Certification]] = {}
    for certification in store.read_certifications(ctx.tx, of):
        certifications.setdefault(certification.app, []).append(certification)
    found: dict[AppId, list[ClientFacts]] = {}
    for client, app in store.read_clients(ctx.tx, of):
        found.setdefault(app.id, []).append(policy.join(client, app, certifications.get(app.id, ())))
    return {app: tuple(facts) for app, facts in found.items()}


def add_dynamic(
    ctx: Context, tenant: TenantId, asked: ClientMetadata, *, ends: datetime
) -> tuple[Client, str]:
    """Add vendor, app, version, client and certification of a sandbox app that its developer registers; permission was asked before."""
    app, version = making.add_single_tenant_app(
        ctx, tenant, asked.name, "Registered dynamically in a sandbox"
    )
    making.change(ctx, app.id)
    client, secret = making.add_client(ctx, app, version, asked, dynamic=True)
    order = CertifyOrder(version, Environment.SANDBOX, client.scopes, ends)
    making.add_certification(ctx, app.id, order)
    return client, secret


def count_dynamic(ctx: Context, tenant: TenantId) -> int:
    """Count the dynamic clients of a tenant whose life has not ended."""
    return store.count_dynamic(ctx.tx, tenant, ctx.now)


def forget_ended_dynamic(ctx: Context) -> list[tuple[AppId, TenantId]]:
    """Forget dynamic clients whose life ended, with all of their apps but the installations; return which apps, and where."""
    gone = store.delete_ended_dynamic(ctx.tx, ctx.now)
    for app, _ in gone:
        making.change(ctx, app)
    return gone


def get_client(ctx: Context, client_id: ClientId) -> Client:
    """Get a client with the digests of its secrets. Raises NotFound."""
    found = find_client(ctx, client_id)
    if found is None:
        raise NotFound("client_not_found", "There is no such client.")
    return found


def find_client(ctx: Context, client_id: ClientId) -> Client | None:
    """Find a client, with the digests of its secrets, by whatever text a request holds."""
    return store.find_client(ctx.tx, client_id) if rules.fits_id(client_id) else None


def get_app(ctx: Context, app_id: AppId) -> App:
    """Get an app. Raises NotFound."""
    return store.get_app(ctx.tx, app_id)


def get_version(ctx: Context, version_id: VersionId) -> AppVersion:
    """Get a version of an app. Raises NotFound."""
    return store.get_version(ctx.tx, version_id)


def get_vendor(ctx: Context, vendor_id: VendorId) -> Vendor:
    """Get a vendor. Raises NotFound."""
    return store.get_vendor(ctx.tx, vendor_id)


def client_facts(ctx: Context, client_id: ClientId) -> ClientFacts | None:
    """Give what enforcement must know of one client, or None if there is none."""
    client = find_client(ctx, client_id)
    if client is None:
        return None
    app = store.get_app(ctx.tx, client.app)
    return policy.join(client, app, store.read_certifications(ctx.tx, [app.id]))


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
