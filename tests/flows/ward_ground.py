"""A hospital with one app that is certified and not installed, and its people at the console."""

from datetime import timedelta
from functools import partial

import pytest

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import NewClient
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, CertifyOrder, Environment, NewApp, NewVendor, NewVersion
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import TenantId
from hilum.hospitals.requests import service as requests
from hilum.hospitals.requests.models import AskOrder
from hilum.identity.people.models import Person
from hilum.identity.signin.policy import actor_of
from tests.flows.console_ground import Desk
from tests.flows.control_site import TRACE, ControlSite, build, in_a_browser
from tests.sim.world import FakeClock

SCOPES = (
    "launch",
    "openid",
    "fhirUser",
    "patient/Observation.rs",
    "patient/Condition.rs",
    "patient/Immunization.rs",
)
GENERAL = TenantId("general")


@pytest.fixture
def ward(sqlite_uow: UnitOfWork, clock: FakeClock) -> Desk:
    return furnished(sqlite_uow, clock, NewVersion("first"))


def furnished(uow: UnitOfWork, clock: FakeClock, first: NewVersion) -> Desk:
    """Return a hospital with one app that is certified and not installed."""
    site = build(uow, clock)
    return Desk(site, site.furnished(f"certified {first}", lambda: _certified(site, first)))


def _certified(site: ControlSite, first: NewVersion) -> App:
    vendor = site.system(registry.add_vendor, order=NewVendor("Lumen", "help@v.example", "sec@v.example"))
    app = site.system(
        registry.add_app, order=NewApp(vendor.id, "Lumen Chart", "Shows", "Review", "unclassified")
    )
    version = site.system(registry.add_version, app_id=app.id, order=first)
    metadata = in_a_browser("Lumen", SCOPES)
    site.system(clients.add_client, order=NewClient(app.id, version.id, metadata))
    ends = site.clock.now() + timedelta(days=200)
    site.system(registry.certify, order=CertifyOrder(version.id, Environment.SANDBOX, SCOPES, ends))
    return app


def ask(ward: Desk, person: Person, reason: str = "for the ward round") -> None:
    order = AskOrder(None, ward.app.id, frozenset({"physician"}), reason, ("patient/Observation.rs",))
    ward.site.uow.write_now(partial(requests.ask, order=order), actor=actor_of(person), trace=TRACE)
