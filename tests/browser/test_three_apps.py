"""Three apps from registration to daily life, in Chromium through the consoles, each act by whose it is (C183; S3 of the consoles).

A read-only scheduling app, a documentation assistant that writes notes, and a population-health backend service. A reviewer certifies by
the API, since certifying has no page.
"""

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import orjson
from joserfc.jwk import ECKey
from playwright.sync_api import Frame, Page, expect

from hilum.infra.system import SystemClock
from tests.browser.stage import Stage, overflow
from tests.browser.test_consoles import enter, staff
from tests.browser.test_developer_console import enter as enter_vendor
from tests.browser.test_fhirclient import FRAMED, PAGE, app, frame_of
from tests.sim.server_app import ServerApp, serving

PICTURE = os.environ.get("PICTURE", "")
"""A folder for README's picture, if somebody makes it anew."""
IDENTITY = "launch openid fhirUser"
APPS = {
    "Day Planner": (
        "scheduling",
        "Runs in the browser",
        f"{IDENTITY} user/Appointment.rs user/Practitioner.rs",
    ),
    "Note Writer": (
        "documentation_assistance",
        "Runs on a server, with a secret",
        f"{IDENTITY} patient/Condition.rs patient/DocumentReference.crs",
    ),
    "Cohort Lens": ("population_health", "A backend service", "system/Patient.rs system/Condition.rs"),
}
WORK = """
const out = document.getElementById("out");
const client = await FHIR.oauth2.ready();
window.read = (type) => client.request(`${type}?patient=${client.patient.id}`, {pageLimit: 0, flat: true})
  .then((found) => found.length, (error) => -(error.status || error.statusCode));
out.textContent = "ready";
"""
"""What the planner does: a small page over npm fhirclient."""
NURSE = "nurse.okeke"
PEOPLE = {"general": "admin.hall", "children": "admin.ortega"}


def register(page: Page, name: str, origin: str) -> tuple[str, str, str]:
    """Register an app with a version and a client for the sandbox, as its developer; return its id, and the client's with its secret."""
    category, kind, scopes = APPS[name]
    page.goto(page.url.partition("/developer")[0] + "/developer/register")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("What it does").fill("Does its work.")
    page.get_by_label("What the data is for").fill("Care")
    page.get_by_label("Category").select_option(category)
    page.get_by_role("button", name="Register the app").click()
    page.get_by_role("link", name="Add a version").click()
    app = page.url.rpartition("/apps/")[2].partition("/")[0]
    page.get_by_label("Label").fill("1.0")
    page.get_by_label("Not declared").check()
    page.get_by_role("button", name="Add the version").click()
    page.goto(page.url.replace("/versions", "/clients/new"))
    page.get_by_label(kind, exact=False).first.check()
    page.get_by_role("textbox", name="Scopes").fill(scopes)
    if name == "Cohort Lens":
        page.get_by_text("Keys, for a server").click()
        page.get_by_label("Or the public keys").fill(public_keys())
        page.get_by_text("For a backend service", exact=True).click()
        for label in ("What it is for", "Whose records", "When it runs"):
            page.get_by_label(label).fill("Quality, nightly")
        page.get_by_label("Its last day").fill(f"{SystemClock().now() + timedelta(days=90):%Y-%m-%d}")
    else:
        page.get_by_label("Redirect addresses").fill(f"{origin}/app")
        page.get_by_label("Launch address").fill(f"{origin}/launch")
    page.get_by_role("button", name="Register the client").click()
    clients = page.get_by_role("link", name=f"To the clients of {name}")
    expect(clients).to_be_visible()
    secret = page.locator("#the-secret").inner_text() if page.locator("#the-secret").count() else ""
    clients.click()
    client = re.search(r"cli_[0-9a-z]{26}", page.locator("main").inner_text())
    assert client is not None
    return app, client[0], "".join(re.findall(r"hil_cs_[A-Za-z0-9_-]+", secret)[:1])


def note(patient: str) -> dict[str, Any]:
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": f"Patient/{patient}"},
        "content": [{"attachment": {"contentType": "text/plain", "data": "c2VlbiB0b2RheQ=="}}],
    }


def open_in_chart(stage: Stage, client: str, person: str) -> tuple[Page, Frame]:
    """Open an app inside the chart as a clinician, and allow it; return the chart and the app's frame."""
    page = stage.person()
    page.goto(f"{stage.running.sandbox}/sandbox/h/general/own?client={client}")
    page.get_by_label("Person").select_option(person)
    page.get_by_label("Patient").select_option("gen-pat-okafor-rosalind")
    page.get_by_role("button", name="Open in the chart").click()
    return page, frame_of(page, "/app")


def public_keys() -> str:
    key = ECKey.generate_key("P-384", parameters={"kid": "story", "alg": "ES384", "use": "sig"})
    return orjson.dumps({"keys": [key.as_dict(private=False)]}).decode()


