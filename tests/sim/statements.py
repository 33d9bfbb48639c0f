"""Shares compiled statements among the databases of a test run. Every test opens its own, and compiling was a fifth of its time."""

from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache

STATEMENTS_BOUND = 5_000


def share_compiled() -> None:
    """Share one cache among the engines of one kind of database. SQLAlchemy keys it by dialect, and every engine has its own."""
    caches: dict[type, LRUCache[Any, Any]] = {}

    @event.listens_for(Engine, "engine_connect")
    def share(tx: Connection) -> None:
        tx.engine._compiled_cache = caches.setdefault(type(tx.dialect), LRUCache(STATEMENTS_BOUND))

    DefaultDialect.__hash__ = lambda self: hash(type(self))  # type: ignore[method-assign]
    DefaultDialect.__eq__ = lambda self, other: type(self) is type(other)  # type: ignore[method-assign]
