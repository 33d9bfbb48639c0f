"""Two vendors whose members are at the console for developers."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from starlette.testclient import TestClient

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import Client
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import ClientId
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.surfaces.console import policy
from tests.flows.control_site import TRACE, ControlSite, build
from tests.flows.vendor_ground import PROFILE, certified, client_body, made, two_vendors_and_an_app
from tests.sim.world import FakeClock

SCOPES = ["user/Appointment.rs", "launch", "openid", "fhirUser"]


@dataclass
class Desk:
    """Two vendors; the first has an app with a version and a client for the sandbox."""

    site: ControlSite
    vendors: dict[str, str]
    app: str
    version: str
    client: str

    def browser(self, username: str) -> TestClient:
        vendor = self.vendors[username.partition(".")[0]]
        return self.site.signed_in(username, f"/t/{vendor}/signin?then=/developer")

    def staff(self, username: str, page: str = "/signin") -> TestClient:
        return self.site.signed_in(username, page)

    def address(self, key: str) -> str:
        id_ = self.client if key in {"developer.secret", "developer.client_edit"} else self.app
        return policy.PAGES[key].path.replace("{id}", id_)

    def events(self, action: str) -> list[Any]:
        read = partial(audit.list_events, query=EventQuery(action=action, limit=50))
        return list(self.site.uow.read_now(read, trace=TRACE).events)

    def shown(self) -> App:
        found: App = self.site.system(registry.get_app, app_id=self.app)
        return found

    def stored(self, client: str = "") -> Client:
        found: Client = self.site.system(clients.get_client, client_id=ClientId(client or self.client))
        return found

    def certified(self) -> str:
        """Return a client for production of a version that is certified for it."""
        made(self.site.api("acme.owner").put(f"/apps/{self.app}/profile", json=PROFILE), 200)
        body = client_body(self.app, self.version, environment="production")
        client = made(self.site.api("acme.developer").post("/clients", json=body))["id"]
        certified(self.site, self.version, SCOPES)
        return str(client)


@pytest.fixture
def desk(sqlite_uow: UnitOfWork, clock: FakeClock) -> Desk:
    site = build(sqlite_uow, clock)
    acme, bolt, app = site.furnished("two vendors and an app", lambda: two_vendors_and_an_app(site))
    return Desk(site, {"acme": acme, "bolt": bolt}, *app)
