"""What fills the pages of a seeded sandbox that have nothing on them yet: asked of the API by whose act each is, and taken back after it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx2

from tests.browser.by_pages import staff
from tests.browser.stage import Stage

SCOPES = ("launch", "openid", "fhirUser", "patient/Observation.rs")
MORE = "patient/Condition.rs"


def caller(stage: Stage, username: str, **place: str) -> httpx2.Client:
    """Return a caller of the API with somebody's token."""
    made = httpx2.post(
        f"{stage.running.base}/api/v1/tokens",
        json={"username": username, "password": f"sandbox-{username}", **place},
    )
    assert made.status_code == 201, made.text
    headers = {"authorization": f"Bearer {made.json()['token']}"}
    return httpx2.Client(base_url=f"{stage.running.base}/api/v1", headers=headers)


def sent(answer: httpx2.Response) -> Any:
    assert answer.status_code in {200, 201, 202}, answer.text
    return answer.json()


def owner(stage: Stage) -> tuple[str, httpx2.Client]:
    """Return the vendor of the sample chart app, and its owner's caller."""
    member = next(each for each in stage.running.card["members"] if each["username"] == "owner.varga")
    vendor = str(member["vendor"])
    return vendor, caller(stage, "owner.varga", vendor=vendor)


@dataclass(frozen=True)
class Furnished:
    """Where what was made is shown, as far as no page links there. ``client`` has a secret."""

    app: str
    removed: str
    client: str
    request: str
    dry_run: str


class Furniture:
    """Makes things and notes how each is taken back."""

    def __init__(self, stage: Stage, left: ExitStack) -> None:
        self._left = left
        self.stage = stage
        self.vendor, self.developer = owner(stage)
        self.hospital = caller(stage, "admin.hall", tenant="general")
        self.reviewer = caller(stage, staff(stage, "reviewer"))
        self.admin = caller(stage, staff(stage, "platform_admin"))
        for each in (self.developer, self.hospital, self.reviewer, self.admin):
            left.enter_context(each)

    def after(self, by: httpx2.Client, method: str, path: str, **body: str) -> None:
        """Take something back at the end."""
        self._left.callback(partial(by.request, method, path, json=body or None))

    def app(self, name: str) -> str:
        """Register an app with a certified version."""
        described = {"name": name, "description": "Lists.", "purpose": "Care"}
        order = {"vendor": self.vendor, "category": "documentation_assistance"}
        app = str(sent(self.developer.post("/apps", json=order | described))["id"])
        self.certify(app, "1", SCOPES)
        return app

    def certify(self, app: str, label: str, scopes: tuple[str, ...]) -> str:
        """Add a version of an app, certified for sandboxes."""
        version = str(sent(self.developer.post(f"/apps/{app}/versions", json={"label": label}))["id"])
        ends = (datetime.now(UTC) + timedelta(days=90)).isoformat()
        order = {"version": version, "environment": "sandbox", "scopes": scopes, "expires_at": ends}
        sent(self.reviewer.post("/certifications", json=order))
        return version

    def client(self, app: str, version: str) -> str:
        """Register a client with a secret."""
        order = {
            "app": app,
            "version": version,
            "client_name": "Lumen Rounds",
            "client_type": "confidential-symmetric",
            "deployment": "server",
            "redirect_uris": ["https://rounds.example/cb"],
            "scope": " ".join((*SCOPES, MORE)),
        }
        return str(sent(self.developer.post("/clients", json=order))["id"])

    def install(self, app: str) -> str:
        order = {"tenant": "general", "app": app, "roles": ["physician"]}
        return str(sent(self.hospital.post("/installations", json=order))["id"])

    def stop(self, app: str) -> None:
        """Watch an app at the hospital, as its administrator."""
        order = {"kind": "app_tenant", "key": f"{app}/general", "mode": "observe", "reason": "looking"}
        made = sent(self.hospital.post("/switches", json=order))["id"]
        self.after(self.hospital, "POST", f"/switches/{made}/release")

    def answer_for(self, client: str) -> None:
        """Ask a colleague to answer for a backend service."""
        people = sent(self.hospital.get("/people", params={"tenant": "general"}))["items"]
        nurse = next(each["id"] for each in people if each["username"] == "nurse.okeke")
        order = {"tenant": "general", "client": client, "approver": nurse}
        made = sent(self.hospital.post("/service-owners", json=order))["id"]
        self.after(self.hospital, "POST", f"/service-owners/{made}/end", reason="Seen.")

    def invite_owner(self) -> None:
        """Invite a second owner, whom somebody else agrees to."""
        order = {"username": "second.owner", "name": "Second Owner", "role": "vendor_owner"}
        made = sent(self.developer.post(f"/vendors/{self.vendor}/members", json=order))["approval"]["id"]
        self.after(self.developer, "POST", f"/approvals/{made}/refuse", reason="Seen.")

    def dry_run(self) -> str:
        """Ask what the shipped policy would change, as a version of its own."""
        shipped = sent(self.admin.get("/policies/versions/0"))["document"]
        order = {"document": shipped, "base": 0, "note": "Again."}
        added = sent(self.admin.post("/policies/versions", json=order))["number"]
        return str(sent(self.admin.post("/policies/dry-runs", json={"version": added}))["id"])


@contextmanager
def furnished(stage: Stage) -> Iterator[Furnished]:
    """Fill the pages of a hospital, of a vendor and of the staff for a while."""
    refused = httpx2.get(f"{stage.running.tenant()['fhir']}/Observation?patient=x")
    with ExitStack() as left:
        made = Furniture(stage, left)
        removed, app = made.app("Lumen Lists"), made.app("Lumen Rounds")
        # The hospital had one app and removed it: its vendor is asked to delete what it has.
        sent(made.hospital.delete(f"/installations/{made.install(removed)}"))
        made.after(made.hospital, "DELETE", f"/installations/{made.install(app)}")
        client = made.client(app, made.certify(app, "2", (*SCOPES, MORE)))
        made.stop(app)
        made.answer_for(stage.running.client("northgate-registry")["client_id"])
        made.invite_owner()
        yield Furnished(app, removed, client, refused.headers["x-request-id"], made.dry_run())
