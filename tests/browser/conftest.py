"""A real Chromium over a sandbox that really runs."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.stage import Stage
from tests.sim.running import Running

CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The one without windows first: the same engine, and opening a page costs it a sixth of the CPU."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser a module: Playwright keeps a loop running in this thread, which no other module's tests must meet."""
    path = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    assert path is not None, "Chromium is missing: run `tools/ensure chromium`"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def stage(browser: Browser, running: Running) -> Iterator[Stage]:
    """Browsers of one test, closed after it; what their consoles complained of is looked at then."""
    made = Stage(browser, running)
    yield made
    made.close()
    assert made.complaints == []
