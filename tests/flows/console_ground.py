"""People of the host and of hospitals at their consoles."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.testclient import TestClient

from hilum.audit import service as audit
from hilum.audit.models import EventQuery
from hilum.console.models import Page
from hilum.policies import service as policies
from hilum.registry.models import App
from tests.flows.control_site import TRACE, ControlSite

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
LONG = "A name of two hundred letters " * 6 + "x" * 20
PLACE_OF = {"gina": "general", "ann": "general", "carl": "children", "mary": "mercy"}


@dataclass
class Desk:
    """A site, and its people at their browsers."""

    site: ControlSite
    app: App
    switch: str = ""

    def browser(self, username: str) -> TestClient:
        """Return somebody's browser, signed in."""
        place = PLACE_OF.get(username, "")
        page = f"/t/{place}/signin" if place else "/signin"
        return self.site.signed_in(username, page)

    def address(self, page: Page) -> str:
        ids = {
            "operations.app": str(self.app.id),
            "operations.standing": str(self.app.id),
            "operations.switch": self.switch,
            "operations.release": self.switch,
            "operations.request": "req_0000000000000",
            "operations.apply": str(self.site.system(policies.in_force).everywhere),
            "operations.roll_out": str(self.site.system(policies.in_force).everywhere),
            "operations.version": str(self.site.system(policies.in_force).everywhere),
        }
        return page.path.replace("{id}", ids.get(page.key, "none"))

    def events(self, action: str) -> list[Any]:
        read = partial(audit.list_events, query=EventQuery(action=action, limit=50))
        return list(self.site.uow.read_now(read, trace=TRACE).events)
