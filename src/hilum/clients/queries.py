"""Queries of clients on behalf of an actor, each with its permission check."""

from hilum.clients import policy, store
from hilum.clients.models import Client
from hilum.infra.context import Context
from hilum.kernel.errors import NotFound
from hilum.kernel.ids import ClientId
from hilum.registry import service as registry


def view_client(ctx: Context, client_id: ClientId) -> Client:
    """Get a client that the actor may see. Raises NotFound."""
    client = store.get_client(ctx.tx, client_id)
    if not policy.may_see_clients(ctx.actor, registry.get_app(ctx, client.app)):
        raise NotFound("client_not_found", "There is no such client.")
    return client
