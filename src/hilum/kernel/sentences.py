"""Sentences for people: English texts that remember what they were made of, and catalogues that say them in another language.

A pattern has ``%(name)s`` where a value is put in, as in gettext. Whoever takes a ``Sentence`` for a text gets English, so programs, logs
and pages in English know nothing of other languages.
Source: docs/adr/0100-a-second-language.md
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Self

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip


class Sentence(str):
    """A text in English. ``pattern`` is its key in a catalogue, ``values`` is what is put into it: texts, numbers, other sentences.

    ``many`` is the pattern of the plural, chosen by ``number``. ``initial``: it begins with a capital letter whatever its pattern does.
    """

    __slots__ = ("initial", "many", "number", "pattern", "values")
    pattern: str
    values: dict[str, Any]
    many: str
    number: int
    initial: bool

    def __new__(cls, pattern: str, /, **values: Any) -> Self:
        return cls._made(pattern, "", 1, values)

    @classmethod
    def counted(cls, one: str, many: str, number: int, /, **values: Any) -> Self:
        """Return a sentence with a number in it, as ``%(number)s``."""
        return cls._made(one, many, number, {"number": number} | values)

    @classmethod
    def _made(
        cls, pattern: str, many: str, number: int, values: dict[str, Any], *, initial: bool = False
    ) -> Self:
        text = (many if many and number != 1 else pattern) % values
        made = super().__new__(cls, _initial(text) if initial else text)
        made.pattern, made.many, made.number, made.values, made.initial = (
            pattern,
            many,
            number,
            values,
            initial,
        )
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        # Copied with what it was made of; a plain text would be copied as its English.
        return _again, (type(self), self.pattern, self.many, self.number, self.values, self.initial)

    def __deepcopy__(self, _: object) -> Self:
        return self  # nothing in it changes

    def within_a_sentence(self) -> Self:
        """Return it without a capital letter that it only has as a title."""
        return self._made(self.pattern, self.many, self.number, self.values)

    def initial_capital(self) -> Self:
        """Return it with a capital letter at its beginning, in any language."""
        return self._made(self.pattern, self.many, self.number, self.values, initial=True)

    def with_texts(self, change: Callable[[str], str]) -> Self:
        """Return it with each text that was put into it changed, also into sentences in it."""

        def changed(value: Any) -> Any:
            if isinstance(value, Sentence):
                return value.with_texts(change)
            return change(value) if isinstance(value, str) else value

        values = {name: changed(value) for name, value in self.values.items()}
        return self._made(self.pattern, self.many, self.number, values, initial=self.initial)


class Moment(Sentence):
    """A date and time. A page says it in its own zone (``Catalogue.say``); whoever takes it for a text has it in the zone that it was made with."""

    __slots__ = ()

    def with_texts(self, _change: Callable[[str], str]) -> Self:
        """Return it: nothing in it is a text of others."""
        return self

    def in_zone(self, zone: tzinfo) -> "Moment":
        """Return the same moment in another zone."""
        return moment(self.values["at"], zone, seconds=self.values["seconds"])


def _again(
    cls: type[Sentence],
    pattern: str,
    many: str,
    number: int,
    values: dict[str, Any],
    initial: bool,  # noqa: FBT001  # pickle passes positions
) -> Sentence:
    return cls._made(pattern, many, number, values, initial=initial)


def _initial(text: str) -> str:
    return text[:1].upper() + text[1:]


def in_english(text: str, /, **values: Any) -> Sentence:
    """Return a sentence that no catalogue lists: its pages are in English. Its times are said in their zone."""
    return Sentence(text, **values)


def pattern(text: str) -> str:
    """Mark a text as the pattern of sentences that are made elsewhere, so that the catalogues list it."""
    return text


def joined(parts: Iterable[str], sep: str = " ") -> Sentence:
    """Return whole sentences, or the entries of a list, one after the other; empty ones are left out."""
    kept = {f"p{n}": part for n, part in enumerate(each for each in parts if each)}
    return Sentence(sep.join(f"%({name})s" for name in kept), **kept)


def enumerated(parts: Iterable[str]) -> Sentence:
    """Return words as a list in a sentence: one, two and three."""
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
        # Zones without letters of their own are named by their distance.
        zone=f"UTC{named}" if named[0] in "+-" else named,
        at=value,
        seconds=seconds,
    )


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Patterns in one language by their English ones; ``plurals`` has pairs: for one, and for any other number."""

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
        """Return a text in this language: a sentence by what it was made of, a plain text if it is listed as it stands.

        ``zone``: in which times in it are said; without one, in that of each.
        """
        if not isinstance(text, Sentence):
            return self.pattern(text)
        if zone is not None and isinstance(text, Moment):
            text = text.in_zone(zone)
        values = {name: self.said(value, zone) for name, value in text.values.items()}
        pattern = (
            self.plural(text.pattern, text.many, text.number) if text.many else self.pattern(text.pattern)
        )
        said = pattern % values
        return _initial(said) if text.initial else said

    def said(self, value: Any, zone: tzinfo | None = None) -> Any:
        """Return a value as it is put into a sentence: another sentence in this language, anything else unchanged."""
        return self.say(value, zone) if isinstance(value, Sentence) else value


ENGLISH = Catalogue("en", {}, {})
