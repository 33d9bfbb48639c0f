"""The system clients of a tenant (EHRs and resource servers), and new secrets of clients.

A system client speaks for its whole tenant: an EHR vouches for any user there. So two people must approve a system client, and each new secret of one. Each
of them sees half of the secret, so that neither can use it alone; whoever installs the system client needs both halves.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hilum.apps.clients import creation, policy, store
from hilum.apps.clients.models import (
    SECRET_OVERLAP,
    SECRET_OVERLAP_MAX,
    SECRET_PREFIX,
    SYSTEM_CLIENTS,
    Client,
    ClientMetadata,
    ClientSecret,
    ClientType,
    Deployment,
    NewSystemClient,
)
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, environment_of
from hilum.controls.approvals.models import Act, Approval, ApprovalKind, Asked, CarriedOut
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import Invalid, NotFound
from hilum.foundation.kernel.ids import ClientId, TenantId
from hilum.foundation.kernel.limits import out_of_range
from hilum.identity.people import service as identity
from hilum.policy.matrix.models import SYSTEM_CLIENT
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.records.keys.live import vault

# The purpose and the approval's id are sealed in, so that the
# half of one approval cannot be opened as that of another.
PURPOSE = "registry-secret-start"


def add_system_client(ctx: Context, order: NewSystemClient) -> tuple[Client, str]:
    """Add an EHR or a resource server of one tenant, and return it with its secret. Only for the platform itself; see ``ask_system_client``.

    Raises NotPermitted, NotFound, Invalid, Conflict.
    """
    meta = _validated_system_client(ctx, order)
    # The verb itself refuses people whom nobody agreed with, so that a new route cannot forget it (ADR 29).
    if not ctx.actor.acts_alone:
        raise audit.refusal(ctx, Event("registry.system_client.add", tenant=order.tenant))
    return _add_system_client(ctx, order, meta, "")


def ask_system_client(ctx: Context, order: NewSystemClient) -> Asked:
    """Ask for approval of a new EHR or resource server of a tenant. Raises NotPermitted, NotFound, Invalid, Unavailable (too many wait)."""
    _validated_system_client(ctx, order)
    shown = {"client_type": order.type.value, "client_name": order.name}
    return _ask(ctx, Act(ApprovalKind.SYSTEM_CLIENT, order.tenant, "", shown))


def _carry_out_system_client(ctx: Context, approval: Approval, asker: Actor) -> CarriedOut:
    # The asker's rights are judged again now: who has lost them since asking gets nothing carried out.
    act, as_asker = approval.act, ctx.as_actor(asker)
    order = NewSystemClient(
        TenantId(act.tenant or ""), ClientType(act.order["client_type"]), act.order["client_name"]
    )
    secret, end = _joined(ctx, approval)
    client, _ = _add_system_client(as_asker, order, _validated_system_client(as_asker, order), secret)
    return CarriedOut(client.id, secret_end=end)


def _validated_system_client(ctx: Context, order: NewSystemClient) -> ClientMetadata:
    tenant = identity.get_tenant(ctx, order.tenant)
    if not policy.may_manage_system_clients(ctx.actor, order.tenant):
        raise audit.refusal(ctx, Event("registry.system_client.add", tenant=order.tenant))
    if order.type not in SYSTEM_CLIENTS:
        fields = {"client_type": "not_a_system_client"}
        raise Invalid("client_invalid", "client_type must be ehr or resource-server.", fields=fields)
    meta = ClientMetadata(
        name=order.name,
        type=order.type,
        deployment=Deployment.SERVER,
        # Follows the tenant and is not chosen: a system client works at this tenant only.
        environment=environment_of(tenant),
        scopes=(policy.LAUNCH_SCOPE,) if order.type is ClientType.EHR else (),
    )
    if faults := policy.validate_client_metadata(policy.normalized(meta), now=ctx.now):
        raise Invalid("client_invalid", "The system client is invalid; see fields.", fields=faults)
    return meta


def _add_system_client(
    ctx: Context, order: NewSystemClient, meta: ClientMetadata, secret: str
) -> tuple[Client, str]:
    app, version = registry.add_single_tenant_app(
        ctx, order.tenant, order.name, f"{order.type.value} of the tenant", category=SYSTEM_CLIENT
    )
    # Announced before the client is added; the unit of work counts
    # changes last, so the order here has no effect on readers.
    registry.announce_change(ctx, app.id)
    return creation.add_client(ctx, app, version.id, meta, client_id=order.client_id, secret=secret)


def rotate_secret(
    ctx: Context, client_id: ClientId, *, overlap: timedelta = SECRET_OVERLAP
) -> tuple[Client, str]:
    """Create a new secret of a client. The previous one works until the overlap ends; older ones end now (C9).

    A person must use ``ask_secret`` for a system client.
    Raises NotFound, NotPermitted, Invalid.
    """
    client, app = _validated_rotation(ctx, client_id, overlap)
    if client.type in SYSTEM_CLIENTS and not ctx.actor.acts_alone:
        raise audit.refusal(ctx, Event("registry.secret.rotate", app=app.id, client=client.id))
    secret = SECRET_PREFIX + ctx.ids.secret()
    return _rotate(ctx, client, overlap, secret), secret


def ask_secret(
    ctx: Context, client_id: ClientId, *, overlap: timedelta = SECRET_OVERLAP
) -> tuple[Client, str] | Asked:
    """Create a new secret of a client, or ask for approval of one for a system client. Raises NotFound, NotPermitted, Invalid, Unavailable (too many wait)."""
    client, app = _validated_rotation(ctx, client_id, overlap)
    if client.type not in SYSTEM_CLIENTS:
        return rotate_secret(ctx, client_id, overlap=overlap)
    # The second person approves what is in the record, so all that matters is in it: which client, and how
    # long the old secret lives.
    shown = {
        "client_type": client.type.value,
        "client_name": client.name,
        "overlap_s": int(overlap.total_seconds()),
    }
    return _ask(ctx, Act(ApprovalKind.SECRET, app.tenant, client.id, shown, _secrets_of(client)))


def _carry_out_secret(ctx: Context, approval: Approval, asker: Actor) -> CarriedOut:
    act, as_asker = approval.act, ctx.as_actor(asker)
    overlap = timedelta(seconds=act.order["overlap_s"])
    client, _ = _validated_rotation(as_asker, ClientId(act.target), overlap)
    # 409 if another rotation came in between: its secret would end without anybody having asked for that.
    identity.require_unchanged(act, _secrets_of(client))
    secret, end = _joined(ctx, approval)
    _rotate(as_asker, client, overlap, secret)
    return CarriedOut(client.id, secret_end=end)


def _secrets_of(client: Client) -> dict[str, Any]:
    """Return the client's secrets by digest, so that of two rotations asked for at once the second is refused."""
    return {"secrets": sorted(each.digest[:12] for each in client.secrets)}


