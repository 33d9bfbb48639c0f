"""What the browser tests do over and over: open a chart, launch, sign in, judge a page."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Frame, Page, ViewportSize, expect

from tests.browser.axe import violations
from tests.effort import FULL
from tests.sim.running import Running

WAIT_MS = 15_000
expect.set_options(timeout=WAIT_MS)
EXPECTED = (
    "allow-scripts and allow-same-origin",  # the sample app and the simulator share their origin, which a hospital's app would not
    "Blocked autofocusing",
    "status of 4",  # refusals are what some tests are about
    "status of 503",
    "ERR_BLOCKED_BY_CLIENT",  # what tests/browser/phone.py leaves out
)
Scheme = Literal["light", "dark"]
PHONE, DESK = (360, 780), (1366, 900)
Look = tuple[tuple[int, int], Scheme]
LOOKS: tuple[Look, ...] = (
    ((DESK, "light"), (PHONE, "dark"), (DESK, "dark"), (PHONE, "light"))
    if FULL
    else ((DESK, "light"), (PHONE, "dark"))
)
"""Colours hardly depend on the width: two looks see each scheme and each width."""
AT_A_DESK: tuple[Look, ...] = LOOKS if FULL else LOOKS[:1]
"""For pages of the consoles as they mostly are: tests/browser/test_filled_pages.py judges each of them on a phone, by night and by day, or
``on_a_phone_too`` beside it. What only a story shows, such as what a refused form says, is judged in all looks.
"""
SHOTS = os.environ.get("SHOTS", "")
"""The folder where pictures of pages are kept, for a person to look at; empty for none."""
SAMPLE_PATIENT = "Rosalind Ngozi Okafor"


@dataclass
class Stage:
    browser: Browser
    running: Running
    complaints: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    def person(
        self, *, size: tuple[int, int] = DESK, scheme: Scheme = "light", script: bool = True, **more: Any
    ) -> Page:
        """Open somebody's fresh browser, with one page."""
        context = self.browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            java_script_enabled=script,
            reduced_motion="reduce",
            **more,
        )
        context.set_default_timeout(WAIT_MS)
        context.on("console", self._note)
        self.contexts.append(context)
        return context.new_page()

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not any(each in message.text for each in EXPECTED):
            self.complaints.append(f"{message.type}: {message.text}")

    def close(self) -> None:
        for context in self.contexts:
            context.close()

    def open_chart(
        self, page: Page, patient: str = SAMPLE_PATIENT, *, tenant: str = "general", person: str = ""
    ) -> None:
        """Open a chart in the simulator."""
        page.goto(f"{self.running.sandbox}/sandbox/h/{tenant}" + (f"?person={person}" if person else ""))
        page.get_by_role("button", name=patient).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text(patient)
        whole(page)

    def open_app(self, page: Page, *, client: str = "lumen-chart") -> Frame:
        """Open an app inside the chart and allow it; return its frame."""
        page.get_by_role("link", name="Open in chart").first.click()
        return self.allow_in_frame(page, f"/apps/{client.partition('-')[0]}/app")

    def allow_in_frame(self, page: Page, until: str) -> Frame:
        frame = page.locator("iframe").element_handle().content_frame()
        assert frame is not None
        page.wait_for_function("() => true")
        for _ in range(2):
            frame.wait_for_selector("button[value=allow], body[data-part=app]", state="attached")
            if until in frame.url:
                break
            frame.click("button[value=allow]")
            frame.wait_for_url(lambda url: until in url)
        return frame

    def sign_in(self, page: Page, username: str) -> None:
        page.get_by_label("Username").fill(username)
        page.get_by_label("Password").fill(f"sandbox-{username}")
        page.locator("button[value=login]").click()

    def ask(self, page: Page, username: str, *, scope: str, tenant: str = "general") -> None:
        """Follow an app that opens by itself, and sign in; the picker or the consent page is next."""
        client = self.running.client("bench-public")
        fhir = self.running.tenant(tenant)["fhir"]
        page.goto(authorize_address(client["client_id"], client["redirect_uris"][0], fhir, scope=scope))
        self.sign_in(page, username)
        page.wait_for_selector("select[name=patient], button[value=allow]")

    def connect_wellspring(
        self, page: Page, username: str = "amara.osei", *, untick: tuple[str, ...] = ()
    ) -> None:
        """Connect the patient app as a patient does."""
        page.goto(f"{self.running.sandbox}/apps/wellspring")
        page.get_by_role("button", name="Meridian General Hospital").click()
        self.sign_in(page, username)
        page.wait_for_selector("select[name=patient], button[value=allow]")
        if page.locator("select[name=patient]").count():
            page.get_by_role("button", name="Continue").click()
        page.wait_for_selector("button[value=allow]")
        for scope in untick:
            page.locator(f'input[name=scope][value="{scope}"]').uncheck()
        page.locator("button[value=allow]").click()
        page.wait_for_url("**/apps/wellspring/app")


def whole(page: Page) -> None:
    """Wait until a page is there to its end: what leads to it waits for its beginning alone, and a list is then as long as it is."""
    page.wait_for_load_state()


def overflow(page: Page) -> int:
    """Return by how many pixels a page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def judge(page: Page, *frames: Frame, looks: Sequence[Look] = LOOKS) -> None:
    """Check a page wide and narrow, light and dark."""
    for size, scheme in looks:
        resize(page, size)
        page.emulate_media(color_scheme=scheme)
        judged: tuple[Page | Frame, ...] = (page, *frames)
        for each in judged:
            found = violations(each)
            assert found == [], f"{page.url} at {size[0]} pixels, {scheme}: {found}"
    resize(page, DESK)


def resize(page: Page, size: tuple[int, int]) -> None:
    """Set the size of the window, unless it has it."""
    wanted: ViewportSize = {"width": size[0], "height": size[1]}
    if page.viewport_size != wanted:
        page.set_viewport_size(wanted)


def shoot(page: Page, name: str) -> None:
    """Keep pictures of a page wide and narrow, light and dark, if a folder for them is set."""
    if not SHOTS:
        return
    for size, scheme in LOOKS:
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=Path(SHOTS) / f"{name}-{size[0]}-{scheme}.png", full_page=True)
    page.set_viewport_size({"width": DESK[0], "height": DESK[1]})
    page.emulate_media(color_scheme="light")


def look(page: Page, name: str, looks: Sequence[Look] = LOOKS) -> None:
    """Judge a page, and keep what it looks like."""
    judge(page, looks=looks)
    shoot(page, name)


def authorize_address(
    client: str, redirect: str, fhir: str, *, scope: str = "patient/Patient.rs patient/Condition.rs"
) -> str:
    """Return the address to which an app sends a browser that nobody launched."""
    asked = {
        "response_type": "code",
        "client_id": client,
        "redirect_uri": redirect,
        "scope": f"launch/patient openid fhirUser {scope}",
        "state": "state-of-the-test",
        "aud": fhir,
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    }
    return f"{fhir.removesuffix('/fhir')}/oauth/authorize?{urlencode(asked)}"
