"""The catalogues of the pages' texts: gettext files, read once when a process starts."""

import ast
from functools import cache
from pathlib import Path

from hilum.kernel.sentences import ENGLISH, Catalogue
from hilum.standards.languages import Language

FOLDER = Path(__file__).parent / "locale"


@cache
def catalogue_of(language: Language) -> Catalogue:
    """Return the catalogue of a language. English is what the texts are written in, and needs no file."""
    if language is Language.ENGLISH:
        return ENGLISH
    return read_catalogue(language.value, (FOLDER / f"{language}.po").read_text(encoding="utf-8"))


def read_catalogue(language: str, text: str) -> Catalogue:
    """Read a gettext file (PO): its messages and plurals, without comments, contexts and what is not translated yet."""
    messages: dict[str, str] = {}
    plurals: dict[str, tuple[str, str]] = {}
    for entry in entries(text):
        one, said = entry["msgid"], entry.get("msgstr", "")
        if not one:
            continue  # the file's head
        if "msgid_plural" in entry:
            pair = (entry["msgstr[0]"], entry["msgstr[1]"])
            if all(pair):
                plurals[one] = pair
        elif said:
            messages[one] = said
    return Catalogue(language, messages, plurals)


def entries(text: str) -> list[dict[str, str]]:
    """Return the entries of a gettext file, each by its keywords (``msgid``, ``msgid_plural``, ``msgstr``, ``msgstr[0]`` ...)."""
    found: list[dict[str, str]] = []
    keyword = ""
    for line in text.splitlines():
        if line.startswith("msgid "):
            found.append({})
        if line.startswith("msg"):
            keyword, _, line = line.partition(" ")
            found[-1][keyword] = ""
        if line.startswith('"'):
            # A string of this format is written as one of Python's is.
            found[-1][keyword] += str(ast.literal_eval(line))
    return found
