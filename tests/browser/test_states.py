"""States that people meet seldom: wrong, empty, many, long, stopped, zoomed (C30, C38, C93; WCAG 2.2 AA)."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, expect

from tests.browser.stage import PHONE, Stage, authorize_address, judge, overflow, whole
from tests.sim.pictures import png

TOUCH_PX = 44
TYPES = (
    "Patient", "Observation", "Condition", "MedicationRequest", "AllergyIntolerance", "Immunization", "Procedure",
    "DocumentReference", "DiagnosticReport", "Encounter", "Goal", "CarePlan", "CareTeam", "Coverage", "Device",
)  # fmt: skip
LONG = "Companion" + "withoutanyplacetobreak" * 4
SMALL_TARGETS = f"""() => [...document.querySelectorAll("a, button, summary, select, label.tick, input:not([type=checkbox]):not([type=radio])")]
    .filter((each) => each.offsetParent !== null && getComputedStyle(each).display !== "inline")
    .filter((each) => Math.round(each.getBoundingClientRect().height) < {TOUCH_PX})
    .map((each) => each.outerHTML.slice(0, 80))"""


def api(stage: Stage, role: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    headers = {"authorization": f"Bearer {stage.running.staff(role)['api_token']}"}
    answer = httpx2.request(method, f"{stage.running.base}/api/v1{path}", headers=headers, json=body)
    assert answer.status_code < 300, answer.text
    return answer.json()


# --- signing in ----------------------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_said_and_only_the_password_is_asked_again(stage: Stage) -> None:
    page = stage.person()
    page.goto(f"{stage.running.base}/t/clinic/signin")
    page.get_by_label("Username").fill("desk.nunez")
    page.get_by_label("Password").fill("not it")

    page.locator("button[value=login]").click()

    expect(page.get_by_role("alert")).to_contain_text("The username or the password is wrong")
    expect(page.get_by_label("Username")).to_have_value("desk.nunez")
    expect(page.get_by_label("Password")).to_be_focused()
    expect(page.locator("main")).to_contain_text("Ask the help desk of Juniper Street Clinic")
    judge(page)


def test_too_many_attempts_say_how_long_to_wait(stage: Stage) -> None:
    page = stage.person()
    page.goto(f"{stage.running.base}/t/clinic/signin")

    # A slow machine waits some of the first delays out between two attempts, so the last of a fixed number may be judged again.
    for _ in range(12):
        page.get_by_label("Username").fill("nobody.here")
        page.get_by_label("Password").fill("not it")
        with page.expect_navigation():
            page.locator("button[value=login]").click()
        if "Too many attempts" in page.get_by_role("alert").inner_text():
            break

    expect(page.get_by_role("alert")).to_contain_text("Too many attempts")
    expect(page.get_by_role("alert")).to_contain_text("again")
    judge(page)


# --- whose record, what of it --------------------------------------------------------------------------------------------------


def test_a_parent_sees_which_childs_record_an_app_is_about_to_see(stage: Stage) -> None:
    """C34: somebody who acts for several decides for one of them at a time."""
    page = stage.person()
    stage.ask(page, "maria.santos", scope="patient/Patient.rs")
    expect(page.get_by_role("heading", level=1)).to_have_text("Whose record?")

    page.get_by_label("Record of").select_option("gen-pat-santos-ines")
    page.get_by_role("button", name="Continue").click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("Share a record")
    expect(page.locator(".notice")).to_contain_text("The record of Inês Santos, born ")
    expect(page.locator(".notice")).to_contain_text("This is not your own record")
    judge(page)


def test_somebodys_own_record_is_called_their_own(stage: Stage) -> None:
    page = stage.person()

    stage.ask(page, "amara.osei", scope="patient/Patient.rs")

    expect(page.get_by_role("heading", level=1)).to_contain_text("Share your record")
    expect(page.locator("main")).not_to_contain_text("not your own record")


def test_a_clinician_searches_a_long_list_and_sees_when_nobody_matches(stage: Stage) -> None:
    page = stage.person()
    stage.ask(page, "dr.adeyemi", scope="patient/Patient.rs")
    expect(page.get_by_role("heading", level=1)).to_have_text("Choose a patient")
    judge(page)

    page.get_by_label("Search by name").fill("nobody-of-this-name")
    page.get_by_role("button", name="Search").click()

    expect(page.locator("main")).to_contain_text("No patient of this name")
    judge(page)
    page.get_by_role("link", name="Show all").click()
    whole(page)
    assert page.locator("select[name=patient] option").count() > 10


def test_with_many_kinds_of_information_the_decision_is_one_step_away(stage: Stage) -> None:
    page = stage.person(size=PHONE)
    stage.ask(page, "amara.osei", scope=" ".join(f"patient/{each}.rs" for each in TYPES))
    allow = page.locator("button[value=allow]")
    expect(allow).not_to_be_in_viewport()

    page.get_by_role("link", name="Go to Allow and Deny").click()

    expect(allow).to_be_in_viewport()
    assert page.evaluate(SMALL_TARGETS) == []
    judge(page)


def test_an_app_with_a_long_name_does_not_push_the_page_apart(stage: Stage) -> None:
    scope = "launch/patient openid fhirUser patient/Patient.rs"
    redirect = "http://127.0.0.1:9/callback"
    tenant = stage.running.tenant()
    metadata = {
        "client_name": f"The {LONG} for Families",
        "redirect_uris": [redirect],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code"],
        "scope": scope,
    }
    made = httpx2.post(f"{tenant['issuer']}/oauth/register", json=metadata).json()
    page = stage.person()
    page.goto(authorize_address(made["client_id"], redirect, tenant["fhir"], scope="patient/Patient.rs"))

    stage.sign_in(page, "amara.osei")

    expect(page.get_by_role("heading", level=1)).to_contain_text(LONG)
    judge(page)


def test_a_hospital_and_an_app_show_their_colours_and_can_still_be_read(stage: Stage) -> None:
    """ADR 14: whatever colour is chosen, also at 360 px and at night."""
    logo = base64.b64encode(png(64)).decode()
    api(stage, "platform_admin", "PUT", "/tenants/general/branding", {"colour": "#ffd166", "logo": logo})
    app = next(
        each for each in api(stage, "platform_admin", "GET", "/apps")["items"] if each["name"] == "Wellspring"
    )
    edited = {"revision": app["revision"], "logo": logo}
    api(stage, "platform_admin", "PATCH", f"/apps/{app['id']}", edited)
    page = stage.person(size=PHONE)
    page.goto(f"{stage.running.sandbox}/apps/wellspring")
    page.get_by_role("button", name="Meridian General Hospital").click()
    page.get_by_label("Username").wait_for()
    expect(page.locator(".hospital-band img")).to_be_visible()
    expect(page.locator("img.app-logo")).to_be_visible()
    judge(page)
    stage.sign_in(page, "amara.osei")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Share your record")
    expect(page.locator("img.app-logo")).to_be_visible()
    page.wait_for_function("[...document.images].every(each => each.naturalWidth > 0)")
    judge(page)
    api(stage, "platform_admin", "PUT", "/tenants/general/branding", {"colour": "", "logo": ""})


# --- connected apps ------------------------------------------------------------------------------------------------------------


def test_connected_apps_when_there_is_none_one_and_none_again(stage: Stage) -> None:
    """C93; works without script, and there is a way out of the session."""
    page = stage.person(script=False)
    page.goto(f"{stage.running.base}/t/clinic/oauth/manage")
    stage.sign_in(page, "ken.nakamura")
    expect(page.locator("main")).to_contain_text("No connected apps")
    app = stage.person()
    app.goto(f"{stage.running.sandbox}/apps/wellspring")
    app.get_by_role("button", name="Juniper Street Clinic").click()
    stage.sign_in(app, "ken.nakamura")
    app.locator("button[value=allow]").click()
    expect(app.get_by_role("heading", level=1)).to_contain_text("Ken Nakamura")

    page.reload()
    expect(page.get_by_role("heading", name="Wellspring")).to_be_visible()
    page.get_by_role("button", name="Remove Wellspring").click()

    expect(page.get_by_role("alert")).to_contain_text("The app no longer has access")
    expect(page.locator("main")).to_contain_text("No connected apps")
    app.reload()
    expect(app.get_by_role("alert")).to_contain_text("Wellspring is not connected now")
    expect(app.get_by_role("link", name="Start again")).to_be_visible()
    judge(app)
    page.get_by_role("link", name="Sign out").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You are signed out")


def test_a_parent_sees_whose_record_an_app_is_connected_to(stage: Stage) -> None:
    """C93."""
    page = stage.person()
    page.goto(f"{stage.running.sandbox}/apps/wellspring")
    page.get_by_role("button", name="Harbor Children's Hospital").click()
    stage.sign_in(page, "greta.brandt")
    page.locator("select[name=patient]").select_option(index=0)
    page.get_by_role("button", name="Continue").click()
    page.locator("button[value=allow]").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Mila Brandt")

    page.goto(f"{stage.running.base}/t/children/oauth/manage")

    expect(page.locator(".card .facts").first).to_contain_text("Mila Brandt")
    page.get_by_role("button", name="Remove Wellspring").click()


# --- errors --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "title"),
    [
        ("{base}/t/general/oauth/authorize/consent", "That does not work here"),
        ("{base}/t/nowhere/signin", "There is no such hospital here"),
        ("{base}/t/general/oauth/authorize?request=stale", "This page cannot be continued"),
        ("{sandbox}/sandbox/sessions/over", "This session has ended"),
        ("{sandbox}/sandbox/h/nowhere", "There is no such hospital here"),
        ("{sandbox}/sandbox/h/general?person=nobody", "There is no such person"),
    ],
)
def test_an_error_says_what_to_do_next(stage: Stage, address: str, title: str) -> None:
    page = stage.person()

    page.goto(address.format(base=stage.running.base, sandbox=stage.running.sandbox))

    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    expect(page.locator("main")).to_contain_text("What to do next.")
    expect(page.locator("main").get_by_role("link", name="Front page")).to_be_visible()
    judge(page)


def test_a_refused_registration_is_marked_field_by_field_and_keeps_what_was_written(stage: Stage) -> None:
    """RFC 7591 section 3.2.2."""
    page = stage.person()
    page.goto(f"{stage.running.sandbox}/sandbox/h/clinic/own")
    register = page.locator("#register")
    register.get_by_label("Name of your app").fill("Mine")
    register.get_by_label("Launch address").fill("http://evil.example/launch")
    register.get_by_label("Redirect address").fill("http://evil.example/callback")

    register.get_by_role("button", name="Register").click()

    expect(page.get_by_role("alert")).to_contain_text("It was not registered")
    expect(register.get_by_label("Redirect address")).to_have_value("http://evil.example/callback")
    expect(register.locator(".fault").first).to_contain_text("must begin with https://")
    judge(page)


def launched(stage: Stage, tenant: str) -> str:
    """Open a launch of Lumen Chart as the EHR does, and return where the browser is to go."""
    who = {"person": stage.running.person("physician", tenant)["username"], "patient": stage.running.patient(tenant)["id"]}  # fmt: skip
    asked = {"tenant": tenant, "client": "lumen-chart", **who}
    return httpx2.get(f"{stage.running.sandbox}/sandbox/launch", params=asked).headers["location"]


def test_a_way_into_an_app_works_once(stage: Stage) -> None:
    """contract, the EHR's launch API: open_url is for a single use."""
    page = stage.person()
    address = launched(stage, "general")
    other = stage.person()
    other.goto(address)
    other.wait_for_selector("button[value=allow], svg.chart")

    page.goto(address)

    expect(page.get_by_role("heading", level=1)).to_have_text("This launch was already used")
    judge(page)


