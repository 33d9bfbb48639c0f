"""The main job, in a real browser: a clinician opens a chart, launches an app, and it reads what it was given (S5; C124, C125)."""

import re

import httpx2
from playwright.sync_api import Page, Route, expect

from tests.browser.stage import Stage

LUMEN_READS = {"Patient", "Observation", "Condition", "MedicationRequest", "AllergyIntolerance"}


def test_an_app_launched_inside_the_chart_shows_the_patient_and_each_call_with_its_decision(
    stage: Stage,
) -> None:
    """C124, C125: the frame is another site's, so its session comes in a partitioned cookie."""
    page = stage.person()
    stage.open_chart(page)

    frame = stage.open_app(page)

    expect(frame.get_by_role("heading", level=1)).to_contain_text("Rosalind Ngozi Okafor")
    expect(frame.locator("svg.chart").first).to_be_visible()
    expect(frame.get_by_text("Diabetes mellitus type 2")).to_be_visible()
    for read in LUMEN_READS:
        expect(page.locator(".call-what", has_text=re.compile(rf"\b{read}\b")).first).to_be_visible()
    expect(page.locator(".calls")).to_contain_text("patient/Observation.rs")
    expect(page.locator(".tally")).to_contain_text("0 refused")


def test_an_app_launched_in_a_new_tab_needs_no_password(stage: Stage) -> None:
    """The EHR vouches by open_url; the launch itself authenticates nobody."""
    page = stage.person()
    stage.open_chart(page)

    with page.context.expect_page() as opened:
        page.get_by_role("link", name="New tab").first.click()
    tab = opened.value
    tab.wait_for_selector("button[value=allow], .vitals")
    assert tab.locator("input[type=password]").count() == 0
    if tab.locator("button[value=allow]").count():
        tab.click("button[value=allow]")

    expect(tab.get_by_role("heading", level=1)).to_contain_text("Rosalind Ngozi Okafor")


def test_the_code_leaves_the_address_of_the_app(stage: Stage) -> None:
    page = stage.person()
    stage.open_chart(page)

    frame = stage.open_app(page)

    expect(frame.locator("svg.chart").first).to_be_visible()
    assert "code=" not in frame.url


def opened(stage: Stage) -> tuple[Page, str, dict[str, str]]:
    """Open the app in the chart; return the chart's page, the address of its patient, and the header of the app's requests."""
    page = stage.person()
    stage.open_chart(page)
    frame = stage.open_app(page)
    expect(frame.locator("svg.chart").first).to_be_visible()
    token = frame.evaluate("JSON.parse(sessionStorage.getItem('smart:session:lumen-chart'))")
    bearer = {"authorization": f"Bearer {token['token']['access_token']}"}
    about = f"{token['iss']}/Patient/{token['token']['patient']}"
    return page, about, bearer


def test_when_the_chart_moves_what_was_launched_under_the_other_patient_is_refused(stage: Stage) -> None:
    """C35: this hospital refuses reads as well."""
    page, about, bearer = opened(stage)
    assert httpx2.get(about, headers=bearer).status_code == 200

    page.get_by_role("navigation", name="Chart").get_by_text("Switch", exact=True).click()
    page.locator("#s-patient").select_option(label="Amara Osei")
    page.get_by_role("button", name="Move the chart").click()

    expect(page.locator("h1").first).to_contain_text("Amara Osei")
    wait_for_status(page, about, bearer, 403)


def test_when_the_session_ends_its_tokens_end(stage: Stage) -> None:
    """C36: online_access ends with the EHR session."""
    page, about, bearer = opened(stage)

    page.get_by_role("button", name="End session").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Open a chart")
    wait_for_status(page, about, bearer, 401)


def wait_for_status(page: Page, url: str, headers: dict[str, str], status: int) -> None:
    """Ask until the snapshot of the worker has it: within two seconds, or the worker refuses by itself."""
    for _ in range(100):
        if httpx2.get(url, headers=headers).status_code == status:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{url} never answered {status}")


