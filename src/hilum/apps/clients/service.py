"""Register clients, rotate secrets, adopt versions, add a tenant's system clients; read the facts about clients."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from hilum.apps.clients import changes, creation, credential_policy, policy, store
from hilum.apps.clients.changes import held_edits
from hilum.apps.clients.credentials import list_credentials, list_unused
from hilum.apps.clients.models import (
    CLIENTS_BOUND,
    KIDS_BOUND,
    Client,
    ClientEdit,
    ClientFacts,
    ClientMetadata,
    ClientType,
    Ended,
    NewClient,
)
from hilum.apps.clients.queries import view_client
from hilum.apps.clients.system_clients import (
    CARRY_OUT,
    add_system_client,
    ask_secret,
    ask_system_client,
    rotate_secret,
)
from hilum.apps.clients.transfers import (
    accept_app,
    decline_app,
    is_offered_to,
    list_offers,
    offer_app,
    view_transfer,
)
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import (
    NAMED_BOUND,
    REGISTRY,
    App,
    Certified,
    CertifyOrder,
    Environment,
    HeldEdit,
)
from hilum.apps.registry.policy import is_in_force, text_fault
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid, NotFound, Readers, Unavailable, not_shown
from hilum.foundation.kernel.ids import AppId, ClientId, TenantId, VersionId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.identity.people.models import VendorRight
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import SANDBOX_TRIAL, UNCLASSIFIED, Book
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

__all__ = [
    "CARRY_OUT",
    "accept_app",
    "add_system_client",
    "ask_secret",
    "ask_system_client",
    "decline_app",
    "held_edits",
    "is_offered_to",
    "list_credentials",
    "list_offers",
    "list_unused",
    "offer_app",
    "rotate_secret",
    "view_client",
    "view_transfer",
]


def add_client(ctx: Context, order: NewClient) -> tuple[Client, str]:
    """Register a client of an app, and return it with its secret, empty if it has none. The secret cannot be read later.

    Raises NotPermitted, NotFound, Conflict, Invalid with RFC 7591's field names.
    """
    app = registry.get_changeable(ctx, order.app, "registry.client.add")
    version = registry.get_version(ctx, order.version)
    if version.app != app.id:
        raise NotFound("version_not_found", "The app has no such version.")
    # System clients have their own verb, which takes two people; through this one a single registrar could make one.
    if order.metadata.type in policy.WITH_SECRET - {ClientType.SYMMETRIC}:
        fields = {"client_type": "system_clients_belong_to_a_tenant"}
        raise Invalid(
            "client_invalid",
            "Add an EHR or a resource server as a system client of its tenant.",
            fields=fields,
        )
    if ctx.actor.vendor is not None:
        _require_presentable(ctx, app, order.metadata)
        _require_unreviewed(ctx, version.id, order.metadata.environment)
    registry.announce_change(ctx, app.id)
    # A client that is added while the app is transferred would keep the secret of its former vendor.
    registry.lock_as_read(ctx, app)
    return creation.add_client(ctx, app, version.id, order.metadata, client_id=order.client_id)


def _require_unreviewed(ctx: Context, version: VersionId, environment: Environment) -> None:
    """Check that a member's client does not join a version that is certified for production: nobody has reviewed the client (C12)."""
    if environment is not Environment.PRODUCTION:
        return
    app = registry.get_app(ctx, registry.get_version(ctx, version).app)
    of_app = registry.certifications_of(ctx, app.id)
    # A version in its grace may still be used, so a new client of it could be too.
    at = ctx.now - registry.grace_of(ctx, app.category)
    if any(each.version == version and is_in_force(each, environment, at) for each in of_app):
        detail = "This version is already certified for production, so it gets no more clients. Register the client for a new version; review certifies them together."
        raise Invalid("version_certified", detail, fields={"version": "version_certified"})