@contextmanager
def stopped(stage: Stage) -> Iterator[None]:
    """Stop Lumen Chart at the clinic, and release it afterwards."""
    apps = api(stage, "security", "GET", "/apps")["items"]
    app = next(each["id"] for each in apps if each["name"] == "Lumen Chart")
    order = {"kind": "app_tenant", "key": f"{app}/clinic", "mode": "full_stop", "reason": "a drill"}
    made = api(stage, "security", "POST", "/switches", order)
    try:
        yield
    finally:
        api(stage, "security", "POST", f"/switches/{made['id']}/release")


def test_a_stop_is_seen_in_the_open_chart_over_the_app_and_where_it_would_open(stage: Stage) -> None:
    """C38, C140: which condition failed, and whom to ask; without a reload, and gone when the stop is."""
    chart, page = stage.person(), stage.person()
    for each in (chart, page):
        each.goto(f"{stage.running.sandbox}/sandbox/h/clinic")
        each.locator("button.patient").first.click()
    page.get_by_role("link", name="Open in chart").first.click()
    expect(page.locator(".app-stop")).to_be_empty()
    on_the_way = launched(stage, "clinic")
    why = "It was stopped on purpose; nothing is wrong with your account."

    with stopped(stage):
        expect(page.locator(".app-stop")).to_contain_text(why, timeout=10_000)
        expect(chart.locator("#apps")).to_contain_text(why, timeout=10_000)
        expect(chart.get_by_role("link", name="Open in chart")).to_have_count(0)
        judge(chart)

        page.reload()
        frame = page.frame_locator("iframe")
        expect(frame.get_by_role("heading", level=1)).to_have_text("This app is stopped at the moment")
        expect(frame.locator("main")).to_contain_text(why)
        assert frame.locator("main").inner_text().lower().count("ask ") == 1, "one contact"
        assert "new launches" not in frame.locator("main").inner_text(), "it is a full stop"
        inside = page.locator("iframe").element_handle().content_frame()
        assert inside is not None
        judge(page, inside)

        # A browser that was on its way when the stop came: the page of the launch itself stands in the frame then.
        with page.expect_event("framenavigated", lambda each: each.url == on_the_way):
            page.evaluate("(address) => { document.querySelector('iframe').src = address; }", on_the_way)
        expect(frame.get_by_role("heading", level=1)).to_have_text("This app is stopped at the moment")

    expect(chart.get_by_role("link", name="Open in chart")).to_have_count(1)


