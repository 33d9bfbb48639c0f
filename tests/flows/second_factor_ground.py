"""People who sign in with a second factor."""

import re
from datetime import timedelta
from typing import Any

from starlette.testclient import TestClient

from hilum.identity.factors import policy
from hilum.identity.factors.models import STEP_S
from tests.flows.control_site import PASSWORD, ControlSite
from tests.sim.browser import form_with

STAFF = "/signin"
NEXT_STEP = timedelta(seconds=STEP_S)


def password(browser: TestClient, username: str, page: str = STAFF) -> Any:
    form = form_with(browser.get(page).text, "password")
    return browser.post(form.action, data=dict(form.fields) | {"username": username, "password": PASSWORD})


def send(browser: TestClient, page: Any, code: str, **more: str) -> Any:
    """Send a code with the form of a page."""
    form = form_with(page.text, "code")
    return browser.post(form.action, data=dict(form.fields) | {"code": code} | more)


def seed_on(page: Any) -> bytes:
    found = re.search(r'id="secret">([A-Z2-7]+)<', page.text)
    assert found is not None
    return policy.from_base32(found[1])


def codes_on(page: Any) -> list[str]:
    return re.findall(r"<li><code>([0-9A-Z-]{14})</code>", page.text)


def session_of(browser: TestClient) -> str:
    return browser.cookies.get("hilum_session") or ""


class Owner:
    """A person with a telephone."""

    def __init__(self, site: ControlSite, username: str = "root", page: str = STAFF) -> None:
        self.site, self.username, self.page = site, username, page
        self.seed, self.recovery = b"", [""]

    def code(self) -> str:
        return policy.code_at(self.seed, policy.step_of(self.site.clock.now()))

    def enrol(self) -> TestClient:
        """Set a first factor up at sign-in; return the browser, signed in."""
        browser = self.site.browser()
        page = browser.get(password(browser, self.username, self.page).headers["location"])
        self.seed = seed_on(page)
        done = send(browser, page, self.code())
        assert done.status_code == 200, done.text
        self.recovery = codes_on(done)
        self.site.clock.advance(NEXT_STEP)
        return browser

    def step(self, browser: TestClient) -> Any:
        """Enter the password; return the page that asks for the second factor."""
        answer = password(browser, self.username, self.page)
        assert answer.headers["location"].startswith(f"{self.page}/factor"), answer.text
        return browser.get(answer.headers["location"])