def _validated_rotation(ctx: Context, client_id: ClientId, overlap: timedelta) -> tuple[Client, App]:
    # Locked, because two rotations at once would each keep the same previous secret and add one of their own.
    client = store.get_client(ctx.tx, client_id, lock=True)
    app = registry.get_app(ctx, client.app)
    if not policy.may_rotate(ctx.actor, app):
        if ctx.actor.vendor is not None and ctx.actor.vendor != app.vendor:
            raise NotFound("client_not_found", "There is no such client.")
        raise audit.refusal(ctx, Event("registry.secret.rotate", app=app.id, client=client.id))
    if client.type not in policy.WITH_SECRET:
        raise Invalid("client_has_no_secret", "This client authenticates without a secret.")
    if not timedelta(0) <= overlap <= SECRET_OVERLAP_MAX:
        raise Invalid(
            "secret_invalid",
            f"overlap_s must be from 0 to {int(SECRET_OVERLAP_MAX.total_seconds())}.",
            fields={"overlap_s": out_of_range(0, int(SECRET_OVERLAP_MAX.total_seconds()), "seconds")},
        )
    return client, app


def _rotate(ctx: Context, client: Client, overlap: timedelta, secret: str) -> Client:
    ends = ctx.now + overlap
    in_force = [each for each in client.secrets if each.expires_at is None or ctx.now < each.expires_at]
    # The newest secret is the one without an end, else the one that ends last. All others end now.
    newest = max(
        in_force, key=lambda each: (each.expires_at is None, each.expires_at or ctx.now), default=None
    )
    # Never extended: an old secret that ends earlier keeps its end.
    store.save_secrets_ending(ctx.tx, client.id, keep=newest.digest if newest else "", at=ends)
    store.add_secret(ctx.tx, client.id, ClientSecret(creation.digest(secret), client.expires_at), ctx.now)
    facts = {"overlap_ends_at": ends.isoformat()}
    # The facts contain no secrets, but processes cache the client with its secrets under the same count.
    registry.announce_change(ctx, client.app)
    audit.record(ctx, Event("registry.secret.rotate", app=client.app, client=client.id, facts=facts))
    return store.get_client(ctx.tx, client.id)


def _ask(ctx: Context, act: Act) -> Asked:
    # The id is drawn here and not by the approvals module, because the seal is bound to it.
    approval_id, start = ctx.ids.new("apr"), SECRET_PREFIX + ctx.ids.secret()
    sealed = vault().seal(PURPOSE, start.encode(), nonce=ctx.ids, bound_to=approval_id)
    return Asked(identity.ask(ctx, replace(act, sealed=sealed), approval_id), secret_start=start)


def _joined(ctx: Context, approval: Approval) -> tuple[str, str]:
    """Return a client's whole secret, and the half of it that the second person sees."""
    # The second half is drawn now: before the second person agrees, no secret exists that anybody could know.
    start, end = vault().open(PURPOSE, approval.act.sealed, approval.id).decode(), ctx.ids.secret()
    return start + end, end


CARRY_OUT = {ApprovalKind.SYSTEM_CLIENT: _carry_out_system_client, ApprovalKind.SECRET: _carry_out_secret}
"""The function that carries out each kind of act of this room once a second person approved it."""
