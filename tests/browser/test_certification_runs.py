"""A certification run in the developers' console, from open to result (ADR 85; house rule 13)."""

import json

from playwright.sync_api import Page, expect

from tests.browser.by_pages import enter, enter_vendor, staff
from tests.browser.phone import on_a_phone_too
from tests.browser.stage import AT_A_DESK, Stage, look


def open_at_meridian(page: Page) -> None:
    page.get_by_label("Sandbox hospital").select_option(label="Meridian General Hospital")
    page.get_by_role("button", name="Open the run").click()


def test_a_run_goes_from_open_to_result(stage: Stage) -> None:
    """C120, C126: each state accessible, wide and narrow, light and dark; a colleague without script takes it; a fault reaches the hospital's server."""
    page = enter_vendor(stage, "developer.lund")
    page.get_by_role("link", name="Lumen Chart").click()
    page.get_by_role("link", name="Runs", exact=True).click()
    # Other stories at this sandbox may have left runs; an empty list is shown in flows/test_console_runs.py.
    expect(page.get_by_role("button", name="Open the run")).to_be_visible()
    look(page, "runs-before")
    open_at_meridian(page)
    expect(page.get_by_text("It stays open until")).to_be_visible()
    look(page, "run-open")
    here = page.url
    page.get_by_role("link", name="Runs", exact=True).first.click()
    open_at_meridian(page)
    expect(page.get_by_role("alert")).to_contain_text("This client has an open run")
    look(page, "runs-refused")

    chart = stage.person()
    stage.open_chart(chart)
    stage.open_app(chart)
    plain = enter_vendor(stage, "owner.varga", script=False)
    plain.goto(here)
    away = plain.get_by_role("button", name="A FHIR server that answers 404 or 503")
    away.click()
    expect(plain.get_by_text("in progress", exact=True)).to_have_count(2)
    (book,) = stage.running.home.rglob("fhir/faults.json")
    assert [each["kind"] for each in json.loads(book.read_bytes())] == ["unavailable"]
    away.click()
    expect(plain.get_by_text("in progress", exact=True)).to_have_count(1)
    assert json.loads(book.read_bytes()) == []
    plain.get_by_role("button", name="Finish the run").click()
    expect(plain.get_by_role("button", name="Finish the run")).to_have_count(0)

    page.goto(here)
    expect(page.get_by_role("region", name="Records of the run")).to_contain_text("Patient")
    expect(page.get_by_text("The scenario was never begun.").first).to_be_visible()
    look(page, "run-judged", AT_A_DESK)
    on_a_phone_too(page, "developer.run")
    reviewer = enter(stage, staff(stage, "reviewer"))
    reviewer.goto(here.replace("/developer/", "/review/"))
    on_a_phone_too(reviewer, "review.run")
    page.get_by_role("link", name="See which scopes would have been enough").click()
    expect(page.get_by_role("region", name="Proposed scopes")).to_contain_text("read Patient")
    look(page, "proposal")
    page.get_by_role("button", name="Put them into the draft").click()
    expect(page.locator("h1")).to_contain_text("Lumen Chart")
    page.goto(here)
    page.get_by_role("link", name="Runs", exact=True).first.click()
    expect(page.get_by_text("scenarios not met")).to_be_visible()
    look(page, "runs")
