"""Shares compiled statements among the databases of a test run. Every test opens its own, and compiling was a fifth of its time."""

from typing import Any

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache

from hilum.foundation.infra import db

STATEMENTS_BOUND = 5_000


def share_compiled() -> None:
    """Share one cache among the engines of one kind of database. SQLAlchemy keys it by dialect, and every engine has its own."""
    caches: dict[type, LRUCache[Any, Any]] = {}

    # Not by an event: where one is listened for, SQLAlchemy looks at each statement whether others are.
    def shared(*args: Any, **named: Any) -> Engine:
        made = create_engine(*args, **named)
        made._compiled_cache = caches.setdefault(type(made.dialect), LRUCache(STATEMENTS_BOUND))
        return made

    vars(db)["create_engine"] = shared
    DefaultDialect.__hash__ = lambda self: hash(type(self))  # type: ignore[method-assign]
    DefaultDialect.__eq__ = lambda self, other: type(self) is type(other)  # type: ignore[method-assign]
