"""Versions of an app, and the exceptions that two people make for them."""

from datetime import timedelta
from typing import Any

import pytest

from hilum.foundation.infra.unit_of_work import UnitOfWork
from tests.flows.control_site import ControlSite, build, with_rule_book
from tests.flows.vendor_ground import certified, made, register
from tests.sim.world import START, FakeClock

REASON = "It suggests doses in its pages."
CONTROL = "A nurse looks at each list."
UNTIL = START + timedelta(days=10)
ALONE = {"model": "Notes 4", "purpose": "Files notes", "autonomy": "acts_alone"}
# Apps of this category are moderate by its floor, which a lowered tier sets aside.
SCOPES = ["patient/Observation.rs"]


@pytest.fixture
def site(one_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    return build(one_uow, clock, then=with_rule_book)


def versions_of(site: ControlSite) -> tuple[str, str]:
    """Return an app and its version, certified for Observations in a category whose floor is moderate."""

    def build() -> tuple[str, str]:
        app, _ = register(site.api("root"))
        path = f"/apps/{app['id']}/versions"
        version = made(site.api("root").post(path, json={"label": "2", "workflows": [], "placements": []}))
        certified(site, version["id"], SCOPES)
        return app["id"], version["id"]

    return site.furnished_once("a certified version of care recommendations", build)


def post(site: ControlSite, version: str, verb: str, by: str = "rita", **body: Any) -> Any:
    return site.api(by).post(f"/app-versions/{version}/{verb}", json={"reason": REASON} | body)


def exceptions(site: ControlSite, by: str = "root") -> list[dict[str, Any]]:
    return list(made(site.api(by).get("/policies/exceptions"), 200)["items"])


def declare(site: ControlSite, app: str, label: str = "3", **use: Any) -> Any:
    body = {"label": label, "workflows": [], "placements": [], "ai_use": use}
    return site.api("root").post(f"/apps/{app}/versions", json=body)


def autonomy(site: ControlSite, version: str, by: str = "gina", **change: Any) -> Any:
    return post(
        site,
        version,
        "autonomous-writes",
        by,
        **{"tenant": "general", "control": CONTROL, "ends_at": UNTIL.isoformat()} | change,
    )
