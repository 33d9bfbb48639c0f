"""Judge a page by axe-core: by each of its rules what a page shows for the first time, by sizes and colours what it showed before."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Frame, Page

from tests.effort import FULL

MODULES = Path(__file__).parent / "node_modules"
RULES_OF_COLOURS = ("color-contrast", "link-in-text-block")
"""What axe-core finds by colours alone."""
RULES_OF_SIZES = ("scrollable-region-focusable", "target-size")
"""What it finds by sizes, at each width. Everything else it finds by the elements that are shown."""
JUDGED = """async ({rules, before}) => {
    if (!("axe" in window)) return null;
    const shown = [...document.querySelectorAll("body *")].filter((each) => each.checkVisibility({visibilityProperty: true}));
    const seen = window.seenByTests ??= new WeakMap();
    const size = `${innerWidth}x${innerHeight}`;
    const again = shown.every((each) => seen.has(each)), asLarge = shown.every((each) => seen.get(each)?.has(size));
    shown.forEach((each) => seen.set(each, (seen.get(each) ?? new Set()).add(size)));

    // FNV-1a: a short name for long styles, since the names of all that were judged are sent with each page.
    const hashed = (begun, text) => {
        let hash = begun;
        for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 16777619);
        return hash;
    };
    const grounds = new Map([[null, 2166136261]]);
    const groundOf = (each) => {
        if (grounds.has(each)) return grounds.get(each);
        const style = getComputedStyle(each), below = groundOf(each.parentElement);
        const lifted = ["absolute", "fixed", "sticky"].includes(style.position);
        const ground = `${style.backgroundColor} ${style.backgroundImage} ${style.opacity} ${style.filter} ${lifted}`;
        grounds.set(each, ground === "rgba(0, 0, 0, 0) none 1 none false" ? below : hashed(below, ground));
        return grounds.get(each);
    };
    const wayOf = (each) => {
        const style = getComputedStyle(each);
        const disabled = each.matches(":disabled, [aria-disabled=true]") || each.control?.disabled === true;
        const text = `${each.localName} ${style.color} ${style.fill} ${style.fontSize} ${style.fontWeight} ${style.fontStyle} ${style.textDecoration}
            ${style.textShadow} ${style.colorScheme} ${disabled}`;
        if (each.localName !== "a") return hashed(groundOf(each), text);
        const around = [each.parentElement, each.parentElement.parentElement];
        return hashed(groundOf(each), `${text} ${style.border} ${around.map((outer) => getComputedStyle(outer).color)} ${around.some(hasText)}`);
    };
    // Of a single letter axe-core says nothing.
    const hasText = (each) => [...each.childNodes].filter((child) => child.nodeType === Node.TEXT_NODE).map((child) => child.data).join("").trim().length > 1;
    const judged = new Set(before.split(" ")), fresh = new Map();
    for (const each of shown.filter((each) => each.matches("input, select, textarea, button") || hasText(each))) {
        const way = (wayOf(each) >>> 0).toString(36);
        if (!judged.has(way) && !fresh.has(way)) fresh.set(way, each);
    }

    const faults = [];
    const run = async (where, options) => {
        const found = await axe.run(where, {resultTypes: ["violations", "incomplete"], iframes: false, elementRef: true, ...options});
        for (const fault of found.violations)
            faults.push(...fault.nodes.map((node) => `${fault.id}: ${node.target} ${node.failureSummary ?? ""}`));
        return found.incomplete.flatMap((each) => each.nodes.map((node) => node.element));
    };
    if (!again) await run(document, {rules: Object.fromEntries(rules.colours.map((each) => [each, {enabled: false}]))});
    else if (!asLarge) await run(document, {runOnly: {type: "rule", values: rules.sizes}});
    const undecided = fresh.size ? await run({include: [...fresh.values()]}, {runOnly: {type: "rule", values: rules.colours}}) : [];
    const root = document.documentElement;
    if (window === top && root.scrollWidth > root.clientWidth) faults.push("it is wider than its window");
    return {faults, fresh: [...fresh.keys()].filter((way) => !undecided.includes(fresh.get(way)))};
}"""
"""Judge a page, and whether it fits. Of elements with the same colours on the same grounds one is judged, since contrast depends on
nothing else. ``before`` lists the combinations that were judged on earlier pages.
"""

_in_order: set[str] = set()
"""The ways to look, of text and of what it stands on, whose colours were found in order on any page."""


def violations(page: Page | Frame) -> list[str]:
    """Return what axe-core finds wrong with a page, without the frames in it, and whether it is too wide; one line for each fault."""
    found = _judged(page)
    if found is None:
        source = MODULES / "axe-core" / "axe.min.js"
        assert source.exists(), "axe-core is missing: run `npm ci` in tests/browser (make test does)"
        page.evaluate(source.read_text())
        # Pages that this browser opens after it have it from the start: sending it again takes longer than judging most pages.
        (page.page if isinstance(page, Frame) else page).context.add_init_script(source.read_text())
        found = _judged(page)
    assert found is not None
    if not found["faults"] and not FULL:
        _in_order.update(found["fresh"])
    return list(found["faults"])


def _judged(page: Page | Frame) -> dict[str, Any] | None:
    rules = {"colours": list(RULES_OF_COLOURS), "sizes": list(RULES_OF_SIZES)}
    found: dict[str, Any] | None = page.evaluate(JUDGED, {"rules": rules, "before": " ".join(_in_order)})
    return found
