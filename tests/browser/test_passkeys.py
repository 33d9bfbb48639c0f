"""A passkey made and used in a real browser, on a site under a name (C8; WebAuthn Level 2)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from hilum.foundation.infra.settings import Mode
from hilum.foundation.infra.unit_of_work import UnitOfWork
from tests.browser.stage import look
from tests.flows.control_site import PASSWORD, build
from tests.sim.serving import serving
from tests.sim.world import FakeClock

WAIT_MS = 15_000
DEVICE = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture
def address(sqlite_uow: UnitOfWork, clock: FakeClock) -> Iterator[str]:
    """Serve a site in production under localhost: browsers make no passkeys for an address."""

    def site(port: int) -> Any:
        return build(sqlite_uow, clock, mode=Mode.PRODUCTION, origin=f"http://localhost:{port}").app

    with serving(site) as port:
        yield f"http://localhost:{port}"


def open_page(browser: Browser, *, verified: bool = True) -> Page:
    """Open a fresh browser with an authenticator of its own."""
    context = browser.new_context(viewport={"width": 1366, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    device = context.new_cdp_session(page)
    device.send("WebAuthn.enable")
    device.send("WebAuthn.addVirtualAuthenticator", {"options": DEVICE | {"isUserVerified": verified}})
    return page


def sign_in(page: Page, address: str) -> None:
    page.goto(f"{address}/signin?then=/account")
    page.get_by_label("Username").fill("root")
    page.get_by_label("Password").fill(PASSWORD)
    with page.expect_navigation():
        page.get_by_role("button", name="Sign in").click()


def test_a_passkey_is_set_up_at_the_first_sign_in_and_used_at_the_next(
    browser: Browser, address: str, tmp_path: Path
) -> None:
    page = open_page(browser)
    sign_in(page, address)
    look(page, "enrol-both")
    page.get_by_label("Name of the passkey").fill("Desk")
    page.get_by_role("button", name="Make a passkey").click()
    expect(page.locator("#recovery-codes li")).to_have_count(10)
    page.get_by_role("link", name="Continue").click()
    expect(page.get_by_text("Desk")).to_be_visible()
    look(page, "account-passkey")

    page.context.clear_cookies()
    sign_in(page, address)
    look(page, "factor-passkey")
    page.get_by_role("button", name="Use your passkey").click()

    expect(page.get_by_text("Passkey, made on")).to_be_visible()
    page.get_by_role("button", name="Make an API token").click()
    expect(page.locator("#token")).to_contain_text("hil_pat_")
    look(page, "token")


def test_a_device_that_does_not_know_its_owner_makes_none_and_the_page_says_what_to_do(
    browser: Browser, address: str
) -> None:
    page = open_page(browser, verified=False)
    sign_in(page, address)

    page.get_by_role("button", name="Make a passkey").click()

    expect(page.get_by_role("status")).to_contain_text("Try again, or use another way")
    assert page.url.startswith(f"{address}/signin/enrol")
