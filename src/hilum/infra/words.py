"""Words of a closed list, as rows of the database have them."""

from enum import StrEnum
from functools import lru_cache
from typing import TypeVar

from hilum.infra import logs

W = TypeVar("W", bound=StrEnum)
_log = logs.get("infra")


def known(kind: type[W], word: str, column: str) -> W | None:
    """Return a word of a list; None if this release does not know it, which is logged.

    A newer release or an edited row may have any word. Whoever reads many rows leaves that one out or lets it allow nothing: an
    exception would make the facts of everybody unreadable.
    """
    try:
        return kind(word)
    except ValueError:
        _report(word, column)
        return None


@lru_cache(maxsize=1_000)
def _report(word: str, column: str) -> None:
    # Once for each word: facts are read again and again.
    _log.error("infra.word.unknown", column=column, word=word)
