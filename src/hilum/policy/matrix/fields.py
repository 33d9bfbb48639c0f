"""Types of the fields of a policy document: how each is read, bounded and written. Pure.

A field is read with ``stored`` in the context where the document was valid when it was stored; bounds on lengths, which a later release may lower,
are not checked then.
"""

import re
from collections.abc import Collection, Mapping, Sized
from datetime import date, timedelta
from typing import Annotated, Never, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, Strict, ValidationInfo
from pydantic_core import PydanticCustomError

NAMES_BOUND = 50
"""The most categories, tier rules, workflows, scope products or other named entries."""
LIST_BOUND = 200
TEXT_BOUND = 300
NO_LIMIT = "none"
_DURATION = re.compile(r"([1-9][0-9]{0,8}) (s|min|h|d)")
_SECONDS = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}


def fault(code: str, sentence: str, bound: str = "") -> PydanticCustomError:
    """Return the error with which a validator refuses a value. ``bound``: what counts in its place in a stored document."""
    # Braces would be read as places to fill in.
    return PydanticCustomError(code, "{sentence}", {"sentence": sentence, "bound": bound})


def shown(value: object) -> str:
    """Return a value of a document for a sentence, cut to a bounded length."""
    return repr(str(value)[:64])


def duration_text(life: timedelta) -> str:
    """Return a duration as documents have it, in the largest unit that divides it: ``1 h``."""
    seconds = int(life.total_seconds())
    unit = next(unit for unit, size in _SECONDS.items() if seconds % size == 0)
    return f"{seconds // _SECONDS[unit]} {unit}"


def _read_duration(value: object) -> timedelta:
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise fault("not_a_duration", 'It must be a duration such as "30 min", "12 h" or "180 d".')
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


def at_longest(bound: timedelta) -> AfterValidator:
    """Return a validator that refuses a longer duration."""

    def check(value: timedelta) -> timedelta:
        if value > bound:
            text = duration_text(bound)
            raise fault("out_of_range", f"It must be at most {text}.", text)
        return value

    return AfterValidator(check)


def _read_limit(value: object) -> object:
    return None if value == NO_LIMIT else value


def _read_date(value: object) -> object:
    """Read a date. TOML has dates of its own, JSON has them as text; a number is none."""
    if isinstance(value, str) or type(value) is date:
        return value
    raise fault("not_a_date", "It must be a date such as 2026-01-31.")


def _one_line(value: str, info: ValidationInfo) -> str:
    if not value.strip() or not value.isprintable():
        raise fault("not_text", "It must be one line of text.")
    if len(value) > TEXT_BOUND and not _is_stored(info):
        raise fault("too_long", f"It must have at most {TEXT_BOUND} characters.")
    return value


def _is_stored(info: ValidationInfo) -> bool:
    return bool(info.context and info.context.get("stored"))


def at_most(bound: int) -> BeforeValidator:
    """Return a validator that refuses a collection of a new document with more entries."""

    def check(value: object, info: ValidationInfo) -> object:
        if isinstance(value, Sized) and len(value) > bound and not _is_stored(info):
            raise fault("too_many", f"It must have at most {bound} entries.")
        return value

    return BeforeValidator(check)


def _once(value: object) -> object:
    """Refuse a list that repeats a word; whatever is no list is refused by its type."""
    if isinstance(value, list | tuple):
        for n, each in enumerate(value):
            if each in value[:n]:
                raise fault("repeated", f"{shown(each)} is listed twice.")
    return value


def one_of(words: Collection[str]) -> AfterValidator:
    """Return a validator that refuses every other word."""

    def check(value: str) -> str:
        if value not in words:
            raise fault("word_unknown", f"{shown(value)} is not one of {', '.join(sorted(words))}.")
        return value

    return AfterValidator(check)


def _named(value: object) -> object:
    """Write the name of each entry of a table of tables into the entry."""
    if not isinstance(value, Mapping):
        return value
    return {
        name: {"name": name, **each} if isinstance(each, Mapping) else each for name, each in value.items()
    }


def _refuse(_value: object) -> Never:
    raise fault("unknown", "There is no such field.")


Text = Annotated[str, AfterValidator(_one_line)]
Name = Annotated[str, Field(pattern="^[a-z][a-z0-9_-]{0,63}$")]
Flag = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]
Days = Annotated[int, Strict(), Field(ge=1, le=365)]
Percent = Annotated[int, Strict(), Field(ge=1, le=100)]
Day = Annotated[date, BeforeValidator(_read_date)]
Duration = Annotated[timedelta, BeforeValidator(_read_duration), PlainSerializer(duration_text)]
NoLimit = BeforeValidator(_read_limit)
"""Reads ``none``, which says that there is no limit although the base of the tier has one."""
Item = TypeVar("Item")
ListOf = Annotated[tuple[Item, ...], BeforeValidator(_once), at_most(LIST_BOUND)]
SetOf = Annotated[frozenset[Item], PlainSerializer(sorted), BeforeValidator(_once), at_most(LIST_BOUND)]
"""A set, which is written in one order."""
Condition = Annotated[SetOf[Item], Field(min_length=1)]
"""An optional condition. An empty list is refused: it would read as "never" and mean "always"."""
Words = ListOf[str]
Tables = Annotated[tuple[Item, ...], at_most(NAMES_BOUND)]
Titles = Annotated[Mapping[Name, Text], at_most(NAMES_BOUND)]
Named = Annotated[Mapping[Name, Item], BeforeValidator(_named), at_most(NAMES_BOUND)]
"""Tables by their names."""
OwnName = Annotated[str, Field(exclude=True)]
"""The name of an entry in a table of tables, which is its key there."""
NotWritten = Annotated[Item, BeforeValidator(_refuse), Field(exclude=True)]
"""What no document has: it is filled in for one app, or when a policy is in force."""
