"""A vendor with an app that can be submitted to review, on the site of the control plane."""

from dataclasses import dataclass
from typing import Any

from tests.flows.control_site import ControlSite
from tests.flows.test_vendor_apps import PROFILE, client_body
from tests.flows.vendor_ground import furnish_vendor, made

SCOPES = [
    {"scope": "launch", "justification": "Opens from the chart."},
    {"scope": "user/Slot.rs", "justification": "Shows free slots to the front desk."},
]
WORKFLOWS = ["appointments"]


@dataclass
class Ground:
    """``version`` of an app of the low tier, with a complete profile and a production client."""

    site: ControlSite
    vendor: str
    app: str
    version: str
    client: str

    def written(self, **change: Any) -> dict[str, Any]:
        return {"version": self.version, "environment": "production", "scopes": SCOPES} | change

    def submit(self, who: str = "acme.developer", **change: Any) -> Any:
        return self.site.api(who).post("/submissions", json=self.written(**change))

    def see(self, submission: str, who: str = "rita") -> Any:
        return made(self.site.api(who).get(f"/submissions/{submission}"), 200)


def furnish(
    site: ControlSite, prefix: str = "acme", profile: dict[str, Any] = PROFILE, **client: Any
) -> Ground:
    vendor = furnish_vendor(site, f"{prefix.title()} Health", prefix)
    owner, developer = site.api(f"{prefix}.owner"), site.api(f"{prefix}.developer")
    about = {"name": f"{prefix.title()} Rota", "description": "Shows.", "purpose": "Planning."}
    app = made(developer.post("/apps", json={"vendor": vendor, "category": "scheduling"} | about))["id"]
    version = made(
        developer.post(
            f"/apps/{app}/versions", json={"label": "1", "workflows": WORKFLOWS, "placements": ["sidebar"]}
        )
    )["id"]
    made(owner.put(f"/apps/{app}/profile", json=profile), 200)
    body = client_body(app, version, environment="production", **{"scope": "launch user/Slot.rs"} | client)
    made_client = made(owner.post("/clients", json=body))
    return Ground(site, vendor, app, version, made_client["id"])
