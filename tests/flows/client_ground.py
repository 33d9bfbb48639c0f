"""A vendor's app with a client that is certified for production."""

from typing import Any

from tests.flows.control_site import ControlSite
from tests.flows.vendor_ground import PROFILE, certified, client_body, furnish_app, furnish_vendor, made

SCOPES = ["launch", "openid", "fhirUser", "patient/Observation.rs"]
EVIL = {"redirect_uris": ["https://evil.example/cb"]}


class Certified:
    """A vendor's app with a sandbox client and one that is certified for production."""

    def __init__(self, site: ControlSite) -> None:
        self.site = site
        self.vendor = furnish_vendor(site, "Acme Health", "acme")
        self.developer, self.rita = site.api("acme.developer"), site.api("rita")
        self.app, self.version, self.sandbox = furnish_app(site, self.vendor, "acme")
        made(site.api("acme.owner").put(f"/apps/{self.app}/profile", json=PROFILE), 200)
        body = client_body(self.app, self.version, environment="production")
        self.client = made(self.developer.post("/clients", json=body))["id"]
        self.certify(self.version)

    def certify(self, version: str) -> None:
        certified(self.site, version, SCOPES, days=90)

    def shown(self, client: str = "") -> Any:
        return made(self.developer.get(f"/clients/{client or self.client}"), 200)

    def edit(self, change: dict[str, Any], client: str = "", **more: Any) -> Any:
        revision = more.get("revision") or self.shown(client)["revision"]
        return self.developer.patch(f"/clients/{client or self.client}", json={"revision": revision} | change)
