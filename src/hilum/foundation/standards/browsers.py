"""Recognizes the family of a browser from its User-Agent. Pure."""

import re

# Checked in this order, since browsers list the browser on whose engine they are built as well.
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
USER_AGENT_BOUND = 400
"""Characters of a User-Agent that are examined."""


def browser_family(user_agent: str) -> str:
    """Return a browser's family and system, such as ``Firefox on Linux``, or the name of another program; empty if the header has neither.

    Versions are left out, since they change too often to identify a browser. Source: RFC 9110 section 10.1.5.
    """
    text = user_agent[:USER_AGENT_BOUND]
    family = next((name for name, pattern in _FAMILIES if pattern.search(text)), "")
    if not family:
        product = _PRODUCT.match(text)
        return product[0] if product else ""
    system = next((name for name, pattern in _SYSTEMS if pattern.search(text)), "")
    return f"{family} on {system}" if system else family
