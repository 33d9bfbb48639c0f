"""Token revocation by a client. Source: RFC 7009."""

from hilum.authorization.token import service
from hilum.authorization.token.service import Caller
from hilum.authorization.tokens import service as tokens
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.web.urls import Site


def revoke(ctx: Context, site: Site, caller: Caller, token: str) -> None:
    """Revoke a token of the client; a refresh token with its whole family. An unknown token is no error (C54).

    Raises NotPermitted: ``invalid_client``, or ``unauthorized_client`` for another client's token, which stays valid. Raises NotFound (tenant).
    """
    client = service.authenticate(ctx, site, caller)
    ctx = ctx.as_actor(Actor(ActorKind.CLIENT, client.id, site.tenant))
    tokens.revoke_presented(ctx, token, client=client.id, tenant=site.tenant)
