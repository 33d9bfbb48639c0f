"""Registering, certifying and installing apps, and the facts that enforcement reads."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hilum.audit import service as audit
from hilum.audit.models import Event, Outcome
from hilum.clients import policy as rules
from hilum.clients.models import ClientMetadata, ClientType, Deployment, Environment
from hilum.controls import service as controls
from hilum.controls.models import Subject
from hilum.identity import service as identity
from hilum.identity.policy import ROLES
from hilum.infra.context import Context
from hilum.kernel.decision import Reason
from hilum.kernel.errors import Conflict, Invalid, NotFound, NotPermitted
from hilum.kernel.ids import AppId, ClientId, TenantId, VendorId, VersionId
from hilum.registry import making, policy, store
from hilum.registry.loading import facts
from hilum.registry.models import (
    DYNAMIC_CLIENT_LIFE,
    DYNAMIC_CLIENTS_BOUND,
    SECRET_OVERLAP,
    SECRET_OVERLAP_MAX,
    SECRET_PREFIX,
    App,
    AppState,
    AppVersion,
    Certification,
    CertifyOrder,
    Client,
    ClientFacts,
    ClientSecret,
    Installation,
    InstallationFacts,
    InstallOrder,
    NarrowOrder,
    NewApp,
    NewClient,
    NewPeer,
    NewVendor,
    Vendor,
)
from hilum.registry.views import (
    list_apps,
    list_certifications,
    list_clients,
    list_installations,
    list_vendors,
    list_versions,
    view_app,
    view_client,
)

__all__ = [
    "facts",
    "list_apps",
    "list_certifications",
    "list_clients",
    "list_installations",
    "list_vendors",
    "list_versions",
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


def add_peer(ctx: Context, order: NewPeer) -> tuple[Client, str]:
    """Add an EHR or a resource server of one tenant, with its secret. Raises NotPermitted, NotFound, Invalid, Conflict."""
    tenant = identity.get_tenant(ctx, order.tenant)
    if not policy.may_keep_peers(ctx.actor, order.tenant):
        raise making.refused(ctx, "registry.peer.add", tenant=order.tenant)
    if order.type not in {ClientType.EHR, ClientType.RESOURCE_SERVER}:
        fields = {"client_type": "not_a_peer"}
        raise Invalid("client_invalid", "A peer is an EHR or a resource server.", fields=fields)
    meta = ClientMetadata(
        name=order.name,
        type=order.type,
        deployment=Deployment.SERVER,
        environment=Environment.SANDBOX if tenant.sandbox else Environment.PRODUCTION,
        scopes=(rules.LAUNCH_SCOPE,) if order.type is ClientType.EHR else (),
    )
    if faults := rules.validate_client_metadata(rules.normalized(meta), now=ctx.now):
        raise Invalid("client_invalid", "The peer cannot be added as described.", fields=faults)
    app, version = making.add_single_tenant_app(
        ctx, order.tenant, order.name, f"{order.type.value} of the tenant"
    )
    making.change(ctx, app.id)
    return making.add_client(ctx, app, version, meta, client_id=order.client_id)


def rotate_secret(
    ctx: Context, client_id: ClientId, *, overlap: timedelta = SECRET_OVERLAP
) -> tuple[Client, str]:
    """Give a client a new secret; the one before works until the overlap ends, any older not at all (C9).

    Raises NotFound, NotPermitted, Invalid.
    """
    client = store.get_client(ctx.tx, client_id, lock=True)
    app = store.get_app(ctx.tx, client.app)
    if not policy.may_rotate(ctx.actor, app):
        raise making.refused(ctx, "registry.secret.rotate", app=app.id, client=client.id)
    if client.type not in rules.WITH_SECRET:
        raise Invalid("client_has_no_secret", "This client authenticates without a secret.")
    if not timedelta(0) <= overlap <= SECRET_OVERLAP_MAX:
        raise Invalid("secret_invalid", "The overlap is too long.", fields={"overlap_s": "out_of_range"})
    ends = ctx.now + overlap
    in_force = [each for each in client.secrets if each.expires_at is None or ctx.now < each.expires_at]
    newest = max(
        in_force, key=lambda each: (each.expires_at is None, each.expires_at or ctx.now), default=None
    )
    store.save_secrets_ending(ctx.tx, client.id, keep=newest.digest if newest else "", at=ends)
    secret = SECRET_PREFIX + ctx.ids.secret()
    store.add_secret(ctx.tx, client.id, ClientSecret(making.digest(secret), client.expires_at))
    facts = {"overlap_ends_at": ends.isoformat()}
    making.change(
        ctx, app.id
    )  # the secrets are of no interest to the gateway, but whoever keeps the client must read it anew
    audit.record(ctx, Event("registry.secret.rotate", app=app.id, client=client.id, facts=facts))
    return store.get_client(ctx.tx, client.id), secret


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


def install(ctx: Context, order: InstallOrder) -> Installation:
    """Approve an app at a tenant for roles, with scopes within the certified, until a day.

    Raises NotPermitted, NotFound, Invalid, Conflict (it stands installed).
    """
    if not policy.may_install(ctx.actor, order.tenant):
        raise making.refused(ctx, "registry.installation.add", tenant=order.tenant, app=order.app)
    tenant = identity.get_tenant(ctx, order.tenant)
    app = store.get_app(ctx.tx, order.app)
    if app.tenant not in {None, order.tenant}:
        raise NotFound("app_not_found", "There is no such app.")
    environment = Environment.SANDBOX if tenant.sandbox else Environment.PRODUCTION
    certified = [
        scope
        for each in sorted(
            store.read_certifications(ctx.tx, [app.id]), key=lambda each: each.id, reverse=True
        )
        if policy.stands(each, environment, ctx.now)
        for scope in each.scopes
    ]
    if not certified:
        fields = {"app": "app_not_certified"}
        detail = (
            "No version of the app is certified for this hospital now. The platform's reviewers certify apps."
        )
        raise Invalid("installation_invalid", detail, fields=fields)
    only_backend = store.serves_backends_only(ctx.tx, app.id)
    if faults := policy.install_faults(order, certified, only_backend=only_backend, now=ctx.now):
        detail = f"The app cannot be installed as asked. {policy.beyond(order.scopes, certified, allowed_as='certified')}"
        raise Invalid("installation_invalid", detail.strip(), fields=faults)
    before = store.find_standing_installation(ctx.tx, order.tenant, app.id)
    if before is not None and before.expires_at is not None and before.expires_at <= ctx.now:
        store.save_removed(ctx.tx, before.id, by="system:expiry", at=before.expires_at)
    scopes = tuple(dict.fromkeys(certified)) if order.scopes is None else order.scopes
    making.change(ctx, app.id, order.tenant)
    return making.add_installation(ctx, order, scopes, environment)


def narrow_installation(ctx: Context, installation_id: str, order: NarrowOrder) -> Installation:
    """Take scopes, roles or time away from an installation. Raises NotFound, NotPermitted, Invalid, Conflict."""
    before = _installation_for(ctx, installation_id, "registry.installation.narrow")
    if faults := policy.narrow_faults(order, before, now=ctx.now):
        detail = f"An installation can only be narrowed. {policy.beyond(order.scopes, before.scopes, allowed_as='installed')}"
        raise Invalid("installation_invalid", detail.strip(), fields=faults)
    after = policy.narrowed(order, before)
    if not store.save_installation(ctx.tx, after):
        raise Conflict("installation_removed", "This installation was removed already.")
    facts = {"installation": after.id, "scopes": list(after.scopes), "roles": sorted(after.roles)}
    making.change(ctx, after.app, after.tenant)
    audit.record(ctx, Event("registry.installation.narrow", tenant=after.tenant, app=after.app, facts=facts))
    return after


def uninstall(ctx: Context, installation_id: str) -> Installation:
    """Remove an app from a tenant; its tokens there stop with the next snapshot. Raises NotFound, NotPermitted, Conflict."""
    before = _installation_for(ctx, installation_id, "registry.installation.remove")
    if not store.save_removed(ctx.tx, before.id, by=str(ctx.actor), at=ctx.now):
        raise Conflict("installation_removed", "This installation was removed already.")
    facts = {"installation": before.id}
    making.change(ctx, before.app, before.tenant)
    audit.record(
        ctx, Event("registry.installation.remove", tenant=before.tenant, app=before.app, facts=facts)
    )
    return replace(before, removed_at=ctx.now, removed_by=str(ctx.actor))


def register_dynamically(ctx: Context, tenant_id: TenantId, body: Mapping[str, Any]) -> tuple[Client, str]:
    """Register a sandbox app by RFC 7591: vendor, app, version, certification and installation at this tenant, or nothing.

    Whether the door is open in this mode, the edge knows. Raises NotFound, NotPermitted (not a sandbox tenant, too many clients, stopped:
    an app that registers now would be one more launch that a switch keeps out), Invalid.
    """
    tenant = identity.get_tenant(
        ctx, tenant_id, lock=True
    )  # registrations at a tenant take turns over their count
    if not (tenant.sandbox and tenant.active):
        raise making.refused(ctx, "registry.client.register", tenant=tenant_id)
    if controls.judge(ctx, Subject(tenant=tenant_id), issued_at=None, launching=True) is not None:
        _record_refusal(ctx, tenant_id, Reason.SWITCH_ENGAGED)
        raise NotPermitted(
            Reason.SWITCH_ENGAGED, "Registration is stopped here at the moment; try again later."
        )
    ends = ctx.now + DYNAMIC_CLIENT_LIFE
    asked = rules.from_registration(body, expires_at=ends)
    faults = (
        asked
        if isinstance(asked, dict)
        else rules.validate_client_metadata(rules.normalized(asked), now=ctx.now)
    )
    if isinstance(asked, dict) or faults:
        _record_refusal(ctx, tenant_id, "client_invalid", faults)
        raise Invalid("client_invalid", "The client cannot be registered as described.", fields=faults)
    for gone, there in store.delete_ended_dynamic(ctx.tx, ctx.now):
        making.change(ctx, gone)
        making.change(ctx, gone, there)
    if store.count_dynamic(ctx.tx, tenant_id, ctx.now) >= DYNAMIC_CLIENTS_BOUND:
        _record_refusal(ctx, tenant_id, "too_many_clients")
        raise NotPermitted(
            "too_many_clients", "This tenant holds as many dynamic clients as it may; they end after a day."
        )
    app, version = making.add_single_tenant_app(
        ctx, tenant_id, asked.name, "Registered dynamically in a sandbox"
    )
    making.change(ctx, app.id)
    making.change(ctx, app.id, tenant_id)
    client, secret = making.add_client(ctx, app, version, asked, dynamic=True)
    order = CertifyOrder(version, Environment.SANDBOX, client.scopes, ends)
    making.add_certification(ctx, app.id, order)
    roles = frozenset() if client.type is ClientType.BACKEND else ROLES
    making.add_installation(
        ctx, InstallOrder(tenant_id, app.id, roles, expires_at=ends), client.scopes, Environment.SANDBOX
    )
    return client, secret


def suspend_app(ctx: Context, app_id: AppId, reason: str) -> App:
    """Suspend an app everywhere, with a reason. Raises NotFound, NotPermitted, Invalid, Conflict."""
    event = Event("registry.app.suspend", app=app_id, facts={"reason": reason})
    return _set_state(ctx, app_id, AppState.SUSPENDED, event)


def resume_app(ctx: Context, app_id: AppId, reason: str) -> App:
    """End an app's suspension, with a reason. Raises NotFound, NotPermitted, Invalid, Conflict."""
    event = Event("registry.app.resume", app=app_id, facts={"reason": reason})
    return _set_state(ctx, app_id, AppState.ACTIVE, event)


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


