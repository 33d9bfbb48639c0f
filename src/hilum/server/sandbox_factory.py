"""The ASGI factory of the sandbox site, in a module of its own so that this process does not load the platform."""

import os

from hilum.foundation.infra import logs, settings
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.web.asgi import App
from hilum.server import sandbox_site
from hilum.server.parent_watch import end_with, started_by


def sandbox() -> App:
    """Build the sandbox site."""
    logs.configure()
    # Read now, as in `factories.platform`.
    end_with(started_by())
    return sandbox_site.build(settings.read(os.environ), SystemClock(), SystemIds())
