"""Builds the sandbox site: synthetic hospitals, on an origin of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hilum.foundation.infra.settings import Settings
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.ports import Clock, Ids
from hilum.foundation.web.asgi import App
from hilum.foundation.web.bounds import Limits, RequestsInProgress
from hilum.foundation.web.urls import Urls, host_of
from hilum.server.asgi import Dispatcher
from hilum.server.connections import Connections
from hilum.server.embedded_servers import EmbeddedServers
from hilum.server.refusals import refuse_plainly
from hilum.server.serve import address_of, connections_of
from hilum_ehr.sandbox import app as sandbox


def build(settings: Settings, clock: Clock, ids: Ids) -> App:
    """Build the site over a seeded sandbox. It opens the hospitals' own stores, and reaches the platform by HTTP only."""
    servers = EmbeddedServers(settings, Urls(settings.base_url, settings.sandbox_url), clock, ids)
    site = sandbox.build(settings, clock, ids, lambda tenant: servers.server(TenantId(tenant)))
    hosts = frozenset({host_of(settings.sandbox_url)})

    connections = Connections(connections_of(settings), address_of(settings.sandbox_listen)[1])

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        connections.start()
        try:
            yield
        finally:
            connections.stop()
            await site.close()
            await servers.close()

    return Dispatcher(
        site.app,
        gateway=None,
        hosts=lambda: hosts,
        ids=ids,
        trusted_proxies=settings.trusted_proxies,
        lifespan=lifespan,
        refuse=refuse_plainly,
        in_progress=RequestsInProgress(Limits(source_requests=settings.source_requests)),
    )
