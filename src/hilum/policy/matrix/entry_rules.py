"""Everything that an entry says, for whoever is judged by it. Pure.

It is made of the fields of an entry, so that what a later release adds to an entry is shown without being listed here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from hilum.policy.matrix.fields import duration_text
from hilum.policy.matrix.models import PolicyEntry

_ABOUT_RULES = frozenset({"waived", "observe"})
"""Fields of an entry that say how its rules bind, and are no rules themselves."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A rule of one entry that is another one in a second entry, each as text; empty: nothing."""

    path: str
    first: str
    second: str


def rules_of(entry: PolicyEntry) -> dict[str, Any]:
    """Return every rule of an entry by its name in a document, also those that a document leaves out because they are the default."""
    return {
        each.name: _written(getattr(entry, each.name))
        for each in fields(entry)
        if each.name not in _ABOUT_RULES
    }


def _written(value: Any) -> Any:
    match value:
        case StrEnum():
            return value.value
        case timedelta():
            return duration_text(value)
        case frozenset():
            return sorted(map(str, value))
        case tuple():
            return [str(each) for each in value]
        case _ if is_dataclass(value):
            return {each.name: _written(getattr(value, each.name)) for each in fields(value)}
        case _:
            return value


def differences(first: PolicyEntry, second: PolicyEntry) -> tuple[Difference, ...]:
    """Return the rules that differ between two entries."""
    one, other = dict(flat(rules_of(first))), dict(flat(rules_of(second)))
    return tuple(Difference(path, text, other[path]) for path, text in one.items() if text != other[path])


def flat(rules: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, str]]:
    """Yield each rule by its path, such as ``quota.burst``, as text; empty where nothing is listed or limited."""
    for name, value in rules.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{within}{name}.")
        else:
            yield f"{within}{name}", _text(value)


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case list():
            return " ".join(map(str, value))
        case _:
            return str(value)