def test_another_person_of_the_hospital_takes_over_the_chart(stage: Stage) -> None:
    page = stage.person()
    stage.open_chart(page)

    page.get_by_role("navigation", name="Chart").get_by_text("Switch", exact=True).click()
    page.locator("#s-person").select_option(label="Ifeoma Okeke, nurse")
    page.get_by_role("button", name="Switch person").click()

    expect(page.locator(".account")).to_contain_text("Ifeoma Okeke")
    expect(page.locator("h1").first).to_contain_text("Rosalind Ngozi Okafor")


def test_a_role_without_an_installed_app_gets_an_explanation(stage: Stage) -> None:
    """C38."""
    page = stage.person()
    stage.open_chart(page, person="desk.quinn")
    expect(page.locator("#apps")).to_contain_text("No app of this chart is for the role")

    page.goto(re.sub(r"$", "/apps/lumen-chart", page.url))

    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", level=1)).to_have_text("This app is not for your role")
    expect(frame.locator("main")).to_contain_text("Your role may not use this app at")


def test_a_patient_reads_their_own_results_in_plain_words(stage: Stage) -> None:
    page = stage.person()

    stage.connect_wellspring(page)

    expect(page.get_by_role("heading", level=1)).to_contain_text("Amara Osei")
    expect(page.locator(".result").first).to_be_visible()
    expect(page.get_by_role("heading", name="Your vaccines")).to_be_visible()


def test_what_a_patient_unticks_the_app_does_not_get(stage: Stage) -> None:
    """S3: each resource type is selectable; the app says so instead of failing."""
    page = stage.person()

    stage.connect_wellspring(page, "rosalind.okafor", untick=("patient/Immunization.rs",))

    expect(page.locator(".card", has_text="Your vaccines")).to_contain_text("You did not share this")
    expect(page.locator(".result").first).to_be_visible()


def test_a_patient_who_disconnects_leaves_the_app_without_a_key(stage: Stage) -> None:
    """RFC 7009."""
    page = stage.person()
    stage.connect_wellspring(page)
    expect(page.locator(".result").first).to_be_visible()
    kept = page.evaluate("JSON.parse(sessionStorage.getItem('smart:session:wellspring'))")
    form = {
        "grant_type": "refresh_token",
        "refresh_token": kept["token"]["refresh_token"],
        "client_id": "wellspring",
    }

    page.get_by_role("button", name="Disconnect Wellspring").click()

    expect(page.locator(".notice")).to_contain_text("Disconnected")
    answer = httpx2.post(kept["server"]["token_endpoint"], data=form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


def test_a_person_who_denies_comes_back_to_an_app_that_understands(stage: Stage) -> None:
    page = stage.person()
    page.goto(f"{stage.running.sandbox}/apps/wellspring")
    page.get_by_role("button", name="Meridian General Hospital").click()
    stage.sign_in(page, "amara.osei")
    page.wait_for_selector("select[name=patient], button[value=deny]")
    if page.locator("select[name=patient]").count():
        page.get_by_role("button", name="Continue").click()

    page.locator("button[value=deny]").click()

    page.wait_for_url("**/apps/wellspring/app**")
    expect(page.get_by_role("status")).to_contain_text("You said no")


def test_a_launch_page_opened_by_hand_explains_itself(stage: Stage) -> None:
    page = stage.person()

    page.goto(f"{stage.running.sandbox}/apps/lumen/launch")

    expect(page.get_by_role("status")).to_contain_text("opened by an EHR")


def test_an_answer_that_nobody_asked_for_is_stopped(stage: Stage) -> None:
    """Login CSRF: a code planted into the app by an address."""
    page = stage.person()

    page.goto(f"{stage.running.sandbox}/apps/lumen/app?code=planted&state=planted&iss=x")

    expect(page.get_by_role("alert")).to_contain_text("This launch does not fit")


def test_a_patient_launches_an_app_from_their_own_chart_and_is_asked_in_the_frame(stage: Stage) -> None:
    """Security decision 13: consent is framed only under the tenant's registered EHR origins. Security decision 14: a patient is always asked."""
    page = stage.person()
    stage.open_chart(page, "Amara Osei", person="amara.osei")

    frame = stage.open_app(page, client="wellspring")

    expect(frame.get_by_role("heading", level=1)).to_contain_text("Amara Osei")
    expect(frame.locator(".result").first).to_be_visible()


def test_a_developer_registers_an_app_and_opens_it_in_a_tab_and_inside_the_chart(stage: Stage) -> None:
    """C204; contract, Addresses of the platform: launch any app, foreign ones too."""
    page = stage.person()
    page.goto(f"{stage.running.sandbox}/sandbox/h/clinic/own")
    register = page.locator("#register")
    register.get_by_label("Name of your app").fill("Mine")
    register.get_by_label("Launch address").fill("http://127.0.0.1:9/launch")
    register.get_by_label("Redirect address").fill("http://127.0.0.1:9/callback")
    register.get_by_role("button", name="Register").click()
    expect(page.locator(".notice-good")).to_contain_text("Client id")

    with (
        page.context.expect_page() as opened,
        page.context.expect_event(
            "request", lambda request: request.url.startswith("http://127.0.0.1:9/launch?")
        ) as sent,
    ):
        page.get_by_role("button", name="Launch in a new tab").click()

    assert opened.value
    assert "iss=" in sent.value.url
    assert "launch=" in sent.value.url

    with page.expect_request(lambda request: request.url.startswith("http://127.0.0.1:9/launch?")):
        page.get_by_role("button", name="Open in the chart").click()
    expect(page.get_by_role("link", name="Mine")).to_have_attribute("aria-current", "page")
    page.get_by_role("link", name="Chart", exact=True).click()
    expect(page.locator("#apps")).to_contain_text("Mine")
    stage.complaints.clear()


def open_in_tab(stage: Stage) -> tuple[Page, Page]:
    """Open Lumen in a tab of its own; gives the chart and the tab."""
    page = stage.person()
    stage.open_chart(page, "Amara Osei")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="New tab").first.click()
    tab = opened.value
    tab.wait_for_selector("button[value=allow], .vitals")
    if tab.locator("button[value=allow]").count():
        tab.click("button[value=allow]")
    expect(tab.locator("svg.chart").first).to_be_visible()
    return page, tab


