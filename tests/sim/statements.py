"""Statements that are compiled once for all databases of a test run: every test opens one of its own, and compiling was a fifth of its time."""

from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache

STATEMENTS_BOUND = 5_000


def share_compiled() -> None:
    """Let the engines of one kind of database share a cache. SQLAlchemy keys it by dialect, of which every engine has its own."""
    caches: dict[type, LRUCache[Any, Any]] = {}

    @event.listens_for(Engine, "engine_connect")
    def share(tx: Connection) -> None:
        tx.engine._compiled_cache = caches.setdefault(type(tx.dialect), LRUCache(STATEMENTS_BOUND))

    DefaultDialect.__hash__ = lambda self: hash(type(self))  # type: ignore[method-assign]
    DefaultDialect.__eq__ = lambda self, other: type(self) is type(other)  # type: ignore[method-assign]
