"""What the server loads in each worker: settings from the environment, then one ASGI callable."""

import os

from hilum.app import platform as composition
from hilum.app.parent_watch import end_with, started_by
from hilum.infra import logs, settings
from hilum.infra.database_clock import steady
from hilum.infra.system import SystemClock, SystemIds
from hilum.web.asgi import App


def platform() -> App:
    """Build the platform of one worker."""
    logs.configure()
    # The parent's id is read now: once the parent has ended, getppid() returns that of the process
    # which adopted this one.
    end_with(started_by())
    found = settings.read(os.environ)
    return composition.build(found, steady(found.database_url, SystemClock()), SystemIds()).dispatcher
