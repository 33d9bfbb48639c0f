"""A hospital's EHR at the launch API."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from hilum.authorization.launches import routes, service
from hilum.foundation.infra.settings import Mode as SiteMode
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import LaunchId
from hilum.foundation.web import errors
from hilum.foundation.web.kit import Kit
from hilum.foundation.web.pages import PageDefaults, Pages, Shell
from hilum.foundation.web.static import Assets
from hilum.identity.signin import routes as signin_routes
from tests.flows.token_flow import BASE, MERCY, Platform, running_platform
from tests.sim.site_client import SiteClient
from tests.sim.world import FakeClock

SCOPE = "hilum/launch"
LAUNCHES = f"/t/{MERCY}/ehr/launches"


@dataclass
class Ehr:
    """A hospital's EHR in front of the launch API."""

    platform: Platform
    http: TestClient
    token: str

    def send(self, method: str, path: str, body: Any = None, token: str | None = None, **more: Any) -> Any:
        headers = {"authorization": f"Bearer {self.token if token is None else token}"}
        if body is not None:
            more["json"] = body
        return self.http.request(method, path, headers=headers, **more)

    def order(self, **change: Any) -> dict[str, Any]:
        wanted = {
            "client_id": self.platform.clients["public"].id,
            "person": "dora",
            "patient": "p1",
            "encounter": "e1",
            "intent": "reconcile",
        } | change
        return {name: value for name, value in wanted.items() if value is not ...}

    def open(self, **change: Any) -> dict[str, Any]:
        answer = self.send("POST", LAUNCHES, self.order(**change))
        assert answer.status_code == 201, answer.text
        return answer.json()

    def launch(self, opened: dict[str, Any]) -> Any:
        return self.platform.run(lambda ctx: service.get_launch(ctx, LaunchId(opened["id"])))


@pytest.fixture
def ehr(sqlite_uow: UnitOfWork, clock: FakeClock) -> Iterator[Ehr]:
    with running_platform(sqlite_uow, clock) as platform:

        async def nobody(_: object, __: object = None, /) -> Any:
            raise AssertionError("the launch API takes access tokens, not API tokens")

        shell = Shell(sandbox=True, defaults=lambda _: PageDefaults("", "Europe/Madrid"))
        pages = Pages(Assets(), shell, folders=[signin_routes.TEMPLATES])
        kit = Kit(sqlite_uow, clock, sqlite_uow.ids, platform.urls, SiteMode.SANDBOX, pages, nobody)
        app = Starlette(routes=routes.routes(kit))
        errors.install(app, pages)
        token = platform.backend(SCOPE, "ehr").json()["access_token"]
        with SiteClient(app, base_url=BASE, follow_redirects=False) as http:
            yield Ehr(platform, http, token)


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert (told["status"], told["code"]) == (status, code), told
    return told
