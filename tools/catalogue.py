"""Write the catalogues of translations for the pages that patients and clinicians see: ``python -m tools.catalogue``.

Texts are in templates (``_`` and ``ngettext``), in code (``Sentence``, ``pattern``, the sentences of errors that a page shows), and in tables
of words. A new text gets an empty entry, which fails the suite until it is translated. An unused text is removed.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment

from hilum.authorization.authorize.pages import CANNOT_GO_ON, HAPPENED, TITLE_AND_NEXT
from hilum.authorization.authorize.picker import GENDERS
from hilum.authorization.breakglass import policy as breakglass_policy
from hilum.authorization.consent import policy as consent_policy
from hilum.authorization.consent.words import CATEGORIES, OTHER_TOPIC, SPECIAL, TOPICS, TYPES
from hilum.authorization.eligibility.refusals import TABLE
from hilum.foundation.kernel.sentences import MONTHS, Sentence
from hilum.foundation.standards.fhir.labels import CATEGORIES as LABEL_CATEGORIES
from hilum.foundation.standards.languages import Language
from hilum.foundation.web import errors
from hilum.foundation.web.catalogues import FOLDER, entries
from hilum.identity.federation.policy import INVALID_ANSWERS
from hilum.identity.federation.policy import SENTENCES as PROVIDER_SENTENCES

SOURCE = Path(__file__).parents[1] / "src" / "hilum"
MODULES = (
    "foundation/web",
    "identity/signin",
    "identity/account",
    "identity/enrolment",
    "identity/federation",
    "authorization/authorize",
    "hospitals/disclosures",
    "authorization/breakglass",
)
"""The modules with templates of these pages."""
ERRORS = frozenset({"NotFound", "NotPermitted", "Invalid", "Conflict", "DisplayedError"})
RAISING = (
    "authorization/authorize",
    "hospitals/disclosures",
    "identity/account",
    "identity/enrolment",
    "identity/people/signin/routes.py",
    "foundation/web/forms.py",
    "authorization/launches/service.py",
)
"""Files and folders that raise errors whose sentence a page shows."""
HEAD = """# What pages at the doors say in another language than English. Written by `python -m tools.catalogue`, which keeps what is translated.
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\\n"
"Language: {language}\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"
"""
PLACEHOLDER = re.compile(r"%\((\w+)\)s")


@dataclass(slots=True)
class Text:
    """A text in English, its plural if it has one, and the files that use it."""

    english: str
    many: str = ""
    places: list[str] = field(default_factory=list)


@cache
def texts() -> dict[str, Text]:
    """Return every text that the pages show, by its English."""
    by_english: dict[str, Text] = {}
    for place, english, many in (*_of_templates(), *_of_code(), *_of_tables()):
        text = by_english.setdefault(english, Text(english))
        text.many = text.many or many
        if place not in text.places:
            text.places.append(place)
    return by_english


def _of_templates() -> Iterator[tuple[str, str, str]]:
    # Typed loosely: the method is the extension's.
    environment: Any = Environment(autoescape=True, extensions=["jinja2.ext.i18n"])
    for path in sorted(each for module in MODULES for each in (SOURCE / module).rglob("*.html")):
        place = path.relative_to(SOURCE).as_posix()
        for line, function, arguments in environment.extract_translations(path.read_text(encoding="utf-8")):
            parts = arguments if isinstance(arguments, tuple) else (arguments,)
            one, many = parts[:2] if function == "ngettext" else (parts[0], "")
            if not isinstance(one, str):
                raise TypeError(f"{place}:{line}: write the text as a literal, so that it can be listed")
            yield place, one, many or ""


def _of_code() -> Iterator[tuple[str, str, str]]:
    for path in sorted(SOURCE.rglob("*.py")):
        place = path.relative_to(SOURCE).as_posix()
        raising = place.startswith(RAISING)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield from ((place, *pair) for pair in _of_call(node, raising=raising))


def _of_call(node: ast.Call, *, raising: bool) -> Iterator[tuple[str, str]]:
    literals = [
        each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)
    ]
    match node.func:
        case ast.Name(id="Sentence" | "pattern") if literals:
            yield literals[0], ""
        case ast.Attribute(attr="Sentence") if literals:
            yield literals[0], ""
        case ast.Attribute(value=ast.Name(id="Sentence"), attr="counted"):
            yield literals[0], literals[1]
        case ast.Name(id=name) if raising and name in ERRORS and len(literals) > 1:
            yield literals[1], ""


def _of_tables() -> Iterator[tuple[str, str, str]]:
    words = "authorization/consent/words.py"
    for title, meaning, _ in TYPES.values():
        yield from ((words, title, ""), (words, meaning, ""))
    yield from ((words, each, "") for pair in SPECIAL.values() for each in pair)
    yield from ((words, each, "") for kinds in CATEGORIES.values() for _, each in kinds)
    yield from ((words, title, "") for title, _ in TOPICS.values())
    yield words, OTHER_TOPIC[1], ""
    yield from (("authorization/consent/policy.py", verb, "") for verb in consent_policy.VERBS)
    yield from (("foundation/kernel/sentences.py", month, "") for month in MONTHS)
    shown = "authorization/authorize/pages.py"
    yield from ((shown, each, "") for each in (*GENDERS, CANNOT_GO_ON, *HAPPENED.values()))
    yield from ((shown, each, "") for pair in TITLE_AND_NEXT.values() for each in pair)
    for row in TABLE.values():
        yield from (
            ("authorization/eligibility/refusals.py", each, "")
            for each in (row.rule, row.owner, row.next_step)
        )
    for trouble in (*errors.BY_CODE.values(), *errors.BY_STATUS.values(), errors.FAILED):
        yield from (
            ("foundation/web/errors.py", each, "") for each in (trouble.title, trouble.happened, trouble.next)
        )
    yield from (
        ("foundation/web/errors.py", each, "") for pair in errors.TITLE_AND_NEXT.values() for each in pair
    )
    kinds = map(breakglass_policy.kind, sorted(LABEL_CATEGORIES))
    yield from (("authorization/breakglass/policy.py", str(each), "") for each in kinds)
    yield from (("identity/federation/policy.py", each, "") for each in INVALID_ANSWERS.values())
    for sentence in PROVIDER_SENTENCES.values():
        happened = sentence.happened
        english = happened.pattern if isinstance(happened, Sentence) else happened
        yield from (("identity/federation/policy.py", each, "") for each in (english, sentence.next))


def written(language: Language, before: str) -> str:
    """Return the content of a catalogue, with the translations of its former content."""
    translated = {entry["msgid"]: entry for entry in entries(before)}
    ordered = sorted(texts().values(), key=lambda text: (text.places[0], text.english))
    lines = (
        f"#: {' '.join(text.places[:3])}\n" + _entry(text, translated.get(text.english, {}))
        for text in ordered
    )
    return "\n".join((HEAD.format(language=language.value), *lines))


def _entry(text: Text, translated: dict[str, str]) -> str:
    lines = [f"msgid {_quoted(text.english)}"]
    if text.many:
        lines.append(f"msgid_plural {_quoted(text.many)}")
        lines += [f"msgstr[{n}] {_quoted(translated.get(f'msgstr[{n}]', ''))}" for n in (0, 1)]
    else:
        lines.append(f"msgstr {_quoted(translated.get('msgstr', ''))}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def placeholders(text: str) -> frozenset[str]:
    """Return the names of a text's placeholders."""
    return frozenset(PLACEHOLDER.findall(text))


def main() -> int:
    """Write the catalogues and print what is not translated; return 1 if there is any."""
    untranslated = 0
    for language in Language:
        if language is Language.ENGLISH:
            continue
        path = FOLDER / f"{language}.po"
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        path.write_text(text := written(language, before), encoding="utf-8")
        for entry in entries(text):
            if entry["msgid"] and not _is_translated(entry):
                sys.stdout.write(f"{language}: not translated: {entry['msgid']}\n")
                untranslated += 1
    return 1 if untranslated else 0


def _is_translated(entry: dict[str, str]) -> bool:
    return all(text for keyword, text in entry.items() if keyword.startswith("msgstr"))


if __name__ == "__main__":
    raise SystemExit(main())
