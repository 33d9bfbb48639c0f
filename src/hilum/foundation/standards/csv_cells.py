"""Cells of CSV files that no spreadsheet runs as a formula. Pure.

Source: OWASP, CSV injection
"""

import unicodedata


def csv_cell(text: str) -> str:
    """Return a text as a cell; names in a file were chosen by others, such as vendors."""
    # NFKC: spreadsheets also read full-width signs (U+FF1D and the like) as operators.
    first = unicodedata.normalize("NFKC", text.lstrip()[:1])
    return f"'{text}" if first in {"=", "+", "-", "@"} or text[:1] in {"\t", "\r", "\n"} else text
