"""Steps that several verbs share. The caller has checked permission."""

import hashlib
from collections.abc import Mapping
from typing import Any

from hilum.apps.clients import policy as rules
from hilum.apps.clients import store
from hilum.apps.clients.models import SECRET_PREFIX, Client, ClientMetadata, ClientSecret
from hilum.apps.registry.models import App
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import ActorKind
from hilum.foundation.kernel.errors import Conflict, Invalid
from hilum.foundation.kernel.ids import ClientId, VersionId
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, Outcome


def digest(secret: str) -> str:
    """Return the SHA-256 under which a secret is stored."""
    return hashlib.sha256(secret.encode()).hexdigest()


def add_client(
    ctx: Context,
    app: App,
    version: VersionId,
    requested: ClientMetadata,
    *,
    client_id: str = "",
    dynamic: bool = False,
    secret: str = "",
) -> tuple[Client, str]:
    """Validate metadata and add the client, the same for every way to register (C1). Return it with its secret, empty if it has none.

    An empty ``secret`` is generated if the client's type has one. ``client_id`` may be chosen only by the platform itself.

    Raises Invalid, NotPermitted, Conflict.
    """
    # One path for the API, the start-up plan and dynamic
    # registration: a rule cannot be missing in one of them (C1).
    meta = rules.normalized(requested)
    if faults := rules.validate_client_metadata(meta, now=ctx.now) or rules.new_client_faults(meta):
        # The refused registration is on record with the codes of its faults, never with its values.
        audit.record(
            ctx,
            Event("registry.client.add", Outcome.REFUSED, app=app.id, reason="client_invalid", facts=faults),
        )
        raise Invalid("client_invalid", "The client metadata is invalid; see fields.", fields=faults)
    if client_id and (
        # A chosen id could be one that somebody else's configuration expects.
        ctx.actor.kind not in {ActorKind.SYSTEM, ActorKind.HOST} or not rules.fits_id(client_id)
    ):
        raise audit.refusal(ctx, Event("registry.client.add", app=app.id))
    if not secret and meta.type in rules.WITH_SECRET:
        # The prefix lets secret scanners find it in repositories. 256 random bits need no slow hash: SHA-256
        # is stored (security decision 6).
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
        raise Conflict("client_exists", "There is already a client with this id.")
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
