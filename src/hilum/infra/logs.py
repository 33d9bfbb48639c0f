"""Structured logs: one event name ``room.noun.verb`` and ids. No tokens, codes, names, paths or clinical content."""

import sys
from typing import Any, TextIO

import orjson
import structlog


def configure(stream: TextIO = sys.stderr) -> None:
    """Write one JSON line an event. Called once by app or cli."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(
                serializer=lambda event, **_: orjson.dumps(event, default=str).decode()
            ),
        ],
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )


def get(room: str) -> Any:
    """Get the logger of a room."""
    return structlog.get_logger(room=room)
