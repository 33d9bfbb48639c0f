"""Validates hospitals' colours, and computes readable text on them.

Source: WCAG 2.2, success criterion 1.4.3 and the definitions of relative luminance and contrast ratio.
"""

import re

_COLOUR = re.compile(r"#[0-9a-f]{6}")


def colour_fault(colour: str) -> str:
    """Return the error code of a hospital's colour; empty if it can be used."""
    return "" if _COLOUR.fullmatch(colour) else "colour_malformed"


def brand_rules(colour: str) -> str:
    """Return the style rules of a hospital's colour, with black or white text, whichever contrasts more; empty for no colour.

    The better of the two has a contrast above 4.5 to 1 on every colour.
    """
    if colour_fault(colour):
        return ""
    letters = max(("#000000", "#ffffff"), key=lambda each: contrast(each, colour))
    return f".hospital-band {{ background: {colour}; color: {letters}; }}\n"


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
