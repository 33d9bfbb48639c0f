"""Connections to PostgreSQL: each with deadlines that hold even where the server or the path to it stands still.

The server's own timeouts end what takes long there. They are worth nothing when the server is stopped or packets are lost, so each
wait is bounded here too; a connection that did not answer in time is closed, because nobody knows what it would answer next.
"""

from collections.abc import Sequence
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict

from hilum.infra.lanes import BOUNDS, Bounds, Lane

T = TypeVar("T")
CONNECT_S = 2
"""The least that libpq allows."""
LOCK_S = 2.0
IDLE_IN_TRANSACTION_S = 10.0
_POLL_S = 0.1
_KEEPALIVES: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 6_000,
}
"""A path that lost its other end is noticed by the kernel within some ten seconds, also while nobody waits."""


class ServerSilent(psycopg.OperationalError):
    """The server did not answer in time. Whether it did what was asked is not known."""


class Link(psycopg.Connection[Any]):
    """A connection that waits for an answer at most ``statement_s``, and never past ``until`` (monotonic time)."""

    statement_s: float | None = None
    until: float | None = None

    def wait(self, gen: PQGen[T], interval: float = _POLL_S, timeout: float | None = None) -> T:
        begun = monotonic()
        bounds = [each for each in (timeout, self.statement_s) if each is not None]
        if self.until is not None:
            bounds.append(max(0.0, self.until - begun))
        if not bounds:
            return super().wait(gen, interval)
        bound = min(bounds)
        try:
            return super().wait(gen, interval, bound)
        except psycopg.OperationalError as error:
            if timeout is None and monotonic() - begun >= bound:
                self.pgconn.finish()
                raise ServerSilent("the server did not answer in time") from error
            raise


Statement = tuple[str, Any]
"""A statement in the driver's words, and its values."""
QUEUED = "queued"
"""Where the statements of a transaction wait whose answers nobody looks at."""


def send(link: Link, statements: Sequence[Statement], *, commit: bool) -> None:
    """Send statements, and the commit after them, in one round trip. What fails ends the transaction: nothing after it is done."""
    if not statements:
        if commit:
            link.commit()
        return
    with link.pipeline():
        for sql, values in statements:
            link.execute(sql, values)
        if commit:
            link.execute("COMMIT")  # ``link.commit`` would wait for itself, and so for one more round trip


def connect(url: str, lane: Lane, *, autocommit: bool = False) -> Link:
    """Connect with the deadlines of a lane. Raises psycopg.OperationalError."""
    bounds = BOUNDS[lane]
    link: Link = Link.connect(
        url,
        autocommit=autocommit,
        connect_timeout=CONNECT_S,
        application_name=f"hilum {lane}",
        options=_options(url, bounds),
        **_KEEPALIVES,
    )
    # A little longer than the server's own: its refusal says more, and keeps the connection.
    link.statement_s = None if bounds.statement_s is None else bounds.statement_s + 0.5
    return link


def _options(url: str, bounds: Bounds) -> str:
    """Write the server's timeouts; what the operator put into the URL comes later and so prevails."""
    set_here = {}
    if bounds.statement_s is not None:
        set_here = {
            "statement_timeout": bounds.statement_s,
            "lock_timeout": LOCK_S,
            "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_S,
        }
    ours = " ".join(f"-c {name}={round(value * 1000)}" for name, value in set_here.items())
    theirs = conninfo_to_dict(url).get("options")
    return f"{ours} {theirs}" if theirs else ours
