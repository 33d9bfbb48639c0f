"""An app that is certified, and what follows its certificate."""

from datetime import timedelta
from typing import Any

from starlette.testclient import TestClient

from hilum.review.certificates import policy
from hilum.review.certificates.models import STEP_EVERY, Addresses
from hilum.review.certificates.service import step
from tests.flows.control_site import ORIGIN, ControlSite
from tests.flows.vendor_ground import made

AT = Addresses(f"{ORIGIN}/certificates", f"{ORIGIN}/certificates/status")
DAY = timedelta(days=1)
SCOPES = ["launch", "user/Slot.rs"]


class Certified:
    """An app that is certified for production, and what the jobs process and strangers do."""

    def __init__(self, site: ControlSite, name: str = "Rota") -> None:
        self.site = site
        self.app, self.version, self.certificate = site.furnished(
            f"{name} is certified", lambda: self._furnish(name)
        )

    @property
    def root(self) -> TestClient:
        return self.site.api("root")

    def _furnish(self, name: str) -> tuple[str, str, str]:
        vendor = made(self.root.get("/vendors"), 200)["items"][-1]["id"]
        about = {"name": name, "description": "Shows.", "purpose": "Planning.", "category": "scheduling"}
        self.app = made(self.root.post("/apps", json={"vendor": vendor} | about))["id"]
        self.version = self.add_version("1")
        self.certificate = self.certify(self.version)
        self.follow()
        return self.app, self.version, self.certificate

    @property
    def rita(self) -> TestClient:
        # A token lasts a day, and certificates are looked at on later ones.
        return self.site.api("rita")

    def add_version(self, label: str) -> str:
        body = {"label": label, "workflows": ["appointments"], "placements": ["sidebar"]}
        return str(made(self.root.post(f"/apps/{self.app}/versions", json=body))["id"])

    def certify(self, version: str, environment: str = "sandbox", days: int = 30) -> str:
        ends = (self.site.clock.now() + days * DAY).isoformat()
        body = {"version": version, "environment": environment, "scopes": SCOPES, "expires_at": ends}
        return str(made(self.rita.post("/certifications", json=body))["id"])

    def follow(self) -> None:
        """What the jobs process does every STEP_EVERY."""
        self.site.clock.advance(STEP_EVERY)
        while self.site.system(step, at=AT):
            pass

    def fetch(self, path: str, **headers: str) -> Any:
        return self.site.browser().get(f"/certificates{path}", headers=headers)

    def verdict(self) -> str:
        """What somebody who has fetched certificate, keys and list comes to."""
        jwks = self.fetch("/keys.json").json()
        document = self.fetch(f"/{self.certificate}").text
        listed = self.fetch("/status/0").text
        return policy.verify(document, jwks, now=self.site.clock.now(), status_list=listed).code

    def badge(self) -> str:
        return str(self.fetch(f"/{self.certificate}/badge.svg").text)