def _require_presentable(ctx: Context, app: App, metadata: ClientMetadata) -> None:
    """Check what a vendor's own registration must show: a name of its own, and for production everything that C6 lists."""
    if store.CLIENTS.count(ctx.tx, app=app.id) >= CLIENTS_BOUND:
        raise Unavailable(
            "too_many_clients", f"The app has {CLIENTS_BOUND} clients already. Ask the platform's staff."
        )
    if fault := text_fault(metadata.name) or registry.imitation_fault(ctx, app.vendor, metadata.name):
        fields = {"client_name": fault}
        raise Invalid("client_invalid", "The client metadata is invalid; see fields.", fields=fields)
    if metadata.environment is Environment.PRODUCTION and (missing := registry.missing_of(ctx, app)):
        detail = "An app needs a complete profile before it has a client for production. State what is missing first; see fields."
        raise Invalid("profile_incomplete", detail, fields=dict.fromkeys(missing, "missing"))


def edit(ctx: Context, client_id: ClientId, order: ClientEdit) -> Client | HeldEdit:
    """Edit the security-relevant metadata of a client; return it, or the change that waits for a reviewer (C12).

    Raises NotFound, NotPermitted, Invalid, Conflict (changed since it was read, or another change of it waits).
    """
    return changes.edit(ctx, get_changeable(ctx, client_id, "registry.client.change"), order)


def adopt_version(ctx: Context, client_id: ClientId, version_id: VersionId) -> Client:
    """Move a client to another certified version of its app. Raises NotFound, NotPermitted, Invalid.

    If the client is certified now, its tokens survive the update (C5); otherwise its certification starts now.
    """
    # Locked, since the unbroken time is computed from the row and written back to it.
    client = get_changeable(ctx, client_id, "registry.client.adopt_version")
    version = registry.get_version(ctx, version_id)
    if version.app != client.app:
        raise NotFound("version_not_found", "The app has no such version.")
    certifications = registry.certifications_of(ctx, client.app)
    if not any(
        each.version == version.id and is_in_force(each, client.environment, ctx.now)
        for each in certifications
    ):
        raise Invalid(
            "version_not_certified",
            "This version is not certified now; adopt one that is.",
            fields={"version": "not_certified"},
        )
    grace = registry.grace_of(ctx, registry.get_app(ctx, client.app).category)
    if ctx.actor.vendor is not None and not policy.is_certified_for_production(
        client, certifications, ctx.now, grace
    ):
        _require_unreviewed(ctx, version.id, client.environment)
    held = policy.certification_of(client, certifications)
    # A client that had lost its certification must not revive
    # old tokens by adopting a certified version (ADR 6).
    since = held[1] if held is not None and _is_served(ctx, client.id) else ctx.now
    after = replace(client, version=version.id, adopted_at=ctx.now, certified_before=since)
    store.CLIENTS.save(ctx.tx, after, only=("version", "adopted_at", "certified_before"))
    facts = {"version": version.id}
    registry.announce_change(ctx, client.app)
    audit.record(ctx, Event("registry.client.adopt_version", app=client.app, client=client.id, facts=facts))
    return after


def _is_served(ctx: Context, client_id: ClientId) -> bool:
    """Check whether a client is certified, or in a grace, by every policy in force."""
    facts = client_facts(ctx, client_id)
    if facts is None:
        return False
    ends = (policy.served_until(book, facts) for book in policies.current(ctx).as_of(ctx.now).books())
    return all(each is not None and ctx.now < each for each in ends)


def get_changeable(
    ctx: Context, client_id: ClientId, action: str, right: VendorRight = VendorRight.APPS
) -> Client:
    """Get a client that the actor may change, and lock it. Raises NotFound, NotPermitted."""
    client = store.get_client(ctx.tx, client_id, lock=True)
    app = registry.get_app(ctx, client.app)
    if not policy.may_change_client(ctx.actor, app, right):
        if ctx.actor.vendor is not None and ctx.actor.vendor != app.vendor:
            raise NotFound("client_not_found", "There is no such client.")
        raise audit.refusal(ctx, Event(action, app=client.app, client=client.id))
    return client


