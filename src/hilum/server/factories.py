"""The ASGI factory that the server calls in each worker of the platform."""

import os

from hilum.foundation.infra import logs, settings
from hilum.foundation.infra.database_clock import steady
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.web.asgi import App
from hilum.server import platform as composition
from hilum.server.parent_watch import end_with, started_by


def platform() -> App:
    """Build the platform of one worker, with the settings of the environment."""
    logs.configure()
    # The parent's id is read now: once the parent has ended, getppid() returns that of the process
    # which adopted this one.
    end_with(started_by())
    configured = settings.read(os.environ)
    clock = steady(configured.database_url, SystemClock())
    return composition.build(configured, clock, SystemIds()).dispatcher
