"""Every page looked at: accessible, within its window, light and dark, without script (S5; C30)."""

import httpx2
from playwright.sync_api import Page, expect

from tests.browser.stage import SAMPLE_PATIENT, Stage, authorize_address, judge

OPEN_PAGES = (
    "{sandbox}/sandbox",
    "{sandbox}/sandbox/accounts",
    "{sandbox}/sandbox/h/general",
    "{sandbox}/sandbox/h/general?q=nobody-of-this-name",
    "{sandbox}/sandbox/h/children/own",
    "{sandbox}/sandbox/sessions/none",
    "{sandbox}/apps",
    "{sandbox}/apps/lumen",
    "{sandbox}/apps/wellspring",
    "{base}/",
    "{base}/t/general/signin",
    "{base}/signin",
    "{base}/t/general/signin?language=es",
    "{base}/t/general/oauth/authorize?client_id=nobody",
    "{base}/nowhere",
    "{base}/guides",
    "{base}/guides/operations",
    "{base}/guides/clinician",
)


def test_a_page_that_is_open_to_anybody_is_accessible_and_fits(stage: Stage) -> None:
    page = stage.person()
    for address in OPEN_PAGES:
        page.goto(address.format(sandbox=stage.running.sandbox, base=stage.running.base))

        judge(page)


def test_the_pages_of_a_launch_are_accessible_and_fit(stage: Stage) -> None:
    page = stage.person()
    stage.open_chart(page, "Amara Osei")
    judge(page)
    page.get_by_role("navigation", name="Chart").get_by_text("Switch", exact=True).click()
    judge(page)
    page.get_by_role("navigation", name="Chart").get_by_text("Switch", exact=True).click()

    frame = stage.open_app(page)
    expect(frame.locator("svg.chart").first).to_be_visible()
    expect(page.locator(".call").nth(3)).to_be_visible()

    judge(page, frame)


def test_the_pages_of_a_patient_are_accessible_and_fit(stage: Stage) -> None:
    page = stage.person()
    page.goto(f"{stage.running.sandbox}/apps/wellspring")
    page.get_by_role("button", name="Meridian General Hospital").click()
    page.get_by_label("Username").wait_for()
    judge(page)
    stage.sign_in(page, "maria.santos")
    page.wait_for_selector("select[name=patient]")
    judge(page)
    page.locator("select[name=patient]").select_option(index=0)
    page.get_by_role("button", name="Continue").click()
    page.wait_for_selector("button[value=allow]")
    judge(page)
    page.locator("button[value=allow]").click()
    expect(page.locator(".result").first).to_be_visible()
    judge(page)

    page.goto(f"{stage.running.base}/t/general/oauth/manage")

    expect(page.get_by_role("heading", name="Wellspring")).to_be_visible()
    judge(page)
    page.get_by_role("link", name="See what apps did with your record").click()
    expect(page.get_by_text("You agreed to it").first).to_be_visible()
    judge(page)


def test_the_pages_of_a_patient_are_accessible_and_fit_in_spanish(stage: Stage) -> None:
    """C87: chosen by the link on the page; long words must not widen a phone's page."""
    page = stage.person()
    scope = "launch/patient openid fhirUser offline_access patient/*.rs"
    stage.ask(page, "rosalind.okafor", scope=scope)
    if page.locator("select[name=patient]").count():
        page.get_by_role("button", name="Continue").click()
    page.wait_for_selector("button[value=allow]")
    page.get_by_role("link", name="Español").click()
    expect(page.get_by_role("button", name="Permitir")).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "es"
    judge(page)
    for each in page.locator("details").all():
        each.evaluate("each => { each.open = true; }")
    judge(page)
    page.goto(f"{stage.running.base}/t/general/oauth/manage")

    expect(page.get_by_role("heading", name="Aplicaciones conectadas")).to_be_visible()
    judge(page)


def test_a_chart_is_opened_and_its_app_launched_without_script(stage: Stage) -> None:
    """house rule 13: works without JavaScript; what the app itself needs is the app's affair."""
    page = stage.person(script=False)
    page.goto(f"{stage.running.sandbox}/sandbox/h/general")
    page.get_by_role("button", name=SAMPLE_PATIENT).click()
    expect(page.locator("svg.chart").first).to_be_visible()

    page.get_by_role("link", name="Open in chart").first.click()

    expect(page.frame_locator("iframe").locator("noscript .notice")).to_be_visible()
    link = page.get_by_role("link", name="Open by itself").get_attribute("href")
    page.goto(f"{stage.running.sandbox}{link}")
    expect(page.get_by_role("link", name="Refresh")).to_be_visible()


def test_a_patient_consents_without_script(stage: Stage) -> None:
    page = stage.person(script=False)
    client = stage.running.client("bench-public")
    tenant = stage.running.tenant()
    page.goto(authorize_address(client["client_id"], client["redirect_uris"][0], tenant["fhir"]))
    stage.sign_in(page, "amara.osei")
    page.wait_for_selector("select[name=patient], button[value=allow]")
    if page.locator("select[name=patient]").count():
        page.get_by_role("button", name="Continue").click()
        page.wait_for_selector("select[name=encounter], button[value=allow]")

    with page.expect_request(lambda request: request.url.startswith(client["redirect_uris"][0])) as sent:
        page.locator("button[value=allow]").click()

    assert "code=" in sent.value.url
    assert "state=state-of-the-test" in sent.value.url


