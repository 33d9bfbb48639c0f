"""Two vendors and their members, on the site of the control plane."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import Certification, CertifyOrder, Environment
from hilum.foundation.kernel.ids import TenantId, VersionId
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson
from hilum.identity.signin import service as signin
from tests.flows.control_site import ControlSite, everybodys_digest
from tests.sim.proofs import all_proved

SCOPE = "launch openid fhirUser patient/*.rs"
PROFILE = {
    "revision": 0,
    "owner": "Olga Owens",
    "support_contact": "help@acme.example",
    "security_contact": "security@acme.example",
    "security_escalation": "On-call engineer, +1 555 0100",
    "privacy_policy": "https://acme.example/privacy",
    "terms": "https://acme.example/terms",
    "stores_data": True,
    "retention": "Notes are deleted after 30 days.",
    "retention_days": 30,
    "subcontractors": [{"name": "Cloud Ltd", "purpose": "Hosting", "region": "DE"}],
    "hosting_regions": ["DE"],
}


ROLES = ("owner", "developer", "billing", "security")
FUTURE = "2026-09-01T00:00:00Z"


def made(answer: Any, status: int = 201) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


def add_vendor(site: ControlSite, name: str) -> str:
    contacts = {"support_contact": "help@v.example", "security_contact": "sec@v.example"}
    return str(made(site.api("root").post("/vendors", json={"name": name, **contacts}))["id"])


def join(site: ControlSite, vendor: str, username: str, role: str) -> str:
    """Add a member whose account is as old as those that the host adds, and who can sign in; return the id."""
    order = NewPerson(TenantId(vendor), username, username.title(), f"vendor_{role}")
    person = site.system(identity.add_person, order=order)
    site.people[username] = person
    site.system(signin.set_password, person_id=person.id, digest=everybodys_digest())
    return str(person.id)


def furnish_vendor(site: ControlSite, name: str, prefix: str) -> str:
    """Add a vendor with a member of each role, named ``<prefix>.<role>``."""

    def build() -> str:
        vendor = add_vendor(site, name)
        for role in ROLES:
            join(site, vendor, f"{prefix}.{role}", role)
        return vendor

    return site.furnished_once(f"vendor {name} {prefix}", build)


def certified(
    site: ControlSite, version: str, scopes: Iterable[str], environment: str = "production", *, days: int = 30
) -> Certification:
    """Record a certification, for tests of what follows from one. How review comes to it, ``review_ground`` plays."""
    ends = site.clock.now() + timedelta(days=days)
    order = CertifyOrder(VersionId(version), Environment(environment), tuple(scopes), ends)
    made: Certification = site.system(registry.certify, order=order, unproved=all_proved)
    return made


def app_body(vendor: str, **change: Any) -> dict[str, Any]:
    return {
        "vendor": vendor,
        "name": "Ward Notes",
        "description": "Writes notes",
        "purpose": "Documentation",
        "category": "documentation_assistance",
    } | change


def client_body(app: str, version: str, **change: Any) -> dict[str, Any]:
    return {
        "app": app,
        "version": version,
        "client_name": "Ward Notes",
        "client_type": "confidential-symmetric",
        "deployment": "server",
        "redirect_uris": ["https://notes.example/cb"],
        "launch_url": "https://notes.example/launch",
        "scope": SCOPE,
    } | change


def two_vendors_and_an_app(site: ControlSite) -> tuple[str, str, tuple[str, str, str]]:
    """Add Acme with an app, and Bolt."""
    acme, bolt = furnish_vendor(site, "Acme Health", "acme"), furnish_vendor(site, "Bolt", "bolt")
    return acme, bolt, furnish_app(site, acme, "acme")


def furnish_app(site: ControlSite, vendor: str, who: str, **change: Any) -> tuple[str, str, str]:
    """Let a developer register an app with a version and a sandbox client; return their ids."""

    def build() -> tuple[str, str, str]:
        developer = site.api(f"{who}.developer")
        app = made(developer.post("/apps", json=app_body(vendor, **change)))["id"]
        version = made(developer.post(f"/apps/{app}/versions", json={"label": "1"}))["id"]
        client = made(
            developer.post(
                "/clients", json=client_body(app, version, client_name=change.get("name", "Ward Notes"))
            )
        )
        return app, version, client["id"]

    return site.furnished_once(f"app {vendor} {who} {change}", build)


def register(root: Any) -> tuple[Any, Any]:
    contacts = {"support_contact": "help@v.example", "security_contact": "sec@v.example"}
    vendor = made(root.post("/vendors", json={"name": "Vendor", **contacts}))
    body = {
        "vendor": vendor["id"],
        "name": "Viewer",
        "description": "Shows",
        "purpose": "Review",
        "category": "care_recommendations",
    }
    app = made(root.post("/apps", json=body))
    version = made(root.post(f"/apps/{app['id']}/versions", json={"label": "1.0"}))
    return app, version
