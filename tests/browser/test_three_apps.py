"""Three apps from registration to daily life, in Chromium through the consoles, each act by whose it is (C183; S3 of the consoles).

Two are over libraries of others, unmodified: a read-only scheduling app over npm fhirclient, and a documentation assistant that writes
notes, over PyPI's Flask and fhirclient. The third is a backend service. They are certified once, for all stories of this file.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Frame, Page, expect

from tests.browser.by_pages import (
    BACKEND,
    IN_BROWSER,
    ON_SERVER,
    Planned,
    Registered,
    approve,
    certify,
    documents_of_vendor,
    enter,
    enter_vendor,
    find_refusal,
    narrow,
    register,
    staff,
    stop,
    submit,
)
from tests.browser.fhirclient_app import FRAMED, PAGE, app, frame_of
from tests.browser.stage import Stage, judge, overflow
from tests.sim.flask_app import serving
from tests.sim.running import Running
from tests.sim.tls_host import Authority

IDENTITY = "launch openid fhirUser"
PLANNER = Planned(
    "Day Planner",
    "scheduling",
    IN_BROWSER,
    f"{IDENTITY} user/Appointment.rs user/Practitioner.rs",
    "appointments",
)
WRITER = Planned(
    "Note Writer",
    "documentation_assistance",
    ON_SERVER,
    f"{IDENTITY} patient/Condition.rs patient/DocumentReference.crs",
    "documentation",
)
DISCIPLINE = Planned(
    "Cohort Discipline",
    "population_health",
    BACKEND,
    "system/Patient.rs system/Condition.rs",
    "quality_reporting",
    "up_to_100000",
)
WORK = """
const out = document.getElementById("out");
const client = await FHIR.oauth2.ready();
window.read = (type) => client.request(type === "Immunization" ? `${type}?patient=${client.patient.id}` : type, {pageLimit: 1, flat: true})
  .then((found) => `${found.length} read`, (error) => `${error.status || error.statusCode} ${error.message}`);
out.textContent = "ready";
"""
"""What the planner does: a small page over npm fhirclient."""
NURSE = "nurse.okeke"


@dataclass(frozen=True)
class Certified:
    planner: Registered
    writer: Registered
    discipline: Registered


@pytest.fixture(scope="module")
def certified(browser: Browser, running: Running, authority: Authority) -> Iterator[Certified]:
    """Serve the apps, registered and submitted by their vendor, judged in their disciplines by one reviewer each, and certified."""
    pages = {"/app": PAGE.format(script=WORK)}
    with ExitStack() as open_:
        origin, writer = open_.enter_context(app(pages)), open_.enter_context(serving())
        host = open_.enter_context(documents_of_vendor(authority))
        stage = Stage(browser, running)
        open_.callback(stage.close)
        developer = enter_vendor(stage, "owner.varga")
        found = Certified(
            register(developer, PLANNER, origin),
            register(developer, WRITER, writer.origin),
            register(developer, DISCIPLINE, origin),
        )
        pages["/launch"] = PAGE.format(script=FRAMED % (found.planner.client, PLANNER.scopes))
        writer.client, writer.secret, writer.scope = (
            found.writer.client,
            found.writer.secret,
            WRITER.scopes,
        )
        certify(
            stage,
            [submit(developer, each.app, host) for each in (found.planner, found.writer, found.discipline)],
        )
        developer.goto(f"{running.base}/developer/apps/{found.writer.app}")
        expect(developer.locator("h1")).to_contain_text("approved")
        assert stage.complaints == []
        yield found


def refused(app: Frame, what: str) -> None:
    """Read until it is refused: a change takes a moment to the worker that decides."""
    app.wait_for_function(
        "async (what) => (await window.read(what)).startsWith('403 ')", arg=what, polling=100
    )


def open_in_chart(page: Page, person: str, until: str) -> Frame:
    """Open the app whose page is open inside the chart, from the button, as somebody, and allow it; return its frame."""
    page.get_by_label("Person").select_option(person)
    page.get_by_label("Patient").select_option("gen-pat-okafor-rosalind")
    page.get_by_role("button", name="Open in the chart").click()
    return frame_of(page, until)


def test_apps_are_approved_refused_narrowed_and_stopped_at_one_hospital(
    stage: Stage, certified: Certified
) -> None:
    """C98, C100, C183: what one of two hospitals approved, narrowed and stopped, the other still has; the planner is npm fhirclient's."""
    general = enter(stage, "admin.hall", place="general")
    children = enter(stage, "admin.ortega", place="children")
    approve(general, certified.planner.app, "Nurse")
    approve(general, certified.discipline.app, "Analyst")
    approve(children, certified.planner.app, "Physician")
    expect(children.locator("#here")).to_contain_text("physician")

    chart = stage.person()
    chart.goto(f"{stage.running.sandbox}/sandbox/h/general/own?client={certified.planner.client}")
    planner = open_in_chart(chart, NURSE, "/app")
    expect(planner.locator("#out")).to_have_text("ready")
    assert planner.evaluate("window.read('Appointment')").endswith("read")
    assert planner.evaluate("window.read('Immunization')").startswith("403 ")
    find_refusal(general, certified.planner.app, "Immunization")
    narrow(general, certified.planner.app, "Practitioner")
    refused(planner, "Practitioner")
    assert planner.evaluate("window.read('Appointment')").endswith("read")

    # A colleague is asked to answer for the backend service.
    general.goto(f"{stage.running.base}/tenant/backend-services/new")
    expect(general.get_by_label("Service")).to_contain_text("Cohort Discipline")
    # It is stopped at one hospital, and goes on at the other.
    stop(general, certified.planner.app, "wrong times shown")
    general.goto(f"{stage.running.base}/tenant/apps/{certified.planner.app}")
    expect(general.locator("h1")).to_contain_text("stopped")
    expect(chart.locator(".app-stop")).to_contain_text("stopped")
    refused(planner, "Appointment")
    children.reload()
    expect(children.locator("h1")).to_contain_text("approved")


