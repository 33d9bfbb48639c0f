"""The languages of pages, and the choice between them. Pure.

Source: RFC 4647 section 3.4 (a tag stands for its language if nothing closer is there); RFC 9110 section 12.5.4 (Accept-Language);
OpenID Connect Core 1.0 section 3.1.2.1 (ui_locales).
"""

from enum import StrEnum

TEXT_BOUND = 512
TAGS_BOUND = 20


class Language(StrEnum):
    """A language of the pages for patients and clinicians."""

    ENGLISH = "en"
    SPANISH = "es"


NAMES = {Language.ENGLISH: "English", Language.SPANISH: "Español"}
"""The name of each language in that language."""


def language_of(tag: str) -> Language | None:
    """Return the language of a tag: ``es-MX`` is Spanish. None for unsupported languages and malformed tags."""
    primary = tag.strip().partition("-")[0].lower()
    return next((each for each in Language if each == primary), None)


def asked(ui_locales: str) -> Language | None:
    """Return the first supported language of ``ui_locales``. Unsupported languages are no error (OpenID Connect Core 1.0)."""
    if len(ui_locales) > TEXT_BOUND:
        return None
    languages = (language_of(tag) for tag in ui_locales.split()[:TAGS_BOUND])
    return next((each for each in languages if each is not None), None)


def accepted(header: str) -> Language | None:
    """Return the language that an Accept-Language header prefers; the first of several with equal weight."""
    if len(header) > TEXT_BOUND:
        return None
    best, most = None, 0.0
    for part in header.split(",")[:TAGS_BOUND]:
        tag, _, weight = part.partition(";")
        language, quality = language_of(tag), _quality(weight)
        if language is not None and quality > most:
            best, most = language, quality
    return best


def choose(
    *, chosen: str = "", asked_for: str = "", remembered: str = "", header: str = "", usual: str = ""
) -> Language:
    """Return the language of a page.

    In order of precedence: ``chosen`` by the link to this page; ``asked_for`` in the app's ``ui_locales``; ``remembered`` from an earlier
    choice; the Accept-Language ``header``; the hospital's ``usual`` language; English.
    """
    return (
        language_of(chosen)
        or asked(asked_for)
        or language_of(remembered)
        or accepted(header)
        or language_of(usual)
        or Language.ENGLISH
    )


def _quality(weight: str) -> float:
    name, _, value = weight.strip().partition("=")
    if not name:
        return 1.0
    value = value.strip()
    # At most five characters, as in 0.125: an invalid weight means none.
    if name.strip().lower() != "q" or len(value) > 5 or not value.replace(".", "", 1).isdecimal():
        return 0.0
    return min(float(value), 1.0) if value.isascii() else 0.0