def test_an_app_whose_session_ended_says_so(stage: Stage) -> None:
    page, tab = open_in_tab(stage)
    page.get_by_role("button", name="End session").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Open a chart")

    for _ in range(20):
        tab.reload()
        tab.wait_for_selector(".vitals, .notice-bad")
        if tab.locator(".notice-bad").count():
            break

    expect(tab.get_by_role("alert")).to_contain_text("Your session has ended")


def test_an_app_waits_as_long_as_retry_after_says(stage: Stage) -> None:
    """RFC 6585 section 4: Retry-After."""
    _, tab = open_in_tab(stage)
    asked: list[str] = []
    headers = {
        "access-control-allow-origin": "*",
        "access-control-expose-headers": "Retry-After",
        "retry-after": "1",
    }

    def busy_once(route: Route) -> None:
        asked.append(route.request.method)
        if asked.count("GET") == 1 and route.request.method == "GET":
            route.fulfill(status=429, headers=headers, body="{}")
        else:
            route.continue_()

    tab.route("**/fhir/Condition?**", busy_once)
    tab.reload()

    expect(tab.locator(".card", has_text="Problems")).to_contain_text("Essential hypertension")
    assert asked.count("GET") == 2


def test_one_refused_type_leaves_the_rest_of_the_page(stage: Stage) -> None:
    _, tab = open_in_tab(stage)
    outcome = '{"resourceType":"OperationOutcome","issue":[{"code":"forbidden","details":{"text":"Not in what was granted."}}]}'
    tab.route(
        "**/fhir/AllergyIntolerance?**",
        lambda route: route.fulfill(status=403, headers={"access-control-allow-origin": "*"}, body=outcome),
    )

    tab.reload()

    expect(tab.locator(".card", has_text="Allergies")).to_contain_text("Not in what was granted.")
    expect(tab.locator("svg.chart").first).to_be_visible()
