"""Reads the tables of a document field by field, and collects what is wrong with each. Pure."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence, Sized
from datetime import date, timedelta
from typing import Any

from hilum.policy.matrix.models import FAULTS_BOUND, LIST_BOUND, NAMES_BOUND, TEXT_BOUND, Fault

NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_DURATION = re.compile(r"([1-9][0-9]{0,8}) (s|min|h|d)")
_SECONDS = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}


def duration_text(life: timedelta) -> str:
    """Return a duration as documents have it, in the largest unit that divides it: ``1 h``."""
    seconds = int(life.total_seconds())
    unit = next(unit for unit, size in _SECONDS.items() if seconds % size == 0)
    return f"{seconds // _SECONDS[unit]} {unit}"


class Table:
    """One table of a document. Each reading method returns a usable value even after a fault, so that all faults are found at once.

    ``stored``: of a document that was valid when it was stored. Bounds on lengths, which a later release may lower, are not checked.
    """

    def __init__(self, faults: list[Fault], path: str, raw: object, *, stored: bool = False) -> None:
        self.path, self.faults, self._read, self.stored = path, faults, set[str](), stored
        self.raw: Mapping[str, Any] = raw if isinstance(raw, Mapping) else {}
        if not isinstance(raw, Mapping):
            self.fault("", "not_a_table", "It must be a table of names and values.")

    def fault(self, name: str, code: str, sentence: str) -> None:
        """Record what is wrong with a field; with the table itself, if ``name`` is empty."""
        # Of a stored document all are kept: the one that makes it unreadable may be the last.
        if self.stored or len(self.faults) < FAULTS_BOUND:
            self.faults.append(Fault(self._at(name), code, sentence))

    def _at(self, name: str) -> str:
        return ".".join(part for part in (self.path, name) if part)

    def _take(self, name: str, *, optional: bool = False) -> Any:
        self._read.add(name)
        value = self.raw.get(name)
        if value is None and (name in self.raw or not optional):
            self.fault(name, "missing", "It is required.")
        return value

    def has(self, name: str) -> bool:
        return name in self.raw

    def skip(self, name: str) -> None:
        """Count a field as read."""
        self._read.add(name)

    def _too_many(self, value: Sized, bound: int) -> bool:
        return not self.stored and len(value) > bound

    def like(self, path: str, raw: object) -> "Table":
        """Return another table of the same document."""
        return Table(self.faults, path, raw, stored=self.stored)

    def text(self, name: str, *, optional: bool = False) -> str:
        """Read one line of text; empty for an optional one that is not there."""
        value = self._take(name, optional=optional)
        if value is None:
            return ""
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            self.fault(name, "not_text", "It must be one line of text.")
            return ""
        if self._too_many(value, TEXT_BOUND):
            self.fault(name, "too_long", f"It must have at most {TEXT_BOUND} characters.")
        return value

    def word(self, name: str, allowed: Collection[str]) -> str:
        """Read a word of a fixed list; the first one of the list after a fault."""
        value = self._take(name)
        if isinstance(value, str) and value in allowed:
            return value
        if value is not None:
            self.fault(name, "word_unknown", f"{_shown(value)} is not one of {_listed(allowed)}.")
        return next(iter(allowed))

    def words(self, name: str, allowed: Collection[str] | None, *, optional: bool = False) -> tuple[str, ...]:
        """Read a list of words, each once; ``allowed`` None: any."""
        value = self._take(name, optional=optional)
        if value is None:
            return ()
        if not isinstance(value, Sequence) or isinstance(value, str) or self._too_many(value, LIST_BOUND):
            self.fault(name, "not_a_list", f"It must be a list of at most {LIST_BOUND} words.")
            return ()
        found: dict[str, None] = {}
        for each in value:
            if not isinstance(each, str) or (allowed is not None and each not in allowed):
                known = "" if allowed is None else f" Known are {_listed(allowed)}."
                self.fault(name, "word_unknown", f"{_shown(each)} is not known here.{known}")
            elif each in found:
                self.fault(name, "repeated", f"{_shown(each)} is listed twice.")
            else:
                found[each] = None
        return tuple(found)

    def flag(self, name: str, *, optional: bool = False) -> bool:
        value = self._take(name, optional=optional)
        if value is not None and not isinstance(value, bool):
            self.fault(name, "not_a_flag", "It must be true or false.")
        return value is True

    def integer(self, name: str, least: int, most: int) -> int:
        value = self._take(name)
        if value is None:
            return least
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.fault(name, "out_of_range", f"It must be a whole number from {least} to {most}.")
            return least
        return value

    def number(self, name: str, least: float, most: float) -> float:
        value = self._take(name)
        if value is None:
            return least
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            self.fault(name, "out_of_range", f"It must be a number from {least:g} to {most:g}.")
            return least
        return float(value)

    def duration(self, name: str, most: timedelta) -> timedelta:
        """Read a duration such as ``30 min``."""
        value = self._take(name)
        found = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if value is None:
            return most
        if found is None:
            self.fault(name, "not_a_duration", 'It must be a duration such as "30 min", "12 h" or "180 d".')
            return most
        seconds = int(found[1]) * _SECONDS[found[2]]
        if seconds > most.total_seconds():
            self.fault(name, "out_of_range", f"It must be at most {duration_text(most)}.")
            return most
        return timedelta(seconds=seconds)

    def day(self, name: str, *, optional: bool = False) -> date | None:
        """Read a date. TOML has dates of its own, JSON has them as text."""
        value = self._take(name, optional=optional)
        if value is None or type(value) is date:
            return value
        try:
            return date.fromisoformat(value)
        except (TypeError, ValueError):
            self.fault(name, "not_a_date", "It must be a date such as 2026-01-31.")
            return None

    def table(self, name: str, *, optional: bool = False) -> "Table":
        value = self._take(name, optional=optional)
        return self.like(self._at(name), {} if value is None else value)

    def named(self, name: str) -> Iterator[tuple[str, "Table"]]:
        """Yield the tables of a table by their names."""
        group = self.table(name)
        for key in group.names():
            yield key, group.table(key)

    def names(self) -> list[str]:
        """Return the names in this table that are well formed."""
        if self._too_many(self.raw, NAMES_BOUND):
            self.fault("", "too_many", f"It must have at most {NAMES_BOUND} names.")
            return []
        for key in self.raw:
            if not isinstance(key, str) or not NAME.fullmatch(key):
                self.fault(
                    "", "name_malformed", f"{_shown(key)} is not a name: small letters, digits, - and _."
                )
        return [key for key in self.raw if isinstance(key, str) and NAME.fullmatch(key)]

    def titles(self, name: str) -> dict[str, str]:
        """Read a table of names with their titles."""
        group = self.table(name)
        return {key: group.text(key) for key in group.names()}

    def tables(self, name: str, *, optional: bool = False) -> list["Table"]:
        """Read a list of tables."""
        value = self._take(name, optional=optional)
        if value is None:
            return []
        if not isinstance(value, Sequence) or isinstance(value, str) or self._too_many(value, NAMES_BOUND):
            self.fault(name, "not_a_list", f"It must be a list of at most {NAMES_BOUND} tables.")
            return []
        return [self.like(f"{self._at(name)}[{n}]", each) for n, each in enumerate(value)]

    def close(self) -> None:
        """Record each field that was not read: unknown fields are refused."""
        for key in self.raw:
            if key not in self._read:
                self.fault(str(key)[:64], "unknown", "There is no such field.")


def _shown(value: object) -> str:
    return repr(str(value)[:64])


def _listed(words: Collection[str]) -> str:
    return ", ".join(sorted(words)) or "none"
