"""Shares policies that were read from the same document. Reading one takes as long as a dozen requests, and many tests read a few."""

import pickle
from typing import Any

from cachetools import LRUCache

from hilum.policy.matrix import loading, service
from hilum.policy.matrix.document import read_book

BOOKS_BOUND = 64


def share_read() -> None:
    """Read each document once. A process forgets a policy that nothing uses, as after every test."""
    vars(loading)["_books"] = LRUCache(BOOKS_BOUND)
    vars(service)["read_book"] = _read_once()


def _read_once() -> Any:
    kept: LRUCache[bytes, Any] = LRUCache(BOOKS_BOUND)

    def shared(document: object, against: Any = None) -> Any:
        key = pickle.dumps(document)
        if key in kept:
            return kept[key]
        asked: list[bool] = []

        def noting() -> Any:
            asked.append(True)
            return against()

        read = read_book(document, against and noting)
        # What was asked of the policy in force may be otherwise in the next test.
        if not asked:
            kept[key] = read
        return read

    return shared