# --- charts --------------------------------------------------------------------------------------------------------------------


def vital(page: Page, name: str) -> Any:
    return page.locator("figure.vital", has_text=name)


def test_a_childs_heart_rate_is_not_measured_against_adults(stage: Stage) -> None:
    page = stage.person()
    stage.open_chart(page, "Mila", tenant="children")

    expect(vital(page, "Heart rate").locator(".chart-band")).to_have_count(0)
    expect(vital(page, "Oxygen saturation").locator(".chart-key")).to_contain_text("Usual range: 94–100 %")


def test_a_shaded_range_is_named_with_its_unit(stage: Stage) -> None:
    page = stage.person()
    stage.open_chart(page)

    expect(vital(page, "Heart rate").locator(".chart-key")).to_contain_text("Usual in adults: 60–100 /min")


@pytest.mark.parametrize("width", [360, 800, 1366, 1920])
def test_the_letters_of_a_chart_can_be_read_at_any_width(stage: Stage, width: int) -> None:
    page = stage.person(size=(width, 900))
    stage.open_chart(page)

    heights = page.evaluate(
        """() => [...document.querySelectorAll("svg.chart")].map((chart) =>
            parseFloat(getComputedStyle(chart.querySelector("text")).fontSize) * chart.getBoundingClientRect().width / 340)"""
    )

    assert min(heights) >= 10
    assert max(heights) <= 20


