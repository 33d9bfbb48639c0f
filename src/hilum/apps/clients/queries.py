"""Queries of clients on behalf of an actor, each with its permission check."""

from hilum.apps.clients import policy, store
from hilum.apps.clients.models import Client
from hilum.apps.registry import service as registry
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ids import ClientId


def view_client(ctx: Context, client_id: ClientId) -> Client:
    """Get a client that the actor may see. Raises NotFound."""
    client = store.get_client(ctx.tx, client_id)
    if not policy.may_see_clients(ctx.actor, registry.get_app(ctx, client.app)):
        raise NotFound("client_not_found", "There is no such client.")
    return client
