"""The catalogues of the pages' texts: gettext files, read once when a process starts."""

import ast
from functools import cache
from pathlib import Path

from hilum.foundation.kernel.sentences import ENGLISH, Catalogue
from hilum.foundation.standards.languages import Language

FOLDER = Path(__file__).parent / "locale"


@cache
def catalogue_of(language: Language) -> Catalogue:
    """Return the catalogue of a language. English needs no file: the texts are written in it."""
    if language is Language.ENGLISH:
        return ENGLISH
    return read_catalogue(language.value, (FOLDER / f"{language}.po").read_text(encoding="utf-8"))


def read_catalogue(language: str, text: str) -> Catalogue:
    """Parse a gettext file (PO): its messages and plurals, without comments, contexts and untranslated entries."""
    messages: dict[str, str] = {}
    plurals: dict[str, tuple[str, str]] = {}
    for entry in entries(text):
        english, translation = entry["msgid"], entry.get("msgstr", "")
        if not english:
            continue  # the file's header
        if "msgid_plural" in entry:
            pair = (entry["msgstr[0]"], entry["msgstr[1]"])
            if all(pair):
                plurals[english] = pair
        elif translation:
            messages[english] = translation
    return Catalogue(language, messages, plurals)


def entries(text: str) -> list[dict[str, str]]:
    """Return the entries of a gettext file, each by its keywords (``msgid``, ``msgid_plural``, ``msgstr``, ``msgstr[0]`` ...)."""
    parsed: list[dict[str, str]] = []
    keyword = ""
    for line in text.splitlines():
        if line.startswith("msgid "):
            parsed.append({})
        if line.startswith("msg"):
            keyword, _, line = line.partition(" ")
            parsed[-1][keyword] = ""
        if line.startswith('"'):
            # PO strings have the syntax of Python's.
            parsed[-1][keyword] += str(ast.literal_eval(line))
    return parsed
