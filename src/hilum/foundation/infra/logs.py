"""Structured logs: one event name ``module.noun.verb`` and ids. No tokens, codes, names, paths or clinical content."""

import sys
import traceback
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, TextIO, cast

import orjson
import structlog

CAUSES_BOUND = 8


def render_exception(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Render an exception as types and code locations, without messages: those may hold a request's content or SQL parameters."""
    exc_info = event.pop("exc_info", None)
    error = sys.exc_info()[1] if exc_info is True else exc_info
    causes: list[str] = []
    while isinstance(error, BaseException) and len(causes) < CAUSES_BOUND:
        places = (
            f"{each.filename}:{each.lineno} {each.name}" for each in traceback.extract_tb(error.__traceback__)
        )
        causes.append(f"{type(error).__module__}.{type(error).__qualname__} at " + ", ".join(places))
        # The rule by which the interpreter prints chained exceptions.
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if causes:
        event["exception"] = causes
    return event


def place_of(error: Exception) -> str:
    """Return the function and line where an error arose: safe to log, since it holds no message."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace is not None else ""


class _Unfailing:
    """A text stream that ignores write errors: a full disk must not end a thread because its log line failed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def configure(stream: TextIO = sys.stderr, *, level: str = "debug") -> None:
    """Configure logging: one JSON line for each event of at least ``level``. Called once by app or cli."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            render_exception,
            structlog.processors.JSONRenderer(
                serializer=lambda event, **_: orjson.dumps(event, default=str).decode()
            ),
        ],
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Unfailing(stream))),
        cache_logger_on_first_use=True,
    )


def get(module: str) -> Any:
    """Return the logger of a module."""
    return structlog.get_logger(module=module)
