"""A developer makes something fail by hand on the simulator: the app meets it, and nobody else (C122; house rule 13)."""

from playwright.sync_api import Page, expect

from tests.browser.stage import Stage, look

AWAY = "The FHIR server is unavailable"


def make(page: Page, what: str) -> None:
    page.get_by_label("What fails").select_option(label=what)
    page.get_by_role("button", name="Make it fail").click()
    expect(page.get_by_role("list", name="What fails now")).to_contain_text(what)


def unfold(page: Page) -> None:
    page.locator("summary", has_text="Make something fail").click()


def refused(page: Page) -> None:
    expect(page.locator(".call-no").first).to_be_visible()


def test_what_fails_is_picked_beside_the_app_and_met_by_it_alone(stage: Stage) -> None:
    """C122: picked with script and without, wide and narrow, light and dark; another chart of the same patient goes on."""
    page = stage.person()
    stage.open_chart(page)
    unfold(page)
    look(page, "failing-chart")
    stage.open_app(page)
    expect(page.locator(".call").first).to_be_visible()
    unfold(page)
    make(page, AWAY)
    # It follows the app through its next launch, which this page has just begun.
    refused(page)
    look(page, "failing-app")

    other = stage.person()
    stage.open_chart(other)
    frame = stage.open_app(other)
    expect(frame.locator("svg.chart").first).to_be_visible()
    expect(other.locator(".tally")).to_contain_text("0 refused")

    page.get_by_role("button", name=f"End {AWAY}").click()
    expect(page.locator(".call").first).to_be_visible()
    expect(page.locator(".tally")).to_contain_text("0 refused")

    plain = stage.person(script=False)
    stage.open_chart(plain)
    unfold(plain)
    make(plain, "The FHIR server answers after three seconds")
    with plain.expect_navigation():
        plain.get_by_role("button", name="End The FHIR server answers").click()
    unfold(plain)
    expect(plain.get_by_text("Nothing fails now.")).to_be_visible()
