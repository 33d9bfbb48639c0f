"""Reads enum values from rows of the database, which may hold a value that this release does not have."""

from enum import StrEnum
from functools import lru_cache
from typing import TypeVar

from hilum.foundation.infra import logs

W = TypeVar("W", bound=StrEnum)
_log = logs.get("infra")


def member_of(kind: type[W], word: str, column: str) -> W | None:
    """Return the member of ``kind`` with a stored value; None, and an error in the log, if this release has no such member.

    A newer release or an edited row may hold any value. A caller that reads many rows skips such a row or lets it permit nothing: an
    exception would make the facts of every tenant unreadable. ``column`` is for the log.
    """
    try:
        return kind(word)
    except ValueError:
        _report(word, column)
        return None


@lru_cache(maxsize=1_000)
def _report(word: str, column: str) -> None:
    # Cached, so that each value is logged once although facts are read repeatedly.
    _log.error("infra.word.unknown", column=column, word=word)
