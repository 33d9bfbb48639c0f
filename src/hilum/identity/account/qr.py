"""QR codes as inline SVG, which needs neither script nor another address."""

import segno
from markupsafe import Markup


def qr_code(text: str) -> Markup:
    """Draw a text as a QR code, dark on light in every theme, since many scanners read no other."""
    code = segno.make(text, error="m", micro=False)
    return Markup(code.svg_inline(scale=4, border=3, light="#fff", svgclass="qr", omitsize=True))  # noqa: S704 - only shapes, no text
