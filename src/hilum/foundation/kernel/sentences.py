"""Sentences for people: English texts that keep their pattern and values, and catalogues that translate them.

A pattern has ``%(name)s`` in the place of a value, as in gettext. A ``Sentence`` is a str in English, so programs, logs and English pages
need not know of other languages.
Source: docs/adr/0014-pages.md
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Self

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip


class Sentence(str):
    """A text in English. ``pattern`` is its key in a catalogue; ``values`` are formatted into it: texts, numbers, other sentences.

    ``many`` is the pattern of the plural, chosen by ``number``. ``initial``: its first letter is made a capital.
    """

    __slots__ = ("initial", "many", "number", "pattern", "values")
    pattern: str
    values: dict[str, Any]
    many: str
    number: int
    initial: bool

    def __new__(cls, pattern: str, /, **values: Any) -> Self:
        return cls._build(pattern, "", 1, values)

    @classmethod
    def counted(cls, one: str, many: str, number: int, /, **values: Any) -> Self:
        """Return a sentence with a number in it, as ``%(number)s``."""
        return cls._build(one, many, number, {"number": number} | values)

    @classmethod
    def _build(
        cls, pattern: str, many: str, number: int, values: dict[str, Any], *, initial: bool = False
    ) -> Self:
        text = (many if many and number != 1 else pattern) % values
        sentence = super().__new__(cls, _initial(text) if initial else text)
        sentence.pattern, sentence.values = pattern, values
        sentence.many, sentence.number, sentence.initial = many, number, initial
        return sentence

    def __reduce__(self) -> tuple[Any, ...]:
        # Copied with its pattern and values; by default a str subclass would lose them.
        return _rebuild, (type(self), self.pattern, self.many, self.number, self.values, self.initial)

    def __deepcopy__(self, _: object) -> Self:
        return self  # immutable

    def within_a_sentence(self) -> Self:
        """Return it without the capital letter that ``initial_capital`` gave it."""
        return self._build(self.pattern, self.many, self.number, self.values)

    def initial_capital(self) -> Self:
        """Return it with a capital first letter, in every language."""
        return self._build(self.pattern, self.many, self.number, self.values, initial=True)

    def with_texts(self, change: Callable[[str], str]) -> Self:
        """Return it with each text among its values changed, and those of the sentences among them."""

        def changed(value: Any) -> Any:
            if isinstance(value, Sentence):
                return value.with_texts(change)
            return change(value) if isinstance(value, str) else value

        values = {name: changed(value) for name, value in self.values.items()}
        return self._build(self.pattern, self.many, self.number, values, initial=self.initial)


class Moment(Sentence):
    """A date and time. As a str it is in the zone that it was built with; ``Catalogue.say`` formats it in a page's zone."""

    __slots__ = ()

    def with_texts(self, _change: Callable[[str], str]) -> Self:
        """Return it unchanged: none of its values is a text that people wrote."""
        return self

    def in_zone(self, zone: tzinfo) -> "Moment":
        """Return the same moment in another zone."""
        return moment(self.values["at"], zone, seconds=self.values["seconds"])


def _rebuild(
    cls: type[Sentence],
    pattern: str,
    many: str,
    number: int,
    values: dict[str, Any],
    initial: bool,  # noqa: FBT001  # pickle passes positions
) -> Sentence:
    return cls._build(pattern, many, number, values, initial=initial)


def _initial(text: str) -> str:
    return text[:1].upper() + text[1:]


def in_english(text: str, /, **values: Any) -> Sentence:
    """Return a sentence for pages that are in English only, so that no catalogue lists it. Its times follow the page's zone."""
    return Sentence(text, **values)


def pattern(text: str) -> str:
    """Mark a text as the pattern of sentences that are built elsewhere, so that the catalogues list it."""
    return text


def in_words(name: str) -> str:
    """Return the name of a noun as people write it: fhir_server is a FHIR server."""
    return name.replace("_", " ").replace("fhir", "FHIR")


def joined(parts: Iterable[str], sep: str = " ") -> Sentence:
    """Join sentences, or the entries of a list, without empty ones."""
    present = {f"p{n}": part for n, part in enumerate(each for each in parts if each)}
    return Sentence(sep.join(f"%({name})s" for name in present), **present)


def enumerated(parts: Iterable[str]) -> Sentence:
    """Join words as a list in a sentence: one, two and three."""
    *first, last = parts
    if not first:
        return joined([last])
    return Sentence("%(first)s and %(last)s", first=joined(first, ", "), last=last)


def day(value: datetime) -> Sentence:
    """Format a date: 3 March 2026."""
    return Sentence(
        "%(day)s %(month)s %(year)s",
        day=value.day,
        month=Sentence(MONTHS[value.month - 1]),
        year=f"{value:%Y}",
    )


def moment(value: datetime, zone: tzinfo = UTC, *, seconds: bool = False) -> Moment:
    """Format a date and time with its zone: 3 March 2026, 09:05 UTC."""
    local = value.astimezone(zone)
    named = local.tzname() or "UTC"
    return Moment(
        pattern("%(day)s, %(time)s %(zone)s"),
        day=day(local),
        time=f"{local:%H:%M:%S}" if seconds else f"{local:%H:%M}",
        # A zone without an abbreviation is named by its offset.
        zone=f"UTC{named}" if named[0] in "+-" else named,
        at=value,
        seconds=seconds,
    )


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The patterns of one language by the English ones. ``plurals`` has pairs: for one, and for any other number."""

    language: str
    messages: Mapping[str, str]
    plurals: Mapping[str, tuple[str, str]]

    def pattern(self, english: str) -> str:
        """Return a pattern in this language, or the English one if there is none."""
        return self.messages.get(english, english)

    def plural(self, one: str, many: str, number: int) -> str:
        """Return the pattern for a number of things."""
        first, other = self.plurals.get(one, (one, many))
        return first if number == 1 else other

    def knows(self, english: str) -> bool:
        """Check whether there is a pattern for a text in English."""
        return english in self.messages

    def say(self, text: str, zone: tzinfo | None = None) -> str:
        """Translate a text: a sentence by its pattern and values, a plain text if it is listed itself.

        ``zone``: the zone of its times; without one, each keeps its own.
        """
        if not isinstance(text, Sentence):
            return self.pattern(text)
        if zone is not None and isinstance(text, Moment):
            text = text.in_zone(zone)
        values = {name: self.said(value, zone) for name, value in text.values.items()}
        pattern = (
            self.plural(text.pattern, text.many, text.number) if text.many else self.pattern(text.pattern)
        )
        translated = pattern % values
        return _initial(translated) if text.initial else translated

    def said(self, value: Any, zone: tzinfo | None = None) -> Any:
        """Translate a value of a sentence if it is a sentence itself; return any other unchanged."""
        return self.say(value, zone) if isinstance(value, Sentence) else value


ENGLISH = Catalogue("en", {}, {})
