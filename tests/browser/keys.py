"""Judge whether a page can be used by keys alone: all at once from within the page, and by pressing Tab as people do."""

from typing import Any

from playwright.sync_api import Page, expect

MAIN_IS_FOCUSED = "() => document.activeElement.id === 'main'"
_COMMON = """
    const ABLE = "a[href], button, input:not([type=hidden]), select, textarea, summary, iframe, audio, video, [tabindex], [contenteditable]";
    const shown = (each) => each.checkVisibility({visibilityProperty: true, opacityProperty: true});
    const called = (each) => each.outerHTML.slice(0, 120);
    const stops = () => [...document.querySelectorAll(ABLE)].filter((each) =>
        shown(each) && !each.disabled && !(each.tabIndex < 0 && each.matches("main")));
"""
WITHIN = (
    "() => {"
    + _COMMON
    + """
    const faults = [];
    const looks = (each) => {
        const style = getComputedStyle(each);
        return [style.outlineStyle === "none" ? "" : style.outlineWidth, style.boxShadow, style.borderColor].join();
    };
    const closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((each) => { each.open = true; });
    const all = stops();
    for (const each of all) {
        if (each.tabIndex !== 0) { faults.push(`tabindex ${each.tabIndex}: ${called(each)}`); continue; }
        document.activeElement?.blur();
        const before = looks(each);
        each.focus({focusVisible: true});
        if (document.activeElement !== each) { faults.push(`takes no focus: ${called(each)}`); continue; }
        if (looks(each) === before) faults.push(`looks the same with the focus: ${called(each)}`);
        const box = each.getBoundingClientRect();
        if (box.width < 2 || box.height < 2 || box.right <= 0 || box.bottom <= 0 || box.top >= innerHeight)
            faults.push(`out of sight with the focus: ${called(each)}`);
    }
    document.activeElement?.blur();
    for (const each of document.querySelectorAll("body *")) {
        const pressed = each.onclick !== null || getComputedStyle(each).cursor === "pointer";
        if (pressed && shown(each) && !each.closest(`${ABLE}, label`)) faults.push(`only for a mouse: ${called(each)}`);
    }
    const skip = document.querySelector("a.skip");
    if (skip !== null && (all[0] !== skip || document.querySelector(skip.getAttribute("href"))?.tabIndex !== -1))
        faults.push("the link that skips to the content is not first, or leads nowhere");
    closed.forEach((each) => { each.open = false; });
    scrollTo(0, 0);
    return faults;
}"""
)
"""What is wrong for keys, with everything opened that folds."""
BEGIN = (
    "async () => {"
    + _COMMON
    + """
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    window.visited = [];
    document.addEventListener("focusin", (event) => window.visited.push(event.target));
    const named = new Set();
    window.awaited = stops().filter((each) => {
        if (each.type !== "radio") return true;
        const group = [...document.getElementsByName(each.name)].filter((other) => other.form === each.form);
        return each === (group.find((other) => other.checked) ?? group[0]);
    });
    document.body.tabIndex = -1;
    document.body.focus();
    document.body.removeAttribute("tabindex");
    return window.awaited.length;
}"""
)
"""Begin to note what has the focus, from the top of the page, after the browser gave it to the field that asks for it. Of several radio buttons Tab reaches one, whichever; arrows reach the others."""
MISSED = """() => {
    const same = (one, other) => one === other
        || one.type === "radio" && other.type === "radio" && one.name === other.name && one.form === other.form;
    const stops = window.visited.map((each) => window.awaited.find((other) => same(each, other)));
    const visited = [...new Set(stops)].filter((each) => each !== undefined);
    return window.awaited.map((each, at) => [each, visited[at]]).filter(([each, there]) => each !== there)
        .map(([each, there]) => `${each.outerHTML.slice(0, 120)} but ${there?.outerHTML.slice(0, 120)}`).slice(0, 3);
}"""
PRESSES_MORE = 12
"""How often Tab is pressed again within fields of several parts, such as a date, before a stop counts as missed."""


def faults_of_keys(page: Page) -> list[str]:
    """Return what a page withholds from keys: what takes no focus, does not show it, is out of order, or is for a mouse only."""
    found: Any = page.evaluate(WITHIN)
    return [str(each) for each in found]


def walk_by_tab(page: Page) -> None:
    """Press Tab from the top of a page to its end: every stop once, in the order of the document; nothing keeps the focus."""
    for _ in range(page.evaluate(BEGIN)):
        page.keyboard.press("Tab")
    for _ in range(PRESSES_MORE):
        if not page.evaluate(MISSED):
            return
        page.keyboard.press("Tab")
    missed = page.evaluate(MISSED)
    assert missed == [], (page.url, missed)


def skip_to_content(page: Page) -> None:
    """Use the link that skips to the content, and go on from there."""
    page.evaluate(BEGIN)
    page.keyboard.press("Tab")
    skip = page.locator("a.skip")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.wait_for_function(MAIN_IS_FOCUSED)
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.closest('main, footer') !== null"), page.url