def installation(ctx: Context, tenant: TenantId, app: AppId) -> InstallationFacts | None:
    """Give what enforcement must know of an app's standing installation at a tenant, or None if there is none."""
    found = store.find_standing_installation(ctx.tx, tenant, app)
    if found is None:
        return None
    return InstallationFacts(
        found.scopes, found.roles, found.expires_at, found.approved_at, found.environment
    )


def origins_at(ctx: Context, tenant: TenantId) -> frozenset[str]:
    """Return the origins of all clients installed at one tenant, as ``facts`` has them for every tenant."""
    return store.list_origins(ctx.tx, tenant)


def _installation_for(ctx: Context, installation_id: str, action: str) -> Installation:
    found = store.get_installation(ctx.tx, installation_id, lock=True)
    if policy.may_uninstall(ctx.actor, found.tenant):
        return found
    if not policy.may_see_installations(ctx.actor, found.tenant):
        raise NotFound("installation_not_found", "There is no such installation.")
    raise making.refused(ctx, action, tenant=found.tenant, app=found.app)


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


def _record_refusal(
    ctx: Context, tenant: TenantId, reason: str, faults: Mapping[str, str] | None = None
) -> None:
    event = Event(
        "registry.client.register", Outcome.REFUSED, tenant=tenant, reason=reason, facts=dict(faults or {})
    )
    audit.record(ctx, event)
