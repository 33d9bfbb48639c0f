"""Judge a page as a phone shows it without script, by day and by night, for hands and for keys (house rule 13; C87)."""

import re
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Page

from hilum.surfaces.console import policy
from tests.browser.axe import violations
from tests.browser.keys import faults_of_keys, walk_by_tab
from tests.browser.stage import PHONE, Scheme
from tests.effort import FULL

SCRIPTS = "*.js*"
_ID = re.compile(
    r"(?<=/)(?:[a-z]{2,5}_[0-9a-z]{26}|[0-9a-f]{64}|req_[0-9a-z]+|[a-z_.]+:[^/]+)(?=/|$)"
    r"|(?<=/policy/entries/)[^/]+|(?<=/fhir-servers/)[a-z0-9-]+$|(?<=/fhir-server/)[a-z0-9-]+$"
    r"|(?<=/scopes/)[a-z_]+$|(?<=/versions/)\d+|(?<=/developer/clients/)[^/]+(?=/)|(?<=/developer/snapshots/)[^/]+$"
)
WIDER = """() => [...document.querySelectorAll("body *")]
    .filter((each) => each.getBoundingClientRect().right > document.documentElement.clientWidth)
    .map((each) => each.outerHTML.slice(0, 100)).slice(0, 5)"""
AT_FIRST_SIGHT = """() => ({
    wider: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    needing_script: [...document.querySelectorAll("button, input[type=submit], input[type=button], [onclick]")]
        .filter((each) => each.checkVisibility({visibilityProperty: true}) && !each.form)
        .map((each) => each.outerHTML.slice(0, 100)),
    scheme: matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light",
})"""
"""By how much a page is too wide, what can be pressed and does nothing without script, since it sends no form, and how it is seen."""


def kind(path: str) -> str:
    """Return which page it is, whatever it is about."""
    return _ID.sub("{id}", path.partition("?")[0])


def without_script(page: Page) -> Page:
    """Leave a page without the platform's scripts. Those of the tests still run in it, which axe needs."""
    # A route would do it too, and keep the browser from remembering style sheets and fonts.
    devtools = page.context.new_cdp_session(page)
    devtools.send("Network.enable")
    devtools.send("Network.setBlockedURLs", {"urls": [SCRIPTS]})
    return page


def seen_on_a_phone(page: Page, address: str, *, status: int = 200) -> None:
    """Open an address and judge what it shows."""
    answer = page.goto(address)
    assert answer is not None
    assert answer.status == status, address
    seen: dict[str, Any] = page.evaluate(AT_FIRST_SIGHT)
    assert seen["wider"] <= 0, f"{address} is wider than a phone: {page.evaluate(WIDER)}"
    assert seen["needing_script"] == [], address
    assert violations(page) == [], (address, seen["scheme"])
    # The next page is seen as this one is left: a change of colours costs the whole page.
    other: Scheme = "light" if seen["scheme"] == "dark" else "dark"
    page.emulate_media(color_scheme=other)
    assert violations(page) == [], (address, other)
    assert faults_of_keys(page) == [], address
    if FULL:
        walk_by_tab(page)


def on_a_phone_too(page: Page, key: str) -> None:
    """Judge the page that somebody has open, which is ``key`` of the table of the consoles' pages, beside it."""
    assert re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", policy.PAGES[key].path), urlsplit(page.url).path), (
        page.url
    )
    beside = without_script(page.context.new_page())
    beside.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    seen_on_a_phone(beside, page.url)
    beside.close()
