"""Policies for tests: the shipped one with some places changed."""

import copy
from functools import cache
from typing import Any

from hilum.policy.matrix.document import read_book
from hilum.policy.matrix.models import UNCLASSIFIED, Book, Tier
from hilum.policy.matrix.shipped import shipped_book, shipped_document

Changes = dict[str, Any]
GONE = object()
"""Instead of a value: the field is removed."""
MODERATE_ENTRY = "categories.care_recommendations.entries.moderate"
HIGH_ENTRY = "categories.care_recommendations.entries.high"
RULE = {"name": "reads-slots", "tier": "high", "because": "it reads {type}", "types": ["Slot"]}


@cache
def _shipped() -> dict[str, Any]:
    return shipped_document()


def document(changes: Changes | None = None) -> dict[str, Any]:
    """Return the shipped document with the values at some dotted paths replaced; a number is a place in a list."""
    made = copy.deepcopy(_shipped())
    for path, value in (changes or {}).items():
        *way, last = path.split(".")
        at: Any = made
        for part in way:
            at = at[int(part)] if part.isdigit() else at.setdefault(part, {})
        if value is GONE:
            del at[int(last) if last.isdigit() else last]
        elif isinstance(at, list):
            at[int(last)] = value
        else:
            at[last] = value
    return made


def book(changes: Changes | None = None) -> Book:
    """Return the policy of ``document``, which must be valid."""
    made, faults = read_book(document(changes))
    assert made is not None, faults
    return made


def faults_of(changes: Changes) -> list[tuple[str, str]]:
    """Return path and code of each fault of ``document``."""
    made, faults = read_book(document(changes))
    assert (made is None) == bool(faults)
    assert all(fault.sentence.endswith(".") for fault in faults)
    return [(fault.path, fault.code) for fault in faults]


LIFETIMES = shipped_book().categories[UNCLASSIFIED].entries[Tier.LOW].lifetimes
"""How long what is issued to an app of the tests lives."""
