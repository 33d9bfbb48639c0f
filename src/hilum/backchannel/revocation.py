"""Token revocation by a client. Source: RFC 7009."""

from hilum.backchannel import service
from hilum.backchannel.service import Caller
from hilum.infra.context import Context
from hilum.kernel.actor import Actor, ActorKind
from hilum.tokens import service as tokens
from hilum.web.urls import Site


def revoke(ctx: Context, site: Site, caller: Caller, token: str) -> None:
    """Revoke a token of the client; a refresh token with its whole family. An unknown token is no error (C54).

    Raises NotPermitted: ``invalid_client``, or ``unauthorized_client`` for another client's token, which stays valid. Raises NotFound (tenant).
    """
    client = service.authenticate(ctx, site, caller)
    ctx = ctx.as_actor(Actor(ActorKind.CLIENT, client.id, site.tenant))
    tokens.revoke_presented(ctx, token, client=client.id, tenant=site.tenant)
