"""The policy that Hilum ships with, in force until a platform owner publishes one. It is data: ``data/book.toml`` and its packs."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from hilum.policy.matrix.document import read_book
from hilum.policy.matrix.models import Book

PACKS = ("us-federal",)


@cache
def shipped_book() -> Book:
    """Return the shipped book."""
    book, faults = read_book(shipped_document())
    assert book is not None, faults
    return book


def shipped_document() -> dict[str, Any]:
    """Return the shipped policy as the document that was written, with its jurisdiction packs."""
    return _read("book") | {"packs": [_read(name) for name in PACKS]}


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((files("hilum.policy.matrix") / "data" / f"{name}.toml").read_text("utf-8"))
