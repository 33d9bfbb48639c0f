"""Review as the two sides do it by pages: the vendor submits, a reviewer judges (S5 of the review)."""

from playwright.sync_api import Page, expect

from tests.browser.stage import Stage
from tests.browser.test_developer_console import enter as enter_vendor
from tests.browser.test_developer_console import look

LONG = "A very long justification " * 8


def begin(page: Page, environment: str) -> None:
    """Begin a submission of the newest version of the app whose page is open."""
    page.get_by_role("link", name="Review", exact=True).click()
    page.get_by_label(environment).check()
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("button", name="Submit to review")).to_be_visible()


def test_a_vendor_sees_what_a_submission_lacks_and_sends_it(stage: Stage) -> None:
    """S5: each thing that is missing leads to where it is added; every page accessible, wide and narrow, light and dark."""
    page = enter_vendor(stage, "owner.varga")
    page.get_by_role("link", name="Lumen Chart").click()
    begin(page, "Production, at hospitals")
    look(page, "submission-draft")
    for each in page.get_by_label("What the app does with it").all():
        each.fill(LONG)
    page.get_by_role("button", name="Save the draft").click()
    expect(page.get_by_label("What the app does with it").first).to_have_value(LONG.strip())
    page.get_by_role("button", name="Submit to review").click()
    look(page, "submission-tried")
    page.get_by_role("link", name="Review", exact=True).first.click()
    look(page, "submissions")