def certify(stage: Stage, app: str, scopes: str) -> None:
    """Certify an app's version for the sandbox, as a reviewer."""
    token = stage.running.staff("reviewer")["api_token"]
    ends = (SystemClock().now() + timedelta(days=60)).isoformat()
    with httpx2.Client(
        base_url=f"{stage.running.base}/api/v1", headers={"authorization": f"Bearer {token}"}
    ) as caller:
        version = caller.get(f"/apps/{app}/versions").json()["items"][0]["id"]
        order = {"version": version, "environment": "sandbox", "scopes": scopes.split(), "expires_at": ends}
        answer = caller.post("/certifications", json=order)
        assert answer.status_code == 201, answer.text


def approve(page: Page, app: str, role: str = "") -> None:
    """Approve an app at a hospital, for one role, without the last of its permissions."""
    page.goto(page.url.partition("/tenant")[0] + f"/tenant/apps/{app}/approve")
    if role:
        page.get_by_label(role, exact=True).check()
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("h1")).to_contain_text("approved")


def test_three_apps_live_by_pages(stage: Stage) -> None:
    """Registered by their developer, approved and narrowed differently at two hospitals, stopped at one, asked to ask for less."""
    pages: dict[str, str] = {}
    with app(pages) as origin, serving() as writer:
        live(stage, pages, origin, writer)


def live(stage: Stage, pages: dict[str, str], origin: str, writer: ServerApp) -> None:
    developer = enter_vendor(stage, "owner.varga")
    planner_app, planner_client, _ = register(developer, "Day Planner", origin)
    pages["/launch"] = PAGE.format(script=FRAMED % (planner_client, APPS["Day Planner"][2]))
    pages["/app"] = PAGE.format(script=WORK)
    writer_app, writer.client, writer.secret = register(developer, "Note Writer", writer.origin)
    writer.scope = APPS["Note Writer"][2]
    lens_app, _, _ = register(developer, "Cohort Lens", origin)
    apps = {"Day Planner": planner_app, "Note Writer": writer_app, "Cohort Lens": lens_app}
    for name, id_ in apps.items():
        certify(stage, id_, APPS[name][2])
    general = enter(stage, PEOPLE["general"], place="general")
    children = enter(stage, PEOPLE["children"], place="children")

    for name, role in (("Day Planner", "Nurse"), ("Note Writer", "Physician"), ("Cohort Lens", "Analyst")):
        approve(general, apps[name], role)
    approve(children, apps["Day Planner"], "Physician")
    expect(children.locator("#here")).to_contain_text("physician")

    # Both are opened inside the chart, each by whom it was approved for, and do their work there.
    planner, plans = open_in_chart(stage, planner_client, NURSE)
    expect(plans.locator("#out")).to_have_text("ready")
    assert plans.evaluate("window.read('Appointment')") >= 0
    _, notes = open_in_chart(stage, writer.client, "dr.adeyemi")
    expect(notes.locator("#out")).to_have_text("ready")
    patient = writer.token["patient"]
    made = writer.ask("POST", "DocumentReference", note(patient))
    assert made.status_code == 201, made.text
    assert writer.ask("GET", f"DocumentReference?patient={patient}").json()["total"] >= 1
    assert writer.ask("GET", f"Immunization?patient={patient}").status_code == 403

    # A colleague is asked to answer for the backend service.
    general.goto(f"{stage.running.base}/tenant/backend-services/new")
    expect(general.get_by_label("Service")).to_contain_text("Cohort Lens")
    # It is stopped at one hospital, and goes on at the other.
    general.goto(f"{stage.running.base}/tenant/apps/{apps['Day Planner']}")
    general.get_by_role("link", name="Stop").first.click()
    general.get_by_label("Why").fill("wrong times shown")
    general.locator("form button.button-danger").click()
    general.wait_for_url("**/tenant/switches/sw_*")
    expect(general.locator("h1")).to_contain_text("stopped")
    general.goto(f"{stage.running.base}/tenant/apps/{apps['Day Planner']}")
    expect(general.locator("h1")).to_contain_text("stopped")
    expect(planner.locator(".app-stop")).to_contain_text("stopped")
    assert plans.evaluate("window.read('Appointment')") == -403
    assert writer.ask("GET", f"DocumentReference?patient={patient}").status_code == 200
    children.reload()
    expect(children.locator("h1")).to_contain_text("approved")
    # The vendor asks for less, after it saw who is affected.
    developer.goto(f"{stage.running.base}/developer/apps/{apps['Note Writer']}/narrow")
    expect(developer.locator("#who")).to_contain_text("1 hospital has granted")
    developer.get_by_role("button", name="Leave it so now").click()
    developer.goto(f"{stage.running.base}/developer/apps/{apps['Note Writer']}/narrow")
    expect(developer.get_by_text("Nothing to take away")).to_be_visible()
    assert overflow(developer) <= 0

    security = enter(stage, staff(stage, "security"))
    expect(security.locator("#stopped")).to_contain_text("Day Planner")
    if PICTURE:
        security.set_viewport_size({"width": 1280, "height": 728})
        security.screenshot(path=Path(PICTURE) / "operations.png")
