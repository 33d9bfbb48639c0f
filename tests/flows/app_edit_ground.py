"""An app whose texts and logo its vendor edits."""

import base64
from typing import Any

import pytest

from tests.flows.control_site import ControlSite
from tests.flows.vendor_ground import certified, furnish_vendor, made
from tests.sim.pictures import png

WRITTEN = {
    "name": "Ward Notes",
    "description": "Writes nots.",
    "purpose": "Documentation",
    "category": "scheduling",
}
LOGO, OTHER_LOGO = (base64.b64encode(png(side)).decode() for side in (32, 48))
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
