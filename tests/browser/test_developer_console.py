"""The developers' console as one of them: from sign-in to a client with its secret, with and without script (S3 of the consoles)."""

from playwright.sync_api import Page, expect

from tests.browser.by_pages import add_version, enter_vendor, fill_app
from tests.browser.stage import AT_A_DESK, Stage, look
from tests.sim.pictures import png


def register(page: Page, name: str) -> None:
    """Register an app with a version, by hand."""
    page.get_by_role("link", name="Register an app").click()
    fill_app(page, name)
    add_version(page)


def test_a_developer_registers_an_app_and_gets_its_secret_once(stage: Stage) -> None:
    """S3: register in minutes; every page on the way accessible, wide and narrow, light and dark."""
    page = enter_vendor(stage, "developer.lund")
    expect(page.get_by_role("link", name="Lumen Chart")).to_be_visible()
    look(page, "mine", AT_A_DESK)
    register(page, "Lumen Notes")
    look(page, "versions", AT_A_DESK)
    page.get_by_role("link", name="Overview").click()
    look(page, "app", AT_A_DESK)
    page.get_by_role("link", name="Register a client for the sandbox").click()
    page.get_by_label("Runs on a server, with a secret").check()
    page.get_by_label("Redirect addresses").fill("https://notes.example/cb")
    page.get_by_role("textbox", name="Scopes").fill("launch openid fhirUser patient/Observation.rs")
    look(page, "client-new", AT_A_DESK)
    page.get_by_role("button", name="Register the client").click()

    expect(page.locator("#the-secret")).to_contain_text("hil_cs_")
    look(page, "made")
    page.get_by_role("link", name="To the clients of Lumen Notes").click()
    look(page, "clients", AT_A_DESK)
    page.get_by_role("link", name="Replace the secret").click()
    look(page, "secret", AT_A_DESK)
    page.get_by_role("button", name="Make a new secret").click()
    expect(page.get_by_text("The previous secret works until")).to_be_visible()


def test_the_pages_of_a_vendors_own_affairs_are_accessible_and_fit(stage: Stage) -> None:
    """House rule 13: wide and narrow, light and dark, axe without violations."""
    page = enter_vendor(stage, "owner.varga")
    paths = (
        "contacts",
        "webhooks",
        "team",
        "team/new",
        "team/waiting",
        "changes",
        "agreements",
        "agreements/new",
        "deletions",
    )
    for path in (*paths, "clients/lumen-chart/edit"):
        page.goto(f"{stage.running.base}/developer/{path}")
        look(page, path.replace("/", "-"), AT_A_DESK)
    page.goto(f"{stage.running.base}/developer")
    page.get_by_role("link", name="Lumen Chart").click()
    for tab in ("Statements", "Scopes"):
        page.get_by_role("link", name=tab, exact=True).click()
        look(page, tab.lower(), AT_A_DESK)
    page.get_by_role("link", name="Ask for less").click()
    look(page, "narrow", AT_A_DESK)


def test_what_an_app_does_is_seen_and_tried(stage: Stage) -> None:
    """Scopes, traffic with the reason of each call, and the app in the sandbox's chart."""
    page = enter_vendor(stage, "developer.lund")
    page.get_by_role("link", name="Lumen Chart").click()
    for name in ("Scopes", "Traffic", "Sandbox"):
        page.get_by_role("link", name=name, exact=True).click()
        look(page, name.lower(), AT_A_DESK)
    page.get_by_role("link", name="Open Lumen Chart at Meridian General Hospital").click()
    expect(page.get_by_label("Client id")).to_have_value("lumen-chart")


def test_the_same_without_script_and_with_a_fault_on_the_way(stage: Stage) -> None:
    """House rule 13: complete without JavaScript; a form with faults keeps what was typed."""
    page = enter_vendor(stage, "owner.varga", script=False)
    page.get_by_role("link", name="Register an app").click()
    page.get_by_label("Name", exact=True).fill("Wellspring Health")
    page.get_by_label("What it does").fill("Reminds.")
    page.get_by_label("What the data is for").fill("Reminders")
    page.get_by_label("Category").select_option("documentation_assistance")
    page.get_by_role("button", name="Register the app").click()
    expect(page.get_by_text("People would take this name for that of another vendor")).to_be_visible()
    expect(page.get_by_label("What it does")).to_have_value("Reminds.")
    page.goto(f"{stage.running.base}/developer")
    register(page, "Lumen Reminders")
    page.get_by_role("link", name="Statements").click()
    for content, said in (
        (b"<svg/>", "This is not a complete PNG or JPEG picture"),
        (png(), "Another picture"),
    ):
        page.get_by_label("Picture").set_input_files(
            {"name": "logo.png", "mimeType": "image/png", "buffer": content}
        )
        page.get_by_role("button", name="Show this logo").click()
        expect(page.get_by_text(said)).to_be_visible()
    expect(page.locator("#logo img")).to_be_visible()
