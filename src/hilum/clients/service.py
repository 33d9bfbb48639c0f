"""Registering clients, their secrets and versions, peers of a tenant, and what enforcement must know of a client."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.clients import making, policy, store
from hilum.clients.models import Client, ClientFacts, ClientMetadata, ClientType, NewClient
from hilum.clients.peers import CARRY_OUT, add_peer, ask_peer, ask_secret, rotate_secret
from hilum.infra.context import Context
from hilum.kernel.errors import Invalid, NotFound, NotPermitted
from hilum.kernel.ids import AppId, ClientId, TenantId, VersionId
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.registry import service as registry
from hilum.registry.models import Certification, CertifyOrder, Environment
from hilum.registry.policy import may_register, stands

__all__ = ["CARRY_OUT", "add_peer", "ask_peer", "ask_secret", "rotate_secret"]


def add_client(ctx: Context, order: NewClient) -> tuple[Client, str]:
    """Register a client of an app; the secret, if its type has one, is shown here and never again.

    Raises NotPermitted, NotFound, Conflict, Invalid with RFC 7591's field names.
    """
    if not may_register(ctx.actor):
        raise making.refused(ctx, "registry.client.add", app=order.app)
    app = registry.get_app(ctx, order.app)
    version = registry.get_version(ctx, order.version)
    if version.app != app.id:
        raise NotFound("version_not_found", "The app has no such version.")
    if order.metadata.type in policy.WITH_SECRET - {ClientType.SYMMETRIC}:
        fields = {"client_type": "peers_belong_to_a_tenant"}
        raise Invalid("client_invalid", "An EHR or a resource server is added at its tenant.", fields=fields)
    making.change(ctx, app.id)
    return making.add_client(ctx, app, version.id, order.metadata, client_id=order.client_id)


def adopt_version(ctx: Context, client_id: ClientId, version_id: VersionId) -> Client:
    """Let a client count as another version of its app, one that is certified. Raises NotFound, NotPermitted, Invalid.

    An unbroken standing goes on, so that what was issued lives through the update (C5); a lapsed one begins here.
    """
    client = store.get_client(ctx.tx, client_id, lock=True)
    if not may_register(ctx.actor):
        raise making.refused(ctx, "registry.client.adopt_version", app=client.app, client=client.id)
    version = registry.get_version(ctx, version_id)
    if version.app != client.app:
        raise NotFound("version_not_found", "The app has no such version.")
    standing = registry.certifications_of(ctx, client.app)
    if not any(each.version == version.id and stands(each, client.environment, ctx.now) for each in standing):
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


def serves_backends_only(ctx: Context, app: AppId) -> bool:
    """Check whether an app has clients, and all of them are backend services."""
    return store.serves_backends_only(ctx.tx, app)


def origins_of(ctx: Context, apps: Collection[AppId]) -> frozenset[str]:
    """Return the origins of all clients of some apps."""
    return frozenset(origin for origins in store.read_origins(ctx.tx, apps) for origin in origins)


def facts_of_apps(ctx: Context, of: Collection[AppId] | None) -> dict[AppId, tuple[ClientFacts, ...]]:
    """Read what enforcement must know of the clients of some apps (None: of all), by app."""
    certifications: dict[AppId, list[Certification]] = {}
    for certification in registry.read_certifications(ctx, of):
        certifications.setdefault(certification.app, []).append(certification)
    apps, found = registry.read_apps(ctx, of), dict[AppId, list[ClientFacts]]()
    for client in store.read_clients(ctx.tx, of):
        if client.app in apps:
            facts = policy.join(client, apps[client.app], certifications.get(client.app, ()))
            found.setdefault(client.app, []).append(facts)
    return {app: tuple(facts) for app, facts in found.items()}


def add_dynamic(
    ctx: Context, tenant: TenantId, asked: ClientMetadata, *, ends: datetime
) -> tuple[Client, str]:
    """Add vendor, app, version, client and certification of a sandbox app that its developer registers; permission was asked before."""
    app, version = registry.add_single_tenant_app(
        ctx, tenant, asked.name, "Registered dynamically in a sandbox"
    )
    making.change(ctx, app.id)
    client, secret = making.add_client(ctx, app, version, asked, dynamic=True)
    order = CertifyOrder(version, Environment.SANDBOX, client.scopes, ends)
    registry.add_certification(ctx, app.id, order)
    return client, secret


def count_dynamic(ctx: Context, tenant: TenantId) -> int:
    """Count the dynamic clients of a tenant whose life has not ended."""
    return store.count_dynamic(ctx.tx, registry.list_apps_of(ctx, tenant), ctx.now)


def forget_ended_dynamic(ctx: Context) -> list[tuple[AppId, TenantId]]:
    """Forget dynamic clients whose life ended, with all of their apps but the installations; return which apps, and where."""
    ended = store.delete_ended_dynamic(ctx.tx, ctx.now)
    return [(app.id, app.tenant) for app in registry.forget_apps(ctx, ended) if app.tenant is not None]


def get_client(ctx: Context, client_id: ClientId) -> Client:
    """Get a client with the digests of its secrets. Raises NotFound."""
    found = find_client(ctx, client_id)
    if found is None:
        raise NotFound("client_not_found", "There is no such client.")
    return found


def find_client(ctx: Context, client_id: ClientId) -> Client | None:
    """Find a client, with the digests of its secrets, by whatever text a request holds."""
    return store.find_client(ctx.tx, client_id) if policy.fits_id(client_id) else None


def client_facts(ctx: Context, client_id: ClientId) -> ClientFacts | None:
    """Return what enforcement must know of one client, or None if there is none."""
    client = find_client(ctx, client_id)
    if client is None:
        return None
    app = registry.get_app(ctx, client.app)
    return policy.join(client, app, registry.certifications_of(ctx, app.id))


def list_clients(ctx: Context, app_id: AppId, page: PageQuery = FIRST_PAGE) -> list[Client]:
    """List an app's clients, without secrets. Raises NotFound, NotPermitted."""
    app = registry.view_app(ctx, app_id)
    if not policy.may_see_clients(ctx.actor, app):
        raise NotPermitted("not_permitted", "You may not see this.")
    return store.list_clients(ctx.tx, app.id, page)


def view_client(ctx: Context, client_id: ClientId) -> Client:
    """Get a client that the actor may see. Raises NotFound."""
    client = store.get_client(ctx.tx, client_id)
    if not policy.may_see_clients(ctx.actor, registry.get_app(ctx, client.app)):
        raise NotFound("client_not_found", "There is no such client.")
    return client
