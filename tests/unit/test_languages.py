"""The language of a page, and sentences that can be said in another one (C87)."""

import copy
import pickle
from datetime import UTC, datetime

import pytest

from hilum.foundation.kernel.sentences import ENGLISH, Catalogue, Sentence, day, enumerated, joined, moment
from hilum.foundation.standards.languages import Language, accepted, asked, choose, language_of
from hilum.foundation.standards.zones import zone_fault, zone_of
from hilum.foundation.web.catalogues import catalogue_of, read_catalogue

EN, ES = Language.ENGLISH, Language.SPANISH
SPANISH = catalogue_of(ES)
AT = datetime(2026, 3, 2, 9, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("chosen", "asked_for", "remembered", "header", "expected"),
    [
        ("", "", "", "", EN),
        ("", "", "", "es", ES),
        ("", "", "", "es-US,es;q=0.9,en;q=0.8", ES),
        ("", "", "en", "es", EN),
        ("", "es", "en", "en", ES),
        ("", "en", "es", "es", EN),
        ("en", "es", "es", "es", EN),
        ("es", "en", "en", "en", ES),
        # What is not a language that there is decides nothing.
        ("fr", "de", "xx", "es", ES),
        ("es<script>", "", "", "", EN),
        ("", "fr de", "es", "en", ES),
        ("", "", "\x00", "*", EN),
    ],
)
def test_the_nearest_wish_decides(
    chosen: str, asked_for: str, remembered: str, header: str, expected: Language
) -> None:
    """What was chosen just now, then what the app asks for, then what was chosen before, then the browser, then English."""
    found = choose(chosen=chosen, asked_for=asked_for, remembered=remembered, header=header)
    assert found is expected


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("es", ES),
        ("ES-mx", ES),
        ("es-419", ES),
        (" en ", EN),
        ("est", None),
        ("e", None),
        ("", None),
        ("esES", None),
        ("-es", None),
        ("es_MX", None),
    ],
)
def test_a_tag_stands_for_its_language(tag: str, expected: Language | None) -> None:
    assert language_of(tag) is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("fr, es;q=0.5, en;q=0.7", EN),
        ("es;q=0.5, en;q=0.5", ES),
        ("es;q=0", None),
        ("es;q=0.000", None),
        ("es;q=nan", None),
        ("es;q=-1", None),
        ("es;q=1e9, en", EN),
        ("es;q=٠.٥", None),
        ("es;level=1, en;q=0.1", EN),
        ("de-DE, de;q=0.9", None),
        (",,;q=,", None),
        ("x" * 600 + ",es", None),
        ("fr," * 30 + "es", None),
    ],
)
def test_a_header_wants_the_language_with_the_most_weight(header: str, expected: Language | None) -> None:
    assert accepted(header) is expected


@pytest.mark.parametrize(
    ("ui_locales", "expected"),
    [
        ("fr-CA es-MX en", ES),
        ("en es", EN),
        ("fr", None),
        ("", None),
        ("x" * 600, None),
        ("fr " * 30 + "es", None),
    ],
)
def test_an_app_asks_for_the_first_language_that_there_is(ui_locales: str, expected: Language | None) -> None:
    """OpenID Connect Core 1.0 section 3.1.2.1: languages that there are not are no error."""
    assert asked(ui_locales) is expected


def test_a_sentence_is_its_english_for_whoever_knows_nothing_of_languages() -> None:
    sentence = Sentence("Certified until %(day)s", day=day(AT))

    assert sentence == "Certified until 2 March 2026"
    assert f"{sentence}." == "Certified until 2 March 2026."
    assert ENGLISH.say(sentence) == sentence
    assert SPANISH.say(sentence) == "Certificada hasta el 2 de marzo de 2026"


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])  # noqa: S301  # our own
def test_a_copy_of_a_sentence_can_be_said_too(again: object) -> None:
    sentence = again(Sentence.counted("%(number)s hour", "%(number)s hours", 2).initial_capital())  # type: ignore[operator]

    assert sentence == "2 hours"
    assert SPANISH.say(sentence) == "2 horas"


@pytest.mark.parametrize(("number", "expected"), [(0, "0 días"), (1, "1 día"), (90, "90 días")])
def test_numbers_have_their_plural(number: int, expected: str) -> None:
    assert SPANISH.say(Sentence.counted("%(number)s day", "%(number)s days", number)) == expected


