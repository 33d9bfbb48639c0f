"""A real Chromium over a sandbox that really runs."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.stage import Stage
from tests.sim.running import Running

CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The one without windows first: the same engine, and opening a page costs it a sixth of the CPU."""
QUICK = "--js-flags=--no-maglev --no-opt"
"""Without the compilers that make scripts fast in the long run: a page lives too briefly here, and they were a fifth of what it took."""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One browser for the folder, and not for longer: Playwright keeps a loop running in this thread, which no other tests must meet."""
    path = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    assert path is not None, "Chromium is missing: run `tools/ensure chromium`"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", QUICK])
        yield launched
        launched.close()


@pytest.fixture
def stage(browser: Browser, running: Running) -> Iterator[Stage]:
    """Browsers of one test, closed after it; what their consoles complained of is looked at then."""
    made = Stage(browser, running)
    yield made
    made.close()
    assert made.complaints == []
