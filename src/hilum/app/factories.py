"""The ASGI factory that the server calls in each worker of the platform."""

import os

from hilum.app import platform as composition
from hilum.app.parent_watch import end_with, started_by
from hilum.infra import logs, settings
from hilum.infra.database_clock import steady
from hilum.infra.system import SystemClock, SystemIds
from hilum.web.asgi import App


def platform() -> App:
    """Build the platform of one worker, with the settings of the environment."""
    logs.configure()
    # The parent's id is read now: once the parent has ended, getppid() returns that of the process
    # which adopted this one.
    end_with(started_by())
    configured = settings.read(os.environ)
    clock = steady(configured.database_url, SystemClock())
    return composition.build(configured, clock, SystemIds()).dispatcher