def test_words_are_listed_as_the_language_lists_them() -> None:
    acts = enumerated([Sentence("see"), Sentence("add"), Sentence("change")])
    what = Sentence("%(acts)s %(what)s", acts=acts, what=Sentence("allergies")).initial_capital()

    assert what == "See, add and change allergies"
    assert SPANISH.say(what) == "Ver, agregar y modificar alergias"
    assert SPANISH.say(what.within_a_sentence()) == "ver, agregar y modificar alergias"
    assert SPANISH.say(joined(("", what, "x"))) == "Ver, agregar y modificar alergias x"
    assert SPANISH.say(moment(AT)) == "2 de marzo de 2026, 09:05 UTC"


def test_what_is_put_in_is_not_taken_for_a_pattern() -> None:
    """An app may be called as a text of ours, or like a placeholder."""
    named = Sentence("Open %(app)s?", app="%(day)s 100% Removed")

    assert SPANISH.say(named) == "¿Abrir %(day)s 100% Removed?"
    assert SPANISH.say(Sentence("Open %(app)s?", app="Removed")) == "¿Abrir Removed?"


def test_what_a_catalogue_lacks_is_said_in_english() -> None:
    text = 'msgid ""\nmsgstr ""\n"Language: es\\n"\n\nmsgid "One"\nmsgstr ""\n\n#: x\nmsgid "Two"\nmsgstr "Dos, "\n"\\"tres\\""\n'
    found = read_catalogue("es", text)

    assert found == Catalogue("es", {"Two": 'Dos, "tres"'}, {})
    assert found.say("One") == "One"


@pytest.mark.parametrize(
    ("remembered", "header", "usual", "expected"),
    [
        ("", "", "es", ES),
        ("", "fr", "es", ES),
        ("", "en", "es", EN),
        ("en", "", "es", EN),
        ("", "es", "en", ES),
        ("", "", "fr", EN),
        ("", "", "", EN),
    ],
)
def test_a_hospitals_language_decides_only_where_nobody_wants_one(
    remembered: str, header: str, usual: str, expected: Language
) -> None:
    assert choose(remembered=remembered, header=header, usual=usual) is expected


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("", "2 March 2026, 09:05 UTC"),
        ("Europe/Madrid", "2 March 2026, 10:05 CET"),
        ("America/New_York", "2 March 2026, 04:05 EST"),
        ("America/Sao_Paulo", "2 March 2026, 06:05 UTC-03"),
        ("Asia/Kathmandu", "2 March 2026, 14:50 UTC+0545"),
        ("Pacific/Kiritimati", "2 March 2026, 23:05 UTC+14"),
        ("America/Argentina/Buenos_Aires", "2 March 2026, 06:05 UTC-03"),
    ],
)
def test_a_time_is_that_of_a_zone_and_names_it(zone: str, expected: str) -> None:
    found = zone_of(zone)
    assert found is not None
    assert moment(AT, found) == expected


def test_a_time_within_a_sentence_is_in_the_zone_of_whoever_says_it_and_in_utc_as_a_text() -> None:
    """However deep it stands, in any language, and in a copy; the API and files take it for a text."""
    madrid = zone_of("Europe/Madrid")
    ends = Sentence("It ends by itself on %(until)s.", until=moment(AT))
    whole = pickle.loads(pickle.dumps(joined(("", ends, "Wait.")))).with_texts(lambda text: text)  # noqa: S301

    assert whole == "It ends by itself on 2 March 2026, 09:05 UTC. Wait."
    assert ENGLISH.say(whole) == whole
    assert ENGLISH.say(whole, madrid) == "It ends by itself on 2 March 2026, 10:05 CET. Wait."
    assert "2 de marzo de 2026, 10:05 CET" in SPANISH.say(whole, madrid)
    exact = Sentence("On %(at)s.", at=moment(AT, seconds=True))
    assert exact.with_texts(lambda text: text.replace("09", "x")) == "On 2 March 2026, 09:05:00 UTC."
    assert ENGLISH.say(exact, madrid) == "On 2 March 2026, 10:05:00 CET."


@pytest.mark.parametrize(
    "name",
    [
        "europe/madrid",
        "Madrid",
        "Europe/Nowhere",
        "../etc/passwd",
        "localtime",
        "/etc/localtime",
        "Europe/Madrid\x00",
        "Europe/../Madrid",
        "Etc",
        "A" * 300,
        " ",
    ],
)
def test_what_is_no_zone_is_refused(name: str) -> None:
    assert zone_of(name) is None
    assert zone_fault(name) == "zone_unknown"
