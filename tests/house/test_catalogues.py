"""Every text of the pages at the doors exists in every language (C87). ``python -m tools.catalogue`` lists what is missing."""

import re

import pytest
from jinja2 import Environment, nodes
from tools.catalogue import MODULES, SOURCE, placeholders, texts, written

from hilum.foundation.standards.languages import Language
from hilum.foundation.web.catalogues import FOLDER, entries

OTHERS = [each for each in Language if each is not Language.ENGLISH]
TEMPLATES = sorted(path for module in MODULES for path in (SOURCE / module).rglob("*.html"))
TAG = re.compile(r"</?\w[^>]*>")
_SETTINGS = r"\{% block (?:width|guide|body_class) %\}.*?\{% endblock %\}"
NOT_WORDS = re.compile(_SETTINGS + "|" + r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|<[^>]*>|&\w+;", re.DOTALL)
WORDS_OF_ATTRIBUTES = re.compile(r'\b(?:aria-label|placeholder|title|alt)="([^"{]*[a-z]{2}[^"{]*)"')
NAMES = frozenset({"Hilum", "CSV", "JSON", "FHIR"})
"""What is called the same in every language."""
IN_ALL_LANGUAGES = frozenset({"CSV", "JSON", "XXXX-XXXX-XXXX"})


def file_of(language: Language) -> str:
    return (FOLDER / f"{language}.po").read_text(encoding="utf-8")


@pytest.mark.parametrize("language", OTHERS)
def test_a_catalogue_has_every_text_and_no_other(language: Language) -> None:
    text = file_of(language)
    assert text == written(language, text), "run `python -m tools.catalogue`, then translate what is empty"


@pytest.mark.parametrize("language", OTHERS)
def test_nothing_is_left_to_translate(language: Language) -> None:
    empty = [
        each["msgid"]
        for each in entries(file_of(language))
        if not all(said.strip() for keyword, said in each.items() if keyword.startswith("msgstr"))
    ]
    assert empty == []


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_puts_in_what_the_english_puts_in(language: Language) -> None:
    wrong = []
    for each in entries(file_of(language))[1:]:
        for keyword, said in each.items():
            if not keyword.startswith("msgstr"):
                continue
            english = each["msgid_plural"] if keyword == "msgstr[1]" else each["msgid"]
            if placeholders(said) != placeholders(english) or TAG.findall(said) != TAG.findall(english):
                wrong.append(each["msgid"])
            # It is put in as `%(name)s`: any other percent sign would fail when the page is shown.
            if "%" in re.sub(r"%\(\w+\)s|%%", "", said):
                wrong.append(each["msgid"])
    assert wrong == []


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_ends_as_the_english_does(language: Language) -> None:
    """A sentence stays a sentence, and a part of one stays a part."""
    ends = (".", "?", ":")
    wrong = [
        each["msgid"]
        for each in entries(file_of(language))[1:]
        for said in (each.get("msgstr") or each["msgstr[1]"],)
        if next((end for end in ends if said.endswith(end)), "")
        != next((end for end in ends if each["msgid"].endswith(end)), "")
    ]
    assert wrong == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_a_template_says_nothing_that_cannot_be_translated(path: object) -> None:
    source = path.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    bare = [word for word in re.findall(r"[A-Za-zÀ-ÿ]{2,}", NOT_WORDS.sub(" ", source)) if word not in NAMES]
    assert bare == [], "put it into _()"
    assert WORDS_OF_ATTRIBUTES.findall(NOT_WORDS_IN_CODE.sub("", source)) == []
    assert outside_gettext(source) == []


NOT_WORDS_IN_CODE = re.compile(r"\{#.*?#\}|\{%.*?%\}", re.DOTALL)


def outside_gettext(source: str) -> list[str]:
    """Return texts in a template's code that look like English, and are not given to ``_`` or ``ngettext``."""
    tree = Environment(autoescape=True, extensions=["jinja2.ext.i18n"]).parse(source)  # parsed only
    said: set[int] = set()
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name in {"_", "gettext", "ngettext"}:
            said |= {id(each) for each in call.args}
    # What a page compares with is not what it says.
    said |= {id(each) for compared in tree.find_all(nodes.Compare) for each in compared.find_all(nodes.Const)}
    found = [
        each.value
        for each in tree.find_all(nodes.Const)
        if isinstance(each.value, str) and id(each) not in said and each.value not in IN_ALL_LANGUAGES
    ]
    # A sentence has a space, a label a capital letter; what is neither is a word of the code.
    return [each for each in found if re.search(r"[a-z] [a-z]|^[A-Z][a-z]", each)]


def test_english_in_the_code_of_a_template_is_found() -> None:
    assert outside_gettext('{{ ui.button("Save", kind="quiet") }}{{ _("Save") }}{{ note or "by them" }}') == [
        "Save",
        "by them",
    ]


def test_there_are_texts_of_each_kind() -> None:
    """An empty list would pass everything above."""
    found = texts()
    for english in (
        "Share your record with %(app)s?",
        "vaccinations",
        "The administrator of %(tenant)s",
        "Too many attempts",
        "This address does not belong to a hospital on this platform.",
        "%(number)s day",
        "Until you sign out, at most %(time)s.",
        "The username or the password is wrong.",
    ):
        assert english in found, english
