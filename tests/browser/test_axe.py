"""What was judged of one page is not judged of the next; whatever is new there is (C87)."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.axe import violations
from tests.browser.stage import PHONE, resize
from tests.effort import FULL

GROUND = "main { background: #fff; color: #222 }"
FINE = "<h1>Apps</h1><p>What they may read.</p>"
PALE = "#bbb"


def shown(style: str, body: str) -> str:
    return f"<!doctype html><html lang=en><title>A page</title><style>{GROUND} {style}</style><main>{body}</main>"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A browser that has just judged a page and found it in order."""
    context = browser.new_context()
    opened = context.new_page()
    opened.set_content(shown("", FINE + "<p><a href=/x>Alone</a></p>"))
    assert violations(opened) == []
    yield opened
    context.close()


@pytest.mark.parametrize(
    ("style", "body", "rule"),
    [
        (f"p {{ color: {PALE} }}", FINE, "color-contrast"),
        ("main { background: #444 }", FINE, "color-contrast"),
        ("main { opacity: 0.3 }", FINE, "color-contrast"),
        ("body { background: #333 } main { background: none }", FINE, "color-contrast"),
        (
            "p { font-size: 2em; color: #888 } em { font-size: 12px }",
            "<h1>Apps</h1><p>What <em>they</em> read.</p>",
            "color-contrast",
        ),
        ("p { color: #999 }", "<h1>A</h1><p>?</p><p>What they may read.</p>", "color-contrast"),
        ("button { background: #fff; color: #ccc }", f"{FINE}<button>Stop</button>", "color-contrast"),
        (
            "a { color: #333; text-decoration: none }",
            "<p><a href=/x>Alone</a></p><p>Read <a href=/x>this</a> too.</p>",
            "link-in-text-block",
        ),
        ("", f"{FINE}<img src=data: width=20 height=20>", "image-alt"),
        ("", f"{FINE}<input>", "label"),
        ("p { width: 3000px }", FINE, "wider"),
    ],
)
def test_what_is_new_is_judged_beside_what_was_in_order(page: Page, style: str, body: str, rule: str) -> None:
    """Found again on the next page: only what is in order is not judged again."""
    for _ in range(2):
        page.set_content(shown(style, body))
        assert rule in str(violations(page))


def test_colours_of_the_night_and_sizes_of_a_phone_are_judged_of_a_page_that_was_in_order(page: Page) -> None:
    small = "a { display: inline-block; height: 9px; width: 9px; overflow: hidden }"
    night = f"@media (prefers-color-scheme: dark) {{ p {{ color: {PALE} }} }}"
    page.set_content(
        shown(f"{night} @media (max-width: 400px) {{ {small} }}", f"{FINE}<a href=/x>A</a><a href=/y>B</a>")
    )
    assert violations(page) == []

    page.emulate_media(color_scheme="dark")
    assert "color-contrast" in str(violations(page))

    page.emulate_media(color_scheme="light")
    resize(page, PHONE)
    assert "target-size" in str(violations(page))


@pytest.mark.skipif(FULL, reason="everything is judged each time then")
def test_colours_that_were_in_order_are_not_judged_again(page: Page) -> None:
    page.evaluate(
        "() => { const run = axe.run; window.runs = []; axe.run = (...given) => { runs.push(given[1].runOnly); return run(...given); }; }"
    )
    page.set_content(shown("", FINE))
    assert violations(page) == []
    assert page.evaluate("runs.map((each) => each ?? null)") == [None], "what is shown, and no colours"