def test_a_patient_signs_in_and_consents_by_keyboard_alone(stage: Stage) -> None:
    page = stage.person()
    client = stage.running.client("bench-public")
    page.goto(
        authorize_address(client["client_id"], client["redirect_uris"][0], stage.running.tenant()["fhir"])
    )
    walk_to(page, "input[name=username]")
    page.keyboard.type("rosalind.okafor")
    walk_to(page, "input[name=password]")
    page.keyboard.type("sandbox-rosalind.okafor")
    page.keyboard.press("Enter")
    page.wait_for_selector("select[name=patient], button[value=allow]")
    if page.locator("select[name=patient]").count():
        walk_to(page, "main button[type=submit]")
        page.keyboard.press("Enter")
        page.wait_for_selector("button[value=allow]")
    walk_to(page, 'input[name=scope][value^="patient/Patient"]')
    page.keyboard.press("Space")
    assert not page.locator('input[name=scope][value^="patient/Patient"]').is_checked()
    page.keyboard.press("Space")
    walk_to(page, "button[value=allow]")
    assert focus_is_visible(page)

    with page.expect_request(lambda request: request.url.startswith(client["redirect_uris"][0])) as sent:
        page.keyboard.press("Enter")

    assert "code=" in sent.value.url


def walk_to(page: Page, selector: str) -> None:
    """Press Tab until the focus is there."""
    for _ in range(60):
        if page.evaluate("(wanted) => document.activeElement?.matches(wanted) ?? false", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never reaches {selector} on {page.url}")


def focus_is_visible(page: Page) -> bool:
    return bool(page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth) >= 2"))


def test_the_first_tab_of_a_page_offers_to_skip_to_its_content(stage: Stage) -> None:
    page = stage.person()
    page.goto(f"{stage.running.sandbox}/sandbox")

    page.keyboard.press("Tab")

    assert page.evaluate("document.activeElement.textContent") == "Skip to content"


def test_another_site_cannot_frame_the_sign_in_page(stage: Stage) -> None:
    """C30: login is never framed, not even where the EHR frames an app and what refuses it."""
    page = stage.person()
    stage.open_chart(page, person="desk.quinn")
    page.goto(f"{page.url}/apps/lumen-chart")  # the page of the EHR that has frames, from anywhere
    refused, signin = (f"{stage.running.base}/t/general/{path}" for path in ("ehr/open/none", "signin"))

    # A frame loads also if its page is not shown in it.
    page.evaluate(
        """(addresses) => Promise.all(addresses.map((address) => new Promise((loaded) => {
            const frame = document.createElement("iframe");
            frame.onload = loaded;
            frame.src = address;
            document.body.append(frame);
        })))""",
        [refused, signin],
    )

    expect(page.frame_locator(f'iframe[src="{refused}"]').get_by_role("heading", level=1)).to_be_visible()
    assert page.frame_locator(f'iframe[src="{signin}"]').get_by_label("Username").count() == 0
    stage.complaints.clear()


def invited(stage: Stage, username: str, **more: str) -> str:
    """Add somebody as a platform administrator, and return the link of their enrolment."""
    body = {"tenant": "general", "username": username, "name": "Nia Example", "role": "nurse"} | more
    token = stage.running.staff("platform_admin")["api_token"]
    address, bearer = f"{stage.running.base}/api/v1/people", {"authorization": f"Bearer {token}"}
    answer = httpx2.post(address, json=body, headers=bearer)
    assert answer.status_code == 201, answer.text
    url: str = answer.json()["enrolment"]["url"]
    return url


def test_the_page_of_a_link_is_accessible_and_fits(stage: Stage) -> None:
    """C200; house rule 13."""
    page = stage.person()
    page.goto(invited(stage, "nia.pages"))
    judge(page)

    page.get_by_label("New password").fill("first words")
    page.get_by_label("Repeat the password").fill("other words")
    page.get_by_role("button", name="Set password").click()

    expect(page.get_by_text("The two passwords do not match.")).to_be_visible()
    judge(page)


def test_a_new_colleague_sets_the_password_and_signs_in_without_script(stage: Stage) -> None:
    """C200; house rule 13: works without JavaScript; the page after it is the way in."""
    page, url = stage.person(script=False), invited(stage, "nia.script")
    page.goto(url)
    page.get_by_label("New password").fill("my own long words")
    page.get_by_label("Repeat the password").fill("my own long words")
    page.get_by_role("button", name="Set password").click()
    expect(page.get_by_text("Your password is set")).to_be_visible()

    page.get_by_label("Username").fill("nia.script")
    page.get_by_label("Password").fill("my own long words")
    page.locator("button[value=login]").click()

    expect(page.get_by_role("heading", name="Connected apps")).to_be_visible()
    page.goto(url)
    expect(page.get_by_text("This link can no longer be used")).to_be_visible()