def serves_backends_only(ctx: Context, app: AppId) -> bool:
    """Check whether an app has clients, and all of them are backend services."""
    return store.serves_backends_only(ctx.tx, app)


def origins_of(ctx: Context, apps: Collection[AppId]) -> frozenset[str]:
    """Return the origins of all clients of some apps."""
    return frozenset(origin for origins in store.read_origins(ctx.tx, apps) for origin in origins)


def facts_of_apps(ctx: Context, of: Collection[AppId] | None) -> dict[AppId, tuple[ClientFacts, ...]]:
    """Read the facts of the clients of some apps (None: of all), by app."""
    return certified_facts(ctx, of)[0]


def certified_facts(
    ctx: Context, of: Collection[AppId] | None
) -> tuple[dict[AppId, tuple[ClientFacts, ...]], Certified]:
    """Read the facts of the clients of some apps (None: of all) by app, and the certifications that they depend on."""
    # Several reads and a join in memory, since no room reads another's table.
    certified = registry.read_certified(ctx, of)
    by_app: dict[AppId, list[ClientFacts]] = {}
    for client in store.read_clients(ctx.tx, of):
        app, version = certified.apps.get(client.app), certified.versions.get(client.version)
        if app is not None and version is not None:
            facts = policy.join(client, app, version, certified.certifications.get(app.id, ()))
            by_app.setdefault(app.id, []).append(facts)
    return {app: tuple(facts) for app, facts in by_app.items()}, certified


def add_dynamic(
    ctx: Context, tenant: TenantId, requested: ClientMetadata, *, ends: datetime
) -> tuple[Client, str]:
    """Add vendor, app, version, client and certification of a sandbox app that its developer registers. The caller has checked permission."""
    book = policies.current(ctx).book_at(tenant, ctx.now)
    app, version = registry.add_single_tenant_app(
        ctx, tenant, requested.name, "Registered dynamically in a sandbox", category=_trial_category(book)
    )
    registry.announce_change(ctx, app.id)
    client, secret = creation.add_client(ctx, app, version.id, requested, dynamic=True)
    # Certified for what it registered and for the sandbox only;
    # the end of the client is the end of the certification.
    order = CertifyOrder(version.id, Environment.SANDBOX, client.scopes, ends)
    registry.add_certification(ctx, app, version, order, book)
    return client, secret


def _trial_category(book: Book) -> str:
    """Return the category of apps that developers register themselves. Raises Invalid if the policy has none for them."""
    # A policy of an earlier release has no category for trials; there they were registered as unclassified.
    found = next((name for name in (SANDBOX_TRIAL, UNCLASSIFIED) if name in book.categories), None)
    if found is None:
        detail = (
            f"The policy in force has no category {SANDBOX_TRIAL}, so nobody may register apps themselves."
        )
        raise Invalid("registration_closed", detail, fields={"scope": "category_unknown"})
    return found


def count_dynamic(ctx: Context, tenant: TenantId) -> int:
    """Count the dynamic clients of a tenant that have not expired."""
    return store.count_dynamic(ctx.tx, registry.list_apps_of(ctx, tenant), ctx.now)


def delete_ended_dynamic(ctx: Context) -> list[Ended]:
    """Delete expired dynamic clients with their apps, but not the installations; return them."""
    found = store.read_ended_dynamic(ctx.tx, ctx.now)
    apps = registry.read_apps(ctx, {app for _, app in found}) if found else {}
    tenants = {app.id: app.tenant for app in apps.values() if app.tenant is not None}
    ended = [Ended(client, app, tenants[app]) for client, app in found if app in tenants]
    if ended:
        store.delete_clients(ctx.tx, [each.client for each in ended])
        registry.delete_apps(ctx, {each.app for each in ended})
    return ended


def get_client(ctx: Context, client_id: ClientId) -> Client:
    """Get a client with the digests of its secrets. Raises NotFound."""
    client = find_client(ctx, client_id)
    if client is None:
        raise NotFound("client_not_found", "There is no such client.")
    return client


