"""Families of browsers, as far as their User-Agent says. Pure."""

import re

# In this order: browsers built on another's engine name that one too.
_FAMILIES = (
    ("Edge", re.compile(r"\bEdg(?:A|iOS)?/")),
    ("Opera", re.compile(r"\bOPR/")),
    ("Samsung Internet", re.compile(r"\bSamsungBrowser/")),
    ("Firefox", re.compile(r"\b(?:Firefox|FxiOS)/")),
    ("Chrome", re.compile(r"\b(?:Headless)?(?:Chrome|CriOS|Chromium)/")),
    ("Safari", re.compile(r"\bSafari/")),
)
_SYSTEMS = (
    ("Android", re.compile(r"\bAndroid\b")),
    ("iOS", re.compile(r"\b(?:iPhone|iPad|iPod)\b")),
    ("Windows", re.compile(r"\bWindows\b")),
    ("macOS", re.compile(r"\bMac OS X\b")),
    ("ChromeOS", re.compile(r"\bCrOS\b")),
    ("Linux", re.compile(r"\bLinux\b")),
)
_PRODUCT = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,19}")
READ = 400
"""Characters of a User-Agent that are looked at."""


def browser_family(user_agent: str) -> str:
    """Return family and system of a browser, such as ``Firefox on Linux``; of a program its name. Versions change too often to count.

    Empty if the request does not say. Source: RFC 9110 section 10.1.5.
    """
    text = user_agent[:READ]
    family = next((name for name, found in _FAMILIES if found.search(text)), "")
    if not family:
        product = _PRODUCT.match(text)
        return product[0] if product else ""
    system = next((name for name, found in _SYSTEMS if found.search(text)), "")
    return f"{family} on {system}" if system else family
