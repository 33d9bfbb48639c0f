"""An app of others from registration to its stop, by pages alone but for the certification (C183; S3 of the consoles): npm fhirclient.

It is registered by its developer, approved by the hospital, opened inside the chart, refused once and explained to three people,
narrowed, and stopped while it is open.
"""

import re

from playwright.sync_api import Page, expect

from tests.browser.stage import Stage, judge
from tests.browser.test_consoles import enter, staff
from tests.browser.test_developer_console import enter as enter_vendor
from tests.browser.test_fhirclient import FRAMED, PAGE, app, frame_of
from tests.browser.test_three_apps import certify

NAME = "Foreign Reader"
SCOPES = "launch openid fhirUser patient/Condition.rs patient/DocumentReference.crs"
READY = """
const out = document.getElementById("out");
const client = await FHIR.oauth2.ready();
window.read = async (type) => {
  try {
    const found = await client.request(`${type}?patient=${client.patient.id}`, {pageLimit: 0, flat: true});
    return `${type}: ${found.length} read`;
  } catch (error) {
    return `${type}: ${error.status || error.statusCode} ${error.message}`;
  }
};
out.textContent = await window.read("Condition");
"""


def register(stage: Stage, developer: Page, origin: str) -> tuple[str, str]:
    """Register the app with a version and a client of the sandbox; return the ids of app and client."""
    developer.goto(f"{stage.running.base}/developer/register")
    developer.get_by_label("Name", exact=True).fill(NAME)
    developer.get_by_label("What it does").fill("Lists problems.")
    developer.get_by_label("What the data is for").fill("Care")
    developer.get_by_label("Category").select_option("documentation_assistance")
    developer.get_by_role("button", name="Register the app").click()
    developer.get_by_role("link", name="Add a version").click()
    id_ = developer.url.rpartition("/apps/")[2].partition("/")[0]
    developer.get_by_label("Label").fill("1.0")
    developer.get_by_label("Not declared").check()
    developer.get_by_role("button", name="Add the version").click()
    developer.goto(f"{stage.running.base}/developer/apps/{id_}/clients/new")
    developer.get_by_label("Runs in the browser", exact=False).first.check()
    developer.get_by_role("textbox", name="Scopes").fill(SCOPES)
    developer.get_by_label("Redirect addresses").fill(f"{origin}/app")
    developer.get_by_label("Launch address").fill(f"{origin}/launch")
    developer.get_by_role("button", name="Register the client").click()
    developer.get_by_role("link", name=f"To the clients of {NAME}").click()
    client = re.search(r"cli_[0-9a-z]{26}", developer.locator("main").inner_text())
    assert client is not None
    return id_, client[0]


def test_a_foreign_app_lives_by_pages(stage: Stage) -> None:
    pages: dict[str, str] = {"/app": PAGE.format(script=READY)}
    developer = enter_vendor(stage, "owner.varga")
    hospital = enter(stage, "admin.hall", place="general")
    with app(pages) as origin:
        id_, client = register(stage, developer, origin)
        pages["/launch"] = PAGE.format(script=FRAMED % (client, SCOPES))
        certify(stage, id_, SCOPES)
        hospital.goto(f"{stage.running.base}/tenant/apps/{id_}/approve")
        hospital.get_by_label("Physician", exact=True).check()
        hospital.get_by_role("button", name="Approve").click()
        expect(hospital.locator("h1")).to_contain_text("approved")

        # Opened inside the chart, from the developer's own page.
        developer.goto(f"{stage.running.base}/developer/apps/{id_}/sandbox")
        developer.get_by_role("link", name=f"Open {NAME} at Meridian General Hospital").click()
        developer.get_by_label("Person").select_option("dr.adeyemi")
        developer.get_by_label("Patient").select_option("gen-pat-okafor-rosalind")
        developer.get_by_role("button", name="Open in the chart").click()
        frame = frame_of(developer, f"{origin}/app")
        expect(frame.locator("#out")).to_have_text(re.compile("Condition: [1-9][0-9]* read"))

        # Refused once, and explained: to the developer, to the hospital, to security.
        assert "Immunization: 403" in frame.evaluate("window.read('Immunization')")
        expect(developer.locator(".inspector")).to_contain_text("Immunization")
        judge(developer)
        told = enter_vendor(stage, "developer.lund")
        told.goto(f"{stage.running.base}/developer/apps/{id_}/traffic")
        expect(told.locator("main")).to_contain_text("scope")
        hospital.goto(f"{stage.running.base}/tenant/activity?app={id_}")
        hospital.locator("[data-row]").filter(has_text="Immunization").get_by_role("link").first.click()
        expect(hospital.locator("h1")).to_contain_text("refused")
        judge(hospital)

        # Narrowed: what is left works, what was taken is refused to the token that is out.
        hospital.goto(f"{stage.running.base}/tenant/apps/{id_}")
        hospital.get_by_role("link", name="Narrow it").first.click()
        for box in hospital.locator("input[name=scope][value*=Condition]").all():
            box.uncheck()
        hospital.get_by_role("button", name="Narrow").click()
        expect(hospital.locator("#here")).to_be_visible()
        assert "Condition: 403" in frame.evaluate("window.read('Condition')")
        assert "DocumentReference: " in (left := frame.evaluate("window.read('DocumentReference')"))
        assert left.endswith("read")

        # Stopped while it is open.
        hospital.get_by_role("link", name="Stop").first.click()
        hospital.get_by_label("Why").fill("wrong problems shown")
        hospital.locator("form button.button-danger").click()
        hospital.wait_for_url("**/tenant/switches/sw_*")
        expect(developer.locator(".app-stop")).to_contain_text("stopped")
        assert "DocumentReference: 403" in frame.evaluate("window.read('DocumentReference')")
        security = enter(stage, staff(stage, "security"))
        expect(security.locator("#stopped")).to_contain_text(NAME)