def find_client(ctx: Context, client_id: ClientId) -> Client | None:
    """Find a client, with the digests of its secrets, by an id that may be any text, as a request contains it. None also if it cannot be read."""
    found = _registered(ctx, client_id)
    return None if found is None else found[0]


def _registered(ctx: Context, client_id: ClientId) -> tuple[Client, App] | None:
    # The id comes from a request before anybody is authenticated: what cannot be an id costs no query.
    if not policy.fits_id(client_id):
        return None
    # Kept until anything of the registry changes: authorize and launches ask several times each.
    return ctx.cached(REGISTRY, ("registered", client_id), lambda ctx: _read(ctx, client_id))


def _read(ctx: Context, client_id: ClientId) -> tuple[Client, App] | None:
    client = store.read_client(ctx.tx, client_id)
    app = None if client is None else registry.read_apps(ctx, [client.app]).get(client.app)
    return None if client is None or app is None else (client, app)


def client_facts(ctx: Context, client_id: ClientId) -> ClientFacts | None:
    """Return the facts of one client; None if it does not exist or cannot be read."""
    found = _registered(ctx, client_id)
    if found is None:
        return None
    client, app = found
    certified = registry.read_certified(ctx, [app.id])
    version = certified.versions.get(client.version)
    if version is None:
        return None
    return policy.join(client, app, version, certified.certifications.get(app.id, ()))


def note_use(ctx: Context, client: ClientId, credential: str) -> None:
    """Record that a client authenticated with a secret (its digest) or with its keys (``KEYS``), for ``credentials`` (C219)."""
    store.save_use(ctx.tx, client, credential, ctx.now)


def note_key_use(ctx: Context, client: ClientId, kid: str) -> None:
    """Record that a client authenticated with one of its keys (C219)."""
    store.save_use(ctx.tx, client, credential_policy.kid_credential(kid), ctx.now)
    store.forget_kids(ctx.tx, client, KIDS_BOUND)


def list_clients(ctx: Context, app_id: AppId, page: PageQuery = FIRST_PAGE) -> list[Client]:
    """List an app's clients, without secrets. Raises NotFound, NotPermitted."""
    app = registry.view_app(ctx, app_id)
    # A refused read changes nothing and is not recorded.
    if not policy.may_see_clients(ctx.actor, app):
        raise not_shown("the clients of an app", Readers.VENDOR)
    return store.CLIENTS.page(ctx.tx, page, app=app.id)


def launched_of(ctx: Context, apps: Collection[AppId]) -> dict[AppId, list[Client]]:
    """Read the clients of some apps by which people open them, by app, without a permission check."""
    launched: dict[AppId, list[Client]] = {}
    for client in store.read_clients(ctx.tx, apps) if apps else ():
        if client.launch_uri and client.type is not ClientType.BACKEND:
            launched.setdefault(client.app, []).append(client)
    return launched


def hosts_of(ctx: Context, apps: Collection[AppId]) -> frozenset[str]:
    """Return the hosts of the keys and redirects of some apps, without a permission check; this machine itself is none."""
    return frozenset(host for each in store.read_clients(ctx.tx, apps) for host in policy.hosts_of(each))


def apps_at(ctx: Context, hosts: Collection[str], limit: int) -> dict[AppId, set[str]]:
    """Return the apps with keys or redirects at some hosts, and which, without a permission check; of at most ``limit`` clients a host."""
    found: dict[AppId, set[str]] = {}
    for host in hosts:
        for client in store.list_at(ctx.tx, host, limit):
            if host in policy.hosts_of(client):
                found.setdefault(client.app, set()).add(host)
    return found


def find_named(ctx: Context, named: str) -> list[Client]:
    """Find clients by id or exact name, without secrets and without a permission check; ``NAMED_BOUND`` at most."""
    return store.find_named(ctx.tx, named, NAMED_BOUND)


def read_named(ctx: Context, of: Collection[ClientId]) -> list[Client]:
    """Read some clients by their ids, without secrets and without a permission check."""
    return store.CLIENTS.among(ctx.tx, "id", of)
