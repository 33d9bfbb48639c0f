"""The last use of clients' secrets and keys, and which of them nobody uses (C219). Nothing is removed here: people decide."""

from datetime import datetime

from hilum.apps.clients import credential_policy, policy, store
from hilum.apps.clients.models import KEYS, Credential, CredentialKind, UnusedClient
from hilum.apps.clients.queries import view_client
from hilum.apps.registry import service as registry
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Readers, not_shown
from hilum.foundation.kernel.ids import ClientId
from hilum.foundation.kernel.pages import FIRST_PAGE, PAGE_BOUND, PageQuery


def list_credentials(ctx: Context, client_id: ClientId) -> list[Credential]:
    """List the secrets and keys of a client that the actor may see, with their last use and end. Raises NotFound."""
    view_client(ctx, client_id)
    return _credentials(ctx, client_id, store.recorded_since(ctx.tx))


def list_with_keys(ctx: Context, client_id: ClientId) -> list[Credential]:
    """List the credentials of a client as ``list_credentials`` does, and then its keys: those registered inline, and those used last.

    A key is proposed for removal once the client has used another one for UNUSED_AFTER, so that its own use would have been recorded.
    """
    found = list_credentials(ctx, client_id)
    client = store.get_client(ctx.tx, client_id)
    if client.type not in policy.KEYED:
        return found
    uses, first = store.find_uses(ctx.tx, client_id), store.find_first_uses(ctx.tx, client_id)
    began = min((at for name, at in first.items() if credential_policy.kid_of(name)), default=None)
    knows = credential_policy.knows_unused(began, ctx.now)
    inline = [str(key.get("kid", "")) for key in (client.jwks or {}).get("keys", ())]
    names = dict.fromkeys([*map(credential_policy.kid_credential, filter(None, inline)), *sorted(uses)])
    for name in names:
        if kid := credential_policy.kid_of(name):
            made, used = first.get(name) or client.created_at, uses.get(name)
            unused = knows and credential_policy.is_unused(made, used, client.expires_at, ctx.now)
            found.append(Credential(CredentialKind.KEY, None, used, client.expires_at, unused, kid))
    return found


def list_unused(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[UnusedClient]:
    """List clients by id with secrets or keys that nobody used for UNUSED_AFTER; to a vendor's member those of their vendor.

    Raises NotPermitted. Empty until uses have been recorded for that long: without records nothing counts as unused.
    """
    own = ctx.actor.vendor
    if own is None and not ctx.actor.is_platform:
        raise not_shown("which secrets and keys nobody uses", Readers.VENDOR)
    since = store.recorded_since(ctx.tx)
    if not credential_policy.knows_unused(since, ctx.now):
        return []
    kinds = [each.value for each in policy.KEYED]
    apps = None if own is None else [each.id for each in registry.list_of_vendor(ctx, own, PAGE_BOUND)]
    found = store.list_unused(ctx.tx, of=apps, now=ctx.now, kinds=kinds, page=page)
    owners = registry.read_apps(ctx, {app for _, app, _ in found}) if found else {}
    return [
        UnusedClient(
            client=client,
            app=app,
            vendor=owners[app].vendor,
            name=name,
            credentials=tuple(each for each in _credentials(ctx, client, since) if each.unused),
        )
        for client, app, name in found
    ]


def _credentials(ctx: Context, client_id: ClientId, recorded_since: datetime | None) -> list[Credential]:
    client, uses = store.get_client(ctx.tx, client_id), store.find_uses(ctx.tx, client_id)
    knows = credential_policy.knows_unused(recorded_since, ctx.now)

    def credential(kind: CredentialKind, of: str, made: datetime | None, ends: datetime | None) -> Credential:
        used, made = uses.get(of), made or client.created_at
        unused = knows and credential_policy.is_unused(made, used, ends, ctx.now)
        return Credential(kind, made, used, ends, unused)

    found = [
        credential(CredentialKind.SECRET, each.digest, each.created_at, each.expires_at or client.expires_at)
        for each in client.secrets
    ]
    if client.type in policy.KEYED:
        found.append(credential(CredentialKind.KEYS, KEYS, client.created_at, client.expires_at))
    return found
