"""Emergency access in Chromium: switched on by two, used by a clinician, reviewed by somebody else; every page looked at (C82, ADR 77)."""

import re

from playwright.sync_api import Page, expect

from tests.browser.by_pages import enter
from tests.browser.phone import on_a_phone_too
from tests.browser.stage import AT_A_DESK, SAMPLE_PATIENT, Stage, look, overflow

PAGE = "/t/general/oauth/manage/break-glass"


def agree(stage: Stage) -> None:
    """Agree to what waits at the hospital, as another of its administrators."""
    page = enter(stage, "admin.silva", place="general")
    page.goto(f"{stage.running.base}/tenant/waiting")
    waits = page.locator("[data-row]").filter(has_text=re.compile("emergency", re.IGNORECASE))
    waits.get_by_role("link").first.click()
    look(page, "glass-second-person")
    with page.expect_navigation():
        page.get_by_role("button", name="Agree").click()


def set_glass(stage: Stage, page: Page, *, on: bool) -> None:
    page.goto(f"{stage.running.base}/tenant/emergencies/settings")
    page.get_by_label("Clinicians may break the glass").set_checked(on)
    with page.expect_navigation():
        page.get_by_role("button", name="Save").click()


def test_the_glass_is_broken_ended_and_reviewed_by_pages(stage: Stage) -> None:
    hospital = enter(stage, "admin.hall", place="general")
    doctor = stage.person(script=False)  # it works without JavaScript
    doctor.goto(f"{stage.running.base}/t/general/signin?then={PAGE}")
    stage.sign_in(doctor, "dr.adeyemi")
    expect(doctor.locator("main")).to_contain_text("Not available")

    hospital.goto(f"{stage.running.base}/tenant/emergencies")
    look(hospital, "glass-none")
    hospital.goto(f"{stage.running.base}/tenant/emergencies/settings")
    look(hospital, "glass-settings")
    set_glass(stage, hospital, on=True)
    agree(stage)
    doctor.reload()
    expect(doctor.locator("main")).not_to_contain_text("Not available")

    chart = stage.person()
    stage.open_chart(chart, person="dr.adeyemi")
    stage.open_app(chart)
    with chart.context.expect_page() as opened:
        chart.get_by_role("link", name="Emergency access").click()
    beside = opened.value
    # The EHR is of another site here, so a new window has no session yet; the launch stays chosen.
    stage.sign_in(beside, "dr.adeyemi")
    expect(beside.get_by_label("App and patient").locator("option:checked")).to_contain_text(SAMPLE_PATIENT)
    look(beside, "glass-ask")
    doctor.reload()
    doctor.get_by_label("What is the emergency?").fill("unconscious after a fall, medication unknown")
    doctor.get_by_role("button", name="Break the glass").click()
    expect(doctor.locator(".notice-warn")).to_contain_text("The glass is broken")
    expect(doctor.locator(".notice-warn")).to_contain_text("It has read nothing since.")
    assert overflow(doctor) <= 0
    beside.reload()
    expect(beside.locator(".notice-warn")).to_contain_text(
        "An empty list does not mean that there is nothing."
    )
    # The same page with script, to be judged: axe runs in the page.
    seen = stage.person()
    seen.goto(f"{stage.running.base}/t/general/signin?then={PAGE}")
    stage.sign_in(seen, "dr.adeyemi")
    look(seen, "glass-open")
    seen.get_by_role("button", name="End it now").click()
    expect(seen.locator("#waiting")).to_contain_text("unconscious after a fall")
    look(seen, "glass-waiting")

    hospital.goto(f"{stage.running.base}/tenant/emergencies")
    look(hospital, "glass-list")
    hospital.locator("[data-row] a").first.click()
    look(hospital, "glass-review", AT_A_DESK)
    on_a_phone_too(hospital, "tenant.emergency")
    hospital.get_by_label("Justified", exact=True).check()
    hospital.get_by_label("What you looked at and found").fill("Admitted at 02:10, confirmed by the ward.")
    hospital.get_by_role("button", name="Close with this verdict").click()
    expect(hospital.locator("#review")).to_contain_text("Justified")
    look(hospital, "glass-reviewed")
    set_glass(stage, hospital, on=False)
    expect(hospital.get_by_label("Clinicians may break the glass")).not_to_be_checked()
