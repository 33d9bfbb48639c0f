"""Steps that several verbs share: each writes one record and its event; permission was asked before."""

import hashlib
from collections.abc import Mapping
from typing import Any

from hilum.audit import service as audit
from hilum.audit.models import Event, Outcome
from hilum.clients import policy as rules
from hilum.clients.models import ClientMetadata
from hilum.infra.context import Context
from hilum.kernel.actor import ActorKind
from hilum.kernel.errors import Conflict, Invalid, NotPermitted
from hilum.kernel.ids import AppId, ClientId, TenantId, VendorId, VersionId
from hilum.registry import store
from hilum.registry.models import (
    REGISTRY,
    SECRET_PREFIX,
    App,
    AppVersion,
    Certification,
    CertifyOrder,
    Client,
    ClientSecret,
    NewApp,
    Vendor,
)


def change(ctx: Context, app: AppId) -> None:
    """Announce to every process that an app's facts changed."""
    ctx.advance_epoch(REGISTRY, f"app/{app}")


def digest(secret: str) -> str:
    """Give the form in which a secret is stored."""
    return hashlib.sha256(secret.encode()).hexdigest()


def refused(ctx: Context, action: str, *, tenant: str = "", app: str = "", client: str = "") -> NotPermitted:
    """Record that an actor may not do this, and give the refusal to raise."""
    event = Event(action, Outcome.REFUSED, tenant=tenant, app=app, client=client, reason="not_permitted")
    audit.record(ctx, event)
    return NotPermitted("not_permitted", "You may not do this.")


def add_app(ctx: Context, order: NewApp, tenant: TenantId | None) -> App:
    """Add an app; ``tenant`` for one that lives at a single tenant."""
    app = App(
        id=AppId(ctx.ids.new("app")),
        vendor=order.vendor,
        name=order.name.strip(),
        description=order.description,
        purpose=order.purpose,
        tenant=tenant,
        created_at=ctx.now,
        active_since=ctx.now,
    )
    store.add_app(ctx.tx, app, ctx.now)
    audit.record(
        ctx, Event("registry.app.add", tenant=tenant or "", app=app.id, facts={"vendor": app.vendor})
    )
    return app


def add_single_tenant_app(ctx: Context, tenant: TenantId, name: str, purpose: str) -> tuple[App, VersionId]:
    """Add vendor, app and version of something that lives at one tenant only."""
    vendor = Vendor(VendorId(ctx.ids.new("ven")), name.strip(), f"tenant:{tenant}", f"tenant:{tenant}")
    store.add_vendor(ctx.tx, vendor)
    app = add_app(ctx, NewApp(vendor.id, name, purpose, purpose), tenant)
    version = AppVersion(VersionId(ctx.ids.new("ver")), app.id, "1", ctx.now)
    store.add_version(ctx.tx, version)
    return app, version.id


def add_client(
    ctx: Context,
    app: App,
    version: VersionId,
    asked: ClientMetadata,
    *,
    client_id: str = "",
    dynamic: bool = False,
    secret: str = "",
) -> tuple[Client, str]:
    """Judge metadata and add the client; the same for every door (C1). Without a ``secret`` one is made where its type has one.

    Raises Invalid, NotPermitted, Conflict.
    """
    meta = rules.normalized(asked)
    if faults := rules.validate_client_metadata(meta, now=ctx.now):
        audit.record(
            ctx,
            Event("registry.client.add", Outcome.REFUSED, app=app.id, reason="client_invalid", facts=faults),
        )
        raise Invalid("client_invalid", "The client cannot be registered as described.", fields=faults)
    if client_id and (
        ctx.actor.kind not in {ActorKind.SYSTEM, ActorKind.HOST} or not rules.fits_id(client_id)
    ):
        raise refused(ctx, "registry.client.add", app=app.id)
    if not secret and meta.type in rules.WITH_SECRET:
        secret = SECRET_PREFIX + ctx.ids.secret()
    client = Client(
        id=ClientId(client_id or ctx.ids.new("cli")),
        app=app.id,
        version=version,
        environment=meta.environment,
        type=meta.type,
        deployment=meta.deployment,
        name=meta.name,
        redirect_uris=meta.redirect_uris,
        launch_uri=meta.launch_uri,
        origins=meta.origins,
        scopes=meta.scopes,
        secrets=(ClientSecret(digest(secret), meta.expires_at),) if secret else (),
        jwks=meta.jwks,
        jwks_uri=meta.jwks_uri,
        grant_types=meta.grant_types,
        expires_at=meta.expires_at,
        backend_use=meta.backend_use,
        dynamic=dynamic,
        created_at=ctx.now,
    )
    if not store.add_client(ctx.tx, client, ctx.now):
        raise Conflict("client_exists", "There is a client of this id already.")
    facts: Mapping[str, Any] = {
        "type": client.type.value,
        "environment": client.environment.value,
        "dynamic": dynamic,
    }
    event = Event(
        "registry.client.add", tenant=app.tenant or "", app=app.id, client=client.id, facts=dict(facts)
    )
    audit.record(ctx, event)
    return client, secret


def add_certification(ctx: Context, app: AppId, order: CertifyOrder) -> Certification:
    """Add a certification that was judged."""
    certification = Certification(
        id=ctx.ids.new("cert"),
        app=app,
        version=order.version,
        scopes=order.scopes,
        certified_by=str(ctx.actor),
        certified_at=ctx.now,
        expires_at=order.expires_at,
        environment=order.environment,
    )
    store.add_certification(ctx.tx, certification)
    facts = {
        "certification": certification.id,
        "version": order.version,
        "environment": order.environment.value,
        "scopes": list(order.scopes),
        "expires_at": order.expires_at.isoformat(),
    }
    audit.record(ctx, Event("registry.certification.add", app=app, facts=facts))
    return certification
