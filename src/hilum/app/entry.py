"""What the server loads in each worker: settings from the environment, then one ASGI callable."""

import os

from hilum.app import platform as composition
from hilum.app import sandbox_site
from hilum.infra import logs, settings
from hilum.infra.system import SystemClock, SystemIds
from hilum.web.asgi import App


def platform() -> App:
    """Build the platform of one worker."""
    logs.configure()
    return composition.build(settings.read(os.environ), SystemClock(), SystemIds()).door


def sandbox() -> App:
    """Build the sandbox site."""
    logs.configure()
    return sandbox_site.build(settings.read(os.environ), SystemClock(), SystemIds())