def test_a_flask_app_lives_by_pages(stage: Stage, certified: Certified) -> None:
    """C183: an app of others is approved, opened inside the chart, refused once and explained to three people, narrowed, and stopped while open."""
    id_ = certified.writer.app
    hospital = enter(stage, "admin.hall", place="general")
    approve(hospital, id_, "Physician")

    # From the developer's own page into the chart, where it works.
    developer = enter_vendor(stage, "owner.varga")
    developer.goto(f"{stage.running.base}/developer/apps/{id_}/sandbox")
    developer.get_by_role("link", name="Open Note Writer at Meridian General Hospital").click()
    frame = open_in_chart(developer, "dr.adeyemi", "/read/conditions")
    said = frame.locator("#out")
    expect(said).to_have_text(re.compile("^conditions: [1-9][0-9]* read"))
    frame.get_by_role("button", name="Write a note").click()
    expect(said).to_have_text("note: written")

    # Refused once, and explained: in the app, and to the developer, the hospital and security.
    frame.get_by_role("link", name="immunizations").click()
    expect(said).to_contain_text("immunizations: 403 ")
    expect(developer.locator(".inspector")).to_contain_text("Immunization")
    judge(developer)
    colleague = enter_vendor(stage, "developer.lund")
    colleague.goto(f"{stage.running.base}/developer/apps/{id_}/traffic")
    expect(colleague.locator("main")).to_contain_text("scope")
    find_refusal(hospital, id_, "Immunization")
    judge(hospital)

    # Narrowed: what is left works, what was taken is refused to the token that is out.
    narrow(hospital, id_, "Condition")
    frame.get_by_role("link", name="conditions").click()
    expect(said).to_contain_text("conditions: 403 ")
    frame.get_by_role("link", name="notes").click()
    expect(said).to_have_text(re.compile("^notes: [1-9][0-9]* read"))

    # Stopped while it is open.
    stop(hospital, id_, "wrong problems shown")
    expect(developer.locator(".app-stop")).to_contain_text("stopped")
    security = enter(stage, staff(stage, "security"))
    expect(security.locator("#stopped")).to_contain_text("Note Writer")

    # The vendor asks for less, after it saw who is affected.
    developer.goto(f"{stage.running.base}/developer/apps/{id_}/narrow")
    expect(developer.locator("#who")).to_contain_text("1 hospital has granted")
    with developer.expect_navigation():
        developer.get_by_role("button", name="Remove these now").click()
    developer.goto(f"{stage.running.base}/developer/apps/{id_}/narrow")
    expect(developer.get_by_text("Nothing to take away")).to_be_visible()
    assert overflow(developer) <= 0
