"""Review as the two sides do it by pages: the vendor submits, a reviewer judges (S5 of the review)."""

from playwright.sync_api import Page, expect

from tests.browser.by_pages import STATED, begin, enter, enter_vendor, staff
from tests.browser.hand import Hand
from tests.browser.phone import on_a_phone_too
from tests.browser.stage import AT_A_DESK, Stage, look

LONG = "A very long justification " * 8


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
    look(page, "submissions", AT_A_DESK)


def state(page: Page) -> None:
    """State what hospitals must know about the app whose page is open."""
    page.get_by_role("link", name="Statements", exact=True).click()
    for label, text in STATED.items():
        page.get_by_label(label).fill(text)
    page.get_by_label("No", exact=True).check()
    page.get_by_role("button", name="Save what is stated").click()
    expect(page.get_by_text("complete", exact=True)).to_be_visible()


def test_a_submission_is_found_seen_whole_and_rejected_by_keys(stage: Stage) -> None:
    """S5: the vendor's side and the reviewer's of one submission, live, and without a mouse in the queue."""
    vendor = enter_vendor(stage, "owner.varga")
    vendor.get_by_role("link", name="Lumen Chart").click()
    state(vendor)
    begin(vendor, "The sandbox, to try it")
    for each in vendor.get_by_label("What the app does with it").all():
        each.fill("Shows it beside the chart.")
    vendor.get_by_role("button", name="Submit to review").click()
    expect(vendor.get_by_text("What was submitted")).to_be_visible()
    # Live: the jobs process has looked, and what only the internet could answer keeps nothing in a sandbox.
    expect(vendor.get_by_text("Nothing in the checks keeps it")).to_be_visible(timeout=30_000)
    look(vendor, "submission-checked", AT_A_DESK)
    on_a_phone_too(vendor, "developer.submission")

    reviewer = enter(stage, staff(stage, "reviewer"))
    reviewer.get_by_role("navigation").get_by_role("link", name="Review", exact=True).first.click()
    look(reviewer, "queue", AT_A_DESK)
    hand = Hand(reviewer)
    hand.press("j")
    hand.press("Enter")
    expect(reviewer.locator("h1")).to_contain_text("Lumen Chart, version 1.0")
    look(reviewer, "review", AT_A_DESK)
    on_a_phone_too(reviewer, "review.submission")
    reviewer.get_by_role("link", name="Technical", exact=True).click()
    reviewer.get_by_role("button", name="Take it").click()
    look(reviewer, "discipline", AT_A_DESK)
    on_a_phone_too(reviewer, "review.discipline")
    reviewer.get_by_label("It needs changes").check()
    reviewer.get_by_label("In your words").fill("See the finding.")
    reviewer.get_by_role("button", name="Give the verdict").click()
    expect(reviewer.get_by_text("Nothing was done")).to_be_visible()
    look(reviewer, "discipline-refused")
    reviewer.get_by_role("link", name="The whole submission").click()
    reviewer.get_by_label("Why").fill("The addresses do not answer.")
    reviewer.get_by_text("Reasons, if it is rejected").click()
    reviewer.get_by_label("Automated checks did not pass").check()
    expect(reviewer.get_by_role("button", name="Certify")).to_be_disabled()
    look(reviewer, "review-refused")
    reviewer.get_by_role("button", name="Reject").click()
    expect(reviewer.locator("h1")).to_contain_text("rejected")
    reviewer.goto(f"{stage.running.base}/review?state=people")
    look(reviewer, "queue-empty", AT_A_DESK)
    vendor.reload()
    expect(vendor.get_by_text("The addresses do not answer.")).to_be_visible()


def test_anybody_reads_how_apps_are_certified_and_checks_a_certificate(stage: Stage) -> None:
    """C113: without an account; a file is read by script, and pasted without it."""
    page = stage.person()
    page.goto(f"{stage.running.base}/trust")
    look(page, "trust")
    page.get_by_role("link", name="Check a certificate").click()
    page.get_by_label("Or read it from a file").set_input_files(
        {"name": "forged.jws", "mimeType": "text/plain", "buffer": b"a.b.c"}
    )
    expect(page.get_by_label("Certificate", exact=True)).to_have_value("a.b.c")
    page.get_by_role("button", name="Check it").click()
    expect(page.get_by_text("Not valid")).to_be_visible()
    look(page, "certificate")
