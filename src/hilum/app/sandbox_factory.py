"""The ASGI factory of the sandbox site, in a module of its own so that this process does not load the platform."""

import os

from hilum.app import sandbox_site
from hilum.app.parent_watch import end_with, started_by
from hilum.infra import logs, settings
from hilum.infra.system import SystemClock, SystemIds
from hilum.web.asgi import App


def sandbox() -> App:
    """Build the sandbox site."""
    logs.configure()
    # Read now, as in `factories.platform`.
    end_with(started_by())
    return sandbox_site.build(settings.read(os.environ), SystemClock(), SystemIds())
