"""People of the host and of hospitals at their consoles."""

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient

from hilum.apps.registry.models import App
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.policy.matrix import service as policies
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.surfaces.console.models import Page
from tests.flows.control_site import TRACE, ControlSite, build, send, with_policy
from tests.sim.world import FakeClock

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
            "operations.eligibility": str(self.app.id),
            "operations.switch": self.switch,
            "operations.release": self.switch,
            "operations.request": "req_0000000000000",
            "operations.apply": str(self.site.system(policies.in_force).everywhere),
            "operations.version": str(self.site.system(policies.in_force).everywhere),
        }
        return page.path.replace("{id}", ids.get(page.key, "none"))

    def events(self, action: str) -> list[Any]:
        read = partial(audit.list_events, query=EventQuery(action=action, limit=50))
        return list(self.site.uow.read_now(read, trace=TRACE).events)


def enter_hospital(site: ControlSite, username: str, place: str = "general") -> Any:
    return site.signed_in(username, f"/t/{place}/signin")


@pytest.fixture
def site(sqlite_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    made = build(sqlite_uow, clock, then=with_policy)
    # Two people are two once their accounts are a week old.
    clock.advance(timedelta(days=8))
    return made


def agree(site: ControlSite, answer: Any, by: str = "sam") -> Any:
    assert answer.status_code == 303, answer.text
    page = answer.headers["location"]
    assert page.startswith("/operations/staff/apr_")
    return send(site.signed_in(by), page, "decision", decision="approve")


def wider(site: ControlSite) -> Any:
    """Return a policy that allows one app more requests."""
    document = orjson.loads(site.system(policies.get_signed, number=1).document)
    document["categories"]["scheduling"]["entries"]["low"]["quota"]["rate_per_s"] *= 2
    return document
