"""Making and using passkeys (C8; WebAuthn Level 2 sections 7.1 and 7.2; security decision 4)."""

import html
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from hilum.foundation.infra.settings import Mode
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.identity.factors.models import CHALLENGE_LIFE
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from tests.flows.control_site import PASSWORD, ControlSite, build
from tests.flows.second_factor_ground import codes_on, password, send, session_of
from tests.sim.authenticator import PRESENT, VERIFIED, Authenticator
from tests.sim.browser import Form, form_with
from tests.sim.world import FakeClock

HERE = "http://localhost:8000"


@pytest.fixture
def site(sqlite_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    return build(sqlite_uow, clock, mode=Mode.PRODUCTION, origin=HERE)


def options_on(page: Any) -> str:
    found = re.search(r'data-options="([^"]*)"', page.text)
    assert found is not None, page.text
    return html.unescape(found[1])


def press(browser: TestClient, page: Any, answer: dict[str, Any] | str, **more: str) -> Any:
    form: Form = form_with(page.text, "passkey")
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return browser.post(form.action, data=dict(form.fields) | {"passkey": text} | more)


class Holder:
    """A member of the staff whose only factor is a passkey."""

    def __init__(self, site: ControlSite, username: str = "root") -> None:
        self.site, self.username = site, username
        self.device = Authenticator(credential=username.encode())
        self.recovery: list[str] = []

    def enrol(self, **more: str) -> TestClient:
        browser = self.site.browser()
        page = browser.get(password(browser, self.username).headers["location"])
        done = press(browser, page, self.device.create(options_on(page)), **more)
        assert done.status_code == 200, done.text
        self.recovery = codes_on(done)
        return browser

    def step(self, browser: TestClient) -> Any:
        return browser.get(password(browser, self.username).headers["location"])


@pytest.fixture
def holder(site: ControlSite) -> Holder:
    found = Holder(site)
    found.enrol()
    return found


def test_a_passkey_is_a_first_factor_and_signs_in(holder: Holder) -> None:
    """C8."""
    assert len(holder.recovery) == 10
    browser = holder.site.browser()
    page = holder.step(browser)

    answer = press(browser, page, holder.device.get(options_on(page)))

    assert (answer.status_code, answer.headers["location"]) == (303, "/operations")
    assert "Passkey, made on" in browser.get("/account").text


def test_the_page_asks_for_this_person_s_passkeys_with_the_owner_verified(holder: Holder) -> None:
    browser = holder.site.browser()

    asked = json.loads(options_on(holder.step(browser)))

    assert (asked["rpId"], asked["userVerification"]) == ("localhost", "required")
    assert [each["id"] for each in asked["allowCredentials"]] == ["cm9vdA"]


def altered(device: Authenticator, **more: Any) -> Authenticator:
    return replace(device, **more)


LIES: dict[str, Callable[[Authenticator], Authenticator]] = {
    "another origin": lambda device: altered(device, origin="https://evil.example"),
    "another port": lambda device: altered(device, origin="http://localhost:8001"),
    "another host": lambda device: altered(device, host="evil.example"),
    "nobody verified": lambda device: altered(device, flags=PRESENT),
    "nobody present": lambda device: altered(device, flags=VERIFIED),
    "another key": lambda device: Authenticator(credential=device.credential),
    "another credential": lambda device: altered(device, credential=b"somebody"),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_is_not_of_this_page_and_person_signs_nobody_in(holder: Holder, lie: str) -> None:
    """WebAuthn Level 2 section 7.2, steps 5 to 20."""
    browser = holder.site.browser()
    page = holder.step(browser)

    answer = press(browser, page, LIES[lie](holder.device).get(options_on(page)))

    assert answer.status_code == 403
    assert "was not accepted" in answer.text
    assert session_of(browser) == ""


@pytest.mark.parametrize(
    "lie", ["another origin", "another port", "another host", "nobody verified", "nobody present"]
)
def test_a_passkey_made_elsewhere_or_by_nobody_is_not_stored(site: ControlSite, lie: str) -> None:
    """WebAuthn Level 2 section 7.1, steps 7 to 15."""
    browser = site.browser()
    page = browser.get(password(browser, "root").headers["location"])

    answer = press(browser, page, LIES[lie](Authenticator()).create(options_on(page)))

    assert answer.status_code == 403
    assert session_of(browser) == ""


@pytest.mark.parametrize(
    "text", ["{}", "[]", "null", "0", "{", '"x"', '{"id": 1}', '{"id": "cm9vdA"}', "x" * 20_000, '{"id": "cm9vdA", "rawId": "cm9vdA", "type": "public-key", "response": {"clientDataJSON": "AA", "authenticatorData": "AA", "signature": "AA"}}']
)  # fmt: skip
def test_what_no_browser_sends_is_refused_on_the_page(holder: Holder, text: str) -> None:
    browser = holder.site.browser()

    answer = press(browser, holder.step(browser), text)

    assert answer.status_code == 403
    assert session_of(browser) == ""


def test_a_challenge_counts_once(holder: Holder) -> None:
    """Security decision 4: one statement takes it."""
    browser = holder.site.browser()
    page = holder.step(browser)
    sent = holder.device.get(options_on(page))
    bent = sent | {"response": sent["response"] | {"signature": "AAAA"}}
    press(browser, page, bent)

    again = press(browser, page, sent)

    # The refused form showed a new challenge, so the first answer is of no page now.
    assert again.status_code == 403
    assert session_of(browser) == ""


def test_an_answer_of_one_sign_in_finishes_no_other(holder: Holder) -> None:
    mine, other = holder.site.browser(), holder.site.browser()
    page, page_of_other = holder.step(mine), holder.step(other)
    sent = holder.device.get(options_on(page))

    assert press(other, page_of_other, sent).status_code == 403
    assert press(mine, page, sent).status_code == 303


def test_a_challenge_ends(holder: Holder) -> None:
    browser = holder.site.browser()
    page = holder.step(browser)
    holder.site.clock.advance(CHALLENGE_LIFE)

    answer = press(browser, page, holder.device.get(options_on(page)))

    assert answer.status_code == 403
    assert "open too long" in answer.text


@pytest.mark.parametrize("count", [0, 3, 4])
def test_a_counter_that_went_back_shows_a_copy_and_is_refused(holder: Holder, count: int) -> None:
    """WebAuthn Level 2 section 7.2 step 21."""
    holder.device.count = 4
    first = holder.site.browser()
    page = holder.step(first)
    press(first, page, holder.device.get(options_on(page)))
    copy = altered(holder.device, count=count)
    second = holder.site.browser()
    page = holder.step(second)

    answer = press(second, page, copy.get(options_on(page)))

    assert answer.status_code == 403
    assert "may be a copy of it" in answer.text
    assert session_of(second) == ""


def test_a_device_that_does_not_count_is_accepted(site: ControlSite) -> None:
    """Passkeys that are kept in step between devices send 0."""
    holder = Holder(site)
    holder.device.counts = False
    holder.enrol()

    for _ in range(2):
        browser = site.browser()
        page = holder.step(browser)
        assert press(browser, page, holder.device.get(options_on(page))).status_code == 303


def test_somebody_else_s_passkey_signs_nobody_in(site: ControlSite) -> None:
    """One person as two: the device of a colleague at the password of another."""
    root, sam = Holder(site), Holder(site, "sam")
    root.enrol()
    sam.enrol()
    browser = site.browser()
    page = root.step(browser)

    assert press(browser, page, sam.device.get(options_on(page))).status_code == 403
    assert session_of(browser) == ""


def test_one_passkey_is_not_added_to_two_accounts(site: ControlSite) -> None:
    first, second = Holder(site), Holder(site, "sam")
    first.enrol()
    second.device = first.device
    browser = site.browser()
    page = second.step(browser)

    answer = press(browser, page, second.device.create(options_on(page)))

    assert answer.status_code == 403
    assert "belongs to an account already" in answer.text
    assert session_of(browser) == ""
    refused = site.system(audit.list_events, query=EventQuery(action="factors.passkey.add")).events
    assert "passkey_taken" in {each.event.reason for each in refused}


def test_without_the_device_a_recovery_code_signs_in_on_the_same_page(holder: Holder) -> None:
    browser = holder.site.browser()

    assert send(browser, holder.step(browser), holder.recovery[1]).status_code == 303


def test_a_name_of_a_passkey_is_shown_as_text(site: ControlSite) -> None:
    browser = Holder(site).enrol(name="<script>alert(1)</script>\x00 my key")

    page = browser.get("/account").text

    assert "<script>alert" not in page
    assert "my key" in page


def test_the_only_factor_of_a_role_that_must_have_one_stays(holder: Holder) -> None:
    browser = holder.site.browser()
    page = holder.step(browser)
    press(browser, page, holder.device.get(options_on(page)))
    csrf = dict(form_with(browser.get("/account").text, "csrf").fields)["csrf"]

    answer = browser.post("/account/remove", data={"csrf": csrf, "factor": "totp"})

    assert answer.status_code == 403
    assert "Add another one" in answer.text


def test_a_second_passkey_is_added_with_a_fresh_one_and_removed(holder: Holder) -> None:
    browser = holder.site.browser()
    page = holder.step(browser)
    press(browser, page, holder.device.get(options_on(page)))
    spare = Authenticator(credential=b"spare")
    holder.site.clock.advance(timedelta(minutes=8))
    page = browser.get("/account/passkey")
    holder.site.clock.advance(timedelta(minutes=7))
    assert (
        press(browser, page, spare.create(options_on(page)))
        .headers["location"]
        .startswith("/account/confirm")
    )
    page = browser.get("/account/confirm?then=/account/passkey")
    assert press(browser, page, holder.device.get(options_on(page))).headers["location"] == "/account/passkey"
    page = browser.get("/account/passkey")

    added = press(browser, page, spare.create(options_on(page)), name="Spare")

    assert (added.status_code, added.headers["location"]) == (303, "/account")
    shown = browser.get("/account").text
    assert "Spare" in shown
    form = form_with(shown, "csrf")
    key = re.findall(r'name="factor" value="([0-9a-f]{16})"', shown)
    assert len(key) == 2
    csrf = dict(form.fields)["csrf"]
    assert browser.post("/account/remove", data={"csrf": csrf, "factor": key[1]}).status_code == 303
    assert browser.post("/account/remove", data={"csrf": csrf, "factor": key[0]}).status_code == 403


def test_under_an_address_instead_of_a_name_no_passkey_is_offered(
    sqlite_uow: UnitOfWork, clock: FakeClock
) -> None:
    """WebAuthn Level 2 section 5.1.2: browsers refuse them there."""
    site = build(sqlite_uow, clock, mode=Mode.PRODUCTION)
    browser = site.browser()

    page = browser.get(password(browser, "root").headers["location"])

    assert "passkey" not in page.text
    assert PASSWORD not in page.text
