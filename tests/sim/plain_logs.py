"""Logs of a test run: errors with plain tracebacks. Those in colours, with the values of every frame, took a twentieth of a run."""

import structlog


def use_plain() -> None:
    """Log as structlog does by default, but for its tracebacks."""
    structlog.reset_defaults()
    last = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], last])
