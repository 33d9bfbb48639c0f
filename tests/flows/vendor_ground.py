"""Two vendors and their members, on the site of the control plane."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from hilum.identity import service as identity
from hilum.identity.models import NewPerson
from hilum.kernel.ids import TenantId, VersionId
from hilum.registry import service as registry
from hilum.registry.models import Certification, CertifyOrder, Environment
from hilum.signin import service as signin
from tests.flows.control_site import ControlSite, everybodys_digest
from tests.sim.proofs import all_proved

ROLES = ("owner", "developer", "billing", "security")


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

    return site.once(f"vendor {name} {prefix}", build)


def certified(
    site: ControlSite, version: str, scopes: Iterable[str], environment: str = "production", *, days: int = 30
) -> Certification:
    """Record a certification, for tests of what follows from one. How review comes to it, ``review_ground`` plays."""
    ends = site.clock.now() + timedelta(days=days)
    order = CertifyOrder(VersionId(version), Environment(environment), tuple(scopes), ends)
    made: Certification = site.system(registry.certify, order=order, unproved=all_proved)
    return made
