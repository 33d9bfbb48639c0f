"""Steps that several verbs share: each writes one record and its event; permission was asked before."""

import hashlib
from collections.abc import Mapping
from typing import Any

from hilum.audit import service as audit
from hilum.audit.models import Event, Outcome
from hilum.clients import policy as rules
from hilum.clients import store
from hilum.clients.models import SECRET_PREFIX, Client, ClientMetadata, ClientSecret
from hilum.infra.context import Context
from hilum.kernel.actor import ActorKind
from hilum.kernel.errors import Conflict, Invalid, NotPermitted
from hilum.kernel.ids import AppId, ClientId, VersionId
from hilum.registry.models import (
    REGISTRY,
    App,
)


def change(ctx: Context, app: AppId) -> None:
    """Announce to every process that an app's facts changed."""
    ctx.advance_epoch(REGISTRY, f"app/{app}")


def refused(ctx: Context, action: str, *, tenant: str = "", app: str = "", client: str = "") -> NotPermitted:
    """Record that an actor may not do this, and return the refusal to raise."""
    event = Event(action, Outcome.REFUSED, tenant=tenant, app=app, client=client, reason="not_permitted")
    audit.record(ctx, event)
    return NotPermitted("not_permitted", "You may not do this.")


def digest(secret: str) -> str:
    """Return the form in which a secret is stored."""
    return hashlib.sha256(secret.encode()).hexdigest()


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
