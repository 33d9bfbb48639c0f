"""The consoles as the people who use them: what they do in a hurry, by keyboard, on a phone, without script (S3 of the consoles)."""

import httpx2
from playwright.sync_api import expect

from tests.browser.by_pages import enter, staff
from tests.browser.hand import Hand
from tests.browser.stage import AT_A_DESK, Stage, judge, overflow


def release(stage: Stage, address: str) -> None:
    """Release a wide switch as two of the staff."""
    for number in (0, 1):
        page = enter(stage, staff(stage, "security", number))
        page.goto(address)
        page.get_by_role("link", name="Release", exact=True).click()
        page.get_by_label("I looked into the reason").check()
        page.locator("main form[method=post] button[type=submit]").click()
        page.wait_for_url("**/operations/switches/sw_*")
    expect(page.locator("h1")).to_contain_text("released")


def test_the_page_of_a_dry_run_follows_it_to_its_end(stage: Stage) -> None:
    """C208: without a hand, and without script it is reloaded."""
    page = enter(stage, staff(stage, "platform_admin"))
    page.goto(f"{stage.running.base}/operations/policy/versions/1/apply")

    page.get_by_role("button", name="Start a dry run").click()

    page.wait_for_url("**/operations/policy/dry-runs/dry_*")
    expect(page.locator("h1")).to_contain_text("done")
    expect(page.get_by_text("it says the same as version 1")).to_be_visible()
    judge(page)


def test_an_app_is_stopped_within_ten_seconds(stage: Stage) -> None:
    """S3: timed as the person, from the first page to the worker's confirmation."""
    page = enter(stage, staff(stage, "security"))
    hand = Hand(page)

    hand.think()
    hand.press("/")
    hand.type("lumen")
    hand.press("Enter")
    hand.click(page.get_by_role("link", name="Stop Lumen Chart"))
    expect(page.get_by_text("What this would end")).to_be_visible()
    hand.type("data leak")
    hand.press("Control+Enter")

    page.wait_for_url("**/operations/switches/sw_*")
    address = page.url
    try:
        expect(page.locator("h1")).to_contain_text("stopped")
        # Live: the page is read again when a worker has confirmed, without a hand.
        expect(page.get_by_text("The last worker began to refuse after")).to_be_visible()
        assert hand.seconds < 10
        judge(page)
        page.goto(f"{stage.running.base}/operations")
        expect(page.locator("#stopped")).to_contain_text("Lumen Chart")
        judge(page, looks=AT_A_DESK)
    finally:
        release(stage, address)


def test_why_a_call_was_refused_is_found_within_thirty_seconds(stage: Stage) -> None:
    """S3: by the number that the app's developer quotes, and from the first page without one."""
    fhir = stage.running.tenant()["fhir"]
    answer = httpx2.get(f"{fhir}/Observation?patient=x")
    page = enter(stage, staff(stage, "auditor"))
    hand = Hand(page)

    hand.think()
    hand.press("/")
    hand.type(answer.headers["x-request-id"])
    hand.press("Enter")
    expect(page.locator("h1")).to_contain_text("refused: token missing")
    hand.think()

    assert hand.seconds < 30
    expect(page.get_by_text("What to do next")).to_be_visible()
    judge(page, looks=AT_A_DESK)
    again = page.reload()
    assert again is not None
    assert again.status == 200, "it is the other request that was refused"
    page.goto(f"{stage.running.base}/operations")
    other = Hand(page, at_keyboard=False)
    other.click(page.locator("#refused").get_by_role("link", name="The newest one").first)
    expect(page.locator("h1")).to_contain_text("refused")
    assert other.seconds < 30


PAGES = (
    "/operations/search?q=lumen",
    "/operations/search?q=nothing-of-this-name",
    "/operations/apps",
    "/operations/apps?q=nothing",
    "/operations/apps/none",
    "/operations/switches",
    "/operations/switches/new?q=general",
    "/operations/switches/new?kind=resource_type&key=Observation",
    "/operations/audit",
    "/operations/audit/changes",
    "/operations/audit/evidence",
    "/operations/policy",
    "/operations/policy/jurisdictions",
    "/operations/guide",
    "/operations/scopes",
    "/operations/staff",
    "/review/reviewers",
    "/review/conflicts-of-interest",
    "/review/regulated-access",
)


def test_the_pages_of_the_staff_are_accessible_and_fit(stage: Stage) -> None:
    """House rule 13: wide and narrow, light and dark, axe without violations."""
    page = enter(stage, staff(stage, "security"))
    for path in PAGES:
        page.goto(stage.running.base + path)
        judge(page, looks=AT_A_DESK)


