"""Second factors in a real browser, without script where none is needed (C8; pages: accessible, narrow, light and dark)."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from hilum.identity.factors import policy
from tests.browser.stage import Stage, look


def staff_signs_in(stage: Stage, page: Page, username: str, then: str = "") -> None:
    page.goto(f"{stage.running.base}/signin" + (f"?then={then}" if then else ""))
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(f"sandbox-{username}")
    with page.expect_navigation():
        page.get_by_role("button", name="Sign in").click()


def member(stage: Stage, role: str) -> str:
    return str(stage.running.staff(role)["username"])


@pytest.mark.parametrize("script", [False])
def test_an_authenticator_app_is_set_up_and_used_without_script(stage: Stage, script: Any) -> None:
    username = member(stage, "auditor")
    page = stage.person(script=script)
    staff_signs_in(stage, page, username, then="/account")
    page.get_by_role("link", name="Set up an authenticator app").click()
    expect(page.locator("svg.qr")).to_be_visible()
    page.get_by_text("You cannot scan it?").click()
    seed = policy.from_base32(page.locator("#secret").inner_text())
    step = policy.step_of(datetime.now(UTC))
    page.get_by_label("Code from the app").fill(policy.code_at(seed, step))
    page.get_by_role("button", name="Set up").click()
    expect(page.locator("#recovery-codes li")).to_have_count(10)
    codes = page.locator("#recovery-codes li").all_inner_texts()
    assert all(re.fullmatch(r"[0-9A-Z]{4}(-[0-9A-Z]{4}){2}", each) for each in codes)

    other = stage.person(script=script)
    staff_signs_in(stage, other, username, then="/account")
    # The next step's code, since the present one counted already: within the skew.
    other.get_by_label("Code", exact=True).fill(policy.code_at(seed, step + 1))
    other.get_by_role("button", name="Continue").click()

    expect(other.get_by_text("10 unused recovery codes left")).to_be_visible()


def test_its_pages_are_accessible_and_fit(stage: Stage) -> None:
    username = member(stage, "reviewer")
    page = stage.person()
    staff_signs_in(stage, page, username, then="/account")
    look(page, "account-off")
    page.get_by_role("link", name="Set up an authenticator app").click()
    page.get_by_text("You cannot scan it?").click()
    look(page, "authenticator")
    seed = policy.from_base32(page.locator("#secret").inner_text())
    page.get_by_label("Code from the app").fill(policy.code_at(seed, policy.step_of(datetime.now(UTC))))
    page.get_by_role("button", name="Set up").click()
    page.locator("#recovery-codes").wait_for()
    look(page, "codes")
    with page.expect_navigation():
        page.get_by_role("link", name="Done").click()
    look(page, "account-on")
    page.goto(f"{stage.running.base}/account/confirm")
    look(page, "confirm")

    other = stage.person()
    staff_signs_in(stage, other, username)
    other.get_by_text("Lost your telephone or passkey?").click()
    look(other, "factor")
    other.get_by_label("Code", exact=True).fill("000000")
    other.get_by_role("button", name="Continue").click()
    expect(other.get_by_role("alert")).to_contain_text("wrong")
    look(other, "factor-wrong")
    # Others sign in as the same person, with the password alone.
    page.goto(f"{stage.running.base}/account")
    page.get_by_role("button", name="Remove the authenticator app").click()
    expect(page.get_by_role("button", name="Remove the authenticator app")).to_have_count(0)
