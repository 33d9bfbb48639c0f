"""The platform's style document, for apps that match its appearance. Source: SMART App Launch 2.2, scopes-and-launch-context#styling."""

import hashlib
from collections.abc import Mapping

import orjson

STYLE: Mapping[str, str] = {
    "color_background": "#ffffff",
    "color_error": "#b3261e",
    "color_highlight": "#0b6e69",
    "color_modal_backdrop": "#1c2b2a",
    "color_success": "#2d6a31",
    "color_text": "#1c2b2a",
    "dim_border_radius": "6px",
    "dim_font_size": "16px",
    "dim_spacing_size": "8px",
    "font_family_body": "system-ui, sans-serif",
    "font_family_heading": "system-ui, sans-serif",
}
STYLE_DIGEST = hashlib.sha256(orjson.dumps(dict(STYLE), option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
"""Part of the document's URL, so that the URL changes with the content (C32)."""
