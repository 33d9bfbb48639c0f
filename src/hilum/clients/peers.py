"""The peers of a tenant, and new secrets of clients.

A peer speaks for its whole tenant: an EHR vouches for anybody there. So one takes two people, and so does a new secret of one; each of the
two is shown half of the secret, and who installs the peer needs both.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hilum.approvals.models import Act, Approval, ApprovalKind, Asked, CarriedOut
from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.clients import making, policy, store
from hilum.clients.models import (
    PLATFORM_PEERS,
    SECRET_OVERLAP,
    SECRET_OVERLAP_MAX,
    SECRET_PREFIX,
    Client,
    ClientMetadata,
    ClientSecret,
    ClientType,
    Deployment,
    NewPeer,
)
from hilum.identity import service as identity
from hilum.infra.context import Context
from hilum.kernel.actor import Actor
from hilum.kernel.errors import Invalid
from hilum.kernel.ids import ClientId, TenantId
from hilum.keys.live import vault
from hilum.registry import service as registry
from hilum.registry.models import App, Environment

PURPOSE = "registry-secret-start"


def add_peer(ctx: Context, order: NewPeer) -> tuple[Client, str]:
    """Add an EHR or a resource server of one tenant, with its secret, as the platform itself does; people ask for one.

    Raises NotPermitted, NotFound, Invalid, Conflict.
    """
    meta = _judged_peer(ctx, order)
    if not ctx.actor.acts_alone:
        raise making.refused(ctx, "registry.peer.add", tenant=order.tenant)
    return _add_peer(ctx, order, meta, "")


def ask_peer(ctx: Context, order: NewPeer) -> Asked:
    """Ask for an EHR or a resource server of one tenant. Raises NotPermitted, NotFound, Invalid, Unavailable (too many wait)."""
    _judged_peer(ctx, order)
    shown = {"client_type": order.type.value, "client_name": order.name}
    return _ask(ctx, Act(ApprovalKind.PEER, order.tenant, "", shown))


def _carry_out_peer(ctx: Context, approval: Approval, asker: Actor) -> CarriedOut:
    act, as_asker = approval.act, ctx.as_actor(asker)
    order = NewPeer(
        TenantId(act.tenant or ""), ClientType(act.order["client_type"]), act.order["client_name"]
    )
    secret, end = _joined(ctx, approval)
    client, _ = _add_peer(as_asker, order, _judged_peer(as_asker, order), secret)
    return CarriedOut(client.id, secret_end=end)


def _judged_peer(ctx: Context, order: NewPeer) -> ClientMetadata:
    tenant = identity.get_tenant(ctx, order.tenant)
    if not policy.may_keep_peers(ctx.actor, order.tenant):
        raise making.refused(ctx, "registry.peer.add", tenant=order.tenant)
    if order.type not in PLATFORM_PEERS:
        fields = {"client_type": "not_a_peer"}
        raise Invalid("client_invalid", "A peer is an EHR or a resource server.", fields=fields)
    meta = ClientMetadata(
        name=order.name,
        type=order.type,
        deployment=Deployment.SERVER,
        environment=Environment.SANDBOX if tenant.sandbox else Environment.PRODUCTION,
        scopes=(policy.LAUNCH_SCOPE,) if order.type is ClientType.EHR else (),
    )
    if faults := policy.validate_client_metadata(policy.normalized(meta), now=ctx.now):
        raise Invalid("client_invalid", "The peer cannot be added as described.", fields=faults)
    return meta


def _add_peer(ctx: Context, order: NewPeer, meta: ClientMetadata, secret: str) -> tuple[Client, str]:
    app, version = registry.add_single_tenant_app(
        ctx, order.tenant, order.name, f"{order.type.value} of the tenant"
    )
    making.change(ctx, app.id)
    return making.add_client(ctx, app, version, meta, client_id=order.client_id, secret=secret)


def rotate_secret(
    ctx: Context, client_id: ClientId, *, overlap: timedelta = SECRET_OVERLAP
) -> tuple[Client, str]:
    """Make a new secret of a client; the one before works until the overlap ends, any older not at all (C9). For peers people ask.

    Raises NotFound, NotPermitted, Invalid.
    """
    client, app = _judged_rotation(ctx, client_id, overlap)
    if client.type in PLATFORM_PEERS and not ctx.actor.acts_alone:
        raise making.refused(ctx, "registry.secret.rotate", app=app.id, client=client.id)
    secret = SECRET_PREFIX + ctx.ids.secret()
    return _rotate(ctx, client, overlap, secret), secret


def ask_secret(
    ctx: Context, client_id: ClientId, *, overlap: timedelta = SECRET_OVERLAP
) -> tuple[Client, str] | Asked:
    """Make a new secret of a client, or for a peer ask for it. Raises NotFound, NotPermitted, Invalid, Unavailable (too many wait)."""
    client, app = _judged_rotation(ctx, client_id, overlap)
    if client.type not in PLATFORM_PEERS:
        return rotate_secret(ctx, client_id, overlap=overlap)
    shown = {
        "client_type": client.type.value,
        "client_name": client.name,
        "overlap_s": int(overlap.total_seconds()),
    }
    return _ask(ctx, Act(ApprovalKind.SECRET, app.tenant, client.id, shown, _secrets_of(client)))


def _carry_out_secret(ctx: Context, approval: Approval, asker: Actor) -> CarriedOut:
    act, as_asker = approval.act, ctx.as_actor(asker)
    overlap = timedelta(seconds=act.order["overlap_s"])
    client, _ = _judged_rotation(as_asker, ClientId(act.target), overlap)
    identity.require_unchanged(act, _secrets_of(client))
    secret, end = _joined(ctx, approval)
    _rotate(as_asker, client, overlap, secret)
    return CarriedOut(client.id, secret_end=end)


def _secrets_of(client: Client) -> dict[str, Any]:
    """Return which secrets a client has, so that two new ones that were asked for at once do not end each other."""
    return {"secrets": sorted(each.digest[:12] for each in client.secrets)}


def _judged_rotation(ctx: Context, client_id: ClientId, overlap: timedelta) -> tuple[Client, App]:
    client = store.get_client(ctx.tx, client_id, lock=True)
    app = registry.get_app(ctx, client.app)
    if not policy.may_rotate(ctx.actor, app):
        raise making.refused(ctx, "registry.secret.rotate", app=app.id, client=client.id)
    if client.type not in policy.WITH_SECRET:
        raise Invalid("client_has_no_secret", "This client authenticates without a secret.")
    if not timedelta(0) <= overlap <= SECRET_OVERLAP_MAX:
        raise Invalid("secret_invalid", "The overlap is too long.", fields={"overlap_s": "out_of_range"})
    return client, app


def _rotate(ctx: Context, client: Client, overlap: timedelta, secret: str) -> Client:
    ends = ctx.now + overlap
    in_force = [each for each in client.secrets if each.expires_at is None or ctx.now < each.expires_at]
    newest = max(
        in_force, key=lambda each: (each.expires_at is None, each.expires_at or ctx.now), default=None
    )
    store.save_secrets_ending(ctx.tx, client.id, keep=newest.digest if newest else "", at=ends)
    store.add_secret(ctx.tx, client.id, ClientSecret(making.digest(secret), client.expires_at))
    facts = {"overlap_ends_at": ends.isoformat()}
    making.change(
        ctx, client.app
    )  # the secrets are of no interest to the gateway, but whoever keeps the client must read it anew
    audit.record(ctx, Event("registry.secret.rotate", app=client.app, client=client.id, facts=facts))
    return store.get_client(ctx.tx, client.id)


def _ask(ctx: Context, act: Act) -> Asked:
    approval_id, start = ctx.ids.new("apr"), SECRET_PREFIX + ctx.ids.secret()
    sealed = vault().seal(PURPOSE, start.encode(), nonce=ctx.ids, bound_to=approval_id)
    return Asked(identity.ask(ctx, replace(act, sealed=sealed), approval_id), secret_start=start)


def _joined(ctx: Context, approval: Approval) -> tuple[str, str]:
    """Return a client's whole secret, and the half of it that the second person is shown."""
    start, end = vault().open(PURPOSE, approval.act.sealed, approval.id).decode(), ctx.ids.secret()
    return start + end, end


CARRY_OUT = {ApprovalKind.PEER: _carry_out_peer, ApprovalKind.SECRET: _carry_out_secret}
"""How this room's acts are carried out once a second person agreed."""
