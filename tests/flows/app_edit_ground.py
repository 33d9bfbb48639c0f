"""An app whose texts and logo its vendor edits."""

import base64
from typing import Any

import pytest

from tests.flows.control_site import ControlSite
from tests.flows.vendor_ground import certified, furnish_vendor, made
from tests.sim.pictures import drawn, png_of

WRITTEN = {
    "name": "Ward Notes",
    "description": "Writes nots.",
    "purpose": "Documentation",
    "category": "scheduling",
}
SCOPES = ["user/Appointment.rs", "launch", "openid", "fhirUser"]


@pytest.fixture
def app(site: ControlSite) -> str:
    vendor = furnish_vendor(site, "Acme Health", "acme")
    return str(made(site.api("acme.owner").post("/apps", json=WRITTEN | {"vendor": vendor}))["id"])


def shown(site: ControlSite, app: str) -> Any:
    return made(site.api("otto").get(f"/apps/{app}"), 200)


def edit(site: ControlSite, app: str, username: str = "acme.developer", **texts: Any) -> Any:
    body = {"revision": shown(site, app)["revision"]} | texts
    return site.api(username).patch(f"/apps/{app}", json=body)


def certify(site: ControlSite, app: str, environment: str = "production") -> None:
    version = made(site.api("acme.owner").post(f"/apps/{app}/versions", json={"label": "1.0"}))["id"]
    certified(site, version, SCOPES, environment)


def brand(site: ControlSite, username: str, **asked: str) -> Any:
    return site.api(username).put("/tenants/general/branding", json=asked)


def logo(shape: str, side: int = 48) -> str:
    return base64.b64encode(png_of(drawn(shape, side))).decode()


@pytest.fixture
def others(site: ControlSite, app: str) -> str:
    """An app of another vendor; the first one shows a ring, and the hospital General a cross."""
    made(edit(site, app, logo=logo("ring")), 200)
    made(brand(site, "gina", logo=logo("cross")), 200)
    vendor = furnish_vendor(site, "Bolt Works", "bolt")
    return str(
        made(site.api("bolt.owner").post("/apps", json=WRITTEN | {"vendor": vendor, "name": "Bolt"}))["id"]
    )