def test_a_chart_without_data_says_so(stage: Stage) -> None:
    page = stage.person()
    stage.open_chart(page, "Quinn Ellery")
    expect(page.locator("main")).to_contain_text("No vital signs")

    frame = stage.open_app(page)

    expect(frame.locator("main")).to_contain_text("No vital signs are recorded for this patient.")


def test_a_patient_is_named_once_beside_the_chart_and_by_the_app_alone(stage: Stage) -> None:
    """SMART App Launch 2.2, need_patient_banner."""
    page = stage.person()
    stage.open_chart(page, "Amara Osei")
    frame = stage.open_app(page)
    expect(frame.locator("svg.chart").first).to_be_visible()
    assert frame.locator(".who-is").count() == 0

    with page.context.expect_page() as opened:
        page.locator(".inspector").get_by_role("link", name="New tab").click()

    # The notice was answered for this version: a sandbox remembers it (ADR 17).
    expect(opened.value.locator(".who-is")).to_contain_text("Amara Osei")


# --- how people look at pages --------------------------------------------------------------------------------------------------

LOOKED_AT = (
    "{base}/",
    "{base}/t/general/signin",
    "{sandbox}/sandbox",
    "{sandbox}/sandbox/h/general",
    "{sandbox}/sandbox/h/general/own",
    "{sandbox}/apps/wellspring",
)


MOVING = """() => [...document.querySelectorAll("*")].filter((each) => {
    const style = getComputedStyle(each);
    return style.animationName !== "none" || style.transitionDuration.split(",").some((part) => parseFloat(part) > 0);
}).length"""


def test_a_finger_finds_everything_on_a_phone_and_nothing_moves_unasked(stage: Stage) -> None:
    page = stage.person(size=PHONE)
    for address in LOOKED_AT:
        page.goto(address.format(base=stage.running.base, sandbox=stage.running.sandbox))

        assert page.evaluate(SMALL_TARGETS) == [], address
        assert page.evaluate(MOVING) == 0, address


def test_a_page_flows_again_when_it_is_magnified_four_times(stage: Stage) -> None:
    """WCAG 2.2, 1.4.10: 1280 pixels at 400 % are 320."""
    page = stage.person(size=(320, 256))
    for address in LOOKED_AT:
        page.goto(address.format(base=stage.running.base, sandbox=stage.running.sandbox))

        assert overflow(page) <= 0, address