def test_a_stop_is_engaged_and_released_without_script(stage: Stage) -> None:
    """House rule 13: complete without JavaScript."""
    page = enter(stage, staff(stage, "security"), script=False)
    page.get_by_role("link", name="Stop something").click()
    page.get_by_label("Part of its name").fill("dr.whitfield")
    with page.expect_navigation():
        page.get_by_role("button", name="Find").click()
    page.locator("[data-row] a").first.click()
    page.get_by_label("Why").fill("a lost phone")
    page.get_by_label("Only watch").check()
    page.locator("form button.button-danger").click()
    expect(page.locator("h1")).to_contain_text("watched")

    page.get_by_role("link", name="Release", exact=True).click()
    page.get_by_label("I looked into the reason").check()
    page.get_by_role("button", name="Release").click()

    expect(page.locator("h1")).to_contain_text("released")


def test_rows_are_walked_and_opened_by_keys_alone(stage: Stage) -> None:
    """The keys that ``?`` lists."""
    page = enter(stage, staff(stage, "auditor"))
    page.goto(f"{stage.running.base}/operations/apps")

    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    name = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")

    expect(page.locator("h1")).to_contain_text(name)


HOSPITAL = (
    "/tenant",
    "/tenant?show=available",
    "/tenant/requests",
    "/tenant/people",
    "/tenant/people/new",
    "/tenant/activity",
    "/tenant/activity/changes",
    "/tenant/agreements",
    "/tenant/agreements/new",
    "/tenant/backend-services",
    "/tenant/deletions",
    "/tenant/waiting",
    "/tenant/settings",
    "/tenant/sign-in",
    "/tenant/sign-in/new",
    "/tenant/switches",
    "/tenant/search?q=a",
)


def test_the_pages_of_a_hospital_are_accessible_and_fit(stage: Stage) -> None:
    """House rule 13: wide and narrow, light and dark, axe without violations."""
    page = enter(stage, "admin.hall", place="general")
    for path in HOSPITAL:
        page.goto(stage.running.base + path)
        judge(page, looks=AT_A_DESK)
    page.goto(f"{stage.running.base}/tenant")
    page.get_by_role("link", name="Lumen Chart").click()
    expect(page.locator("#permissions")).to_be_visible()
    judge(page, looks=AT_A_DESK)


def test_a_narrowing_is_tried_before_anything_is_taken_away(stage: Stage) -> None:
    """House rule 13, and C208 and C213 by hand: the trial above the form, the ticks as they were left, the networks of an app."""
    page = enter(stage, "admin.ortega", place="children")
    page.get_by_role("link", name="Lumen Chart").click()
    page.get_by_role("link", name="Narrow it").first.click()
    page.locator("input[name=scope]").first.uncheck()
    page.get_by_role("button", name="Try it first").click()
    expect(page.locator("#trial")).to_be_visible()
    expect(page.locator("input[name=scope]").first).not_to_be_checked()
    judge(page)
    page.goto(page.url.replace("/narrow", "/networks"))
    judge(page, looks=AT_A_DESK)


def test_an_app_is_approved_and_narrowed_within_two_minutes(stage: Stage) -> None:
    """S3: timed as the person; removed from the hospital first, by pages too, and all of it without script.

    At the hospital where no other test needs all that this app was approved for.
    """
    page = enter(stage, "admin.ortega", place="children", script=False)
    page.get_by_role("link", name="Wellspring").click()
    page.get_by_role("link", name="Remove it").click()
    page.get_by_label("Remove it from").check()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.locator("h1")).to_contain_text("waiting for you")
    page.goto(f"{stage.running.base}/tenant")
    hand = Hand(page, at_keyboard=False)

    hand.click(page.get_by_role("link", name="Wellspring"))
    hand.click(page.get_by_role("link", name="Approve", exact=True))
    hand.click(page.get_by_label("Patient", exact=True))
    hand.think()
    hand.click(page.locator("input[name=scope]").last)
    hand.click(page.get_by_role("button", name="Approve"))
    expect(page.locator("h1")).to_contain_text("approved")
    hand.click(page.get_by_role("link", name="Narrow it").first)
    # axe never ends on a page without script.
    assert overflow(page) <= 0
    hand.click(page.locator("input[name=scope]").first)
    hand.click(page.get_by_role("button", name="Narrow"))

    expect(page.locator("#here")).to_contain_text("patient")
    assert hand.seconds < 120
